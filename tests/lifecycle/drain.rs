//! The end: what is under way is brought to its end, and what does not end is
//! told so.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::program::{self, Program, borrowed, listener, words};
use crate::support::adit::{Adit, Setup};
use crate::support::backend::{self, Ended};
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client, End};
use crate::support::{pattern, turn, wait_for};

/// Transfers of this length are under way when the signal comes.
const LENGTH: u64 = 48 << 20;

/// Ends a server in the midst of transfers, and sees them through.
fn transfers_are_seen_through(signal: &str) {
    let backend = backend::source(LENGTH);
    let mut adit = Setup::new(backend.address()).shards(2).start();
    let clients: Vec<Client> = (0..8).map(|_| Client::connect(&adit)).collect();
    for client in &clients {
        // A part has come, and the rest cannot have: it fits into no buffer
        // on the way.
        assert_eq!(client.receive_exact(1 << 16), pattern::bytes(1 << 16));
    }
    adit.signal(signal);
    adit.log().wait("stopping: ");
    let rest = LENGTH - (1 << 16);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || {
                let mut check = pattern::Check { seen: 1 << 16 };
                let mut buffer = vec![0; 128 * 1024];
                let end = loop {
                    match client.receive(&mut buffer) {
                        Ok(n) => check.feed(&buffer[..n]),
                        Err(end) => break end,
                    }
                };
                assert_eq!((check.seen, end), (rest + (1 << 16), End::CloseNotify));
                client.close_notify();
                client.fin();
            });
        }
    });
    assert_eq!(adit.wait().code(), Some(0), "{}", adit.log().text());
    adit.log().wait("stopped; every tunnel had ended");
}

#[test]
fn sigterm_sees_downloads_through() {
    transfers_are_seen_through("TERM");
}

#[test]
fn sigint_sees_downloads_through() {
    transfers_are_seen_through("INT");
}

#[test]
fn sigterm_sees_uploads_through() {
    let backend = backend::sink();
    let mut adit = Setup::new(backend.address()).shards(2).start();
    let clients: Vec<Client> = (0..4).map(|_| Client::connect(&adit)).collect();
    for client in &clients {
        client.send(&pattern::bytes(1 << 16)).expect("sent");
    }
    adit.signal("TERM");
    adit.log().wait("stopping: ");
    for client in &clients {
        let mut sent = 1 << 16;
        while sent < LENGTH / 4 {
            let next = pattern::at(sent, (LENGTH / 4 - sent).min(128 * 1024));
            client.send(next).expect("sent");
            sent += next.len() as u64;
        }
        client.close_notify();
        assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
        let (check, ended) = backend.result();
        assert_eq!((check.seen, ended), (LENGTH / 4, Ended::Eof));
    }
    drop(clients);
    assert_eq!(adit.wait().code(), Some(0), "{}", adit.log().text());
}

#[test]
fn a_tunnel_that_never_ends_is_cut_and_told_so() {
    let backend = backend::echo();
    let mut adit = Setup::new(backend.address())
        .shards(2)
        .argument("--drain-timeout")
        .argument("1s")
        .start();
    let clients: Vec<Client> = (0..6).map(|_| Client::connect(&adit)).collect();
    clients.iter().for_each(program::assert_echo);
    let told = Instant::now();
    adit.signal("TERM");
    // All of them at once: none waits for another's leave.
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
                assert!(
                    told.elapsed() >= Duration::from_secs(1),
                    "cut before its time"
                );
                assert_eq!(client.tcp_end(), Ended::Eof);
            });
        }
    });
    drop(clients);
    assert_eq!(adit.wait().code(), Some(1), "{}", adit.log().text());
    let took = told.elapsed();
    // The drain time, and the time to take leave at the most.
    assert!(took < Duration::from_secs(6), "{took:?}");
    adit.log().wait("6 tunnels were cut");
}

