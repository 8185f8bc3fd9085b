//! Where connections to backends come from, and what is asked of TCP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use adit::Server;
use adit::config::{Backend as To, Balance, Service, Source, TcpOptions};
use adit::metrics::BackendState;

use crate::support::backend::{self, Backend};
use crate::support::place::at;
use crate::support::wait_for;
use crate::{Door, assert_reset, config, echo, networks};

/// A backend that says who has come.
fn witness() -> Backend<IpAddr> {
    Backend::start(|mut stream: TcpStream| {
        let from = stream.peer_addr().expect("an address").ip();
        let mut reader = stream.try_clone().expect("another handle");
        let _ = std::io::copy(&mut reader, &mut stream);
        from
    })
}

#[test]
fn a_fixed_source_is_what_backends_see() {
    let backend = witness();
    let mut config = config(backend.address());
    config.services[0].source = Source::Fixed([127, 0, 0, 99].into());
    config.services[0].tcp = TcpOptions {
        fast_open: true,
        congestion: Some("reno".into()),
    };
    config.listeners[0].tcp = config.services[0].tcp.clone();
    let door = Door::start(config);
    let client = door.connect();
    echo(&client).expect("an echo");
    drop(client);
    assert_eq!(backend.result(), IpAddr::from([127, 0, 0, 99]));
}

/// The client's own address, where this process may take any.
#[test]
fn a_transparent_source_is_the_clients_or_refused_at_the_start() {
    let backend = witness();
    let mut config = config(backend.address());
    config.services[0].source = Source::Transparent;
    if adit::sys::socket::may_be_transparent().is_err() {
        let error = Server::new(config).expect_err("not permitted").to_string();
        assert!(error.contains("CAP_NET_ADMIN"), "{error}");
        return;
    }
    let door = Door::start(config);
    let client = door.connect_from([127, 0, 0, 55]);
    echo(&client).expect("an echo");
    drop(client);
    assert_eq!(backend.result(), IpAddr::from([127, 0, 0, 55]));
}

/// A client of the other family than the backends cannot be served, which is
/// not their fault. What it does not cost them: others are served as before.
#[test]
fn a_client_of_the_other_family_leaves_no_mark_on_backends() {
    if adit::sys::socket::may_be_transparent().is_err() {
        println!("passed over: not permitted");
        return;
    }
    let backends = [witness(), witness()];
    let mut config = config(backends[0].address());
    let app = &mut config.services[0];
    app.source = Source::Transparent;
    app.balance = Balance::First;
    app.eject.failures = 1;
    app.backends.push(To::new(at(backends[1].address())));
    config.listeners[0].proxy_from = networks(&["127.0.0.0/8"]);
    let door = Door::start(config);
    let announced = |header: &str| {
        let mut client = door.connect();
        client.write_all(header.as_bytes()).expect("sent");
        client
    };
    for count in 1..=3 {
        assert_reset(announced("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"));
        wait_for("its end", || {
            (door.closed("connect/backend/unreachable") == count).then_some(())
        });
    }
    let service = &door.stats().services[0];
    for backend in &service.backends {
        assert_eq!(
            (backend.state, backend.connect_failures),
            (BackendState::Up, 0)
        );
    }
    assert_eq!(service.retries, 0);
    let client = announced("PROXY TCP4 127.0.0.66 127.0.0.1 4711 443\r\n");
    echo(&client).expect("an echo");
    drop(client);
    assert_eq!(backends[0].result(), IpAddr::from([127, 0, 0, 66]));
}

#[test]
fn an_unknown_congestion_control_is_refused_with_those_that_there_are() {
    let backend = backend::echo();
    for of_service in [false, true] {
        let mut config = config(backend.address());
        let tcp = match of_service {
            true => &mut config.services[0].tcp,
            false => &mut config.listeners[0].tcp,
        };
        tcp.congestion = Some("quickest".into());
        let error = Server::new(config).expect_err("unknown").to_string();
        assert!(error.contains("\"quickest\""), "{error}");
        assert!(error.contains("reno"), "{error}");
    }
}

/// Two backends, one source: a port of the source serves a connection to each.
/// Without IP_BIND_ADDRESS_NO_PORT each connection would take a port of its own
/// out of those that there are (net.ipv4.ip_local_port_range).
fn ports_are_used_twice(count: usize) {
    let listeners: Vec<TcpListener> = (0..2)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let outgoing = adit::sys::socket::Outgoing {
        source: Some([127, 0, 0, 42].into()),
        ..Default::default()
    };
    let mut held = Vec::new();
    let mut ports = std::collections::HashSet::new();
    for n in 0..count {
        let listener = &listeners[n % 2];
        let peer = listener.local_addr().expect("an address");
        let peer = adit::sys::socket::Peer::Tcp(peer);
        let (fd, _) = adit::sys::socket::connect_as(&peer, &outgoing).expect("a port");
        let (_accepted, from): (TcpStream, SocketAddr) = listener.accept().expect("a connection");
        ports.insert(from.port());
        // The accepting side is closed: half-closed connections keep the port.
        held.push(fd);
    }
    println!("{count} connections from {} ports", ports.len());
    assert!(ports.len() < count, "each has a port of its own");
}

#[test]
fn one_source_port_serves_two_backends() {
    // By the birthday paradox some coincide unless they must differ.
    ports_are_used_twice(4000);
}

/// More than the ephemeral range has ports. It needs 36,000 descriptors.
#[test]
#[ignore = "needs a limit of 40,000 descriptors, and takes seconds"]
fn more_connections_than_ephemeral_ports() {
    ports_are_used_twice(36_000);
}

#[test]
fn services_with_different_sources_do_not_mix() {
    let backend = witness();
    let mut config = config(backend.address());
    config.services.push(Service::single(
        "other",
        config.services[0].backends[0].address.clone(),
        None,
    ));
    config.services[0].source = Source::Fixed([127, 0, 0, 3].into());
    let door = Door::start(config);
    let mut client = door.connect();
    client.write_all(b"x").expect("sent");
    client.read_exact(&mut [0]).expect("an echo");
    drop(client);
    assert_eq!(backend.result(), IpAddr::from([127, 0, 0, 3]));
}
