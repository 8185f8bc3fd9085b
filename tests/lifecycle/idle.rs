//! Who has nothing to do does nothing.

use std::fs;
use std::net::Shutdown;
use std::thread::sleep;
use std::time::Duration;

use crate::program;
use crate::support::adit::{Adit, Setup};
use crate::support::backend::{self, Backend, Ended};
use crate::support::client::{Client, End};

/// How long the idle process is watched. It is what is measured, and nothing
/// is waited for by it.
const WATCHED: Duration = Duration::from_secs(1);

#[test]
fn idle_and_half_closed_tunnels_cost_no_processor_time() {
    let backend = backend::echo();
    // Ends its direction at once and goes on reading: half-closed the other
    // way round.
    let ending = Backend::start(|mut stream| {
        stream.shutdown(Shutdown::Write).expect("a socket");
        backend::read_all(&mut stream, |_| ())
    });
    let (idle, half) = (
        Setup::new(backend.address()).shards(2).start(),
        Setup::new(ending.address()).shards(2).start(),
    );
    // An echo that never ends of itself, as its client's direction has ended.
    let keeping = Backend::start(|mut stream| {
        let ended = backend::read_all(&mut stream, |_| ());
        let mut held = [0];
        // Until the program is gone.
        let _ = std::io::Read::read(&mut stream, &mut held);
        std::thread::park_timeout(crate::support::PATIENCE);
        ended
    });
    let kept = Setup::new(keeping.address()).shards(2).start();

    let idlers: Vec<Client> = (0..50).map(|_| Client::connect(&idle)).collect();
    idlers.iter().for_each(program::assert_echo);
    let from_backend: Vec<Client> = (0..50).map(|_| Client::connect(&half)).collect();
    for client in &from_backend {
        assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    }
    let from_client: Vec<Client> = (0..50).map(|_| Client::connect(&kept)).collect();
    for (turn, client) in from_client.iter().enumerate() {
        client.close_notify();
        if turn % 2 == 0 {
            client.fin();
        }
    }
    for adit in [&idle, &half, &kept] {
        adit.wait_stats("fifty tunnels", |stats| {
            stats.total.tunnels_open == 50 && stats.total.handshakes == 50
        });
    }

    let before = [&idle, &half, &kept].map(Adit::cpu_time);
    sleep(WATCHED);
    let after = [&idle, &half, &kept].map(Adit::cpu_time);
    for ((before, after), what) in before.into_iter().zip(after).zip([
        "idle",
        "the backend at its end",
        "the client at its end",
    ]) {
        let used = after - before;
        println!("50 tunnels, {what}: {used:?} of CPU in {WATCHED:?}");
        assert!(used <= Duration::from_millis(60), "{what}: {used:?}");
    }
    for adit in [&idle, &half, &kept] {
        assert_eq!(adit.stats().total.tunnels_open, 50);
    }
    drop(from_backend);
    assert_eq!(ending.result(), Ended::Eof);
}

#[test]
fn without_a_tunnel_nothing_wakes_up() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).shards(4).start();
    // Timers that a tunnel has left behind would be seen, too.
    for _ in 0..8 {
        let client = Client::connect(&adit);
        program::assert_echo(&client);
        client.close_notify();
        assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
    }
    adit.closes(8);
    sleep(2 * adit::limits::TICK);
    let before = switches(adit.pid());
    sleep(WATCHED);
    let woken = switches(adit.pid()) - before;
    println!("no tunnel: {woken} wake-ups in {WATCHED:?}");
    assert!(woken <= 10, "{woken} wake-ups in {WATCHED:?}");
}

/// How often its threads have gone to sleep so far.
fn switches(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("a running process")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .filter_map(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}
