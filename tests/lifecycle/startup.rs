//! Start: what serves, and what is refused before anything is served.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit::limits;
use adit::sys::preflight::{self, Facts, Needs};
use rustls::pki_types::ServerName;

use crate::program::{self, Ended, Program, borrowed, listener, quiet_port, words};
use crate::support::adit::Setup;
use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::{backend, tools, turn, wait_for};

#[test]
fn one_shard_two_and_sixteen_serve() {
    turn::take_for(24);
    let backend = backend::echo();
    for shards in [1, 2, 16] {
        let mut adit = Setup::new(backend.address()).shards(shards).start();
        for _ in 0..2 * shards {
            program::assert_echo(&Client::connect(&adit));
        }
        assert_eq!(adit.stats().shards.len(), shards);
        let names = threads(adit.pid());
        for shard in 0..shards {
            let name = format!("adit-{shard}");
            assert!(names.contains(&name), "no {name} among {names:?}");
        }
        let beyond = format!("adit-{shards}");
        assert!(!names.contains(&beyond), "{beyond} among {names:?}");
        assert_eq!(adit.terminate(), Some(0));
    }
}

fn threads(pid: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("a running process")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Whether this user may lock what so many shards need, and as much again for
/// the servers of other tests: what rings take is counted per user.
fn may_lock_for(shards: usize) -> bool {
    let needs = Needs {
        shards: 2 * shards,
        listeners: 1,
        backlog: limits::BACKLOG_DEFAULT,
        tunnels: 0,
    };
    let facts = Facts::gather();
    let may = facts.may_lock_any || facts.memlock.hard >= preflight::memlock_needed(&needs);
    if !may {
        println!(
            "passed over: RLIMIT_MEMLOCK is {}, too little for {shards} shards beside others",
            facts.memlock
        );
    }
    may
}

#[test]
fn a_hundred_and_twenty_eight_shards_start_soon() {
    if !may_lock_for(128) {
        return;
    }
    turn::take_for(128);
    let backend = backend::echo();
    let started = Instant::now();
    let adit = Setup::new(backend.address()).shards(128).start();
    program::assert_echo(&Client::connect(&adit));
    let took = started.elapsed();
    println!("128 shards: {took:?} to the first byte served");
    // Two seconds are the promise, for the optimised program on its own.
    let bound = if cfg!(debug_assertions) { 10 } else { 2 };
    assert!(took < Duration::from_secs(bound), "{took:?}");
    assert_eq!(adit.stats().shards.len(), 128);
}

/// The test that asks for it, and no other: none is stopped with it, so that
/// their servers are.
#[test]
fn a_server_that_does_not_start_fails_one_test() {
    let setup = Setup::new("127.0.0.1:9")
        .argument("--cpus")
        .argument("4095");
    let started = std::panic::catch_unwind(|| setup.start());
    let said = started.err().expect("a panic").downcast::<String>();
    let said = said.expect("its text");
    assert!(said.contains("CPU 4095"), "{said}");
}

#[test]
fn a_port_in_use_ends_the_start_with_nothing_half_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("an address");
    let free = SocketAddr::from(([127, 0, 0, 1], quiet_port()));
    let config = format!(
        "(listeners: [{}, {}], shards: 4)",
        listener(&free.to_string(), &certificate, backend.address()),
        listener(&taken.1.to_string(), &certificate, backend.address()),
    );
    program::configure(folder.path(), &config);
    let file = folder.path().join("adit.ron");

    let over = AtomicBool::new(false);
    let (ended, accepted) = std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            let mut accepted = 0;
            while !over.load(Ordering::SeqCst) {
                accepted += usize::from(program::accepts(free));
            }
            accepted
        });
        let ended = program::run(folder.path(), &["-c", file.to_str().expect("text")]);
        over.store(true, Ordering::SeqCst);
        (ended, prober.join().expect("no panic"))
    });
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&taken.1.to_string()), "{ended:?}");
    assert!(!ended.err.contains("listening"), "{ended:?}");
    assert_eq!(accepted, 0, "the first listener took connections meanwhile");
    assert!(TcpListener::bind(free).is_ok(), "{free} is still bound");
}

