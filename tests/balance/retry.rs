//! Backends that refuse.

use std::time::{Duration, Instant};

use adit::config::{Balance, Ejection};
use adit::metrics::BackendState;

use crate::fleet::{Numbered, Tunnel, backend, config, fleet, service, tally, wait_state};
use crate::support::backend::Silent;
use crate::support::place::{Place, at};

const NEVER: Ejection = Ejection {
    failures: 0,
    pause: Duration::from_secs(1),
};

#[test]
fn a_refusal_is_not_the_clients_to_see() {
    let backends = vec![Numbered::dead(0), Numbered::start(1), Numbered::dead(2)];
    for balance in [
        Balance::TwoChoices,
        Balance::RoundRobin,
        Balance::LeastTunnels,
        Balance::SourceHash,
        Balance::First,
    ] {
        let mut config = config(&backends);
        config.services[0].balance = balance;
        config.services[0].eject = NEVER;
        let place = Place::start(config);
        assert_eq!(tally(&place, 3, 30), [0, 30, 0], "{balance:?}");
        let stats = service(&place);
        let failures = stats.backends[0].connect_failures + stats.backends[2].connect_failures;
        assert_eq!(stats.retries, failures, "{balance:?}");
        assert_eq!(stats.backends[0].state, BackendState::Up);
    }
}

/// None is tried twice for one tunnel, and the last refusal is the reason.
#[test]
fn each_is_tried_once() {
    let backends = vec![Numbered::dead(0), Numbered::dead(1), Numbered::dead(2)];
    let place = Place::start(config(&backends));
    assert!(Tunnel::try_open(&place).is_none());
    assert_eq!(place.reason(), "connect/backend/refused");
    let failures: Vec<u64> = service(&place)
        .backends
        .iter()
        .map(|backend| backend.connect_failures)
        .collect();
    assert_eq!(failures, [1, 1, 1]);
}

#[test]
fn one_that_is_silent_leaves_time_for_another() {
    let silent = Silent::start();
    let backends = fleet(1);
    let mut config = config(&backends);
    let service = &mut config.services[0];
    service.balance = Balance::First;
    service
        .backends
        .insert(0, adit::config::Backend::new(at(silent.address())));
    config.timeouts.connect = Duration::from_secs(2);
    let place = Place::start(config);
    let began = Instant::now();
    assert_eq!(Tunnel::open(&place).number, 0);
    assert!(began.elapsed() >= Duration::from_millis(900));
}

#[test]
fn who_refuses_is_left_alone_and_comes_back() {
    let mut backends = vec![Numbered::dead(0), Numbered::start(1)];
    let mut config = config(&backends);
    config.services[0].balance = Balance::RoundRobin;
    config.services[0].eject = Ejection {
        failures: 3,
        pause: Duration::from_millis(1500),
    };
    let place = Place::start(config);
    assert_eq!(tally(&place, 2, 6), [0, 6]);
    assert_eq!(backend(&place, 0).state, BackendState::Ejected);
    assert_eq!(backend(&place, 0).connect_failures, 3);
    // Nobody knocks at its door meanwhile.
    assert_eq!(tally(&place, 2, 20), [0, 20]);
    assert_eq!(backend(&place, 0).connect_failures, 3);
    backends[0].revive();
    wait_state(&place, 0, BackendState::Up);
    assert_eq!(tally(&place, 2, 20), [10, 10]);
}

/// The other one refuses, too: what is left is tried, ejected or not.
#[test]
fn the_last_is_not_ejected_and_an_ejected_one_is_better_than_none() {
    let mut backends = vec![Numbered::dead(0), Numbered::dead(1)];
    let mut config = config(&backends);
    config.services[0].eject = Ejection {
        failures: 1,
        pause: Duration::from_secs(600),
    };
    let place = Place::start(config);
    for _ in 0..5 {
        assert!(Tunnel::try_open(&place).is_none());
    }
    let states: Vec<BackendState> = service(&place).backends.iter().map(|b| b.state).collect();
    let ejected = |state: &&BackendState| **state == BackendState::Ejected;
    assert_eq!(states.iter().filter(ejected).count(), 1, "{states:?}");
    let ejected = usize::from(states[1] == BackendState::Ejected);
    backends[ejected].revive();
    assert_eq!(usize::from(Tunnel::open(&place).number), ejected);
    assert_eq!(backend(&place, ejected).state, BackendState::Up);
}

/// Right after its return it gets next to nothing, in the end its full share.
#[test]
fn a_slow_start_begins_slowly() {
    let mut backends = vec![Numbered::dead(0), Numbered::start(1)];
    let mut config = config(&backends);
    let slow = Duration::from_secs(4);
    config.services[0].balance = Balance::RoundRobin;
    config.services[0].slow_start = slow;
    config.services[0].eject = Ejection {
        failures: 1,
        pause: Duration::from_millis(200),
    };
    let place = Place::start(config);
    tally(&place, 2, 2);
    backends[0].revive();
    wait_state(&place, 0, BackendState::Up);
    let back = Instant::now();
    let mut early = [0, 0];
    while back.elapsed() < slow / 4 {
        early[usize::from(Tunnel::open(&place).number)] += 1;
    }
    // An eighth of its half on the average.
    assert!(early[0] * 4 < early[1], "{early:?}");
    while back.elapsed() < slow {
        Tunnel::open(&place);
    }
    assert_eq!(tally(&place, 2, 40), [20, 20]);
}
