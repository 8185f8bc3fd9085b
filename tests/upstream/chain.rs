//! adit at both ends.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use crate::support::backend;
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client, End};
use crate::support::pattern;
use crate::support::place::Place;

/// Plaintext, TLS, plaintext: bytes, half-closes and ends pass through two
/// programs as through one.
#[test]
fn plaintext_comes_out_as_it_went_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let far = Place::server(backend.address(), &certificate);
    let near = Place::client(far.address, &certificate);
    let sent = pattern::bytes(3_000_000);
    let mut stream = near.connect();
    let mut sender = stream.try_clone().expect("another handle");
    let sending = std::thread::spawn({
        let sent = sent.clone();
        move || {
            sender.write_all(&sent).expect("sent");
            sender.shutdown(Shutdown::Write).expect("half closed");
        }
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("an orderly end");
    sending.join().expect("no panic");
    assert!(back == sent);
    assert_eq!(near.reason(), "relay/backend/eof");
    assert_eq!(far.reason(), "relay/backend/eof");
    let stats = near.stats();
    assert_eq!(stats.total.backend_handshakes, 1);
    let [group] = &stats.total.backend_negotiated.groups[..] else {
        panic!("{stats:?}");
    };
    assert_eq!((group.name.as_str(), group.count), ("X25519MLKEM768", 1));
    assert_eq!(stats.total.handshakes, 0);
}

#[test]
fn tls_is_spoken_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = tempfile::tempdir().expect("a folder");
    let (shown, hidden) = (
        Certificate::make(folder.path()),
        Certificate::make(inner.path()),
    );
    let backend = backend::echo();
    let far = Place::server(backend.address(), &hidden);
    let near = Place::both(far.address, &shown, &hidden);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client::config(&shown, &[version]).into();
        let tcp = near.connect();
        let client = Client::shake(tcp, &config).expect("a handshake");
        let sent = pattern::bytes(2_000_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.send(&sent).expect("sent");
                client.close_notify();
            });
            let (back, end) = client.receive_all();
            assert!(back == sent, "{} of {}", back.len(), sent.len());
            assert_eq!(end, End::CloseNotify);
        });
    }
    let total = near.stats().total;
    assert_eq!((total.handshakes, total.backend_handshakes), (2, 2));
}

#[test]
fn sessions_with_backends_are_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let far = Place::server(backend.address(), &certificate);
    let near = Place::client(far.address, &certificate);
    for _ in 0..5 {
        near.echo(b"to and fro");
    }
    let total = near.stats().total;
    assert_eq!(total.backend_handshakes, 5);
    // Tickets came with the first answer.
    assert_eq!(total.backend_handshakes_resumed, 4);
    assert_eq!(far.stats().total.handshakes_resumed, 4);
}

#[test]
fn sessions_are_not_resumed_where_that_is_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let far = Place::server(backend.address(), &certificate);
    let mut tls = crate::support::place::trusting(&certificate);
    tls.resume = false;
    let near = Place::client_with(far.address, tls);
    for _ in 0..3 {
        near.echo(b"to and fro");
    }
    assert_eq!(near.stats().total.backend_handshakes_resumed, 0);
}
