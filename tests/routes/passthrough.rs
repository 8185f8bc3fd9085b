//! TLS that is passed through, unopened.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, StreamOwned};

use crate::support::backend::Backend;
use crate::support::certificate::Certificate;
use crate::support::client;
use crate::support::pattern;
use crate::support::place::{self, Place, accepting, tls_backend};
use crate::support::wait_for;
use crate::{by_name, certificate, config};

fn tls(certificate: &Certificate) -> Backend<()> {
    tls_backend(accepting(certificate, ALL_VERSIONS), place::echo)
}

fn place(backends: &[SocketAddr]) -> Place {
    let mut config = config(None, backends);
    config.listeners[0].passthrough = true;
    config.listeners[0].routes = vec![by_name(&["localhost"], 1)];
    Place::start(config)
}

fn connection(config: ClientConfig) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a connection")
}

/// The client verifies the certificate of the backend that its name leads to:
/// nobody in between has opened the connection.
#[test]
fn the_backends_own_certificate_is_seen() {
    let (_a, wrong) = certificate();
    let (_b, right) = certificate();
    let (default, named) = (tls(&wrong), tls(&right));
    let place = place(&[default.address(), named.address()]);
    for version in ALL_VERSIONS {
        let tls = connection(client::config(&right, &[version]));
        let mut stream = StreamOwned::new(tls, place.connect());
        let sent = pattern::bytes(1_000_000);
        let mut back = vec![0; sent.len()];
        // Less than what fits in between, so that it need not be read yet.
        for (sent, back) in sent.chunks(10_000).zip(back.chunks_mut(10_000)) {
            stream.write_all(sent).expect("sent");
            stream.read_exact(back).expect("an echo");
        }
        assert!(sent == back);
        stream.conn.send_close_notify();
        stream.flush().expect("sent");
        assert_eq!(stream.read(&mut [0; 1]).expect("close_notify"), 0);
    }
    assert_eq!(place.stats().total.handshakes, 0);
}

/// A ClientHello of one byte at a time, in records of one byte each.
#[test]
fn a_hello_in_pieces_is_put_together() {
    let (_b, right) = certificate();
    let named = tls(&right);
    let (_c, other) = certificate();
    let default = tls(&other);
    let place = place(&[default.address(), named.address()]);
    let mut tls = connection(client::config(&right, ALL_VERSIONS));
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("a hello");
    assert!(hello.len() > 1200, "no post-quantum key share");
    let mut tcp = place.connect();
    tcp.set_nodelay(true).expect("a socket");
    for byte in &hello[5..] {
        tcp.write_all(&[22, 3, 1, 0, 1]).expect("sent");
        tcp.write_all(&[*byte]).expect("sent");
    }
    let mut stream = StreamOwned::new(tls, tcp);
    stream.write_all(b"hello").expect("a handshake");
    let mut back = [0; 5];
    stream.read_exact(&mut back).expect("an echo");
    assert_eq!(&back, b"hello");
}

/// Nor does it matter what versions there are: those of the backend count.
#[test]
fn a_version_that_is_long_gone_is_the_backends_matter() {
    let heard = || {
        Backend::start(|mut stream: std::net::TcpStream| {
            let mut bytes = vec![0; client::old_hello(1).len()];
            stream.read_exact(&mut bytes).expect("a hello");
            stream.write_all(b"!").expect("sent");
            bytes
        })
    };
    let (default, named) = (heard(), heard());
    let place = place(&[default.address(), named.address()]);
    let bare = client::old_hello(1);
    // With a name.
    let mut asking = bare.clone();
    let mut extension = vec![0, 18, 0, 0, 0, 14, 0, 12, 0, 0, 9];
    extension.extend(b"localhost");
    asking.extend(&extension);
    asking[4] += extension.len() as u8;
    asking[8] += extension.len() as u8;
    for (backend, hello) in [(&default, bare), (&named, asking)] {
        let mut tcp = place.connect();
        tcp.write_all(&hello).expect("sent");
        tcp.read_exact(&mut [0; 1]).expect("an answer");
        assert_eq!(backend.result(), hello[..client::old_hello(1).len()]);
    }
}

