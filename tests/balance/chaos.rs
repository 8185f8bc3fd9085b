//! Backends die and come back under load, at random.
//!
//! A backend that dies refuses new connections; those that it has go on. So
//! no tunnel need ever be cut, and no client be refused, as long as one backend
//! is alive: whatever ends otherwise is our doing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use adit::config::{Balance, Ejection, HealthCheck};

use crate::fleet::{Tunnel, config, fleet, service};
use crate::support::place::Place;
use crate::support::wait_for;

const BACKENDS: u8 = 4;
const CLIENTS: u64 = 6;
const LOAD: Duration = Duration::from_secs(4);

#[test]
fn nothing_is_cut_that_need_not_be() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut backends = fleet(BACKENDS);
    let mut config = config(&backends);
    let app = &mut config.services[0];
    let balances = [
        Balance::TwoChoices,
        Balance::RoundRobin,
        Balance::LeastTunnels,
    ];
    app.balance = balances[chance.usize(..balances.len())];
    app.eject = Ejection {
        failures: 2,
        pause: Duration::from_millis(50),
    };
    app.slow_start = Duration::from_millis(chance.u64(0..200));
    if chance.bool() {
        app.health = Some(HealthCheck {
            interval: Duration::from_millis(20),
            rise: 1,
            fall: 2,
            ..HealthCheck::default()
        });
    }
    // What the checks found last may be that all are down when one has just
    // come back.
    app.hold = Duration::from_secs(20);
    println!("{app:?}");
    let place = Arc::new(Place::start(config));
    let stop = Arc::new(AtomicBool::new(false));
    let opened = Arc::new(AtomicU64::new(0));
    // Closing a listener resets what is in its queue, which no proxy could
    // help: so nobody opens a tunnel at that moment.
    let door = Arc::new(RwLock::new(()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (place, stop, opened) = (place.clone(), stop.clone(), opened.clone());
            let door = door.clone();
            let mut chance = fastrand::Rng::with_seed(seed ^ (number + 1));
            std::thread::spawn(move || {
                let mut tunnels: Vec<Tunnel> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match chance.u8(..4) {
                        0 | 1 if tunnels.len() < 20 => {
                            let _open = door.read().expect("no panic");
                            tunnels.push(Tunnel::open(&place));
                            opened.fetch_add(1, Ordering::SeqCst);
                        }
                        2 if !tunnels.is_empty() => {
                            let at = chance.usize(..tunnels.len());
                            assert!(tunnels[at].works(), "a tunnel was cut");
                        }
                        _ if !tunnels.is_empty() => {
                            let at = chance.usize(..tunnels.len());
                            tunnels.swap_remove(at);
                        }
                        _ => {}
                    }
                }
                for mut tunnel in tunnels {
                    assert!(tunnel.works(), "a tunnel was cut");
                }
            })
        })
        .collect();
    let until = Instant::now() + LOAD;
    let mut deaths = 0;
    while Instant::now() < until {
        let at = chance.usize(..backends.len());
        let alive = backends.iter().filter(|b| b.is_alive()).count();
        if !backends[at].is_alive() {
            backends[at].revive();
        } else if alive > 1 {
            let _shut = door.write().expect("no panic");
            backends[at].kill();
            deaths += 1;
        }
        // It is the pace of the load, not a way to be in step.
        std::thread::sleep(Duration::from_millis(chance.u64(1..40)));
    }
    stop.store(true, Ordering::SeqCst);
    let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
    let stats = service(&place);
    let opened = opened.load(Ordering::SeqCst);
    println!(
        "{deaths} deaths, {opened} tunnels opened, {} retries",
        stats.retries
    );
    for result in results {
        result.expect("every tunnel came to its own end");
    }
    assert!(deaths > 10 && opened > 100);
    let reasons = wait_for("the last tunnels' ends", || {
        let stats = place.stats();
        (stats.total.tunnels_open == 0).then_some(stats.total.closed)
    });
    for close in &reasons {
        let reason = close.reason.to_string();
        assert!(
            matches!(reason.as_str(), "relay/backend/eof" | "relay/client/eof"),
            "{close:?}"
        );
    }
    for backend in service(&place).backends {
        assert_eq!(backend.tunnels_open, 0, "{backend:?}");
    }
}
