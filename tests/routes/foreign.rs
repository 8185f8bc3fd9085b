//! HAProxy and nginx as the neighbours that are told of clients, and that tell,
//! where the machine has them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use adit::Config;
use adit::config::{Address, Network, ProxyHeader, ProxyTlv, ProxyVersion, Service};

use crate::support::client::{self, Client};
use crate::support::place::Place;
use crate::support::tools::has;
use crate::support::wait_for;
use crate::{certificate, config, server_tls};

/// A program that is killed when this is dropped.
struct Program(Child);

impl Program {
    /// Starts it, and waits until it listens at the socket `in` of the folder.
    fn start(folder: &Path, command: &mut Command) -> Self {
        let log = File::create(folder.join("log")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        let mut program = Self(child.expect("the program starts"));
        wait_for("the program", || {
            if let Ok(Some(status)) = program.0.try_wait() {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("the program ended, {status}:\n{log}");
            }
            UnixStream::connect(folder.join("in")).ok()
        });
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn haproxy(folder: &Path, text: &str) -> Program {
    let file = folder.join("haproxy.cfg");
    let defaults = "defaults\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n";
    let text = text.replace("FOLDER", &folder.display().to_string());
    std::fs::write(&file, format!("{defaults}{text}")).expect("a file");
    Program::start(
        folder,
        Command::new("haproxy").arg("-db").arg("-f").arg(file),
    )
}

fn nginx(folder: &Path, text: &str) -> Program {
    let file = folder.join("nginx.conf");
    let common = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\n";
    let text = text.replace("FOLDER", &folder.display().to_string());
    std::fs::write(&file, format!("{common}{text}")).expect("a file");
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(folder);
    Program::start(folder, command.arg("-c").arg(file))
}

/// A configuration whose only service is the socket `in` of that folder, told
/// of clients.
fn telling(folder: &Path, version: ProxyVersion, mut config: Config) -> Config {
    let address = Address::Unix(folder.join("in"));
    config.services = vec![Service::single("neighbour", address, None)];
    config.services[0].proxy_protocol = Some(ProxyHeader {
        version,
        tlvs: match version {
            ProxyVersion::One => Vec::new(),
            ProxyVersion::Two => vec![
                ProxyTlv::Authority,
                ProxyTlv::Ssl,
                ProxyTlv::UniqueId,
                ProxyTlv::Crc32c,
            ],
        },
    });
    config
}

/// The body of the answer to a request over TLS, and who asked.
fn ask(place: &Place, certificate: &crate::Certificate) -> (String, String) {
    let config = client::config(certificate, rustls::ALL_VERSIONS).into();
    let tcp = place.connect();
    let from = tcp.local_addr().expect("an address");
    let client = Client::shake(tcp, &config).expect("a handshake");
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.send(request).expect("sent");
    let (answer, _) = client.receive_all();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let ends = format!("{} {}", from.ip(), from.port());
    (body.trim().to_owned(), ends)
}

#[test]
fn haproxy_learns_who_the_client_is() {
    if !has("haproxy", "-v") {
        return;
    }
    let (folder, certificate) = certificate();
    let _haproxy = haproxy(
        folder.path(),
        "frontend in\n mode http\n bind unix@FOLDER/in accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \
         \"%[src] %[src_port] %[dst_port] %[fc_pp_authority]\"\n",
    );
    for version in [ProxyVersion::One, ProxyVersion::Two] {
        let config = config(server_tls(&certificate), &[([127, 0, 0, 1], 1).into()]);
        let place = Place::start(telling(folder.path(), version, config));
        let (said, ends) = ask(&place, &certificate);
        let mut expected = format!("{ends} {}", place.address.port());
        if version == ProxyVersion::Two {
            expected += " localhost";
        }
        assert_eq!(said, expected);
    }
}

#[test]
fn nginx_learns_who_the_client_is() {
    if !has("nginx", "-v") {
        return;
    }
    let (folder, certificate) = certificate();
    let _nginx = nginx(
        folder.path(),
        "http {\n access_log off;\n server {\n listen unix:FOLDER/in proxy_protocol;\n \
         location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port \
         $proxy_protocol_server_port\"; }\n }\n}\n",
    );
    for version in [ProxyVersion::One, ProxyVersion::Two] {
        let config = config(server_tls(&certificate), &[([127, 0, 0, 1], 1).into()]);
        let place = Place::start(telling(folder.path(), version, config));
        let (said, ends) = ask(&place, &certificate);
        assert_eq!(said, format!("{ends} {}", place.address.port()));
    }
}

/// HAProxy in front: what it says of its client is what we say.
#[test]
fn haproxy_tells_who_the_client_is() {
    if !has("haproxy", "-v") {
        return;
    }
    for send in ["send-proxy", "send-proxy-v2"] {
        let (folder, _) = certificate();
        let backend = crate::support::backend::Backend::start(|mut stream| {
            let mut line = Vec::new();
            let mut byte = [0];
            while !line.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                line.push(byte[0]);
            }
            let _ = stream.write_all(b"heard");
            String::from_utf8_lossy(&line).into_owned()
        });
        let mut config = config(None, &[backend.address()]);
        config.listeners[0].proxy_from = vec!["127.0.0.1".parse::<Network>().expect("one")];
        config.services[0].proxy_protocol = Some(ProxyHeader {
            version: ProxyVersion::One,
            tlvs: Vec::new(),
        });
        let place = Place::start(config);
        let port = place.address.port();
        // What HAProxy itself was told, so that it is none of the sockets'.
        let _haproxy = haproxy(
            folder.path(),
            &format!(
                "listen in\n mode tcp\n bind unix@FOLDER/in accept-proxy\n \
                 server us 127.0.0.1:{port} {send}\n"
            ),
        );
        let mut stream = UnixStream::connect(folder.path().join("in")).expect("a connection");
        let claim = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";
        stream.write_all(claim).expect("sent");
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).expect("an answer");
        assert_eq!(backend.result().as_bytes(), claim, "{send}");
    }
}
