//! Out of descriptors: accepting pauses, and goes on.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program;
use crate::support::adit::Setup;
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client};
use crate::support::{backend, wait_for};

/// How long a process without descriptors is watched.
const WATCHED: Duration = Duration::from_secs(1);

#[test]
fn accepting_pauses_when_no_descriptor_is_left_and_goes_on_when_one_is() {
    // adit raises the soft limit to the hard one, so both are set.
    let low = ["sh", "-c", "ulimit -n 160 && exec \"$@\"", "sh"];
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("timeouts: (handshake: \"60s\")")
        .under(&low)
        .start();
    // They say nothing; but each is counted with its backend.
    let mut silent: Vec<TcpStream> = (0..220).map(|_| client::tcp(adit.address())).collect();
    adit.log().wait("accepting pauses");

    // It neither spins nor fills the log meanwhile. The second is what is
    // measured; nothing is waited for by it.
    let cpu = adit.cpu_time();
    std::thread::sleep(WATCHED);
    let cpu = adit.cpu_time() - cpu;
    println!("without descriptors: {cpu:?} of CPU in {WATCHED:?}");
    assert!(cpu < WATCHED / 10, "{cpu:?} in {WATCHED:?}");
    let pauses = || {
        let lines = adit.log().lines();
        let pauses = lines
            .iter()
            .filter(|line| line.contains("accepting pauses"));
        pauses.cloned().collect::<Vec<_>>()
    };
    assert_eq!(pauses().len(), 1, "{:#?}", pauses());
    assert!(pauses()[0].contains("WARN") && pauses()[0].contains("LimitNOFILE="));

    // Room again: those who wait come in, and new ones are served.
    silent.drain(..180);
    let begun = Instant::now();
    program::assert_echo(&Client::connect(&adit));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(silent);
    adit.closes(221);
    assert!(adit.stats().total.limit_pauses > 0);
}

/// A limit that is low even for nothing but shards is told, and those for whom
/// there is room are served: the others have their turn after them.
#[test]
fn under_a_very_low_limit_a_few_are_served_at_once_and_all_in_turn() {
    let backend = backend::echo();
    for (limit, shards, room) in [
        (40, 1, 4..=8),
        (64, 1, 12..=20),
        (64, 2, 8..=16),
        (100, 1, 25..=35),
        (128, 2, 30..=42),
    ] {
        let low = format!("ulimit -n {limit} && exec \"$@\"");
        let adit = Setup::new(backend.address())
            .shards(shards)
            .argument("--metrics=127.0.0.1:0")
            .under(&["sh", "-c", &low, "sh"])
            .start();
        adit.log().wait(&format!(
            "RLIMIT_NOFILE is {limit}: there is room for some "
        ));
        let trust = program::trust(adit.certificate());
        let clients: Vec<Client> = (0..limit)
            .map(|_| Client::begin(client::tcp(adit.address()), &trust))
            .collect();
        for client in &clients {
            client.send_sealed().expect("a ClientHello");
        }
        // They stay until they are answered.
        let full = adit.wait_stats("a pause of every shard", |stats| {
            let each = stats.shards.iter();
            each.filter(|shard| shard.totals.limit_pauses > 0).count() == shards
        });
        let open = full.total.tunnels_open;
        assert!(room.contains(&open), "{limit}, {shards}: {open} tunnels");
        std::thread::scope(|scope| {
            for client in clients {
                scope.spawn(move || {
                    client.finish_handshake().expect("its turn");
                    program::assert_echo(&client);
                });
            }
        });
        let total = adit.stats().total;
        assert_eq!((total.accept_shed, total.accept_pauses), (0, 0));
        adit.closes(limit);
    }
    // Where there is no room for anybody, that is said.
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let words = program::words("127.0.0.1:0", &certificate, backend.address());
    let ended = program::command(
        folder.path(),
        &["sh", "-c", "ulimit -n 24 && exec \"$@\"", "sh"],
    )
    .arg(env!("CARGO_BIN_EXE_adit"))
    .args(words)
    .args(["--shards", "1", "--admin", "off"])
    .output()
    .expect("it starts");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("to carry any tunnels"), "{told}");
}

