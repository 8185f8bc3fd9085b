//! One side ends its stream; the other goes on.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use crate::support::adit::{Adit, Setup};
use crate::support::backend::{self, Backend, Ended};
use crate::support::client::{Client, End};
use crate::support::{pattern, wait_for};

const LENGTH: u64 = 8 << 20;

#[test]
fn the_client_says_close_notify_and_the_backend_goes_on() {
    let backend = backend::answer_after_eof(LENGTH);
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send(b"question").expect("sent");
    client.close_notify();
    assert_eq!(client.receive_pattern(), (LENGTH, End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
    assert_eq!(backend.result(), b"question");
    adit.assert_closes(1, "relay/backend/eof");
}

#[test]
fn the_client_sends_fin_without_close_notify_and_the_backend_goes_on() {
    let backend = backend::answer_after_eof(LENGTH);
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send(b"question").expect("sent");
    client.fin();
    assert_eq!(client.receive_pattern(), (LENGTH, End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
    assert_eq!(backend.result(), b"question");
    adit.assert_closes(1, "relay/client/truncated");
}

#[test]
fn the_client_says_close_notify_and_fin() {
    let backend = backend::answer_after_eof(LENGTH);
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send(b"question").expect("sent");
    client.close_notify();
    client.fin();
    assert_eq!(client.receive_pattern(), (LENGTH, End::CloseNotify));
    adit.assert_closes(1, "relay/backend/eof");
}

#[test]
fn the_backend_ends_and_the_client_goes_on() {
    let backend = Backend::start(|mut stream| {
        stream.write_all(&pattern::bytes(1000)).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half a connection");
        backend::read_pattern(&mut stream)
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    assert_eq!(client.receive_pattern(), (1000, End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
    client.send_pattern(LENGTH).expect("sent");
    client.close_notify();
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (LENGTH, Ended::Eof));
    adit.assert_closes(1, "relay/client/eof");
}

/// Who has ended its stream is not read any more, and is missed all the same
/// when it resets its connection, though nobody sends it anything.
#[test]
fn a_client_that_ends_and_then_resets_is_gone() {
    for fin in [false, true] {
        let (told, ended) = channel();
        let told = Mutex::new(told);
        let backend = Backend::start(move |mut stream| {
            // With it go the session tickets, of which a reset could be told.
            stream.write_all(b"!").expect("a greeting");
            let end = backend::read_all(&mut stream, |_| ());
            told.lock().expect("no panic").send(end).expect("heard");
            wait_for("a reset", || stream.take_error().ok().flatten());
        });
        let adit = Adit::start(backend.address());
        let client = Client::connect(&adit);
        assert_eq!(client.receive_exact(1), b"!");
        client.close_notify();
        if fin {
            client.fin();
        }
        assert_eq!(ended.recv(), Ok(Ended::Eof));
        client.reset();
        adit.assert_closes(1, "relay/client/reset");
        backend.result();
    }
}

#[test]
fn a_backend_that_ends_and_then_resets_is_gone() {
    let (go, read) = channel();
    let read = Mutex::new(read);
    let backend = Backend::start(move |mut stream| {
        stream.write_all(b"answer").expect("sent");
        stream.shutdown(Shutdown::Write).expect("half a connection");
        read.lock().expect("no panic").recv().expect("it is read");
        backend::reset(stream);
    });
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    assert_eq!(client.receive_all(), (b"answer".to_vec(), End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
    go.send(()).expect("it waits");
    backend.result();
    adit.assert_closes(1, "relay/backend/reset");
}

/// By option, what a client did not say to be whole is not passed on as whole;
/// nor is it held back.
#[test]
fn truncation_may_be_passed_on_as_a_reset() {
    let backend = backend::sink();
    let adit = Setup::new(backend.address())
        .setting("truncation: Reset")
        .start();
    let client = Client::connect(&adit);
    client.send_pattern(LENGTH).expect("sent");
    client.fin();
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (LENGTH, Ended::Reset));
    let client = Client::connect(&adit);
    client.send_pattern(LENGTH).expect("sent");
    client.close_notify();
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (LENGTH, Ended::Eof));
    drop(client);
    let closes = adit.closes(2);
    assert_eq!(closes["relay/client/truncated"], 1, "{closes:?}");
    assert_eq!(closes["relay/backend/eof"], 1, "{closes:?}");
}

/// A record cut in the middle is a truncation too, and what was whole before
/// it arrives.
#[test]
fn fin_in_the_middle_of_a_record() {
    let backend = backend::sink();
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send_pattern(1000).expect("sent");
    let record = client.seal(&[0; 1000]);
    client.send_raw(&record[..500]).expect("sent");
    client.fin();
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (1000, Ended::Eof));
    adit.assert_closes(1, "relay/client/truncated");
}

/// Both ends at the same moment, again and again.
#[test]
fn both_sides_end_at_once() {
    let backend = Backend::start(|mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        stream.write_all(&pattern::bytes(100_000)).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half a connection");
        backend::read_all(&mut stream, |_| ())
    });
    let adit = Adit::start(backend.address());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let client = Client::connect(&adit);
                    client.send(b"!").expect("sent");
                    client.close_notify();
                    assert_eq!(client.receive_pattern(), (100_000, End::CloseNotify));
                }
            });
        }
    });
    for _ in 0..200 {
        assert_eq!(backend.result(), Ended::Eof);
    }
    let closes = adit.closes(200);
    assert!(
        closes.keys().all(|reason| reason.ends_with("/eof")),
        "{closes:?}"
    );
}