/// As the sockets of a process that was killed: the kernel takes its rings apart
/// when it gets to it.
#[test]
fn a_port_that_is_about_to_be_free_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let holding = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (tls, metrics) = (holding(), holding());
    let [at, metrics_at] = [&tls, &metrics].map(|held| held.local_addr().expect("an address"));
    let mut words = words(&at.to_string(), &certificate, backend.address());
    words.extend(["--metrics".into(), metrics_at.to_string()]);
    let program = Program::start(folder.path(), &borrowed(&words));
    program.wait_log(&format!("{metrics_at} is in use"));
    drop(metrics);
    program.wait_log(&format!("{at} is in use"));
    drop(tls);
    program.wait_log("serving with");
    assert!(program::accepts(at) && program::accepts(metrics_at));
    program.signal("TERM");
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn a_second_instance_is_refused_and_takes_nothing_from_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).shards(2).start();
    let address = adit.address().to_string();
    let words = words(&address, adit.certificate(), backend.address());
    let over = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut served = 0;
            while !over.load(Ordering::SeqCst) || served < 50 {
                program::assert_echo(&Client::connect(&adit));
                served += 1;
            }
            served
        });
        for _ in 0..5 {
            let ended = program::run(folder.path(), &borrowed(&words));
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.err.contains(&address), "{ended:?}");
        }
        over.store(true, Ordering::SeqCst);
        clients.join().expect("every connection served")
    });
    assert_eq!(adit.stats().total.accepted, served);
}

#[test]
fn an_address_of_another_machine_is_a_runtime_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    for foreign in ["192.0.2.1:4433", "no-such-host.invalid:4433"] {
        let words = words(foreign, &certificate, backend.address());
        let ended = program::run(folder.path(), &borrowed(&words));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(foreign), "{ended:?}");
    }
    let words = words("127.0.0.1", &certificate, backend.address());
    let ended = program::run(folder.path(), &borrowed(&words));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("HOST:PORT"), "{ended:?}");
}

/// The operator's own error, though it takes this machine to find it: the exit
/// code is that of `adit check`.
#[test]
fn what_a_configuration_cannot_have_is_a_configuration_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let nowhere = (IpAddr::from([127, 0, 0, 1]), 9).into();
    let listener = listener("127.0.0.1:0", &certificate, nowhere);
    for (settings, part) in [
        ("shards: 2, max_connections: 1", "max_connections"),
        ("cpus: \"4095\"", "CPU 4095"),
        ("tcp: (congestion: \"nosuch\")", "nosuch"),
        ("log: (file: \"/nonexistent/x.log\")", "/nonexistent"),
    ] {
        let ron = match settings.strip_prefix("tcp") {
            Some(_) => format!(
                "(listeners: [{}])",
                listener.replace("(address", &format!("({settings}, address"))
            ),
            None => format!("(listeners: [{listener}], {settings})"),
        };
        program::configure(folder.path(), &ron);
        let file = folder.path().join("adit.ron");
        let file = file.to_str().expect("text");
        for command in ["run", "check"] {
            let ended = program::run(folder.path(), &[command, "--config", file]);
            let said = format!("{}{}", ended.out, ended.err);
            assert_eq!(ended.code, Some(2), "{command}, {settings}: {said}");
            assert!(said.contains(part), "{command}, {settings}: {said}");
        }
    }
}

