//! The library, in the test's own process.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use adit::config::ServerTls;
use adit::{Config, Error, Outcome, Server};

use crate::program;
use crate::support::certificate::Certificate;
use crate::support::client::End;
use crate::support::{backend, wait_for};

/// One test, so that no other's shards are counted.
#[test]
fn a_server_lives_and_dies_within_a_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let config = |port: u16| {
        let mut config = Config::single(
            format!("127.0.0.1:{port}").parse().expect("an address"),
            ServerTls::new(&certificate.cert, &certificate.key),
            backend.address().to_string().parse().expect("an address"),
        );
        config.shards.count = Some(2.try_into().expect("not zero"));
        config.timeouts.drain = Duration::from_secs(20);
        config
    };
    let trust = program::trust(&certificate);

    // Served and shut down.
    let server = Server::new(config(0)).expect("a server");
    assert_eq!(server.shards(), 2);
    let address: SocketAddr = server.listeners()[0].address.parse().expect("an address");
    assert_ne!(address.port(), 0);
    let handle = server.handle();
    let serving = std::thread::spawn(move || server.serve_forever());
    let client = program::echo_at(address, &trust);
    assert_eq!(shards_alive(), ["adit-0", "adit-1"]);
    let stats = handle.stats().expect("statistics");
    assert_eq!((stats.total.handshakes, stats.shards.len()), (1, 2));
    handle.reload(config(0)).expect("reloaded");
    assert_eq!(handle.stats().expect("statistics").reloads, 1);
    handle.shutdown();
    client.close_notify();
    assert_eq!(client.receive_all().1, End::CloseNotify);
    drop(client);
    let outcome = serving.join().expect("no panic").expect("an end");
    assert_eq!(outcome, Outcome::Drained);
    wait_for_no_shard();
    assert!(matches!(handle.stats(), Err(Error::Stopped)));
    assert!(matches!(handle.reload(config(0)), Err(Error::Stopped)));
    handle.shutdown();
    wait_for("a free port", || TcpListener::bind(address).ok());

    // Dropped in mid-service: tunnels are cut, threads joined, ports free.
    let fixed = program::quiet_port();
    for _ in 0..3 {
        let server = Server::new(config(fixed)).expect("a server");
        let running = server.start().expect("shards");
        let client = program::echo_at(([127, 0, 0, 1], fixed).into(), &trust);
        let client = std::thread::spawn(move || client.receive_all());
        drop(running);
        wait_for_no_shard();
        let (bytes, end) = client.join().expect("no panic");
        // The echo was so lately that it may be in the midst of something; if the
        // machine is slow, it is not.
        assert!(bytes.is_empty(), "{bytes:?}");
        assert!(matches!(end, End::Reset | End::CloseNotify), "{end:?}");
        wait_for_closed(fixed);
    }

    // Dropped before it serves.
    let server = Server::new(config(fixed)).expect("a server");
    let handle = server.handle();
    drop(server);
    wait_for_closed(fixed);
    assert!(matches!(handle.stats(), Err(Error::Stopped)));
    // What it was told before it ran would have been done when it did.
    handle.shutdown();

    // Refused: nothing is left.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let refused = Server::new(config(port)).expect_err("a port in use");
    assert!(refused.to_string().contains(&port.to_string()), "{refused}");
    wait_for_no_shard();
}

/// A process that another test is starting has the sockets of this one for a
/// moment, between fork and exec.
#[track_caller]
fn wait_for_closed(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for("a closed port", || {
        (!program::accepts(address)).then_some(())
    });
}

/// The shards themselves are joined, and only their executors' helper threads
/// may be on their last steps.
#[track_caller]
fn wait_for_no_shard() {
    wait_for("the end of all threads", || {
        shards_alive().is_empty().then_some(())
    });
}

/// The shards' threads in this process, by name.
fn shards_alive() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir("/proc/self/task")
        .expect("a process")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("adit-"))
        .collect();
    names.sort();
    // The executor's helper threads have their shard's name.
    names.dedup();
    names
}