/// A download that is cut must not look whole: neither where it flows, nor
/// where it waits for its client.
#[test]
fn a_download_that_is_cut_has_no_orderly_end() {
    let backend =
        backend::Backend::start(
            |mut stream| {
                while backend::write_pattern(&mut stream, 1 << 20).is_ok() {}
            },
        );
    for reads in [true, false] {
        let mut adit = Setup::new(backend.address())
            .argument("--drain-timeout")
            .argument("700ms")
            .start();
        let client = Client::connect(&adit);
        assert_eq!(client.receive_exact(1 << 16), pattern::bytes(1 << 16));
        adit.signal("TERM");
        if !reads {
            assert_eq!(adit.wait().code(), Some(1), "{}", adit.log().text());
        }
        let mut buffer = vec![0; 128 * 1024];
        let end = loop {
            if let Err(end) = client.receive(&mut buffer) {
                break end;
            }
        };
        assert_eq!(end, End::Reset, "reads: {reads}");
        drop(client);
        if reads {
            assert_eq!(adit.wait().code(), Some(1), "{}", adit.log().text());
        }
    }
}

#[test]
fn signals_that_the_parent_had_blocked_are_obeyed() {
    let blocks = ["env", "--block-signal=TERM,INT,HUP"];
    let mut works = std::process::Command::new(blocks[0]);
    if !works
        .args([blocks[1], "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("passed over: this machine's env blocks no signals");
        return;
    }
    let backend = backend::echo();
    let mut adit = Setup::new(backend.address()).under(&blocks).start();
    adit.signal("HUP");
    adit.log().wait("reloaded: ");
    assert_eq!(adit.terminate(), Some(0));
}

/// Nor do those hold it up who have said nothing, or half of something.
#[test]
fn who_does_not_answer_the_leave_hardly_holds_the_end_up() {
    let backend = backend::echo();
    let mut adit = Setup::new(backend.address())
        .argument("--drain-timeout")
        .argument("0s")
        .start();
    // Neither reads nor closes.
    let client = Client::connect(&adit);
    program::assert_echo(&client);
    let silent = client::tcp(adit.address());
    let mut half = client::tcp(adit.address());
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("sent");
    adit.wait_stats("three tunnels", |stats| stats.total.tunnels_open == 3);
    let told = Instant::now();
    assert_eq!(adit.terminate(), Some(1));
    let took = told.elapsed();
    // It is told within some hundred milliseconds.
    assert!(took < adit::limits::LINGER_TIMEOUT, "{took:?}");
    drop((client, silent, half));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let backend = backend::echo();
        let mut adit = Adit::start(backend.address());
        let client = Client::connect(&adit);
        program::assert_echo(&client);
        adit.signal(first);
        adit.log().wait("stopping: ");
        program::assert_echo(&client);
        let told = Instant::now();
        adit.signal(second);
        assert_eq!(adit.wait().code(), Some(1), "{}", adit.log().text());
        let took = told.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        drop(client);
    }
}

/// Puts something in that file's place that, like a disk which is gone, keeps
/// whoever reads it.
fn block(file: &Path) {
    let _ = std::fs::remove_file(file);
    let made = std::process::Command::new("mkfifo").arg(file).status();
    assert!(made.is_ok_and(|status| status.success()));
}

/// Somebody reads such a file, and has to wait for what this will never give.
fn reader_of(file: &Path) -> File {
    let mut open = OpenOptions::new();
    // It cannot be opened before there is a reader (fifo(7)).
    open.write(true).custom_flags(libc::O_NONBLOCK);
    wait_for("a reader", || open.open(file).ok())
}

/// It ends in order, though a thread of it may not.
#[track_caller]
fn assert_ends(adit: &mut Adit) {
    let told = Instant::now();
    assert_eq!(adit.terminate(), Some(0), "{}", adit.log().text());
    let took = told.elapsed();
    let most = adit::limits::EXIT_TIMEOUT + Duration::from_secs(5);
    assert!(took < most, "{took:?}");
}

#[test]
fn a_file_that_cannot_be_read_does_not_keep_it_from_ending() {
    let backend = backend::echo();
    let mut adit = Adit::start(backend.address());
    let cert = adit.certificate().cert.clone();
    block(&cert);
    adit.signal("HUP");
    let never = reader_of(&cert);
    assert_ends(&mut adit);
    drop(never);
}

