//! The hand-off between shards.

use std::net::TcpStream;

use adit::config::Accept;

use crate::support::{backend, wait_for};
use crate::{Door, config, echo};

const SHARDS: usize = 4;

fn door(accept: Accept, backend: std::net::SocketAddr) -> Door {
    let mut config = config(backend);
    config.shards.count = Some(SHARDS.try_into().expect("not zero"));
    config.listeners[0].accept = accept;
    Door::start(config)
}

fn spread(door: &Door, count: u64) -> Vec<u64> {
    wait_for("all to be open", || {
        let stats = door.stats();
        let open: Vec<u64> = stats.shards.iter().map(|s| s.totals.tunnels_open).collect();
        (open.iter().sum::<u64>() == count).then_some(open)
    })
}

/// Long tunnels of one shard are left, all others end: the kernel goes on to
/// spread evenly, so that the one keeps its lead, unless it hands over.
fn leave_uneven(accept: Accept) -> (Vec<u64>, u64) {
    let backend = backend::echo();
    let door = door(accept, backend.address());
    // From addresses of their own, so that ports do not run together.
    let come = |n: usize| -> Vec<TcpStream> {
        let clients = (0..n).map(|i| door.connect_from([127, 0, 1 + (i / 200) as u8, 1]));
        let clients: Vec<TcpStream> = clients.collect();
        for client in &clients {
            echo(client).expect("an echo");
        }
        clients
    };
    let mut kept = Vec::new();
    while kept.len() < 60 {
        let before = door.stats().shards[0].totals.clone();
        let client = come(1).remove(0);
        let after = door.stats().shards[0].totals.clone();
        // Kept if it is one of the first shard's.
        if after.tunnels_open > before.tunnels_open {
            kept.push(client);
        } else if accept == Accept::Balanced {
            break;
        }
    }
    if accept == Accept::Balanced {
        // Nobody can make it uneven by staying: so it is even already.
        kept.extend(come(60));
    }
    let count = kept.len() as u64;
    let open = spread(&door, count);
    for client in &kept {
        echo(client).expect("an echo");
    }
    (open, door.stats().total.handed_over)
}

#[test]
fn an_uneven_spread_of_long_tunnels_evens_out() {
    let (open, handed_over) = leave_uneven(Accept::Spread);
    assert_eq!((open[0], handed_over), (60, 0), "{open:?}");
    let backend = backend::echo();
    let door = door(Accept::Balanced, backend.address());
    let mut all: Vec<TcpStream> = (0..400).map(|_| door.connect()).collect();
    for client in &all {
        echo(client).expect("an echo");
    }
    let open = spread(&door, 400);
    let (least, most) = (open.iter().min(), open.iter().max());
    let apart = most.zip(least).map(|(most, least)| most - least);
    assert!(apart.is_some_and(|apart| apart <= 24), "{open:?}");
    let total = door.stats().total;
    assert_eq!(total.handed_over, total.adopted);
    assert_eq!(total.accepted, 400);
    // All of them are carried, and all come to their end.
    for client in &all {
        echo(client).expect("an echo");
    }
    all.clear();
    spread(&door, 0);
    let (_, handed_over) = leave_uneven(Accept::Balanced);
    println!("handed over: {handed_over}");
}

/// Connections that are handed over while the server stops are carried.
#[test]
fn none_is_lost_when_the_server_stops() {
    let backend = backend::echo();
    let door = door(Accept::Balanced, backend.address());
    let clients: Vec<TcpStream> = (0..300).map(|_| door.connect()).collect();
    door.handle.shutdown();
    for client in clients {
        echo(&client).expect("an echo");
    }
}
