//! Which shard gets a connection: with `SameCpu`, that on the CPU which
//! received it. Over loopback that is the CPU of the client.

use std::net::{SocketAddr, TcpStream};

use adit::config::{Accept, Listener, Placement};
use adit::sys::cpu;
use adit::{Config, Server};

use crate::support::{backend, wait_for};
use crate::{Door, config, echo};

const CLIENTS: u64 = 40;

/// Two CPUs of this machine; none, and said so, if it has only one.
fn two_cpus() -> Option<[usize; 2]> {
    let cpus = cpu::allowed().expect("the CPUs");
    if cpus.len() < 2 {
        println!("passed over: it takes two CPUs");
        return None;
    }
    // The shards in the other order than the CPUs, so that a number taken for
    // an index would be seen.
    Some([cpus[1], cpus[0]])
}

/// A shard on each of these, and a listener of that kind.
fn on(cpus: &[usize], accept: Accept, backend: SocketAddr) -> Config {
    let mut config = config(backend);
    config.shards.cpus = Some(cpus.to_vec());
    config.shards.placement = Placement::PerCpu;
    config.listeners[0].accept = accept;
    config
}

/// Of so many clients on that CPU, one after the other: how many came to each
/// shard.
fn from(cpu: usize, door: &Door, address: SocketAddr) -> Vec<u64> {
    let accepted = || -> Vec<u64> {
        let shards = door.stats().shards;
        shards.iter().map(|s| s.totals.accepted).collect()
    };
    let before = accepted();
    let clients = std::thread::spawn(move || {
        cpu::pin(cpu).expect("pinned");
        for _ in 0..CLIENTS {
            let client = TcpStream::connect(address).expect("a connection");
            echo(&client).expect("an echo");
        }
    });
    clients.join().expect("no panic");
    let since: Vec<u64> = accepted().iter().zip(&before).map(|(a, b)| a - b).collect();
    assert_eq!(since.iter().sum::<u64>(), CLIENTS);
    since
}

/// Every client came to the shard of its CPU.
#[track_caller]
fn assert_steered(cpus: [usize; 2], door: &Door, address: SocketAddr) {
    let pinned: Vec<_> = door.stats().shards.iter().map(|s| s.cpu).collect();
    assert_eq!(pinned, cpus.map(Some));
    assert_eq!(from(cpus[0], door, address), [CLIENTS, 0]);
    assert_eq!(from(cpus[1], door, address), [0, CLIENTS]);
}

/// Clients of one CPU came to both shards. By chance all would come to one once
/// in 2^39 times.
#[track_caller]
fn assert_spread(cpu: usize, door: &Door, address: SocketAddr) {
    let taken = from(cpu, door, address);
    assert!(taken.iter().all(|n| *n > 0), "{taken:?}");
}

#[test]
fn a_connection_comes_to_the_shard_on_its_cpu() {
    let Some(cpus) = two_cpus() else { return };
    let backend = backend::echo();
    let mut config = on(&cpus, Accept::SameCpu, backend.address());
    let mut plain = Listener::new("127.0.0.2:0".parse().expect("an address"), None, 0);
    plain.name = "plain".into();
    config.listeners.push(plain);
    let door = Door::start(config);
    assert_steered(cpus, &door, door.address);
    // The same without: this is what steering changes.
    let plain = door.stats().listeners[1].address.parse().expect("one");
    assert_spread(cpus[0], &door, plain);
}

#[test]
fn every_address_of_a_name_is_steered() {
    let Some(cpus) = two_cpus() else { return };
    let backend = backend::echo();
    let mut config = on(&cpus, Accept::SameCpu, backend.address());
    config.listeners[0].address = "localhost:0".parse().expect("an address");
    let server = Server::new(config).expect("a server");
    let addresses = server.listeners()[0].address.clone();
    let first = addresses.split(", ").next().expect("one");
    let door = Door {
        address: first.parse().expect("an address"),
        handle: server.handle(),
        _running: server.start().expect("shards"),
    };
    for address in addresses.split(", ") {
        assert_steered(cpus, &door, address.parse().expect("an address"));
    }
}

#[test]
fn a_reload_steers_and_stops_steering() {
    let Some(cpus) = two_cpus() else { return };
    let backend = backend::echo();
    let mut config = on(&cpus, Accept::Spread, backend.address());
    let door = Door::start(config.clone());
    assert_spread(cpus[1], &door, door.address);
    for _ in 0..2 {
        config.listeners[0].accept = Accept::SameCpu;
        door.handle.reload(config.clone()).expect("taken up");
        // Doors get to it in their own time, each when it is woken.
        wait_for("steering", || {
            let is_steered = from(cpus[0], &door, door.address) == [CLIENTS, 0]
                && from(cpus[1], &door, door.address) == [0, CLIENTS];
            is_steered.then_some(())
        });
        assert_steered(cpus, &door, door.address);
        config.listeners[0].accept = Accept::Balanced;
        door.handle.reload(config.clone()).expect("taken up");
        wait_for("no steering", || {
            from(cpus[0], &door, door.address)
                .iter()
                .all(|n| *n > 0)
                .then_some(())
        });
    }
    // A listener that comes with a reload.
    let mut new = Listener::new("127.0.0.3:0".parse().expect("an address"), None, 0);
    new.name = "new".into();
    new.accept = Accept::SameCpu;
    config.listeners.push(new);
    door.handle.reload(config.clone()).expect("taken up");
    let new = door.stats().listeners[1].address.parse().expect("one");
    assert_steered(cpus, &door, new);
    // It is gone, and comes again.
    let new = config.listeners.pop().expect("one");
    door.handle.reload(config.clone()).expect("taken up");
    config.listeners.push(new);
    door.handle.reload(config.clone()).expect("taken up");
    let new = door.stats().listeners[1].address.parse().expect("one");
    assert_steered(cpus, &door, new);
}

#[test]
fn what_comes_in_on_a_cpu_without_a_shard_is_carried() {
    let Some(cpus) = two_cpus() else { return };
    let backend = backend::echo();
    let door = Door::start(on(&cpus[..1], Accept::SameCpu, backend.address()));
    assert_eq!(from(cpus[1], &door, door.address), [CLIENTS]);
    assert_eq!(from(cpus[0], &door, door.address), [CLIENTS]);
}

/// While the sockets of a group are closed, one after the other.
#[test]
fn none_is_lost_when_a_steered_server_stops() {
    let Some(cpus) = two_cpus() else { return };
    let backend = backend::echo();
    let door = Door::start(on(&cpus, Accept::SameCpu, backend.address()));
    let clients: Vec<TcpStream> = (0..200).map(|_| door.connect()).collect();
    door.handle.shutdown();
    for client in clients {
        echo(&client).expect("an echo");
    }
}

#[test]
fn shards_that_are_nowhere_cannot_be_steered_to() {
    let backend = backend::echo();
    let mut config = config(backend.address());
    config.shards.count = 1000.try_into().ok();
    config.listeners[0].accept = Accept::SameCpu;
    let refused = Server::check(&config).expect_err("not pinned").to_string();
    for part in ["accept: SameCpu needs", "shards: 1000", "placement: PerCpu"] {
        assert!(refused.contains(part), "{refused}");
    }
    // Nor does a reload take it up.
    config.listeners[0].accept = Accept::Spread;
    config.shards.count = 3.try_into().ok();
    let pinned = cpu::allowed().expect("the CPUs").len() == 3;
    let door = Door::start(config.clone());
    config.listeners[0].accept = Accept::SameCpu;
    assert_eq!(door.handle.reload(config).is_ok(), pinned);
}
