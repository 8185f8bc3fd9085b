//! How streams end that are TLS on the backend's side.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use adit::Config;
use adit::config::Truncation;
use rustls::ALL_VERSIONS;

use crate::support::backend::reset;
use crate::support::certificate::Certificate;
use crate::support::place::{self, Place, accepting, tls_backend, trusting};

fn certificate() -> (tempfile::TempDir, Certificate) {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    (folder, certificate)
}

/// What the backend says before the client has said anything.
#[test]
fn a_server_that_speaks_first_is_heard() {
    let (_folder, certificate) = certificate();
    for version in ALL_VERSIONS {
        let backend = tls_backend(accepting(&certificate, &[version]), |mut stream| {
            stream.write_all(b"220 ready\r\n").expect("sent");
            place::echo(stream);
        });
        let near = Place::client(backend.address(), &certificate);
        let mut stream = near.connect();
        let mut greeting = [0; 11];
        stream.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting, b"220 ready\r\n");
    }
}

#[test]
fn a_half_close_becomes_close_notify_and_the_answer_still_comes() {
    let (_folder, certificate) = certificate();
    let backend = tls_backend(accepting(&certificate, ALL_VERSIONS), |mut stream| {
        let mut question = Vec::new();
        // Ok: it ended with close_notify, not with FIN alone.
        let read = stream.read_to_end(&mut question).map(|_| question);
        stream.write_all(b"an answer").expect("sent");
        stream.conn.send_close_notify();
        stream.flush().expect("sent");
        read.expect("close_notify")
    });
    let near = Place::client(backend.address(), &certificate);
    let mut stream = near.connect();
    stream.write_all(b"a question").expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an orderly end");
    assert_eq!(answer, "an answer");
    assert_eq!(backend.result(), b"a question");
    assert_eq!(near.reason(), "relay/backend/eof");
}

/// FIN without close_notify, in mid-stream, both ways in which it can be taken.
#[test]
fn a_truncated_answer_is_what_the_configuration_calls_it() {
    let (_folder, certificate) = certificate();
    for (truncation, resets) in [(Truncation::Fin, false), (Truncation::Reset, true)] {
        let backend = tls_backend(accepting(&certificate, ALL_VERSIONS), |mut stream| {
            stream.write_all(b"half of it").expect("sent");
            stream.sock.shutdown(Shutdown::Write).expect("FIN");
            let _ = stream.sock.read(&mut [0; 1]);
        });
        let mut config = Config::client(
            "127.0.0.1:0".parse().expect("an address"),
            trusting(&certificate),
            backend.address().to_string().parse().expect("an address"),
        );
        config.truncation = truncation;
        let near = Place::start(config);
        let mut stream = near.connect();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"half of it");
        match read {
            Ok(_) => assert!(!resets),
            Err(error) => assert!(resets && error.kind() == ErrorKind::ConnectionReset),
        }
        drop(stream);
        assert_eq!(near.reason(), "relay/backend/truncated", "{truncation:?}");
    }
}

#[test]
fn a_reset_stays_a_reset_in_either_direction() {
    let (_folder, certificate) = certificate();
    let backend = tls_backend(accepting(&certificate, ALL_VERSIONS), |mut stream| {
        stream.write_all(b"half of it").expect("sent");
        let mut one = [0; 1];
        stream.read_exact(&mut one).expect("a sign");
        if one == *b"r" {
            reset(stream.sock);
            return None;
        }
        Some(stream.read(&mut one).map_err(|error| error.kind()))
    });
    let near = Place::client(backend.address(), &certificate);
    let mut stream = near.connect();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("half of it");
    stream.write_all(b"r").expect("sent");
    let error = stream.read(&mut answer).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(backend.result(), None);

    let mut stream = near.connect();
    stream.read_exact(&mut answer).expect("half of it");
    stream.write_all(b"c").expect("sent");
    reset(stream);
    let seen = backend.result().expect("the other sign");
    assert_eq!(seen, Err(ErrorKind::ConnectionReset));
}
