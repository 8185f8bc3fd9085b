//! The hand-off between shards.

use std::net::{SocketAddr, TcpStream};

use adit::config::{Accept, Listener};

use crate::support::{backend, wait_for};
use crate::{Door, config, echo};

const SHARDS: usize = 4;

/// A listener of that kind, and one beside it that leaves connections where
/// they are: its address.
fn door(accept: Accept, backend: SocketAddr) -> (Door, SocketAddr) {
    let mut config = config(backend);
    config.shards.count = Some(SHARDS.try_into().expect("not zero"));
    config.listeners[0].accept = accept;
    let mut plain = Listener::new("127.0.0.2:0".parse().expect("an address"), None, 0);
    plain.name = "plain".into();
    config.listeners.push(plain);
    let door = Door::start(config);
    let plain = door.stats().listeners[1].address.parse().expect("one");
    (door, plain)
}

fn spread(door: &Door, count: u64) -> Vec<u64> {
    wait_for("all to be open", || {
        let stats = door.stats();
        let open: Vec<u64> = stats.shards.iter().map(|s| s.totals.tunnels_open).collect();
        (open.iter().sum::<u64>() == count).then_some(open)
    })
}

/// Of many long tunnels those of one shard are left; then as many come as make
/// up for it. The answer is what the shards have then, and how many connections
/// were handed over.
fn level(accept: Accept) -> (Vec<u64>, u64) {
    let backend = backend::echo();
    let (door, plain) = door(accept, backend.address());
    let mut kept = Vec::new();
    while kept.len() < 60 {
        let first = |door: &Door| door.stats().shards[0].totals.tunnels_open;
        let before = first(&door);
        let client = TcpStream::connect(plain).expect("a connection");
        echo(&client).expect("an echo");
        if first(&door) > before {
            kept.push(client);
        }
    }
    let coming = 60 * (SHARDS - 1);
    for _ in 0..coming {
        let client = door.connect();
        echo(&client).expect("an echo");
        kept.push(client);
    }
    let open = spread(&door, kept.len() as u64);
    let total = door.stats().total;
    assert_eq!(total.handed_over, total.adopted);
    for client in &kept {
        echo(client).expect("an echo");
    }
    drop(kept);
    spread(&door, 0);
    (open, total.handed_over)
}

#[test]
fn an_uneven_spread_of_long_tunnels_evens_out() {
    let (open, handed_over) = level(Accept::Balanced);
    println!("{open:?}, {handed_over} handed over");
    let (least, most) = (open.iter().min(), open.iter().max());
    let apart = most.zip(least).map(|(most, least)| most - least);
    assert!(apart.is_some_and(|apart| apart <= 16), "{open:?}");
    assert!(handed_over > 0);
}

/// The same without: this is what evens out.
#[test]
fn a_spread_stays_as_uneven_as_the_kernel_makes_it() {
    let (open, handed_over) = level(Accept::Spread);
    assert_eq!(handed_over, 0);
    // 60 and about 45 of the others.
    assert!(open[0] > 76, "{open:?}");
}

/// Connections that are handed over while the server stops are carried.
#[test]
fn none_is_lost_when_the_server_stops() {
    let backend = backend::echo();
    let (door, _) = door(Accept::Balanced, backend.address());
    let clients: Vec<TcpStream> = (0..300).map(|_| door.connect()).collect();
    door.handle.shutdown();
    for client in clients {
        echo(&client).expect("an echo");
    }
}

/// Few tunnels, each of which may be all that a shard can carry: no shard has
/// two more than another.
#[test]
fn few_tunnels_are_even_too() {
    let backend = backend::echo();
    let (door, _) = door(Accept::Balanced, backend.address());
    let mut kept = Vec::new();
    for count in 1..=3 * SHARDS as u64 {
        let client = door.connect();
        echo(&client).expect("an echo");
        kept.push(client);
        let open = spread(&door, count);
        let (least, most) = (open.iter().min(), open.iter().max());
        let apart = most.zip(least).map(|(most, least)| most - least);
        assert!(apart.is_some_and(|apart| apart <= 1), "{open:?}");
    }
}
