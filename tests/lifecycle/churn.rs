//! Twenty thousand connections that come and go, and leave nothing behind.

use std::sync::Arc;

use adit::limits;
use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::program;
use crate::support::adit::{Adit, Setup};
use crate::support::client::{self, Client, End};
use crate::support::{backend, wait_for};

const WARM_UP: usize = 4_000;
const ALL: usize = 20_000;
const THREADS: usize = 4;

#[test]
fn twenty_thousand_connections_leave_nothing_behind() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).shards(2).start();
    let trust = trust(&adit);
    let begun = std::time::Instant::now();

    churn(&adit, &trust, WARM_UP);
    adit.closes(WARM_UP as u64);
    let (fds, kib) = (adit.descriptors(), adit.memory_kib("VmRSS"));
    churn(&adit, &trust, ALL - WARM_UP);
    let closes = adit.closes(ALL as u64);

    let grown = adit.memory_kib("VmRSS").saturating_sub(kib);
    println!(
        "{ALL} connections in {:?}; VmRSS {kib} KiB after {WARM_UP}, then {grown} KiB more; {closes:?}",
        begun.elapsed()
    );
    wait_for("as many descriptors as before", || {
        (adit.descriptors() <= fds + program::DESCRIPTORS_IN_PASSING).then_some(())
    });
    // 16,000 tunnels that lost 100 bytes each would be seen.
    assert!(grown < 1536, "{grown} KiB more than after {WARM_UP}");
    let stats = adit.stats().total;
    assert!(stats.handshakes >= ALL as u64 / 8 * 3, "{stats:#?}");
    assert!(stats.handshakes_resumed > ALL as u64 / 4, "{stats:#?}");
}

/// Thousands that came together and are gone leave the process as small as it
/// was, or nearly.
#[test]
fn what_a_crowd_needed_is_given_back() {
    const CROWD: usize = limits::CROWD * 3 / 2;
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).start();
    let trust = trust(&adit);
    churn(&adit, &trust, 100);
    adit.closes(100);
    let before = adit.memory_kib("VmRSS");
    let clients: Vec<Client> = (0..CROWD)
        .map(|_| Client::connect_with(&adit, &trust).expect("a handshake"))
        .collect();
    adit.wait_stats("a crowd", |stats| stats.total.tunnels_open == CROWD as u64);
    let most = adit.memory_kib("VmRSS") - before;
    drop(clients);
    let left = wait_for("a small process", || {
        let left = adit.memory_kib("VmRSS").saturating_sub(before);
        (left < most / 2).then_some(left)
    });
    println!("{before} KiB before, {most} more with {CROWD} tunnels, {left} more after them");
}

/// A client's configuration that resumes sessions.
fn trust(adit: &Adit) -> Arc<ClientConfig> {
    let mut config = client::config(adit.certificate(), rustls::ALL_VERSIONS);
    config.resumption = Resumption::in_memory_sessions(256);
    Arc::new(config)
}

fn churn(adit: &Adit, trust: &Arc<ClientConfig>, count: usize) {
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                for turn in 0..count / THREADS {
                    match turn % 4 {
                        0 => {
                            let client = Client::connect_with(adit, trust).expect("a handshake");
                            program::assert_echo(&client);
                            client.close_notify();
                            assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
                        }
                        // The reset may overtake the end of the handshake,
                        2 if turn % 8 == 2 => Client::connect_with(adit, trust)
                            .expect("a handshake")
                            .reset(),
                        // or it may not.
                        2 => {
                            let client = Client::connect_with(adit, trust).expect("a handshake");
                            program::assert_echo(&client);
                            client.reset();
                        }
                        _ => drop(client::tcp(adit.address())),
                    }
                }
            });
        }
    });
}
