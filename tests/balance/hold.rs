//! What becomes of clients while no backend is up.

use std::time::{Duration, Instant};

use adit::config::HealthCheck;
use adit::metrics::BackendState;

use crate::fleet::{Numbered, Tunnel, config, is_silent, service, wait_state};
use crate::support::place::Place;
use crate::support::{PATIENCE, wait_for};

fn quick() -> HealthCheck {
    HealthCheck {
        interval: Duration::from_millis(50),
        rise: 1,
        fall: 1,
        ..HealthCheck::default()
    }
}

#[test]
fn they_are_closed_at_once() {
    let backends = vec![Numbered::dead(0), Numbered::dead(1)];
    let mut config = config(&backends);
    config.services[0].health = Some(quick());
    let place = Place::start(config);
    wait_state(&place, 0, BackendState::Down);
    wait_state(&place, 1, BackendState::Down);
    assert!(Tunnel::try_open(&place).is_none());
    assert_eq!(place.reason(), "connect/backend/no-backend");
}

#[test]
fn they_are_held_and_served_when_one_comes_up() {
    let mut backends = vec![Numbered::dead(0), Numbered::dead(1)];
    let mut config = config(&backends);
    config.services[0].health = Some(quick());
    // Longer than anybody waits here: it is the check that ends it.
    config.services[0].hold = 10 * PATIENCE;
    // What is held does not count as connecting.
    config.timeouts.connect = Duration::from_millis(100);
    let place = Place::start(config);
    wait_state(&place, 0, BackendState::Down);
    wait_state(&place, 1, BackendState::Down);
    let held: Vec<_> = (0..3).map(|_| place.connect()).collect();
    wait_for("clients to be held", || {
        (service(&place).held == 3).then_some(())
    });
    assert!(is_silent(&held[0], Duration::from_millis(400)));
    backends[1].revive();
    for stream in held {
        assert_eq!(Tunnel::greeted(stream).expect("an answer").number, 1);
    }
}

/// Without checks, too.
#[test]
fn they_are_held_while_connects_fail() {
    let mut backends = vec![Numbered::dead(0)];
    let mut config = config(&backends);
    config.services[0].hold = PATIENCE;
    let place = Place::start(config);
    let held = place.connect();
    wait_for("failures", || {
        (service(&place).backends[0].connect_failures >= 2).then_some(())
    });
    backends[0].revive();
    assert_eq!(Tunnel::greeted(held).expect("an answer").number, 0);
}

#[test]
fn they_are_not_held_for_ever() {
    let backends = vec![Numbered::dead(0)];
    let mut config = config(&backends);
    config.services[0].hold = Duration::from_millis(600);
    let place = Place::start(config);
    let began = Instant::now();
    assert!(Tunnel::try_open(&place).is_none());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(600), "{took:?}");
    assert_eq!(place.reason(), "connect/backend/refused");
}
