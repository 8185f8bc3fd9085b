//! The end of one tunnel.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use crate::place::Place;
use crate::program::{assert_echo, echo_at, quiet_port};
use crate::support::PATIENCE;
use crate::support::backend::{self, Ended};
use crate::support::client::{self, Client, End};

#[test]
fn one_tunnel_ends_and_no_other() {
    let backend = backend::greeting_sink();
    let place = Place::start(
        &format!("backend: \"{}\"", backend.address()),
        "  shards: 2,",
    );
    let connect = || {
        let client = Client::shake(client::tcp(place.address), &place.trust);
        let client = client.expect("a handshake");
        assert_eq!(client.receive_exact(1), b"!");
        client
    };
    let (one, other) = (connect(), connect());
    let address = one.tcp().local_addr().expect("an address").to_string();
    // Long enough for nothing to be under way any more.
    let id = place.tunnel(&[&address, "age=3s"]).id.to_string();

    let told = place.say(&["close", &id]);
    assert!(
        told.starts_with(&format!("closed {id}: {address} → ")),
        "{told}"
    );
    // As when the drain time is over: the client is told that it is the end,
    // and the backend that it is not whole.
    assert_eq!(one.receive_all(), (vec![], End::CloseNotify));
    one.fin();
    assert_eq!(backend.result().1, Ended::Reset);
    place.wait_closed("relay/server/closed", 1);
    let uid = place
        .program
        .wait_log(&format!("admin: tunnel {id} closed, by process"));
    assert!(uid.contains(" of user "), "{uid}");

    assert_eq!(place.tunnels(&[]).len(), 1);
    place.fail(&["close", &id], &format!("no tunnel {id}"));
    place.fail(&["close", "7-1"], "no tunnel 7-1");
    other.close_notify();
    other.fin();
    assert_eq!(backend.result().1, Ended::Eof);
    place.wait_closed("relay/backend/eof", 1);
}

/// A client that is in the midst of something must not take it for the whole.
#[test]
fn a_download_is_broken_off_with_a_reset() {
    let backend = backend::source(48 << 20);
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    let client = Client::shake(client::tcp(place.address), &place.trust).expect("a handshake");
    client.receive_exact(1 << 16);
    let id = place.tunnel(&["down=64KiB"]).id.to_string();
    place.say(&["close", &id]);
    let (_, end) = client.receive_all();
    assert_eq!(end, End::Reset);
    place.wait_closed("relay/server/closed", 1);
}

#[test]
fn several_ids_and_json() {
    let backend = backend::echo();
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    let clients: Vec<_> = (0..3)
        .map(|_| echo_at(place.address, &place.trust))
        .collect();
    let ids: Vec<_> = place
        .tunnels(&[])
        .iter()
        .map(|t| t.id.to_string())
        .collect();
    let ended = place.adit(&["close", "--json", &ids[0], &ids[1], "0-999"]);
    assert_eq!(ended.code, Some(1));
    let told: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(told["missing"], serde_json::json!(["0-999"]));
    let closed = told["closed"].as_array().expect("a list");
    let closed: Vec<_> = closed.iter().map(|one| one["id"].as_str()).collect();
    assert_eq!(closed, [Some(&*ids[0]), Some(&*ids[1])]);
    assert_echo(&clients[2]);
}

/// A tunnel can be ended in every phase.
#[test]
fn a_client_that_says_nothing_and_one_that_is_held() {
    let dead = quiet_port();
    let place = Place::start(
        "service: \"app\"",
        &format!("  services: {{\"app\": (backends: [\"127.0.0.1:{dead}\"], hold: \"60s\")}},"),
    );
    let mut silent = TcpStream::connect(place.address).expect("a connection");
    silent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let id = place.tunnel(&["state=handshake"]).id.to_string();
    place.say(&["close", &id]);
    assert_eq!(silent.read(&mut [0; 100]).expect("its end"), 0);
    drop(silent);
    place.wait_closed("handshake/server/closed", 1);

    let held = Client::shake(client::tcp(place.address), &place.trust).expect("a handshake");
    let tunnel = place.tunnel(&["state=connect"]);
    assert_eq!(tunnel.service.as_deref(), Some("app"));
    assert!(Duration::from_secs_f64(tunnel.age_seconds) < PATIENCE);
    place.say(&["close", &tunnel.id.to_string()]);
    // Nothing was there for it: an orderly end would be an empty answer.
    assert_eq!(held.receive_all(), (vec![], End::Reset));
    place.wait_closed("connect/server/closed", 1);
}