/// Somebody takes descriptors away that there were at the start, as a limit
/// that is lowered does: who waits is told, nothing spins, and all is well once
/// they are back.
#[test]
fn without_any_descriptor_who_waits_is_reset_and_all_is_well_afterwards() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address())
        .setting("timeouts: (handshake: \"60s\")")
        .start();
    let trust = program::trust(adit.certificate());
    let before = Client::connect(&adit);
    program::assert_echo(&before);
    adit.stats();
    let limit = |soft: &str| {
        let done = Command::new("prlimit")
            .args([
                "--pid",
                &adit.pid().to_string(),
                &format!("--nofile={soft}:"),
            ])
            .status();
        assert!(done.expect("prlimit").success());
    };
    // No more than are open, but for the numbers that are free among them: who
    // gets one of those comes in.
    let open = std::fs::read_dir(format!("/proc/{}/fd", adit.pid())).expect("a process");
    let numbers: Vec<usize> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let most = numbers.iter().max().expect("some") + 1;
    limit(&most.to_string());
    let free = most - numbers.len() + program::DESCRIPTORS_IN_PASSING;
    let waiting: Vec<TcpStream> = (0..20 + free)
        .map(|_| client::tcp(adit.address()))
        .collect();
    let mut silent = waiting;
    let mut resets = 0;
    wait_for("resets", || {
        silent.retain_mut(|client| {
            client.set_nonblocking(true).expect("a mode");
            match client.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => resets += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                ended => panic!("{ended:?}"),
            }
            false
        });
        (resets >= 20).then_some(())
    });
    let cpu = adit.cpu_time();
    let mut knocking = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        knocking.push(client::tcp(adit.address()));
        std::thread::sleep(WATCHED / 20);
    }
    let cpu = adit.cpu_time() - cpu;
    println!("without descriptors: {cpu:?} of CPU in {WATCHED:?}");
    assert!(cpu < WATCHED / 5, "{cpu:?} in {WATCHED:?}");
    // Who was there is served all the while.
    program::assert_echo(&before);

    drop((silent, knocking));
    limit("4096");
    wait_for("a tunnel", || {
        let client = Client::connect_with(&adit, &trust).ok()?;
        program::assert_echo(&client);
        Some(())
    });
    let total = adit.stats().total;
    assert!(total.accept_shed >= 30, "{total:?}");
    assert!(total.accept_pauses > 0, "{total:?}");
    let shed = total
        .closed
        .iter()
        .find(|c| c.reason.cause.as_str() == "resources");
    assert_eq!(shed.map(|c| c.count), Some(total.accept_shed));
    assert_eq!(
        shed.map(|c| c.reason.to_string()),
        Some("handshake/server/resources".into())
    );
    let lines = adit.log().lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("accepting pauses"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

/// Backend connections that fail take nothing with them.
#[test]
fn a_failed_backend_connect_leaks_nothing() {
    let refusing = backend::Refusing::start();
    const THREADS: usize = 40;
    let adit = Setup::new(refusing.address()).shards(2).start();
    let trust = program::trust(adit.certificate());
    let knock = |count: usize| {
        std::thread::scope(|scope| {
            // Many at once, for each lasts some 100 ms: the reset waits until
            // the client has what was sent before it.
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..count / THREADS {
                        let client = Client::connect_with(&adit, &trust).expect("a handshake");
                        let (bytes, _) = client.receive_all();
                        assert_eq!(bytes, [0; 0]);
                    }
                });
            }
        });
    };
    knock(400);
    adit.closes(400);
    let (fds, kib) = (adit.descriptors(), adit.memory_kib("VmRSS"));
    knock(2000);
    adit.assert_closes(2400, "connect/backend/refused");
    let as_before = || (adit.descriptors() <= fds + program::DESCRIPTORS_IN_PASSING).then_some(());
    wait_for("as many descriptors as before", as_before);
    let grown = adit.memory_kib("VmRSS").saturating_sub(kib);
    println!("after 2000 refused connects: {grown} KiB more");
    assert!(grown < 2048, "{grown} KiB more");
    // Warned of, but not once for each.
    let lines = adit.log().lines();
    let warnings = lines
        .iter()
        .filter(|l| l.contains("WARN") && l.contains("refused"));
    let warnings = warnings.count();
    assert!((1..500).contains(&warnings), "{warnings} warnings");
}
