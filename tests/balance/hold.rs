//! What becomes of clients while no backend is up.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use adit::config::HealthCheck;
use adit::limits;
use adit::metrics::BackendState;

use crate::fleet::{Numbered, Tunnel, config, is_silent, service, wait_state};
use crate::support::place::Place;
use crate::support::{PATIENCE, backend, wait_for};

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

/// Many together are tried as seldom as one alone: each for itself.
#[test]
fn they_do_not_wake_each_other() {
    let backends = vec![Numbered::dead(0)];
    let mut config = config(&backends);
    config.services[0].hold = 10 * PATIENCE;
    let place = Place::start(config);
    let began = Instant::now();
    let clients: Vec<_> = (0..10).map(|_| place.connect()).collect();
    assert!(is_silent(&clients[0], Duration::from_secs(1)));
    let tried = service(&place).backends[0].connect_failures;
    let turns = began.elapsed().as_millis() / limits::HOLD_RETRY.as_millis() + 1;
    assert!(u128::from(tried) <= 10 * turns, "{tried}");
}

/// Who is held and resets the connection is held no longer; who has only ended
/// its stream may be waiting for the answer.
#[test]
fn who_is_gone_is_not_held() {
    let backends = vec![Numbered::dead(0)];
    let mut config = config(&backends);
    config.services[0].hold = 10 * PATIENCE;
    let place = Place::start(config);
    let (gone, ended) = (place.connect(), place.connect());
    ended.shutdown(Shutdown::Write).expect("a socket");
    let held = |count| {
        wait_for("clients to be held", || {
            (service(&place).held == count).then_some(())
        });
    };
    held(2);
    backend::reset(gone);
    held(1);
    assert_eq!(place.reason(), "connect/client/reset");
    assert!(is_silent(&ended, Duration::from_millis(100)));
}