/// Runs with this certificate and key, is refused as a configuration error,
/// and the file at fault is named.
#[track_caller]
fn assert_refused(folder: &Path, cert: &Path, key: &Path, fault: &Path, part: &str) {
    let backend = SocketAddr::from(([127, 0, 0, 1], 9));
    let certificate = Certificate::make(folder);
    let mut words = words("127.0.0.1:0", &certificate, backend);
    let n = words.len();
    cert.to_str().expect("text").clone_into(&mut words[n - 3]);
    key.to_str().expect("text").clone_into(&mut words[n - 1]);
    for test in [false, true] {
        let mut words = words.clone();
        if test {
            words.push("--test".into());
        }
        let Ended { code, out, err, .. } = program::run(folder, &borrowed(&words));
        let said = format!("{out}{err}");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(fault.to_str().expect("text")), "{said}");
        assert!(said.contains(part), "{part:?} not in: {said}");
        assert!(!said.contains("listening on"), "{said}");
    }
}

#[test]
fn a_certificate_or_key_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, other) = (folder.path().join("here"), folder.path().join("other"));
    for folder in [&here, &other] {
        fs::create_dir(folder).expect("a folder");
    }
    let (ours, theirs) = (Certificate::make(&here), Certificate::make(&other));
    let bad = folder.path().join("bad.pem");
    let refused = |cert: &Path, key: &Path, fault: &Path, part: &str| {
        assert_refused(folder.path(), cert, key, fault, part);
    };

    refused(&ours.cert, &theirs.key, &theirs.key, "does not belong");
    refused(
        &here.join("none.pem"),
        &ours.key,
        &here.join("none.pem"),
        "cannot be read",
    );
    refused(
        &ours.cert,
        &here.join("none.key"),
        &here.join("none.key"),
        "cannot be read",
    );
    refused(&here, &ours.key, &here, "directory");

    fs::write(&bad, expired(&ours)).expect("a file");
    refused(&bad, &ours.key, &bad, "expired");

    let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(&bad, text).expect("a file");
    refused(&ours.cert, &bad, &bad, "encrypted");

    fs::write(&bad, "no PEM at all\n").expect("a file");
    refused(&bad, &ours.key, &bad, "no certificate");
    refused(&ours.cert, &bad, &bad, "no private key");
}

/// A certificate for this one's key whose time is over.
fn expired(certificate: &Certificate) -> String {
    let key = fs::read_to_string(&certificate.key).expect("a key");
    let key = rcgen::KeyPair::from_pem(&key).expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2014, 1, 1);
    params.not_after = rcgen::date_time_ymd(2015, 1, 1);
    params.self_signed(&key).expect("a certificate").pem()
}

#[test]
fn an_encrypted_key_of_openssl_is_told_as_such() {
    if !tools::has("openssl", "version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let locked = folder.path().join("locked.key");
    let done = program::command(folder.path(), &["openssl", "pkey", "-aes256"])
        .args(["-passout", "pass:2014", "-in"])
        .arg(&certificate.key)
        .arg("-out")
        .arg(&locked)
        .status();
    assert!(done.expect("openssl").success());
    let cert = certificate.cert.clone();
    // The certificate's files are made anew, with another key, but it is not
    // come to that.
    assert_refused(folder.path(), &cert, &locked, &locked, "openssl pkey");
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let words = words("127.0.0.1:0", &certificate, backend.address());
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&certificate.key, PermissionsExt::from_mode(mode)).expect("its mode");
        let program = Program::start(folder.path(), &borrowed(&words));
        program.wait_log("listening on");
        let log = program.log();
        let warning = log
            .lines()
            .find(|line| line.contains("WARN") && line.contains("can be read by others"));
        assert_eq!(warning.is_some(), warned, "{log}");
        if let Some(warning) = warning {
            let key = certificate.key.to_str().expect("text");
            assert!(warning.contains(key) && warning.contains("644"), "{log}");
        }
        let address = program.listeners()[0];
        program::echo_at(address, &program::trust(&certificate));
    }
}