/// The admin endpoint owes an answer then, and the end waits for that as long
/// as it may.
#[test]
fn nor_does_one_that_a_reload_by_command_reads() {
    let backend = backend::echo();
    let mut adit = Adit::start(backend.address());
    let cert = adit.certificate().cert.clone();
    let admin = adit.folder().join("admin.sock");
    block(&cert);
    let folder = tempfile::tempdir().expect("a folder");
    let admin = admin.to_str().expect("text");
    let reload = Program::start(folder.path(), &["reload", "--admin", admin]);
    let never = reader_of(&cert);
    assert_ends(&mut adit);
    assert!(adit.log().text().contains("ending at once: "));
    assert_eq!(reload.wait().code, Some(1));
    drop(never);
}

#[test]
fn two_signals_end_it_before_it_has_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    block(&certificate.cert);
    let words = words("127.0.0.1:0", &certificate, (Ipv4Addr::LOCALHOST, 9).into());
    let program = Program::start(folder.path(), &borrowed(&words));
    let never = reader_of(&certificate.cert);
    program.signal("INT");
    program.wait_log("SIGINT received");
    program.signal("INT");
    let ended = program.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    drop(never);
}

/// Connections that wait in the kernel's queue when the signal comes are
/// served. They come while the program is stopped, so that it cannot have
/// accepted them.
#[test]
fn who_waits_in_the_queue_is_served() {
    let backend = backend::echo();
    let mut adit = Setup::new(backend.address()).shards(2).start();
    let trust = program::trust(adit.certificate());
    // As an operator's job control would.
    adit.signal("STOP");
    let waiting: Vec<TcpStream> = (0..40).map(|_| client::tcp(adit.address())).collect();
    adit.signal("TERM");
    adit.signal("CONT");
    adit.log().wait("stopping: ");
    let trust = &trust;
    std::thread::scope(|scope| {
        for tcp in waiting {
            scope.spawn(move || {
                let client = Client::shake(tcp, trust).expect("a handshake");
                program::assert_echo(&client);
                client.close_notify();
                assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
            });
        }
    });
    assert_eq!(adit.wait().code(), Some(0), "{}", adit.log().text());
}

#[test]
fn nobody_new_comes_in_while_it_drains() {
    let backend = backend::echo();
    let mut adit = Setup::new(backend.address()).shards(2).start();
    let client = Client::connect(&adit);
    program::assert_echo(&client);
    adit.signal("TERM");
    let refused = || (!program::accepts(adit.address())).then_some(());
    wait_for("closed doors", refused);
    // Closed for good, while the open tunnel goes on.
    for _ in 0..20 {
        assert!(!program::accepts(adit.address()));
        program::assert_echo(&client);
    }
    let stats = adit.stats();
    assert_eq!(
        serde_json::to_value(stats.state).expect("a word"),
        "draining"
    );
    client.close_notify();
    assert_eq!(client.receive_all().1, End::CloseNotify);
    drop(client);
    assert_eq!(adit.wait().code(), Some(0), "{}", adit.log().text());
}

/// A listener whose one door is closed for good gives its port free.
#[test]
fn the_port_can_be_had_again_after_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let address = SocketAddr::from(([127, 0, 0, 1], program::quiet_port()));
    let words = words(&address.to_string(), &certificate, backend.address());
    for _ in 0..3 {
        let program = Program::start(folder.path(), &borrowed(&words));
        program.wait_log("listening on");
        let trust = program::trust(&certificate);
        // The server's side closes last here, and first there.
        drop(program::echo_at(address, &trust));
        program.signal("TERM");
        let ended = program.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// A signal that comes before anything is served is obeyed all the same.
#[test]
fn a_signal_at_any_moment_of_the_start_ends_it_in_order() {
    turn::take_for(24);
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let config = format!(
        "(listeners: [{}], shards: 16)",
        listener("127.0.0.1:0", &certificate, backend.address())
    );
    for _ in 0..5 {
        program::configure(folder.path(), &config);
        let file = folder.path().join("adit.ron");
        let program = Program::start(folder.path(), &["-c", file.to_str().expect("text")]);
        // The line is written before the shards are ready.
        program.wait_log("listening on");
        program.signal("TERM");
        let ended = program.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