/// Names that no certificate could be for, but which clients ask for and some
/// backends answer. The first has a route.
#[test]
fn a_name_that_cannot_be_is_the_backends_matter() {
    let (_b, right) = certificate();
    let mut tls = connection(client::config(&right, ALL_VERSIONS));
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("a hello");
    let at = hello
        .windows(9)
        .position(|part| part == b"localhost")
        .expect("a name");
    let heard = {
        let length = hello.len();
        move || {
            Backend::start(move |mut stream: std::net::TcpStream| {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes).expect("a hello");
                stream.write_all(b"!").expect("sent");
                bytes
            })
        }
    };
    let (default, named) = (heard(), heard());
    let mut config = config(None, &[default.address(), named.address()]);
    config.listeners[0].passthrough = true;
    config.listeners[0].routes = vec![by_name(&["app.x.123"], 1)];
    let place = Place::start(config);
    for (name, backend) in [
        ("app.x.123", &named),
        ("host:8443", &default),
        ("*.exa.org", &default),
        ("bücher.d", &default),
    ] {
        hello[at..at + 9].copy_from_slice(name.as_bytes());
        let mut tcp = place.connect();
        tcp.write_all(&hello).expect("sent");
        let mut answer = [0];
        tcp.read_exact(&mut answer).expect(name);
        assert_eq!(&answer, b"!", "{name}");
        assert!(backend.result() == hello, "{name}");
    }
}

#[test]
fn what_is_no_tls_gets_nowhere() {
    let (_b, right) = certificate();
    let backend = tls(&right);
    let place = place(&[backend.address(), backend.address()]);
    let mut tcp = place.connect();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).expect("an orderly end");
    drop(tcp);
    assert_eq!(place.reason(), "handshake/client/not-tls");
    // A hello that is cut short.
    let mut tls = connection(client::config(&right, ALL_VERSIONS));
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("a hello");
    let mut tcp = place.connect();
    tcp.write_all(&hello[..hello.len() / 2]).expect("sent");
    drop(tcp);
    wait_for("its end", || {
        let closed = place.stats().total.closed;
        closed
            .iter()
            .any(|close| close.reason.to_string() == "handshake/client/eof")
            .then_some(())
    });
}

/// Whatever the backend may speak is the backend's affair: a ClientHello of TLS
/// 1.0, which adit could not serve, with padding that makes it long.
#[test]
fn a_version_that_is_not_spoken_here_is_passed_on_by_its_name() {
    let everything = || {
        Backend::start(|mut stream| {
            let mut seen = Vec::new();
            let _ = stream.read_to_end(&mut seen);
            seen
        })
    };
    let (default, named) = (everything(), everything());
    let place = place(&[default.address(), named.address()]);
    // server_name, and padding (RFC 7685).
    let mut extensions = vec![0, 0, 0, 14, 0, 12, 0, 0, 9];
    extensions.extend(b"LOCALHOST");
    extensions.extend([0, 21, 0x3f, 0]);
    extensions.extend([0; 0x3f00]);
    // A version, 32 random bytes, no session, one suite, no compression.
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 47, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut hello = vec![1];
    hello.extend(&(body.len() as u32).to_be_bytes()[1..]);
    hello.extend(body);
    let mut sent = Vec::new();
    for part in hello.chunks(1000) {
        sent.extend([22, 3, 1]);
        sent.extend((part.len() as u16).to_be_bytes());
        sent.extend(part);
    }
    let mut tcp = place.connect();
    tcp.write_all(&sent).expect("sent");
    tcp.shutdown(std::net::Shutdown::Write).expect("a socket");
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).expect("an orderly end");
    assert!(answer.is_empty());
    assert!(named.result() == sent);
}