#[test]
fn a_check_does_not_disturb_the_running_instance() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let port = quiet_port();
    let config = format!(
        "(listeners: [{}], shards: 2)",
        listener(
            &format!("127.0.0.1:{port}"),
            &certificate,
            backend.address()
        )
    );
    let (program, addresses) = Program::serve(folder.path(), &config);
    let trust = program::trust(&certificate);
    let held = program::echo_at(addresses[0], &trust);

    let file = folder.path().join("adit.ron");
    let words = ["check", "--config", file.to_str().expect("text")];
    let over = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut served = 0;
            while !over.load(Ordering::SeqCst) || served < 100 {
                program::echo_at(addresses[0], &trust);
                served += 1;
            }
            served
        });
        for _ in 0..5 {
            let ended = program::run(folder.path(), &words);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        over.store(true, Ordering::SeqCst);
        clients.join().expect("every connection served")
    });
    assert_eq!(program.stats().total.accepted, served + 1);
    program::assert_echo(&held);

    // What it asks of the kernel, where that can be seen.
    let trace = folder.path().join("trace");
    let strace = [
        "strace",
        "-f",
        "-e",
        "trace=bind,listen,accept4,connect",
        "-o",
        trace.to_str().expect("text"),
    ];
    if tools::has("strace", "-V") {
        let ended = Program::start_under(folder.path(), &strace, &words).wait();
        let calls = fs::read_to_string(&trace).unwrap_or_default();
        if !calls.contains("+++ exited with 0 +++") {
            println!("passed over: this machine lets nobody trace: {ended:?}");
            return;
        }
        for call in ["bind(", "listen("] {
            assert!(!calls.contains(call), "{calls}");
        }
    }
}

#[test]
fn a_star_listens_on_both_families() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let words = words("*:0", &certificate, backend.address());
    let program = Program::start(folder.path(), &borrowed(&words));
    program.wait_log("listening on");
    let shown = program.stats().listeners[0].address.clone();
    let port = shown.strip_prefix("*:").expect("a star");
    let port: u16 = port.parse().expect("a port");
    let trust = program::trust(&certificate);
    program::echo_at(SocketAddr::from(([127, 0, 0, 1], port)), &trust);
    // A machine may have no IPv6 at all.
    if TcpListener::bind("[::1]:0").is_err() {
        println!("passed over in part: this machine has no IPv6");
        return;
    }
    let v6: IpAddr = "::1".parse().expect("an address");
    program::echo_at(SocketAddr::from((v6, port)), &trust);
}

#[test]
fn a_unix_socket_listens_and_goes_away_with_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let path = folder.path().join("tls.sock");
    let words = words(
        &format!("unix:{}", path.display()),
        &certificate,
        backend.address(),
    );
    let program = Program::start(folder.path(), &borrowed(&words));
    program.wait_log("listening on");
    wait_for("the socket", || path.exists().then_some(()));

    let trust = program::trust(&certificate);
    for _ in 0..20 {
        let mut socket = UnixStream::connect(&path).expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = rustls::ClientConnection::new(trust.clone(), name).expect("a connection");
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        stream.write_all(b"through a file").expect("sent");
        let mut back = [0; 14];
        stream.read_exact(&mut back).expect("received");
        assert_eq!(&back, b"through a file");
    }
    // Another instance does not take it.
    let second = program::run(folder.path(), &borrowed(&words));
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second.err.contains(path.to_str().expect("text")),
        "{second:?}"
    );
    assert!(UnixStream::connect(&path).is_ok());

    program.signal("TERM");
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!path.exists(), "the socket's file is left");
}

#[test]
fn a_unix_socket_left_by_a_killed_instance_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let path = folder.path().join("tls.sock");
    let words = words(
        &format!("unix:{}", path.display()),
        &certificate,
        backend.address(),
    );
    for _ in 0..2 {
        let program = Program::start(folder.path(), &borrowed(&words));
        program.wait_log("listening on");
        program.signal("KILL");
        program.wait();
        assert!(path.exists());
    }
}
