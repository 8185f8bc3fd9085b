//! The order to stop, and the others that are older.

use crate::place::Place;
use crate::program::{Program, assert_echo, echo_at};
use crate::support::backend;
use crate::support::wait_for;

#[test]
fn a_drain_lets_tunnels_end_and_the_server_with_them() {
    let backend = backend::echo();
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    let client = echo_at(place.address, &place.trust);
    let told = place.say(&["drain"]);
    assert!(told.contains("open tunnels (1) get 30s"), "{told}");
    place.program.wait_log("admin: told to drain, by process");
    assert_echo(&client);
    assert!(place.say(&["stats"]).contains("draining"));

    // It waits for as long as there is anything to wait for.
    let mut waiting = Program::start(place.folder(), &["drain", "--wait"]);
    wait_for("the second order", || {
        waiting.out().contains("get 30s").then_some(())
    });
    assert!(waiting.is_running());
    client.close_notify();
    client.fin();
    let waited = waiting.wait();
    assert_eq!(waited.code, Some(0), "{}", waited.err);
    assert!(
        waited.out.ends_with("stopped; every tunnel had ended\n"),
        "{}",
        waited.out
    );
    let Place { program, .. } = place;
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn an_idle_server_tells_that_it_stops() {
    let backend = backend::echo();
    // It is gone within milliseconds, and has answered before.
    for _ in 0..5 {
        let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
        let told: adit::control::admin::Draining = place.json(&["drain"]);
        assert_eq!(told.tunnels_open, 0);
        assert_eq!(told.drain_timeout_seconds, 30.0);
        let Place { program, .. } = place;
        assert_eq!(program.wait().code, Some(0));
    }
}

#[test]
fn tunnels_that_were_cut_are_told_of() {
    let backend = backend::echo();
    let place = Place::start(
        &format!("backend: \"{}\"", backend.address()),
        "  timeouts: (drain: \"500ms\"),",
    );
    let client = echo_at(place.address, &place.trust);
    let told = place.adit(&["drain", "--wait", "--json"]);
    assert_eq!(told.code, Some(1), "{}", told.err);
    let told: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(told["tunnels_cut"], 1);
    drop(client);
    let Place { program, .. } = place;
    program.wait_log("stopped; 1 tunnel was cut at the drain deadline");
    assert_eq!(program.wait().code, Some(1));
}

#[test]
fn a_reload_in_json() {
    let backend = backend::echo();
    let place = Place::start(&format!("backend: \"{}\"", backend.address()), "");
    let told: serde_json::Value = place.json(&["reload"]);
    assert_eq!(told["reloaded"], true);
    place.program.wait_log("admin: reloaded, by process");
    place.configure("backend: \"127.0.0.1:1\"", "  colour: \"red\",");
    let refused = place.adit(&["reload", "--json"]);
    assert_eq!(refused.code, Some(1));
    let told: serde_json::Value = serde_json::from_str(&refused.out).expect("JSON");
    assert_eq!(told["reloaded"], false);
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.contains("unknown key \"colour\""), "{reason}");
}
