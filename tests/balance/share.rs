//! Who gets how many tunnels.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use adit::config::Balance;
use socket2::{Domain, Socket, Type};

use crate::fleet::{Tunnel, config, fleet, service, tally};
use crate::support::place::Place;
use crate::support::wait_for;

fn balanced(count: u8, balance: Balance) -> (Vec<crate::fleet::Numbered>, Place) {
    let backends = fleet(count);
    let mut config = config(&backends);
    config.services[0].balance = balance;
    let place = Place::start(config);
    (backends, place)
}

#[test]
fn round_robin_goes_by_weight() {
    let backends = fleet(3);
    let mut config = config(&backends);
    config.services[0].balance = Balance::RoundRobin;
    for (backend, weight) in config.services[0].backends.iter_mut().zip([1, 2, 3]) {
        backend.weight = weight;
    }
    let place = Place::start(config);
    assert_eq!(tally(&place, 3, 60), [10, 20, 30]);
    let stats = service(&place);
    let totals: Vec<u64> = stats.backends.iter().map(|b| b.tunnels_total).collect();
    assert_eq!(totals, [10, 20, 30]);
}

#[test]
fn least_tunnels_evens_out_what_is_open() {
    let (_backends, place) = balanced(3, Balance::LeastTunnels);
    let mut open: Vec<Tunnel> = (0..30).map(|_| Tunnel::open(&place)).collect();
    let count = |open: &[Tunnel]| {
        let mut counts = [0; 3];
        for tunnel in open {
            counts[usize::from(tunnel.number)] += 1;
        }
        counts
    };
    assert_eq!(count(&open), [10, 10, 10]);
    open.retain(|tunnel| tunnel.number != 1);
    wait_for("the ends of ten tunnels", || {
        (service(&place).backends[1].tunnels_open == 0).then_some(())
    });
    open.extend((0..10).map(|_| Tunnel::open(&place)));
    assert_eq!(count(&open), [10, 10, 10]);
}

#[test]
fn two_choices_are_near_to_even() {
    let (_backends, place) = balanced(3, Balance::TwoChoices);
    let open: Vec<Tunnel> = (0..90).map(|_| Tunnel::open(&place)).collect();
    for number in 0..3 {
        let has = open.iter().filter(|t| t.number == number).count();
        assert!((22..=38).contains(&has), "{number}: {has} of 90");
    }
}

/// A connection from another address of loopback.
fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(from, 0).into())
        .expect("bound");
    socket.connect(&to.into()).expect("connected");
    let stream: TcpStream = socket.into();
    let patience = Some(crate::support::PATIENCE);
    stream.set_read_timeout(patience).expect("a timeout");
    stream
}

#[test]
fn a_client_keeps_its_backend_and_others_keep_theirs_when_one_goes() {
    let (mut backends, place) = balanced(3, Balance::SourceHash);
    let clients: Vec<IpAddr> = (1..=60)
        .map(|n| Ipv4Addr::new(127, 0, 7, n).into())
        .collect();
    let ask = |from: &IpAddr| {
        Tunnel::greeted(connect_from(*from, place.address))
            .expect("an answer")
            .number
    };
    let before: Vec<u8> = clients.iter().map(ask).collect();
    for number in 0..3 {
        let has = before.iter().filter(|n| **n == number).count();
        assert!((8..=32).contains(&has), "{number}: {has} of 60");
    }
    assert_eq!(clients.iter().map(ask).collect::<Vec<_>>(), before);
    backends[1].kill();
    for (client, before) in clients.iter().zip(&before) {
        let after = ask(client);
        assert_ne!(after, 1);
        assert!(*before == 1 || after == *before, "{client} was moved");
    }
}

#[test]
fn the_first_and_then_the_next() {
    let (mut backends, place) = balanced(3, Balance::First);
    assert_eq!(tally(&place, 3, 5), [5, 0, 0]);
    backends[0].kill();
    assert_eq!(tally(&place, 3, 5), [0, 5, 0]);
}

#[test]
fn a_backup_waits_for_its_day() {
    let mut backends = fleet(3);
    let mut config = config(&backends);
    config.services[0].backends[1].backup = true;
    let place = Place::start(config);
    let counts = tally(&place, 3, 40);
    assert_eq!(counts[1], 0, "{counts:?}");
    backends[0].kill();
    assert_eq!(tally(&place, 3, 10), [0, 0, 10]);
    backends[2].kill();
    assert_eq!(tally(&place, 3, 10), [0, 10, 0]);
}

/// Every tunnel is counted for as long as it lasts, and not longer.
#[test]
fn tunnels_are_counted() {
    let (_backends, place) = balanced(1, Balance::TwoChoices);
    let open: Vec<Tunnel> = (0..5).map(|_| Tunnel::open(&place)).collect();
    let stats = service(&place).backends.remove(0);
    assert_eq!((stats.tunnels_open, stats.tunnels_total), (5, 5));
    drop(open);
    wait_for("the tunnels' ends", || {
        (service(&place).backends[0].tunnels_open == 0).then_some(())
    });
}
