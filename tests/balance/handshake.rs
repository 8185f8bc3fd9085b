//! Backends that take the connection, and then fail in the TLS handshake.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit::Config;
use adit::config::{Backend, Balance, ClientTls};
use adit::limits;
use rustls::{AlertDescription, ServerConnection, StreamOwned};

use crate::fleet::{config, service};
use crate::support::PATIENCE;
use crate::support::backend;
use crate::support::certificate::Certificate;
use crate::support::place::{self, Place, accepting, at, tls_backend, trusting};

fn in_order(backends: &[SocketAddr], tls: ClientTls) -> Config {
    let mut config = config(&[]);
    let service = &mut config.services[0];
    service.balance = Balance::First;
    service.tls = Some(tls);
    service.backends = backends.iter().map(|a| Backend::new(at(*a))).collect();
    config
}

/// One that hangs up, one of another authority, one that speaks no TLS, one
/// that says nothing: the client has seen nothing of them.
#[test]
fn another_one_is_tried() {
    let (folder, others_folder) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let certificate = Certificate::make(folder.path());
    let others = Certificate::make(others_folder.path());
    let hanging_up = backend::Backend::start(drop);
    let strange = tls_backend(accepting(&others, rustls::ALL_VERSIONS), place::echo);
    let plain = backend::Backend::start(|mut stream| {
        let _ = stream.write_all(b"220 ready\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    let silent = backend::Backend::start(
        |mut stream| {
            while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        },
    );
    let good = tls_backend(accepting(&certificate, rustls::ALL_VERSIONS), place::echo);
    let addresses = [
        hanging_up.address(),
        strange.address(),
        plain.address(),
        silent.address(),
        good.address(),
    ];
    let mut config = in_order(&addresses, trusting(&certificate));
    config.timeouts.connect = Duration::from_secs(2);
    let place = Place::start(config);
    let began = Instant::now();
    place.echo(b"hello");
    // The silent one has its share of the time, and no more than that.
    assert!(began.elapsed() >= Duration::from_millis(500));
    let stats = service(&place);
    let counts = |of: fn(&adit::metrics::BackendStats) -> u64| -> Vec<u64> {
        stats.backends.iter().map(of).collect()
    };
    assert_eq!(counts(|b| b.connect_failures), [1, 1, 1, 1, 0]);
    assert_eq!(counts(|b| b.tunnels_total), [0, 0, 0, 0, 1]);
    assert_eq!(stats.retries, 4);
}

/// One that is given up is told why, as the last one is.
#[test]
fn the_one_before_hears_what_is_wrong_with_it() {
    let (folder, others_folder) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let certificate = Certificate::make(folder.path());
    let others = Certificate::make(others_folder.path());
    for version in rustls::ALL_VERSIONS {
        let strange = tls_backend(accepting(&others, &[version]), |mut stream| {
            let error = stream.read_exact(&mut [0; 1]).expect_err("refused");
            error.downcast::<rustls::Error>().expect("an alert")
        });
        let good = tls_backend(accepting(&certificate, &[version]), place::echo);
        let addresses = [strange.address(), good.address()];
        let place = Place::start(in_order(&addresses, trusting(&certificate)));
        place.echo(b"hello");
        // Both certificates have the same subject: it is the signature that is
        // found to be wrong.
        let alert = rustls::Error::AlertReceived(AlertDescription::DecryptError);
        assert_eq!(strange.result(), alert);
    }
}

/// With none left, the last one's fault is the reason.
#[test]
fn the_last_fault_is_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    // It ends before it reads: to close with a ClientHello unread is to reset.
    let hanging_up = backend::Backend::start(|mut stream| {
        let _ = stream.shutdown(Shutdown::Write);
        backend::read_all(&mut stream, |_| ())
    });
    let backends = [hanging_up.address(), hanging_up.address()];
    let place = Place::start(in_order(&backends, trusting(&certificate)));
    let mut client = place.connect();
    assert!(!matches!(client.read(&mut [0]), Ok(1..)));
    assert_eq!(place.reason(), "connect/backend/eof");
    assert_eq!(service(&place).retries, 1);
}

/// A backend that serves once it has failed so often, each time in this way.
fn serving_after(
    failures: usize,
    certificate: &Certificate,
    fail: impl Fn(TcpStream) + Send + Sync + 'static,
) -> backend::Backend<()> {
    let config = Arc::new(accepting(certificate, rustls::ALL_VERSIONS));
    let seen = AtomicUsize::new(0);
    backend::Backend::start(move |stream| {
        if seen.fetch_add(1, Ordering::SeqCst) < failures {
            return fail(stream);
        }
        let tls = ServerConnection::new(config.clone()).expect("a connection");
        place::echo(StreamOwned::new(tls, stream));
    })
}

/// With none left, the client is held, and served once one of them is well.
/// What one has been silent for does not shorten what it has the next time.
#[test]
fn the_client_is_held_while_handshakes_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let silent = |mut stream: TcpStream| {
        backend::read_all(&mut stream, |_| ());
    };
    for backend in [
        serving_after(2, &certificate, drop),
        serving_after(2, &certificate, silent),
    ] {
        let mut config = in_order(&[backend.address()], trusting(&certificate));
        config.services[0].hold = PATIENCE;
        config.timeouts.connect = Duration::from_millis(500);
        let place = Place::start(config);
        place.echo(b"hello");
        assert_eq!(service(&place).backends[0].connect_failures, 2);
    }
}

/// Nor is it held for ever, nor is the backend overrun meanwhile.
#[test]
fn the_client_is_held_as_long_as_it_may_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let hanging_up = backend::Backend::start(|mut stream| {
        let _ = stream.shutdown(Shutdown::Write);
        backend::read_all(&mut stream, |_| ())
    });
    let hold = Duration::from_millis(600);
    let mut config = in_order(&[hanging_up.address()], trusting(&certificate));
    config.services[0].hold = hold;
    let place = Place::start(config);
    let began = Instant::now();
    let mut client = place.connect();
    assert!(client.read_exact(&mut [0]).is_err());
    assert!(began.elapsed() >= hold, "{:?}", began.elapsed());
    assert_eq!(place.reason(), "connect/backend/eof");
    let tries = u128::from(service(&place).backends[0].connect_failures);
    let most = hold.as_millis() / limits::HOLD_RETRY.as_millis() + 2;
    assert!((2..=most).contains(&tries), "{tries}");
}
