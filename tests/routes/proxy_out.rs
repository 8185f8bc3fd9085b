//! Headers of the PROXY protocol that we send.

use std::io::{Read as _, Write as _};

use adit::config::{ProxyHeader, ProxyTlv, ProxyVersion};
use adit::proxy_protocol::{self, ClientFlags, Parsed, Tlv};

use crate::support::backend::Backend;
use crate::support::client::{self, Client};
use crate::support::place::{self, Place, accepting, trusting};
use crate::{certificate, config, server_tls};

/// A backend that gives back all that it is sent.
fn everything() -> Backend<Vec<u8>> {
    Backend::start(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an orderly end");
        all
    })
}

fn version_two(tlvs: &[ProxyTlv]) -> Option<ProxyHeader> {
    Some(ProxyHeader {
        version: ProxyVersion::Two,
        tlvs: tlvs.to_vec(),
    })
}

#[test]
fn version_two_says_what_it_is_told_to() {
    let (_folder, certificate) = certificate();
    let backend = everything();
    let mut tls = server_tls(&certificate).expect("TLS");
    tls.alpn = vec!["http/1.1".into()];
    let mut config = config(Some(tls), &[backend.address()]);
    config.services[0].proxy_protocol = version_two(&[
        ProxyTlv::Authority,
        ProxyTlv::Alpn,
        ProxyTlv::Ssl,
        ProxyTlv::UniqueId,
        ProxyTlv::Crc32c,
    ]);
    let place = Place::start(config);
    let mut ids = Vec::new();
    for (version, name) in [
        (&rustls::version::TLS13, "TLSv1.3"),
        (&rustls::version::TLS12, "TLSv1.2"),
    ] {
        let mut config = client::config(&certificate, &[version]);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = place.connect();
        let from = tcp.local_addr().expect("an address");
        let client = Client::shake(tcp, &config.into()).expect("a handshake");
        client.send(b"the bytes").expect("sent");
        client.close_notify();
        let all = backend.result();
        let Ok(Parsed::Whole(header)) = proxy_protocol::parse(&all) else {
            panic!("no header: {all:?}");
        };
        assert_eq!(&all[header.len..], b"the bytes");
        assert_eq!(header.command.addresses(), Some((from, place.address)));
        let mut seen = 0;
        for tlv in header.tlvs {
            seen += 1;
            match tlv {
                Tlv::Authority(name) => assert_eq!(name, b"localhost"),
                Tlv::Alpn(protocol) => assert_eq!(protocol, b"http/1.1"),
                Tlv::UniqueId(id) => ids.push(id.to_vec()),
                // Its being right is parse()'s to say.
                Tlv::Crc32c(_) => {}
                Tlv::Ssl(ssl) => {
                    assert_eq!(ssl.client, ClientFlags::SSL);
                    assert_eq!(ssl.verify, 1);
                    assert_eq!(ssl.version, Some(name.as_bytes()));
                    let cipher = String::from_utf8_lossy(ssl.cipher.expect("a cipher"));
                    assert!(cipher.starts_with("TLS_"), "{cipher}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, 5);
    }
    assert_ne!(ids[0], ids[1]);
}

/// The header comes before the TLS that the backend is spoken to in.
#[test]
fn the_header_comes_before_tls() {
    let (_folder, certificate) = certificate();
    let tls = std::sync::Arc::new(accepting(&certificate, rustls::ALL_VERSIONS));
    let backend = Backend::start(move |mut stream| {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).expect("a line");
            line.push(byte[0]);
        }
        let tls = rustls::ServerConnection::new(tls.clone()).expect("a connection");
        place::echo(rustls::StreamOwned::new(tls, stream));
        String::from_utf8(line).expect("text")
    });
    let mut config = config(None, &[backend.address()]);
    config.services[0].tls = Some(trusting(&certificate));
    config.services[0].proxy_protocol = Some(ProxyHeader {
        version: ProxyVersion::One,
        tlvs: Vec::new(),
    });
    let place = Place::start(config);
    let mut tcp = place.connect();
    tcp.write_all(b"hello").expect("sent");
    let mut back = [0; 5];
    tcp.read_exact(&mut back).expect("an echo");
    assert_eq!(&back, b"hello");
    let port = tcp.local_addr().expect("an address").port();
    drop(tcp);
    let line = backend.result();
    assert!(
        line.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} ")),
        "{line}"
    );
}

/// A server that speaks first hears of its client all the same.
#[test]
fn the_header_does_not_wait_for_the_clients_bytes() {
    let backend = Backend::start(|mut stream| {
        let mut header = [0; 16 + 12];
        stream.read_exact(&mut header).expect("a header");
        stream.write_all(b"220 ready\r\n").expect("sent");
        matches!(proxy_protocol::parse(&header), Ok(Parsed::Whole(_)))
    });
    let mut config = config(None, &[backend.address()]);
    config.services[0].proxy_protocol = version_two(&[]);
    let place = Place::start(config);
    let mut greeting = [0; 11];
    place
        .connect()
        .read_exact(&mut greeting)
        .expect("a greeting");
    assert_eq!(&greeting, b"220 ready\r\n");
    assert!(backend.result());
}
