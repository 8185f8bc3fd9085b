//! Every timeout fires when it should, under its own name.

use std::io::Write as _;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use adit::limits;

use crate::support::adit::Setup;
use crate::support::backend::{self, Backend, Ended};
use crate::support::client::{Client, End, tcp};

const TIMEOUT: Duration = Duration::from_millis(500);

/// Not before its time, and not long after it, on a loaded machine.
#[track_caller]
fn assert_in_time(began: Instant) {
    let took = began.elapsed();
    assert!(took >= TIMEOUT, "{took:?}");
    assert!(took < TIMEOUT + Duration::from_secs(8), "{took:?}");
}

fn setup(backend: impl ToString, timeout: &str) -> Setup {
    Setup::new(backend).setting(&format!("timeouts: ({timeout}: \"500ms\")"))
}

#[test]
fn handshake() {
    let backend = backend::echo();
    let adit = setup(backend.address(), "handshake").start();
    let began = Instant::now();
    let mut stream = tcp(adit.address());
    // Sent a byte now and then, it is one deadline all the same.
    for byte in [22, 3, 1] {
        stream.write_all(&[byte]).expect("sent");
    }
    assert_eq!(backend::read_all(&mut stream, |_| ()), Ended::Eof);
    assert_in_time(began);
    drop(stream);
    adit.assert_closes(1, "handshake/client/timeout");
}

/// Orderly on both sides: nothing was under way.
#[test]
fn idle() {
    let backend = Backend::start(|mut stream| backend::read_all(&mut stream, |_| ()));
    let adit = setup(backend.address(), "idle").start();
    let began = Instant::now();
    let client = Client::connect(&adit);
    client.send(b"hello").expect("sent");
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    assert_in_time(began);
    assert_eq!(client.tcp_end(), Ended::Eof);
    drop(client);
    assert_eq!(backend.result(), Ended::Eof);
    adit.assert_closes(1, "relay/server/idle");
}

/// It counts from the last byte, in whichever direction.
#[test]
fn a_tunnel_in_use_is_not_idle() {
    let backend = backend::echo();
    let adit = setup(backend.address(), "idle").start();
    let client = Client::connect(&adit);
    let began = Instant::now();
    while began.elapsed() < TIMEOUT * 3 {
        client.send(b"x").expect("sent");
        assert_eq!(client.receive_exact(1), b"x");
        // The pace of the client, a fraction of the timeout.
        std::thread::sleep(TIMEOUT / 10);
    }
    client.close_notify();
    client.receive_all();
    adit.assert_closes(1, "relay/backend/eof");
}

/// Somebody is still owed bytes, so nobody is told that this was all.
#[test]
fn idle_with_a_client_that_does_not_read() {
    let backend = Backend::start(|mut stream| {
        backend::write_pattern(&mut stream, u64::MAX).expect_err("an end");
    });
    let adit = setup(backend.address(), "idle").start();
    let client = Client::connect(&adit);
    // The backend is reset once the tunnel is given up.
    backend.result();
    let (seen, end) = client.receive_pattern();
    assert!(seen > 0);
    assert!(matches!(end, End::Reset | End::Fin), "{end:?}");
    adit.assert_closes(1, "relay/server/idle");
}

/// That is found out in one idle time, and not in two.
#[test]
fn a_client_that_takes_nothing_is_idle_in_time() {
    let backend = Backend::start(|mut stream| {
        backend::write_pattern(&mut stream, u64::MAX).expect_err("an end");
    });
    let idle = Duration::from_secs(3);
    let adit = Setup::new(backend.address())
        .setting("timeouts: (idle: \"3s\")")
        .start();
    let client = Client::connect(&adit);
    let mut last = 0;
    let mut since = Instant::now();
    adit.wait_stats("the end", |stats| {
        if stats.total.bytes_down != last {
            (last, since) = (stats.total.bytes_down, Instant::now());
        }
        !stats.total.closed.is_empty()
    });
    let took = since.elapsed();
    // Then it is given the time to take what is its own, twice.
    let most = idle * 7 / 4 + 2 * limits::LINGER_TIMEOUT;
    assert!(last > 0 && took < most, "{took:?}");
    adit.assert_closes(1, "relay/server/idle");
    drop(client);
    backend.result();
}

#[test]
fn half_close_by_the_backend() {
    let backend = Backend::start(|mut stream| {
        stream.shutdown(Shutdown::Write).expect("half a connection");
        let began = Instant::now();
        let ended = backend::read_all(&mut stream, |_| ());
        assert_in_time(began);
        ended
    });
    let adit = setup(backend.address(), "half_close").start();
    let client = Client::connect(&adit);
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    assert_eq!(backend.result(), Ended::Reset);
    adit.assert_closes(1, "relay/server/half-close");
}

#[test]
fn half_close_by_the_client() {
    // It never answers, and never ends its half.
    let backend = Backend::start(|mut stream| {
        let ended = backend::read_all(&mut stream, |_| ());
        (ended, stream)
    });
    let adit = setup(backend.address(), "half_close").start();
    let began = Instant::now();
    let client = Client::connect(&adit);
    client.close_notify();
    let (_, end) = client.receive_all();
    assert_in_time(began);
    assert_eq!(end, End::Reset);
    adit.assert_closes(1, "relay/server/half-close");
    let (ended, stream) = backend.result();
    assert_eq!(ended, Ended::Eof);
    // A reset that comes behind the end is told as EPIPE.
    let error = stream.take_error().expect("a socket").expect("an error");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}
