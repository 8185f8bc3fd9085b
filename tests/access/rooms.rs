//! Limits on open tunnels and on handshakes in progress.

use std::net::TcpStream;
use std::sync::Arc;

use adit::Server;
use adit::config::ServerTls;

use crate::support::certificate::Certificate;
use crate::support::client::{self, Client};
use crate::support::{backend, wait_for};
use crate::{Door, config, echo};

#[test]
fn who_comes_over_the_limit_waits_and_comes_in_when_there_is_room() {
    for of_process in [false, true] {
        let backend = backend::echo();
        let mut config = config(backend.address());
        config.shards.count = Some(2.try_into().expect("not zero"));
        let limit = Some(6.try_into().expect("not zero"));
        match of_process {
            true => config.max_connections = limit,
            false => config.listeners[0].max_connections = limit,
        }
        let door = Door::start(config);
        let clients: Vec<TcpStream> = (0..40).map(|_| door.connect()).collect();
        let full = || {
            let total = door.stats().total;
            assert!(total.tunnels_open <= 6, "{total:?}");
            let of_listener = &total.listeners[0];
            assert_eq!(of_listener.tunnels_open, total.tunnels_open, "{total:?}");
            assert_eq!(of_listener.tunnels_max, (!of_process).then_some(6));
            if of_process {
                assert_eq!((total.tunnels_max, of_listener.limit_pauses), (Some(6), 0));
            } else {
                assert_eq!(of_listener.limit_pauses, total.limit_pauses);
            }
            (total.tunnels_open == 6 && total.limit_pauses >= 2).then_some(())
        };
        wait_for("six tunnels and two pauses", full);
        // Each that leaves lets another in, and in the end all were in.
        for client in clients {
            wait_for("room", || {
                assert!(door.stats().total.tunnels_open <= 6);
                client
                    .set_read_timeout(Some(std::time::Duration::from_millis(200)))
                    .ok()?;
                echo(&client).ok()
            });
        }
    }
}

#[test]
fn fewer_connections_than_shards_are_refused_with_advice() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(2.try_into().expect("not zero"));
    config.max_connections = Some(1.try_into().expect("not zero"));
    let error = Server::new(config).expect_err("too few").to_string();
    assert!(error.contains("max_connections is 1"), "{error}");
    assert!(error.contains("write 2 at least"), "{error}");
}

/// With one handshake at a time, who comes second waits for the first.
#[test]
fn handshakes_wait_for_their_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(1.try_into().expect("not zero"));
    config.listeners[0].tls = Some(ServerTls::new(&certificate.cert, &certificate.key));
    config.max_handshakes = 1.try_into().expect("not zero");
    let door = Door::start(config);
    let trust = Arc::new(client::config(&certificate, rustls::ALL_VERSIONS));
    let before = Client::shake(door.connect(), &trust).expect("a handshake");
    let silent = door.connect();
    wait_for("the silent one's turn", || {
        (door.stats().total.handshakes_in_progress == 1).then_some(())
    });
    let waiting = Client::begin(door.connect(), &trust);
    waiting.send_sealed().expect("a ClientHello");
    wait_for("the second to be accepted", || {
        (door.stats().total.accepted == 3).then_some(())
    });
    // Tunnels that are open are not held up by it.
    before.send(b"x").expect("sent");
    assert_eq!(before.receive_exact(1), b"x");
    let total = door.stats().total;
    assert_eq!((total.handshakes, total.handshakes_in_progress), (1, 1));
    assert_eq!((total.handshakes_max, total.handshakes_waiting), (1, 1));
    // The silent one may have come before the first was through.
    assert!((1..=2).contains(&total.handshakes_queued), "{total:?}");
    drop(silent);
    waiting.finish_handshake().expect("its turn");
    waiting.send(b"y").expect("sent");
    assert_eq!(waiting.receive_exact(1), b"y");
}

/// As many as there are descriptors for, and no client is accepted whose
/// backend cannot be connected to.
#[test]
fn nobody_is_let_in_for_whom_there_is_no_backend_descriptor() {
    use crate::support::adit::Setup;
    let low = ["sh", "-c", "ulimit -n 160 && exec \"$@\"", "sh"];
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).under(&low).start();
    let trust = Arc::new(client::config(adit.certificate(), rustls::ALL_VERSIONS));
    let tcp: Vec<TcpStream> = (0..120).map(|_| client::tcp(adit.address())).collect();
    let clients: Vec<Client> = tcp
        .into_iter()
        .map(|tcp| Client::begin(tcp, &trust))
        .collect();
    for client in &clients {
        client.send_sealed().expect("a ClientHello");
    }
    adit.log().wait("accepting pauses");
    // The statistics come by a socket of their own. Each in turn comes in.
    let open = adit.stats().total.tunnels_open;
    assert!((20..=80).contains(&open), "{open} tunnels");
    for client in clients {
        client.finish_handshake().expect("its turn");
        client.send(b"x").expect("sent");
        assert_eq!(client.receive_exact(1), b"x");
    }
    let total = adit.stats().total;
    let bad = total
        .closed
        .iter()
        .filter(|c| c.reason.cause.as_str() == "resources");
    assert_eq!(bad.count(), 0, "{:?}", total.closed);
    let pauses = adit.log().lines();
    let pauses = pauses
        .iter()
        .filter(|l| l.contains("accepting pauses"))
        .count();
    assert!((1..=4).contains(&pauses), "{pauses} lines");
}
