//! How fast connections may come in, from all clients together.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use adit::config::Rate;

use crate::support::backend;
use crate::{Door, config, echo};

#[test]
fn who_comes_faster_than_may_be_waits_and_comes_in() {
    for of_process in [false, true] {
        let backend = backend::echo();
        let mut config = config(backend.address());
        config.shards.count = Some(1.try_into().expect("not zero"));
        let rate = Some(Rate {
            per_second: 40,
            burst: 10,
        });
        match of_process {
            true => config.connection_rate = rate,
            false => config.listeners[0].connection_rate = rate,
        }
        let door = Door::start(config);
        let begun = Instant::now();
        let clients: Vec<TcpStream> = (0..40).map(|_| door.connect()).collect();
        for client in &clients {
            echo(client).expect("it comes in");
        }
        // Ten at once, and thirty at forty a second.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(740), "{took:?}");
        let total = door.stats().total;
        assert_eq!(total.accepted, 40);
        assert!(total.rate_pauses > 0, "{total:?}");
        let of_listener = if of_process { 0 } else { total.rate_pauses };
        assert_eq!(total.listeners[0].rate_pauses, of_listener);
        // Those that are open are not touched by it.
        for client in &clients {
            echo(client).expect("open still");
        }
    }
}

/// A reload makes it faster at once.
#[test]
fn another_rate_is_taken_up_by_a_reload() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = Some(1.try_into().expect("not zero"));
    config.connection_rate = Some(Rate {
        per_second: 1,
        burst: 1,
    });
    let door = Door::start(config.clone());
    let first = door.connect();
    echo(&first).expect("one may");
    let others: Vec<TcpStream> = (0..20).map(|_| door.connect()).collect();
    config.connection_rate = None;
    door.handle.reload(config).expect("taken up");
    let begun = Instant::now();
    for client in &others {
        echo(client).expect("it comes in");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}
