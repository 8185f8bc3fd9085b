//! When clients may be sent here, and when not any more.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::support::adit::{Adit, Setup};
use crate::support::backend;
use crate::support::client::{Client, End};
use crate::support::wait_for;
use crate::{metrics_at, probe, scrape, setup, wait_scrape};

fn with_grace(backend: SocketAddr, grace: &str) -> Setup {
    setup(backend).setting(&format!("timeouts: (ready_grace: {grace:?})"))
}

fn echo(adit: &Adit) -> Client {
    let client = Client::connect(adit);
    client.send(b"x").expect("sent");
    assert_eq!(client.receive_exact(1), b"x");
    client
}

fn leave(client: Client) {
    client.close_notify();
    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
}

/// In the grace everything goes on but that it is ready; a second signal ends
/// it at once.
#[test]
fn who_is_told_to_stop_is_not_ready_and_accepts_for_the_grace() {
    let backend = backend::echo();
    let mut adit = with_grace(backend.address(), "5m").start();
    let at = metrics_at(&adit);
    assert_eq!(probe(at, "/readyz"), (200, "ready".into()));
    assert_eq!(probe(at, "/healthz"), (200, "healthy".into()));
    let before = echo(&adit);
    adit.signal("TERM");
    wait_for("an end of being ready", || {
        (probe(at, "/readyz").0 == 503).then_some(())
    });
    let (_, why) = probe(at, "/readyz");
    assert!(why.contains("told to stop"), "{why}");
    assert_eq!(probe(at, "/healthz").0, 200);
    adit.log().wait("accepted for another 5m");
    // As if nothing had happened.
    for _ in 0..10 {
        leave(echo(&adit));
    }
    leave(before);
    let stats = adit.stats();
    let state = serde_json::to_value(stats.state).expect("a word");
    assert_eq!(state, "stopping");
    // What was gathered a moment before the signal may be shown once more.
    let now = wait_scrape(at, "the state", |scrape| {
        scrape.value("adit_server_state", &[("state", "stopping")]) == 1.0
    });
    assert_eq!(now.value("adit_ready", &[]), 0.0);
    for (state, value) in [("serving", 0.0), ("stopping", 1.0), ("draining", 0.0)] {
        assert_eq!(now.value("adit_server_state", &[("state", state)]), value);
    }
    // What it would take up would soon be shut.
    adit.signal("HUP");
    adit.log()
        .wait("not reloaded, the old configuration stays in use:");
    adit.log().wait("the server is stopping");
    let told = Instant::now();
    adit.signal("TERM");
    assert_eq!(adit.wait().code(), Some(1), "{}", adit.log().text());
    assert!(told.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_drain_begins_when_the_grace_is_over() {
    let backend = backend::echo();
    let mut adit = with_grace(backend.address(), "500ms").start();
    let at = metrics_at(&adit);
    let client = echo(&adit);
    let told = Instant::now();
    adit.signal("TERM");
    adit.wait_stats("a drain", |stats| {
        stats.state == adit::metrics::State::Draining
    });
    assert!(told.elapsed() >= Duration::from_millis(500), "too early");
    wait_for("closed doors", || {
        std::net::TcpStream::connect(adit.address()).err()
    });
    // The endpoint answers to the end.
    assert_eq!(probe(at, "/readyz").0, 503);
    assert_eq!(probe(at, "/healthz").0, 200);
    let draining = [("state", "draining")];
    let now = wait_scrape(at, "the state", |scrape| {
        scrape.value("adit_server_state", &draining) == 1.0
    });
    assert_eq!(
        now.value("adit_server_state", &[("state", "draining")]),
        1.0
    );
    assert_eq!(now.value("adit_tunnels_open", &[]), 1.0);
    leave(client);
    assert_eq!(adit.wait().code(), Some(0), "{}", adit.log().text());
}

#[test]
fn without_a_grace_the_drain_begins_at_once() {
    let backend = backend::echo();
    let mut adit = setup(backend.address()).start();
    let at = metrics_at(&adit);
    let client = echo(&adit);
    adit.signal("TERM");
    adit.log().wait("stopping: no more connections");
    assert!(!adit.log().text().contains("accepted for another"));
    assert_eq!(probe(at, "/readyz").0, 503);
    leave(client);
    assert_eq!(adit.wait().code(), Some(0));
}

/// A port on which nobody listens, for as long as this is held.
fn dead() -> (TcpListener, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("bound");
    let address = socket.local_addr().expect("bound").as_socket();
    (socket.into(), address.expect("an address"))
}

#[test]
fn backends_that_are_down_count_as_the_configuration_says() {
    let backend = backend::echo();
    let adit = setup(backend.address()).in_a_file().start();
    let at = metrics_at(&adit);
    let (_held, dead) = dead();
    let file = adit.folder().join("adit.ron");
    let tls = format!(
        "tls: (cert: {:?}, key: {:?})",
        adit.certificate().cert,
        adit.certificate().key
    );
    let reload = |a: SocketAddr, ready: &str| {
        let check = "health: (check: Tcp, interval: \"50ms\", fall: 1, rise: 1)";
        let text = format!(
            "(listeners: [(address: \"127.0.0.1:0\", {tls}, service: \"a\")],
              services: {{\"a\": (backends: [\"{a}\"], {check}),
                          \"b\": (backends: [\"{dead}\"], {check})}},
              metrics: (address: \"127.0.0.1:0\", ready_backends: {ready}))"
        );
        std::fs::write(&file, text).expect("written");
        adit.signal("HUP");
    };
    let until = |status: u16, why: &str| {
        wait_for(&format!("{status} {why}"), || {
            let (now, text) = probe(at, "/readyz");
            (now == status && text.contains(why)).then_some(())
        });
    };
    reload(backend.address(), "Every");
    until(503, "no backend is up of b");
    reload(backend.address(), "Any");
    until(200, "ready");
    // By now the checks have found it down; it was enough that one is up.
    let now = scrape(at);
    assert_eq!(now.value("adit_backend_up", &[("service", "a")]), 1.0);
    assert_eq!(now.value("adit_backend_up", &[("service", "b")]), 0.0);
    assert_eq!(
        now.value("adit_service_backends_up", &[("service", "b")]),
        0.0
    );
    assert_eq!(
        now.value("adit_backend_check_passed", &[("service", "b")]),
        0.0
    );
    reload(dead, "Any");
    until(503, "no backend is up of a, b");
    assert_eq!(probe(at, "/healthz").0, 200);
    reload(dead, "Ignore");
    until(200, "ready");
}
