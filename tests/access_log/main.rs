//! The access log, as those who read it see it: what is in a line, where lines
//! go, and that none is lost or cut when files are rotated. One module per
//! matter.

#[path = "../support/mod.rs"]
mod support;

mod fields;
mod rotation;
mod sampling;
mod sinks;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use adit::Config;
use adit::config::{AccessFormat, AccessLog, LogSink, ServerTls};
use rustls::ClientConfig;
use serde_json::Value;
use support::certificate::Certificate;
use support::client::{self, Client, End};
use support::place::{anywhere, at};
use support::wait_for;

/// TLS in, plaintext out, and lines of JSON in this file.
fn config(backend: SocketAddr, certificate: &Certificate, file: &Path) -> Config {
    let tls = ServerTls::new(&certificate.cert, &certificate.key);
    let mut config = Config::single(anywhere(), tls, at(backend));
    config.listeners[0].name = "door".into();
    config.services[0].name = "echo".into();
    config.access_log = Some(AccessLog {
        format: AccessFormat::Json,
        sink: LogSink::File(file.to_owned()),
        ..AccessLog::default()
    });
    config
}

fn trust(certificate: &Certificate) -> Arc<ClientConfig> {
    Arc::new(client::config(certificate, rustls::ALL_VERSIONS))
}

/// One tunnel that carries a byte there and back, and ends in order.
#[track_caller]
fn visit(address: SocketAddr, trust: &Arc<ClientConfig>) {
    let client = Client::shake(client::tcp(address), trust).expect("a handshake");
    client.send(b"!").expect("sent");
    assert_eq!(client.receive_exact(1), b"!");
    client.close_notify();
    client.fin();
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
}

/// The lines of a file that are whole.
fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(str::to_owned).collect()
}

/// Waits for so many lines in a file.
#[track_caller]
fn wait_lines(file: &Path, count: usize) -> Vec<String> {
    let lines = wait_for("so many lines", || {
        Some(lines(file)).filter(|lines| lines.len() >= count)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[track_caller]
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
