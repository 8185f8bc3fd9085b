//! Backends that are taken out of service, and back.

use adit::control::admin::Switched;
use adit::metrics::ServiceStats;

use crate::place::Place;
use crate::program::{assert_echo, echo_at};
use crate::support::backend::{self, Backend};
use crate::support::client::{self, Client, End};
use crate::support::wait_for;

/// A server with two backends on two shards.
fn place(backends: [&Backend<()>; 2], more: &str) -> Place {
    Place::start("service: \"web\"", &settings(backends, more))
}

fn settings([one, other]: [&Backend<()>; 2], more: &str) -> String {
    format!(
        "  services: {{\"web\": (backends: [\"{}\", \"{}\"], balance: RoundRobin{more})}}, shards: 2,",
        one.address(),
        other.address()
    )
}

/// The tunnels that each backend has had, and its state.
fn seen(place: &Place) -> Vec<(u64, String)> {
    let services: Vec<ServiceStats> = place.json(&["backend", "list"]);
    let backends = services[0].backends.iter();
    let state = |state| serde_json::to_value(state).expect("JSON");
    backends
        .map(|b| {
            (
                b.tunnels_total,
                state(b.state).as_str().unwrap_or("").to_owned(),
            )
        })
        .collect()
}

/// Opens and closes so many tunnels.
fn visit(place: &Place, times: usize) {
    for _ in 0..times {
        let client = echo_at(place.address, &place.trust);
        client.close_notify();
    }
}

#[test]
fn a_disabled_backend_gets_nothing_more_on_any_shard_and_after_a_reload() {
    let (one, other) = (backend::echo(), backend::echo());
    let place = place([&one, &other], "");
    let at_one = one.address().to_string();
    // One that stays, on each.
    let staying: Vec<_> = (0..8)
        .map(|_| echo_at(place.address, &place.trust))
        .collect();
    let before = seen(&place);
    assert!(before[0].0 > 0 && before[1].0 > 0, "{before:?}");

    let told = place.say(&["backend", "disable", "web", &at_one]);
    assert!(told.contains("disabled"), "{told}");
    visit(&place, 12);
    let now = seen(&place);
    assert_eq!(now[0], (before[0].0, "disabled".into()));
    assert_eq!(now[1], (before[1].0 + 12, "up".into()));
    for client in &staying {
        assert_echo(client);
    }
    assert!(place.say(&["stats"]).contains("disabled"));
    place.program.wait_log(&format!(
        "admin: backend {at_one} of web disabled, by process"
    ));

    // The same configuration, and one that says otherwise of health.
    place.say(&["reload"]);
    place.configure(
        "service: \"web\"",
        &settings(
            [&one, &other],
            ", health: (check: Tcp, interval: \"100ms\")",
        ),
    );
    place.say(&["reload"]);
    wait_for("a check", || {
        let services: Vec<ServiceStats> = place.json(&["backend", "list"]);
        let checked = |b: &adit::metrics::BackendStats| b.last_check.is_some();
        services[0].backends.iter().all(checked).then_some(())
    });
    visit(&place, 8);
    assert_eq!(seen(&place)[0], (before[0].0, "disabled".into()));

    let switched: Switched = place.json(&["backend", "enable", "web", &at_one]);
    assert!(switched.enabled && switched.silent_shards.is_empty());
    visit(&place, 12);
    let now = seen(&place);
    assert_eq!(now[0].1, "up");
    assert!(now[0].0 > before[0].0, "{now:?}");
}

#[test]
fn with_all_disabled_there_is_none_even_to_try() {
    let (one, other) = (backend::echo(), backend::echo());
    let place = place([&one, &other], "");
    for backend in [&one, &other] {
        place.say(&["backend", "disable", "web", &backend.address().to_string()]);
    }
    let client = Client::shake(client::tcp(place.address), &place.trust).expect("a handshake");
    assert_eq!(client.receive_all(), (vec![], End::Reset));
    place.wait_closed("connect/backend/no-backend", 1);
    assert_eq!(
        seen(&place),
        [(0, "disabled".into()), (0, "disabled".into())]
    );
}

#[test]
fn clients_are_held_until_a_backend_is_enabled() {
    let (one, other) = (backend::echo(), backend::echo());
    let place = place([&one, &other], ", hold: \"60s\"");
    for backend in [&one, &other] {
        place.say(&["backend", "disable", "web", &backend.address().to_string()]);
    }
    let client = Client::shake(client::tcp(place.address), &place.trust).expect("a handshake");
    place.tunnel(&["state=connect"]);
    place.say(&["backend", "enable", "web", &other.address().to_string()]);
    assert_echo(&client);
    assert_eq!(seen(&place), [(0, "disabled".into()), (1, "up".into())]);
}

/// Checks go on meanwhile; enabled, a backend is what they say.
#[test]
fn a_disabled_backend_that_dies_comes_back_as_one_that_is_down() {
    let (one, other) = (backend::echo(), backend::echo());
    let checks = ", health: (check: Tcp, interval: \"50ms\", rise: 1, fall: 1)";
    let place = place([&one, &other], checks);
    let at_one = one.address().to_string();
    place.say(&["backend", "disable", "web", &at_one]);
    drop(one);
    wait_for("a bad check", || {
        let services: Vec<ServiceStats> = place.json(&["backend", "list"]);
        let check = services[0].backends[0].last_check.as_ref();
        check.filter(|check| !check.passed).map(|_| ())
    });
    assert_eq!(seen(&place)[0].1, "disabled");
    place.say(&["backend", "enable", "web", &at_one]);
    assert_eq!(seen(&place)[0].1, "down");
    visit(&place, 4);
    assert_eq!(seen(&place), [(0, "down".into()), (4, "up".into())]);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let (one, other) = (backend::echo(), backend::echo());
    let place = place([&one, &other], "");
    let at_one = one.address().to_string();
    place.fail(&["backend", "disable", "wob", &at_one], "there is web");
    place.fail(&["backend", "enable", "web", "192.0.2.1:1"], &at_one);
    place.fail(&["backend", "list", "wob"], "backend list");
    // One that a reload takes away is unknown, and back it is enabled.
    place.say(&["backend", "disable", "web", &at_one]);
    place.configure("service: \"web\"", &settings([&other, &other], ""));
    // Twice the same is one; so it is written as one.
    let only = format!(
        "  services: {{\"web\": (backends: [\"{}\"])}}, shards: 2,",
        other.address()
    );
    place.configure("service: \"web\"", &only);
    place.say(&["reload"]);
    place.fail(&["backend", "enable", "web", &at_one], "has no backend");
    place.configure("service: \"web\"", &settings([&one, &other], ""));
    place.say(&["reload"]);
    assert_eq!(seen(&place)[0].1, "up");
}
