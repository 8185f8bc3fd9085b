//! Access lists and rates.

use std::io::Write as _;
use std::sync::Arc;

use adit::config::{Access, Rate, ServerTls};

use crate::support::certificate::Certificate;
use crate::support::client::{self, Client};
use crate::support::{backend, wait_for};
use crate::{Door, assert_reset, config, echo, networks};

#[test]
fn who_may_not_come_in_is_reset_and_counted() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.listeners[0].access = Access {
        allow: networks(&["127.0.0.0/28"]),
        deny: networks(&["127.0.0.7"]),
    };
    let door = Door::start(config);
    for _ in 0..3 {
        echo(&door.connect_from([127, 0, 0, 6])).expect("an echo");
        assert_reset(door.connect_from([127, 0, 0, 7]));
        assert_reset(door.connect_from([127, 0, 0, 16]));
    }
    wait_for("three that were let in to end", || {
        (door.closed("handshake/client/denied") == 6 && door.stats().total.tunnels_open == 0)
            .then_some(())
    });
    assert_eq!(door.stats().total.accepted, 9);
}

/// The header says who the client is: the peer need not be allowed.
#[test]
fn a_header_of_the_proxy_protocol_is_what_counts() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    let listener = &mut config.listeners[0];
    listener.proxy_from = networks(&["127.0.0.1"]);
    listener.access.allow = networks(&["192.0.2.0/24"]);
    listener.rates.connections = Some(Rate {
        per_second: 1,
        burst: 2,
    });
    config.shards.count = Some(1.try_into().expect("not zero"));
    let door = Door::start(config);
    let from = |client: &str| {
        let mut stream = door.connect();
        let header = format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n");
        stream.write_all(header.as_bytes()).expect("sent");
        stream
    };
    for client in ["192.0.2.1", "192.0.2.2"] {
        for _ in 0..2 {
            echo(&from(client)).expect("an echo");
        }
    }
    assert_reset(from("192.0.2.1"));
    assert_reset(from("203.0.113.1"));
    // Another peer sends no header, and is itself the client.
    assert_reset(door.connect_from([127, 0, 0, 2]));
    assert_eq!(door.closed("handshake/client/denied"), 2);
    assert_eq!(door.closed("handshake/client/rate-limited"), 1);
}

#[test]
fn a_network_that_comes_too_fast_is_refused_and_others_are_not() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(1.try_into().expect("not zero"));
    config.listeners[0].rates.prefix_v4 = 24;
    config.listeners[0].rates.connections = Some(Rate {
        per_second: 1,
        burst: 20,
    });
    let door = Door::start(config);
    let come = |source| {
        (0..60)
            .filter(|_| echo(&door.connect_from(source)).is_ok())
            .count()
    };
    for network in [1, 2] {
        // One more for each second that it takes.
        let granted = come([127, 0, network, 1]);
        assert!((20..40).contains(&granted), "{granted} of 60");
    }
    assert!(door.closed("handshake/client/rate-limited") >= 40);
}

/// A client that resumes its session is not counted.
#[test]
fn full_handshakes_have_a_rate_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(1.try_into().expect("not zero"));
    config.listeners[0].tls = Some(ServerTls::new(&certificate.cert, &certificate.key));
    config.listeners[0].rates.handshakes = Some(Rate {
        per_second: 0,
        burst: 2,
    });
    let door = Door::start(config);
    let sessions = Arc::new(client::config(&certificate, rustls::ALL_VERSIONS));
    let shake = |config: &Arc<_>| {
        let client = Client::shake(door.connect(), config)?;
        client.send(b"x").expect("sent");
        assert_eq!(client.receive_exact(1), b"x");
        Ok::<(), client::End>(())
    };
    for _ in 0..6 {
        shake(&sessions).expect("a first handshake, and resumed ones");
    }
    let fresh = || Arc::new(client::config(&certificate, rustls::ALL_VERSIONS));
    shake(&fresh()).expect("the second of two");
    assert_eq!(shake(&fresh()), Err(client::End::Reset));
    let total = door.stats().total;
    assert_eq!((total.handshakes, total.handshakes_resumed), (7, 5));
    assert_eq!(door.closed("handshake/client/rate-limited"), 1);
}
