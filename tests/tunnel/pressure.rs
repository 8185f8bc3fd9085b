//! A side that does not read stops the other, and costs little meanwhile.

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit::limits;
use adit::metrics::Stats;
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::adit::{Adit, Setup};
use crate::support::backend::{self, Backend, Ended};
use crate::support::client::{self, Client, End};
use crate::support::{PATIENCE, pattern};

/// A connection whose own kernel holds little for it.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(32 * 1024).expect("a socket");
    socket.set_send_buffer_size(32 * 1024).expect("a socket");
    socket.connect(&address.into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A listener whose connections' kernel holds little for them.
fn narrow_listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = SockRef::from(&listener);
    socket.set_recv_buffer_size(32 * 1024).expect("a socket");
    socket.set_send_buffer_size(32 * 1024).expect("a socket");
    listener
}

/// Waits until no byte has moved for some time, and gives the figures.
fn wait_for_standstill(adit: &Adit) -> Stats {
    let mut last = (0, 0);
    let mut since = Instant::now();
    adit.wait_stats("a standstill", |stats| {
        let now = (stats.total.bytes_up, stats.total.bytes_down);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        now.0 > 0 && now.1 > 0 && since.elapsed() > Duration::from_millis(500)
    })
}

/// Writes without end, until the peer is gone.
fn pump(mut stream: impl Write, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

/// Both directions of every tunnel are stalled: each holds what the limits
/// promise and no more, and whoever sends is stopped.
#[test]
fn stalled_tunnels_stay_within_their_memory() {
    const TUNNELS: u64 = 64;
    // Sends without end and never reads.
    let backend = Backend::start_on(narrow_listener(), |stream| {
        pump(&stream, pattern::at(0, 100_000));
    });
    let adit = Setup::new(backend.address())
        .setting("timeouts: (half_close: \"500ms\")")
        .start();
    let config = client::config(adit.certificate(), rustls::ALL_VERSIONS).into();
    // What the first tunnel of a process needs is not a tunnel's.
    drop(Client::connect(&adit));
    adit.closes(1);
    let before = adit.memory_kib("VmRSS");
    let clients: Vec<Client> = (0..TUNNELS)
        .map(|_| Client::shake(narrow(adit.address()), &config).expect("a handshake"))
        .collect();
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| while client.send(pattern::at(0, 100_000)).is_ok() {});
        }
        let stats = wait_for_standstill(&adit);
        assert_eq!(stats.total.tunnels_open, TUNNELS);
        let each = (adit.memory_kib("VmRSS") - before) / TUNNELS;
        let (up, down) = (stats.total.bytes_up, stats.total.bytes_down);
        println!(
            "stalled: {each} KiB each; {} KiB up, {} KiB down",
            (up / TUNNELS) >> 10,
            (down / TUNNELS) >> 10
        );
        // 128 KiB of buffers at most, and a connection's own state.
        assert!(each <= 128 + 16, "{each} KiB for a stalled tunnel");
        // The rest is with the kernel, whose buffers are bounded as well.
        assert!(up / TUNNELS < 16 << 20 && down / TUNNELS < 16 << 20);
        // No tunnel spins while it waits.
        let (spent, began) = (adit.cpu_time(), Instant::now());
        while began.elapsed() < Duration::from_secs(1) {
            adit.stats();
            thread::sleep(Duration::from_millis(100));
        }
        let spent = adit.cpu_time() - spent;
        assert!(
            spent < Duration::from_millis(300),
            "{spent:?} of CPU at a standstill"
        );
        for client in &clients {
            let _ = client.tcp().shutdown(std::net::Shutdown::Both);
        }
    });
    // The clients are gone, and the backend neither reads nor stops sending:
    // what it sends is thrown away, but not for ever.
    drop(clients);
    adit.closes(TUNNELS + 1);
}

/// A client that is not read, since its backend takes nothing, and resets its
/// connection, does not leave a tunnel behind until that is idle for too long.
#[test]
fn a_client_that_resets_behind_a_stalled_backend_is_gone() {
    let (go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = Backend::start_on(narrow_listener(), move |mut stream| {
        stream.write_all(b"!").expect("a greeting");
        let _ = held.lock().expect("no panic").recv_timeout(PATIENCE);
        backend::read_all(&mut stream, |_| ())
    });
    let adit = Adit::start(backend.address());
    let config = client::config(adit.certificate(), rustls::ALL_VERSIONS).into();
    let client = Client::shake(narrow(adit.address()), &config).expect("a handshake");
    assert_eq!(client.receive_exact(1), b"!");
    let tcp = client.tcp().try_clone().expect("another handle");
    thread::scope(|scope| {
        scope.spawn(|| while client.send(pattern::at(0, 100_000)).is_ok() {});
        let mut last = 0;
        let mut since = Instant::now();
        adit.wait_stats("a standstill", |stats| {
            if stats.total.bytes_up != last {
                (last, since) = (stats.total.bytes_up, Instant::now());
            }
            last > 0 && since.elapsed() > Duration::from_millis(500)
        });
        // It is the last handle's close that resets: so it is made to fail.
        backend::reset(tcp);
        client.tcp().set_nonblocking(true).expect("a socket");
        let _ = client.tcp().shutdown(std::net::Shutdown::Both);
    });
    client.reset();
    adit.assert_closes(1, "relay/client/reset");
    drop(go);
    assert_eq!(backend.result(), Ended::Reset);
}

/// A tunnel that was stalled in both directions goes on where it stood.
#[test]
fn a_stalled_tunnel_loses_nothing() {
    let length = 24 << 20;
    let backend = Backend::start_on(narrow_listener(), move |stream| {
        thread::scope(|scope| {
            scope.spawn(|| {
                backend::write_pattern(&mut &stream, length).expect("sent");
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
            // Only once the other side reads does this one.
            while !READING.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            backend::read_pattern(&mut &stream)
        })
    });
    static READING: AtomicBool = AtomicBool::new(false);
    let adit = Adit::start(backend.address());
    let config = client::config(adit.certificate(), rustls::ALL_VERSIONS).into();
    let client = Client::shake(narrow(adit.address()), &config).expect("a handshake");
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send_pattern(length).expect("sent");
            client.close_notify();
        });
        let stats = wait_for_standstill(&adit);
        assert!(stats.total.bytes_up < length && stats.total.bytes_down < length);
        READING.store(true, Ordering::SeqCst);
        assert_eq!(client.receive_pattern(), (length, End::CloseNotify));
    });
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (length, Ended::Eof));
}

