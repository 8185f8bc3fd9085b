//! Where connections lead to, and what is said of them: routes, TLS that is
//! passed through, the PROXY protocol. One module per matter.

#[path = "../support/mod.rs"]
mod support;

mod foreign;
mod passthrough;
mod proxy_in;
mod proxy_out;
mod sni;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use adit::Config;
use adit::config::{Listener, Route, ServerTls, Service};
use support::backend::Backend;
use support::certificate::Certificate;
use support::place::{anywhere, at};

/// A backend that says its name, and then sends back what it receives.
fn named(name: &'static str) -> Backend<()> {
    Backend::start(move |mut stream: TcpStream| {
        stream.write_all(name.as_bytes()).expect("sent");
        let mut reader = stream.try_clone().expect("another handle");
        let _ = std::io::copy(&mut reader, &mut stream);
    })
}

/// A configuration of one listener, with these backends as services; the first
/// is the default.
fn config(tls: Option<ServerTls>, backends: &[SocketAddr]) -> Config {
    let mut config = Config::single(
        anywhere(),
        ServerTls::new("no.pem", "no.pem"),
        at(backends[0]),
    );
    config.listeners = vec![Listener::new(anywhere(), tls, 0)];
    config.services = backends
        .iter()
        .enumerate()
        .map(|(index, address)| Service::single(index.to_string(), at(*address), None))
        .collect();
    config
}

fn server_tls(certificate: &Certificate) -> Option<ServerTls> {
    Some(ServerTls::new(&certificate.cert, &certificate.key))
}

fn by_name(names: &[&str], service: usize) -> Route {
    Route {
        sni: names.iter().map(|name| (*name).to_owned()).collect(),
        alpn: Vec::new(),
        client: Vec::new(),
        service,
    }
}

fn certificate() -> (tempfile::TempDir, Certificate) {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    (folder, certificate)
}
