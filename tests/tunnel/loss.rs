//! A side goes away in the middle: nothing that was sent is lost, and nothing
//! that was cut looks whole.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Instant;

use crate::support::adit::Adit;
use crate::support::backend::{self, Backend, Ended};
use crate::support::client::{Client, End};
use crate::support::pattern;

const LENGTH: u64 = 8 << 20;

/// It closes its socket at once, while most of its bytes are still under way.
#[test]
fn the_backend_closes_with_data_in_flight() {
    let backend = Backend::start(|mut stream| backend::write_pattern(&mut stream, LENGTH));
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    assert_eq!(client.receive_pattern(), (LENGTH, End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
    client.close_notify();
    drop(client);
    adit.assert_closes(1, "relay/client/eof");
}

/// It is gone before the client reads the first byte.
#[test]
fn the_backend_is_gone_before_its_bytes_are_read() {
    // The kernels hold that much without a reader.
    let length = 200_000;
    let backend = Backend::start(move |mut stream| backend::write_pattern(&mut stream, length));
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    backend.result().expect("the kernel has it all");
    assert_eq!(client.receive_pattern(), (length, End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
}

/// It answers before it has read the whole question, and closes: the kernel
/// sends RST behind the answer, because bytes were left unread. The answer
/// arrives, and not as an orderly whole.
#[test]
fn an_early_answer_arrives_though_a_reset_follows_it() {
    // Within the receive window that a connection begins with: what the
    // backend's kernel has not sent by the reset, it throws away itself.
    let answer = 30_000;
    let backend = Backend::start(move |mut stream| {
        let mut some = [0; 10];
        stream.read_exact(&mut some).expect("the beginning");
        // More is there, and stays unread.
        let _ = stream.peek(&mut some);
        backend::write_pattern(&mut stream, answer)
    });
    let adit = Adit::start(backend.address());
    for _ in 0..30 {
        let client = Client::connect(&adit);
        // It may be refused halfway.
        let _ = client.send_pattern(1 << 20);
        let (seen, end) = client.receive_pattern();
        assert_eq!(seen, answer, "{end:?}");
        assert_ne!(end, End::CloseNotify);
    }
}

#[test]
fn a_reset_by_the_backend_is_never_an_orderly_end() {
    let backend = Backend::start(|mut stream| {
        backend::write_pattern(&mut stream, LENGTH).expect("sent");
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        backend::reset(stream);
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    let bytes = client.receive_exact(LENGTH as usize);
    assert!(bytes == pattern::bytes(LENGTH as usize));
    client.send(b"!").expect("sent");
    assert_eq!(client.receive_all(), (vec![], End::Reset));
    backend.result();
    adit.assert_closes(1, "relay/backend/reset");
}

/// The same while bytes are under way.
#[test]
fn a_reset_by_the_backend_in_mid_download() {
    let backend = Backend::start(|mut stream| {
        let _ = backend::write_pattern(&mut stream, LENGTH);
        backend::reset(stream);
    });
    let adit = Adit::start(backend.address());
    for _ in 0..10 {
        let client = Client::connect(&adit);
        let (seen, end) = client.receive_pattern();
        assert!(seen <= LENGTH);
        assert_eq!(end, End::Reset);
    }
    adit.assert_closes(10, "relay/backend/reset");
}

/// It resets after the client's half of the stream has ended in order.
#[test]
fn a_reset_by_the_backend_after_the_client_has_ended() {
    let backend = Backend::start(|mut stream| {
        let ended = backend::read_all(&mut stream, |_| ());
        stream.write_all(b"the beginning").expect("sent");
        backend::reset(stream);
        ended
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.close_notify();
    let (_, end) = client.receive_all();
    assert_eq!(end, End::Reset);
    assert_eq!(backend.result(), Ended::Eof);
    adit.assert_closes(1, "relay/backend/reset");
}

#[test]
fn a_reset_by_the_client_is_a_reset_for_the_backend() {
    let (arrived, arrival) = channel();
    let arrived = Mutex::new(arrived);
    let backend = Backend::start(move |mut stream| {
        let mut bytes = vec![0; 100_000];
        stream.read_exact(&mut bytes).expect("what came before");
        arrived.lock().expect("no panic").send(()).expect("a test");
        (
            bytes == pattern::bytes(100_000),
            backend::read_all(&mut stream, |_| ()),
        )
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send_pattern(100_000).expect("sent");
    arrival.recv().expect("a backend");
    client.reset();
    assert_eq!(backend.result(), (true, Ended::Reset));
    adit.assert_closes(1, "relay/client/reset");
}

/// A client that goes away in mid-download stops the backend, too.
#[test]
fn a_client_that_leaves_a_download_ends_it_for_the_backend() {
    let backend = Backend::start(|mut stream| {
        // Without end.
        backend::write_pattern(&mut stream, u64::MAX).expect_err("an end")
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.receive_exact(1 << 20);
    drop(client);
    backend.result();
    adit.closes(1);
}

/// A fatal alert of the client is no orderly end either.
/// It stays, and gets its alert; the backend does not wait for that.
#[test]
fn the_backend_is_told_at_once_of_a_client_that_breaks_tls() {
    let backend = Backend::start(|mut stream| {
        let ended = backend::read_all(&mut stream, |_| {});
        (ended, Instant::now())
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send(b"something").expect("sent");
    let broke = Instant::now();
    client.send_raw(&[23, 3, 3, 0, 32]).expect("sent");
    client.send_raw(&[0; 32]).expect("sent");
    let (ended, told) = backend.result();
    assert_eq!(ended, Ended::Reset);
    let took = told - broke;
    assert!(took < adit::limits::LINGER_TIMEOUT / 2, "{took:?}");
    drop(client);
}

#[test]
fn an_alert_of_the_client_is_a_reset_for_the_backend() {
    use crate::support::forge::{ALERT, Forger};
    let backend = backend::greeting_sink();
    let adit = Adit::start(backend.address());
    let mut forger = Forger::connect(&adit);
    assert_eq!(forger.client().receive_exact(1), b"!");
    // internal_error
    forger.send(ALERT, &[2, 80]).expect("sent");
    assert_eq!(backend.result().1, Ended::Reset);
    adit.assert_closes(1, "relay/client/alert");
}