/// A kibibyte at a time, with pauses for everybody else.
#[test]
fn a_slow_reader_gets_every_byte() {
    let length = 3 << 20;
    let backend = backend::source(length);
    let adit = Setup::new(backend.address())
        .setting("buffer_size: \"1KiB\"")
        .start();
    let config = client::config(adit.certificate(), rustls::ALL_VERSIONS).into();
    let client = Client::shake(narrow(adit.address()), &config).expect("a handshake");
    let mut check = pattern::Check::default();
    let mut buffer = [0; 1024];
    let end = loop {
        match client.receive(&mut buffer) {
            Ok(n) => check.feed(&buffer[..n]),
            Err(end) => break end,
        }
        thread::yield_now();
    };
    assert_eq!((check.seen, end), (length, End::CloseNotify));
}

/// Tunnels that always have something to do leave their shard's other tunnels,
/// and its control, their turns.
#[test]
fn bulk_does_not_starve_a_ping_pong() {
    let bulk = Backend::start(|mut stream| {
        let mut first = [0];
        if stream.read_exact(&mut first).is_err() {
            return;
        }
        match first[0] {
            b'b' => pump(&stream, pattern::at(0, 256 * 1024)),
            _ => backend::echo_script(stream),
        }
    });
    // Short turns, so that a tunnel has thousands of them before it has to wait.
    let adit = Setup::new(bulk.address())
        .setting("buffer_size: \"1KiB\"")
        .start();
    let bulks: Vec<Client> = (0..4).map(|_| Client::connect(&adit)).collect();
    let ping = Client::connect(&adit);
    thread::scope(|scope| {
        for client in &bulks {
            client.send(b"b").expect("sent");
            scope.spawn(|| {
                let mut raw = vec![0; 256 * 1024];
                while matches!((&mut client.tcp()).read(&mut raw), Ok(1..)) {}
            });
        }
        ping.send(b"p").expect("sent");
        let before = adit.wait_stats("bulk", |stats| stats.total.bytes_down > 8 << 20);
        let mut times = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..100 {
            let began = Instant::now();
            ping.send(b"x").expect("sent");
            assert_eq!(ping.receive_exact(1), b"x");
            times.push(began.elapsed());
        }
        for _ in 0..10 {
            answers.push(adit.stats().shards[0].answer_micros);
        }
        times.sort();
        answers.sort_unstable();
        let after = adit.stats();
        println!(
            "median {:?}, worst {:?}; control {} us; {} MiB beside it",
            times[50],
            times[99],
            answers[5],
            (after.total.bytes_down - before.total.bytes_down) >> 20
        );
        assert!(after.total.bytes_down > before.total.bytes_down);
        assert!(times[50] < Duration::from_millis(100), "{times:?}");
        assert!(answers[5] < 100_000, "{answers:?}");
        for client in &bulks {
            let _ = client.tcp().shutdown(std::net::Shutdown::Both);
        }
    });
}

/// An idle tunnel holds no buffer, whatever it has carried.
#[test]
fn idle_tunnels_hold_no_buffers() {
    const TUNNELS: u64 = 200;
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    drop(Client::connect(&adit));
    adit.closes(1);
    let before = adit.memory_kib("VmRSS");
    let config = client::config(adit.certificate(), rustls::ALL_VERSIONS).into();
    let bytes = pattern::bytes(100_000);
    let clients: Vec<Client> = (0..TUNNELS)
        .map(|_| {
            let client = Client::connect_with(&adit, &config).expect("a handshake");
            client.send(&bytes).expect("sent");
            assert!(client.receive_exact(bytes.len()) == bytes);
            client
        })
        .collect();
    let each = (adit.memory_kib("VmRSS") - before) / TUNNELS;
    println!("idle: {each} KiB each");
    assert!(
        each < limits::BUFFER_SIZE_DEFAULT as u64 / 1024,
        "{each} KiB"
    );
    drop(clients);
    adit.closes(TUNNELS + 1);
}
