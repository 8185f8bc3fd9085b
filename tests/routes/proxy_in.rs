//! Headers of the PROXY protocol that we are sent.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use adit::config::{Network, ProxyHeader, ProxyVersion};
use adit::proxy_protocol::{self, Command, Route, Tlv};

use crate::support::backend::Backend;
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client};
use crate::support::place::Place;
use crate::{certificate, config, server_tls};

/// A backend that gives back the line that it is told first.
fn told() -> Backend<String> {
    Backend::start(|mut stream| {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            line.push(byte[0]);
        }
        let mut reader = stream.try_clone().expect("another handle");
        let _ = std::io::copy(&mut reader, &mut stream);
        String::from_utf8_lossy(&line).into_owned()
    })
}

fn place(backend: &Backend<String>, certificate: Option<&Certificate>, from: &str) -> Place {
    let tls = certificate.and_then(server_tls);
    let mut config = config(tls, &[backend.address()]);
    config.listeners[0].proxy_from = vec![from.parse::<Network>().expect("a network")];
    config.services[0].proxy_protocol = Some(ProxyHeader {
        version: ProxyVersion::One,
        tlvs: Vec::new(),
    });
    Place::start(config)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn echo_in_tls(tcp: TcpStream, certificate: &Certificate) {
    let config = client::config(certificate, rustls::ALL_VERSIONS).into();
    let client = Client::shake(tcp, &config).expect("a handshake");
    client.send(b"hello").expect("sent");
    assert_eq!(client.receive_exact(5), b"hello");
}

#[test]
fn the_client_that_a_header_names_is_passed_on() {
    let (_folder, certificate) = certificate();
    let command = Command::Proxy(Route::tcp(
        address("[2001:db8::7]:1234"),
        address("[2001:db8::1]:443"),
    ));
    let mut one = [0; 107];
    let len = proxy_protocol::write_v1(&command, &mut one).expect("room");
    let one = &one[..len];
    let mut two = [0; 500];
    let tlvs = [Tlv::Crc32c(0), Tlv::Authority(b"example.org")];
    let len = proxy_protocol::write_v2(&command, &tlvs, &mut two).expect("room");
    let two = &two[..len];
    for header in [one, two] {
        let backend = told();
        let place = place(&backend, Some(&certificate), "127.0.0.0/8");
        // At once, and in pieces of one byte.
        for piece in [header.len(), 1] {
            let mut tcp = place.connect();
            tcp.set_nodelay(true).expect("a socket");
            for piece in header.chunks(piece) {
                tcp.write_all(piece).expect("sent");
            }
            echo_in_tls(tcp, &certificate);
            assert_eq!(
                backend.result(),
                "PROXY TCP6 2001:db8::7 2001:db8::1 1234 443\r\n"
            );
        }
    }
}

#[test]
fn of_a_local_connection_its_own_ends_are_told() {
    let mut header = [0; 16];
    let len = proxy_protocol::write_v2(&Command::Local, &[], &mut header).expect("room");
    let backend = told();
    let place = place(&backend, None, "127.0.0.1");
    let mut tcp = place.connect();
    tcp.write_all(&header[..len]).expect("sent");
    tcp.write_all(b"hello").expect("sent");
    let mut back = [0; 5];
    tcp.read_exact(&mut back).expect("an echo");
    let port = tcp.local_addr().expect("an address").port();
    drop(tcp);
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n",
        place.address.port()
    );
    assert_eq!(backend.result(), expected);
}

/// Others' bytes are their own, even if they look like a header.
#[test]
fn nobody_else_is_believed() {
    let backend = told();
    let place = place(&backend, None, "192.0.2.0/24");
    let mut tcp = place.connect();
    let claim = b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n";
    tcp.write_all(claim).expect("sent");
    let mut back = vec![0; claim.len()];
    tcp.read_exact(&mut back).expect("an echo");
    assert_eq!(back, claim);
    drop(tcp);
    assert!(backend.result().starts_with("PROXY TCP4 127.0.0.1 "));
}

#[test]
fn who_has_to_send_a_header_and_does_not_is_refused() {
    let (_folder, certificate) = certificate();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n",
        &[
            13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x31, 0x11, 0, 12,
        ],
        &[22, 3, 1, 2, 0, 1, 0],
    ] {
        let backend = told();
        let place = place(&backend, Some(&certificate), "127.0.0.0/8");
        let mut tcp = place.connect();
        tcp.write_all(bytes).expect("sent");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).expect("an orderly end");
        assert!(answer.is_empty(), "{answer:?}");
        drop(tcp);
        assert_eq!(place.reason(), "handshake/client/bad-proxy-header");
    }
}
