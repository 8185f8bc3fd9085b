//! The relay under thousands of schedules, with no socket and no clock.
//!
//! Two simulated peers ([`peer`]) do to the relay what the kernel does to a
//! tunnel: give and take in parts, stall, end, reset, stop reading. A schedule
//! ([`schedule`]) says what happens to them and when; the driver ([`drive`])
//! calls the relay as the executor does, only when something that it waits for
//! has happened, so that a wait for something that nobody tells of is found
//! too. What must hold is checked at every call and after every turn.
//!
//! A schedule is made from a seed. The failing one is printed, and
//! `ADIT_SEED=<seed> cargo test --test relay` runs that one alone;
//! `ADIT_SCHEDULES=<count>` runs more of them.

#[path = "relay/drive.rs"]
mod drive;
#[path = "relay/peer.rs"]
mod peer;
#[path = "relay/schedule.rs"]
mod schedule;

use std::collections::BTreeMap;

use drive::{Finding, run};
use peer::{Event, Kernel};
use schedule::Schedule;

/// Random schedules in an ordinary run of the tests.
const SCHEDULES: u64 = 20_000;

/// Events in an exhausted schedule.
const DEPTH: usize = 6;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| {
        panic!("{variable}={text} is no number");
    }))
}

#[test]
fn random_schedules() {
    let seeds = match number("ADIT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ADIT_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let alone = seeds.end - seeds.start == 1;
    let mut findings: BTreeMap<Finding, u64> = BTreeMap::new();
    for seed in seeds {
        let (schedule, kernels) = Schedule::random(seed);
        let caught = std::panic::catch_unwind(|| run(&schedule, kernels, seed));
        match caught {
            Ok(Ok(finding)) => *findings.entry(finding).or_default() += 1,
            Ok(Err(fault)) => panic!("ADIT_SEED={seed}: {fault}"),
            Err(panic) => {
                eprintln!("ADIT_SEED={seed}: the relay panicked, {schedule:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // A simulation that no longer comes to some end proves nothing about it.
    if !alone {
        for finding in Finding::ALL {
            let times = findings.get(&finding).copied().unwrap_or(0);
            assert!(times >= 20, "{finding:?} came about {times} times only");
        }
    }
}

/// Every order in which a few things can happen to both peers, with the relay
/// getting its turn after any of them or not.
#[test]
fn every_short_schedule() {
    let mut path = Vec::with_capacity(DEPTH);
    let mut runs = 0;
    for tls in [false, true] {
        for room in [0, 2] {
            let mut client = Kernel::with_room(room);
            client.speaks_tls = tls;
            let kernels = [client, Kernel::with_room(room)];
            explore(&mut path, &kernels, &mut runs);
        }
    }
    assert!(runs > 100_000, "{runs}");
}

fn explore(path: &mut Vec<(usize, Option<Event>)>, kernels: &[Kernel; 2], runs: &mut u64) {
    if path.len() == DEPTH {
        *runs += 1;
        let schedule = Schedule::in_order(path);
        if let Err(fault) = run(&schedule, kernels.clone(), 0) {
            panic!("{path:?}: {fault}");
        }
        return;
    }
    // None lets the relay have its turns.
    if !matches!(path.last(), None | Some((_, None))) {
        path.push((0, None));
        explore(path, kernels, runs);
        path.pop();
    }
    for who in 0..2 {
        for event in [
            Event::Arrive(1),
            Event::Room(1),
            Event::Fin,
            Event::Reset,
            Event::StopReading,
        ] {
            let before = |kind: fn(&Event) -> bool| {
                path.iter()
                    .any(|(peer, event)| *peer == who && event.as_ref().is_some_and(kind))
            };
            let reset = before(|e| *e == Event::Reset);
            let ended = reset || before(|e| *e == Event::Fin);
            let possible = match event {
                Event::Arrive(_) | Event::Fin => !ended,
                Event::Room(_) | Event::Reset => !reset,
                _ => !reset && !before(|e| *e == Event::StopReading),
            };
            if possible {
                path.push((who, Some(event)));
                explore(path, kernels, runs);
                path.pop();
            }
        }
    }
}
