//! Backends that cannot be reached, and those behind Unix sockets.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::adit::{Adit, Setup};
use crate::support::backend::{Ended, Refusing, Silent, UnixBackend, read_pattern, write_pattern};
use crate::support::client::{Client, End};

/// Never an orderly end: the client would take it for an empty answer.
fn no_answer(adit: &Adit) {
    let client = Client::connect(adit);
    let (bytes, end) = client.receive_all();
    assert!(bytes.is_empty());
    assert_eq!(end, End::Reset);
}

#[test]
fn refused() {
    let nobody = Refusing::start();
    let adit = Adit::start(nobody.address());
    for _ in 0..3 {
        no_answer(&adit);
    }
    adit.assert_closes(3, "connect/backend/refused");
    let line = adit.log().wait("connect/backend/refused");
    assert!(line.contains(&nobody.address().to_string()), "{line}");
    assert!(line.contains("WARN"), "{line}");
}

#[test]
fn silent() {
    let silent = Silent::start();
    let adit = Setup::new(silent.address())
        .setting("timeouts: (connect: \"400ms\")")
        .start();
    let began = Instant::now();
    no_answer(&adit);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    adit.assert_closes(1, "connect/backend/timeout");
}

#[test]
fn unresolvable() {
    // RFC 2606 reserves the name, so that it never resolves.
    let adit = Adit::start("backend.invalid:80");
    no_answer(&adit);
    adit.assert_closes(1, "connect/backend/unresolved");
    let line = adit.log().wait("connect/backend/unresolved");
    assert!(line.contains("backend.invalid"), "{line}");
}

#[test]
fn by_name() {
    let backend = crate::support::backend::echo();
    let adit = Adit::start(format!("localhost:{}", backend.address().port()));
    let client = Client::connect(&adit);
    client.send(b"hello").expect("sent");
    assert_eq!(client.receive_exact(5), b"hello");
}

#[test]
fn a_unix_socket() {
    let length = 8 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let backend = UnixBackend::start(&folder.path().join("app.sock"), move |mut stream| {
        let (check, ended) = read_pattern(&mut stream);
        write_pattern(&mut stream, length).expect("sent");
        stream.flush().expect("sent");
        (check.seen, ended)
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send_pattern(length).expect("sent");
    client.close_notify();
    assert_eq!(client.receive_pattern(), (length, End::CloseNotify));
    assert_eq!(backend.result(), (length, Ended::Eof));
    adit.assert_closes(1, "relay/backend/eof");
}

#[test]
fn a_unix_socket_that_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nobody.sock");
    let adit = Adit::start(format!("unix:{}", path.display()));
    no_answer(&adit);
    adit.assert_closes(1, "connect/backend/refused");
}
