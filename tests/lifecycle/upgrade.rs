//! A new process takes over from a running one: nobody is refused or reset, and
//! if it comes to nothing, nothing has happened.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use adit::config::Address;
use adit::http;
use adit::metrics::{BackendState, Stats};
use rustls::client::Resumption;
use tempfile::TempDir;

use crate::program::{self, Ended, Program, listener};
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client, End};
use crate::support::{PATIENCE, backend, pattern, turn, wait_for};

/// A program that can be replaced, its configuration, and the processes that
/// serve one after the other. Dropping it ends all of them.
pub(crate) struct Stage {
    folder: TempDir,
    pub(crate) certificate: Certificate,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::make(folder.path());
        Self {
            folder,
            certificate,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn listener(&self, address: &str, backend: SocketAddr) -> String {
        listener(address, &self.certificate, backend)
    }

    pub(crate) fn configure(&self, listeners: &[String], settings: &str) {
        let listeners = listeners.join(", ");
        let text = format!("(\n  listeners: [{listeners}],\n  {settings},\n)");
        program::configure(self.path(), &text);
    }

    /// Starts the first process behind these words.
    pub(crate) fn start(&self, wrapper: &[&str]) -> Row {
        let file = self.path().join("adit.ron");
        let file = file.to_str().expect("text");
        let words = ["run", "--no-watch", "--config", file];
        let first = Program::start_under(self.path(), wrapper, &words);
        first.wait_log("serving with");
        Row {
            folder: self.path().to_owned(),
            first: Some(first),
        }
    }
}

/// Processes that took over from each other, all with one log.
pub(crate) struct Row {
    folder: PathBuf,
    first: Option<Program>,
}

impl Row {
    pub(crate) fn first(&self) -> &Program {
        self.first.as_ref().expect("it is there until the end")
    }

    /// All that took over, in their order.
    fn successors(&self) -> Vec<u32> {
        let log = self.first().log();
        let started = log.lines().filter(|line| line.contains("upgrade: started"));
        started
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect()
    }

    /// The one whose admin endpoint says that it serves.
    #[track_caller]
    pub(crate) fn serving(&self) -> u32 {
        self.stats().pid
    }

    #[track_caller]
    pub(crate) fn stats(&self) -> Stats {
        wait_for("a process that serves", || {
            let sockets = fs::read_dir(self.folder.join("adit")).ok()?;
            let serving = sockets.flatten().find(|entry| {
                let name = entry.file_name();
                name.to_string_lossy().starts_with("admin-")
            })?;
            let socket = Address::Unix(serving.path());
            let answer = http::client::get(&socket, "/stats", PATIENCE).ok()?;
            serde_json::from_slice(&answer.body).ok()
        })
    }

    /// Where its listeners of TCP are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let stats = self.stats();
        let addresses = stats.listeners.iter().flat_map(|l| l.address.split(", "));
        addresses.filter_map(|a| a.parse().ok()).collect()
    }

    /// `adit upgrade`, however it ends.
    fn ask(&self) -> Ended {
        program::run(&self.folder, &["upgrade"])
    }

    /// `adit upgrade`, with success; gives the new process's id.
    #[track_caller]
    pub(crate) fn upgrade(&self) -> u32 {
        let before = self.serving();
        let ended = self.ask();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let after = self.serving();
        assert_ne!(before, after);
        let told = format!(
            "process {after} (adit {}) serves",
            env!("CARGO_PKG_VERSION")
        );
        assert!(ended.out.contains(&told), "{ended:?}");
        after
    }

    /// `adit upgrade`, refused for a reason with this in it.
    #[track_caller]
    fn assert_refused(&self, why: &str) {
        let before = self.serving();
        let ended = self.ask();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("the old process goes on"), "{ended:?}");
        assert!(ended.err.contains(why), "{why}: {ended:?}");
        assert!(self.first().log().contains(why), "{}", self.first().log());
        assert_eq!(self.serving(), before);
    }

    /// SIGTERM to the last one, and the end of all.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        let last = self.serving();
        program::signal(last, "TERM");
        let all = self.successors();
        wait_for("the end of all", || {
            all.iter().all(|pid| is_gone(*pid)).then_some(())
        });
        let first = self.first.take().expect("it is there until the end");
        let ended = first.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.err
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if self.first.is_some() {
            for pid in self.successors() {
                let line = format!("kill -KILL {pid} 2>/dev/null");
                let _ = std::process::Command::new("sh")
                    .args(["-c", &line])
                    .status();
            }
        }
    }
}

/// Whether a process has ended, though nobody may have taken note of it.
fn is_gone(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains("Z (zombie)"))
}

/// A client that comes, has bytes sent back, and goes, as often as can be.
fn storm(
    address: SocketAddr,
    trust: &Arc<rustls::ClientConfig>,
    stop: &AtomicBool,
    served: &AtomicU64,
) {
    while !stop.load(Ordering::Relaxed) {
        let tcp = client::tcp(address);
        let client = Client::shake(tcp, trust).expect("a handshake");
        let bytes = pattern::at(served.load(Ordering::Relaxed), 4000);
        client.send(bytes).expect("sent");
        assert_eq!(client.receive_exact(bytes.len()), bytes);
        client.close_notify();
        assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn ten_upgrades_in_a_storm_lose_nobody() {
    /// Does not fit into buffers on the way.
    const LENGTH: u64 = 64 << 20;
    const CLIENTS: usize = 6;

    // Of all the processes, since none goes before its last tunnel does.
    turn::take_for(30);
    let stage = Stage::new();
    let (echo, source) = (backend::echo(), backend::source(LENGTH));
    let listeners = [
        stage.listener("127.0.0.1:0", echo.address()),
        // Another host, so that the two are told apart.
        stage.listener("127.0.0.2:0", source.address()),
    ];
    let configure = |shards: usize| {
        stage.configure(
            &listeners,
            &format!("shards: {shards}, timeouts: (drain: \"120s\")"),
        );
    };
    configure(2);
    let row = stage.start(&[]);
    let addresses = row.addresses();
    let trust = program::trust(&stage.certificate);
    // Begun before the first upgrade, and read as the upgrades go on.
    let long = program::trust(&stage.certificate);
    let long = Client::shake(client::tcp(addresses[1]), &long).expect("a handshake");
    let held = program::echo_at(addresses[0], &trust);
    let mut check = pattern::Check::default();
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));

    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| storm(addresses[0], &trust, &stop, &served)))
            .collect();
        let mut pids = vec![row.serving()];
        for shards in [2, 3, 5, 1, 2, 4, 4, 1, 3, 2] {
            let before = served.load(Ordering::Relaxed);
            configure(shards);
            pids.push(row.upgrade());
            assert_eq!(row.stats().shards.len(), shards);
            assert_eq!(row.addresses(), addresses);
            check.feed(&long.receive_exact(1 << 20));
            program::assert_echo(&held);
            wait_for("clients that are served", || {
                let failed = clients.iter().any(|client| client.is_finished());
                (failed || served.load(Ordering::Relaxed) >= before + 30).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
        // Whoever was refused, reset or told something wrong has panicked.
        for client in clients {
            assert!(client.join().is_ok(), "a client was not served");
        }
        pids.dedup();
        assert_eq!(pids.len(), 11);
    });
    println!("{} connections were served", served.into_inner());
    let mut buffer = vec![0; 128 * 1024];
    let end = loop {
        match long.receive(&mut buffer) {
            Ok(n) => check.feed(&buffer[..n]),
            Err(end) => break end,
        }
    };
    assert_eq!((check.seen, end), (LENGTH, End::CloseNotify));
    long.close_notify();
    long.fin();
    held.close_notify();
    assert_eq!(held.receive_all().1, End::CloseNotify);
    drop((long, held));
    let log = row.stop();
    assert!(!log.contains("were cut"), "{log}");
}

/// Who waits in the kernel's queue, because the old process takes nobody more,
/// is let in by the new one; also where it has fewer shards than there are
/// sockets.
#[test]
fn who_waits_in_the_queue_is_served_by_the_new_process() {
    let stage = Stage::new();
    let echo = backend::echo();
    let listener = stage.listener("127.0.0.1:0", echo.address());
    let full = listener.trim_end_matches(')').to_owned() + ", max_connections: 4)";
    stage.configure(&[full], "shards: 4");
    let row = stage.start(&[]);
    let address = row.addresses()[0];
    let trust = program::trust(&stage.certificate);
    // Each shard may have one, so that some of these wait at each.
    let waiting: Vec<_> = (0..60).map(|_| client::tcp(address)).collect();
    wait_for("four tunnels", || {
        (row.stats().total.tunnels_open == 4).then_some(())
    });
    let wide = listener.trim_end_matches(')').to_owned() + ", max_connections: 400)";
    stage.configure(&[wide], "shards: 2");
    row.upgrade();
    std::thread::scope(|scope| {
        for tcp in waiting {
            let trust = &trust;
            scope.spawn(move || {
                let client = Client::shake(tcp, trust).expect("a handshake");
                program::assert_echo(&client);
                client.close_notify();
                assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
            });
        }
    });
    assert_eq!(row.stats().total.accepted, 56);
    row.stop();
}

#[test]
fn listeners_that_go_are_drained_and_new_ones_bound() {
    let stage = Stage::new();
    let echo = backend::echo();
    let unix = stage.path().join("in.sock");
    let goes = stage.path().join("goes.sock");
    let all = [
        stage.listener("127.0.0.1:0", echo.address()),
        stage.listener(&format!("unix:{}", unix.display()), echo.address()),
        stage.listener("127.0.0.3:0", echo.address()),
        stage.listener(&format!("unix:{}", goes.display()), echo.address()),
    ];
    stage.configure(&all, "shards: 2");
    let row = stage.start(&[]);
    let before = row.addresses();
    let trust = program::trust(&stage.certificate);
    let held = program::echo_at(before[1], &trust);
    let kept = [
        all[0].clone(),
        all[1].clone(),
        stage.listener("127.0.0.4:0", echo.address()),
    ];
    stage.configure(&kept, "shards: 3");

    // By the signal this time.
    let first = row.serving();
    program::signal(first, "USR2");
    wait_for("another process", || (row.serving() != first).then_some(()));
    let after = row.addresses();
    assert_eq!(after[0], before[0]);
    program::echo_at(after[0], &trust);
    program::echo_at(after[1], &trust);
    wait_for("the end of what has gone", || {
        (!program::accepts(before[1])).then_some(())
    });
    program::assert_echo(&held);
    assert!(UnixStream::connect(&unix).is_ok());
    held.close_notify();
    assert_eq!(held.receive_all().1, End::CloseNotify);
    drop(held);
    // The old process removes its own file at its end, and not the other.
    wait_for("the old process's end", || is_gone(first).then_some(()));
    assert!(!goes.exists());
    assert!(UnixStream::connect(&unix).is_ok());
    row.upgrade();
    assert!(UnixStream::connect(&unix).is_ok());
    row.stop();
    assert!(!unix.exists(), "the last one removes it");
}

#[test]
fn sessions_resume_in_the_new_process() {
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        "shards: 2",
    );
    let row = stage.start(&[]);
    let address = row.addresses()[0];
    let mut config = client::config(&stage.certificate, rustls::ALL_VERSIONS);
    config.resumption = Resumption::in_memory_sessions(64);
    let config = Arc::new(config);
    for round in 0..4 {
        let client = program::echo_at(address, &config);
        assert_eq!(client.resumed(), round > 0, "{round}");
        client.close_notify();
        assert_eq!(client.receive_all().1, End::CloseNotify);
        drop(client);
        if round < 3 {
            row.upgrade();
        }
    }
    row.stop();
}

#[test]
fn a_new_process_that_does_not_serve_changes_nothing() {
    let stage = Stage::new();
    let echo = backend::echo();
    let listener = stage.listener("127.0.0.1:0", echo.address());
    stage.configure(std::slice::from_ref(&listener), "shards: 2");
    // A copy, which can be replaced.
    let folder = stage.path().join("bin");
    fs::create_dir(&folder).expect("a folder");
    let program = folder.join("adit");
    let real = stage.path().join("real");
    fs::copy(env!("CARGO_BIN_EXE_adit"), &real).expect("a copy");
    fs::hard_link(&real, &program).expect("a link");
    let replace = |content: &str| {
        let new = stage.path().join("new");
        fs::write(&new, content).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("executable");
        fs::rename(&new, &program).expect("replaced");
    };
    // It is called by this name: `env` finds it on the path, so that its own
    // first word does not tell where it is.
    let path = format!("PATH={}:/usr/bin:/bin", folder.display());
    let row = stage.start(&["env", &path, "sh", "-c", "shift; exec adit \"$@\"", "sh"]);
    let address = row.addresses()[0];
    let trust = program::trust(&stage.certificate);
    let held = program::echo_at(address, &trust);

    // The configuration.
    stage.configure(std::slice::from_ref(&listener), "shards: 2, shrads: 3");
    row.assert_refused("unknown key \"shrads\"");
    let missing = stage.path().join("missing.key").display().to_string();
    let key = stage.certificate.key.display().to_string();
    stage.configure(&[listener.replace(&key, &missing)], "shards: 2");
    row.assert_refused(&missing);
    // Another listener's address is taken.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address").to_string();
    let both = [listener.clone(), stage.listener(&taken, echo.address())];
    stage.configure(&both, "shards: 3");
    row.assert_refused("in use");
    // Its own is, which the old process has.
    let wider = stage.listener(&format!("*:{}", address.port()), echo.address());
    stage.configure(&[wider], "shards: 2");
    row.assert_refused(&format!("while this server listens at {address} itself"));
    stage.configure(std::slice::from_ref(&listener), "shards: 2");

    // The program.
    replace("#!/bin/sh\nexit 3\n");
    row.assert_refused("exit status: 3");
    replace("no program");
    row.assert_refused("cannot be started");
    fs::remove_file(&program).expect("removed");
    row.assert_refused(&format!("{} cannot be started", program.display()));

    // One that hangs. Meanwhile a second upgrade is refused.
    replace("#!/bin/sh\nexec sleep 1000\n");
    let begun = row.successors().len();
    program::signal(row.serving(), "USR2");
    wait_for("a process that hangs", || {
        (row.successors().len() > begun).then_some(())
    });
    let hangs = *row.successors().last().expect("one");
    row.assert_refused("an upgrade is under way already");
    program::signal(hangs, "KILL");
    row.first().wait_log("signal: 9");

    for _ in 0..8 {
        program::echo_at(address, &trust);
    }
    program::assert_echo(&held);
    assert_eq!(row.stats().total.panics, 0);

    // The right one again.
    fs::remove_file(&program).expect("removed");
    fs::hard_link(&real, &program).expect("a link");
    row.upgrade();
    program::echo_at(address, &trust);
    held.close_notify();
    assert_eq!(held.receive_all().1, End::CloseNotify);
    drop(held);
    row.stop();
}

#[test]
fn a_server_that_is_told_to_stop_during_an_upgrade_stops() {
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        "shards: 1",
    );
    let program = stage.path().join("called");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_adit"), &program).expect("a link");
    let called = format!("shift; exec {} \"$@\"", program.display());
    let row = stage.start(&["sh", "-c", &called, "sh"]);
    let hanging = stage.path().join("hangs");
    fs::write(&hanging, "#!/bin/sh\nexec sleep 1000\n").expect("written");
    fs::set_permissions(&hanging, fs::Permissions::from_mode(0o755)).expect("executable");
    // The link that it was called by leads elsewhere now.
    fs::remove_file(&program).expect("removed");
    std::os::unix::fs::symlink(&hanging, &program).expect("a link");
    program::signal(row.serving(), "USR2");
    let line = row.first().wait_log("upgrade: started");
    assert!(line.contains(&program.display().to_string()), "{line}");
    let log = row.stop();
    assert!(log.contains("the server was told to stop"), "{log}");
}

#[test]
fn a_draining_process_takes_no_second_upgrade_and_obeys_signals() {
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        "shards: 2, timeouts: (drain: \"10m\")",
    );
    let row = stage.start(&[]);
    let trust = program::trust(&stage.certificate);
    let held = program::echo_at(row.addresses()[0], &trust);
    let first = row.serving();
    let second = row.upgrade();
    // By its process id it is found all the same.
    let pid = first.to_string();
    let stats = program::run(stage.path(), &["stats", "--pid", &pid]);
    assert!(stats.out.contains("draining"), "{stats:?}");
    let ended = program::run(stage.path(), &["upgrade", "--pid", &pid]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = format!("process {second} has taken over already");
    assert!(ended.err.contains(&told), "{ended:?}");
    let ended = program::run(stage.path(), &["reload", "--pid", &pid]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    program::assert_echo(&held);
    // The first signal changes nothing: it is draining already. The second one
    // ends it.
    program::signal(first, "TERM");
    row.first().wait_log("a second one stops at once");
    program::assert_echo(&held);
    program::signal(first, "TERM");
    wait_for("the end of the old process", || {
        is_gone(first).then_some(())
    });
    assert_eq!(row.serving(), second);
    program::echo_at(row.addresses()[0], &trust);
}

#[test]
fn an_admin_socket_of_the_operators_choice_is_the_new_processes() {
    let stage = Stage::new();
    let echo = backend::echo();
    let socket = stage.path().join("admin.sock");
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        &format!("shards: 1, admin: {socket:?}"),
    );
    let _row = stage.start(&[]);
    let words = |command: &'static str| [command, "--admin", socket.to_str().expect("text")];
    let pid = || -> u32 {
        let ended = program::run(stage.path(), &[&words("stats")[..], &["--json"]].concat());
        let stats: Stats = serde_json::from_str(&ended.out).expect("statistics");
        stats.pid
    };
    let file = || {
        fs::metadata(&socket)
            .map(|found| found.ino())
            .expect("there")
    };
    let (first, inode) = (pid(), file());
    let mut last = first;
    for _ in 0..3 {
        let ended = program::run(stage.path(), &words("upgrade"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        wait_for("the old process's end", || is_gone(last).then_some(()));
        let next = pid();
        assert_ne!(next, last);
        last = next;
    }
    // It is the same socket all the time: nothing has to be made in its folder.
    assert_eq!(file(), inode);
    program::signal(last, "TERM");
    wait_for("the last process's end", || is_gone(last).then_some(()));
    assert!(!socket.exists());
}

/// What an operator has taken out stays out in the new process, for as long as
/// there is such a backend; from the first tunnel on.
#[test]
fn a_disabled_backend_stays_so_in_the_new_process() {
    let stage = Stage::new();
    let (one, other) = (backend::echo(), backend::echo());
    let [at_one, at_other] = [&one, &other].map(|b| b.address().to_string());
    let listener = format!(
        "(address: \"127.0.0.1:0\", tls: (cert: {:?}, key: {:?}), service: \"web\")",
        stage.certificate.cert, stage.certificate.key
    );
    let configure = |backends: &[&String]| {
        let settings = format!("shards: 2, services: {{\"web\": (backends: {backends:?})}}");
        stage.configure(std::slice::from_ref(&listener), &settings);
    };
    configure(&[&at_one, &at_other]);
    let row = stage.start(&[]);
    let address = row.addresses()[0];
    let trust = program::trust(&stage.certificate);
    let switch = |word: &str| {
        let pid = row.serving().to_string();
        let words = ["backend", word, "--pid", &pid, "web", &at_one];
        let ended = program::run(stage.path(), &words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    let is_disabled = || {
        let stats = row.stats();
        let backends = stats.services[0].backends.iter();
        let states = backends.map(|b| b.state == BackendState::Disabled);
        states.collect::<Vec<_>>()
    };
    switch("disable");
    for _ in 0..2 {
        row.upgrade();
        assert_eq!(is_disabled(), [true, false]);
        for _ in 0..16 {
            program::echo_at(address, &trust);
        }
        let stats = row.stats();
        let totals = stats.services[0].backends.iter().map(|b| b.tunnels_total);
        assert_eq!(totals.collect::<Vec<_>>(), [0, 16]);
    }
    // Gone from the configuration, and back.
    configure(&[&at_other]);
    row.upgrade();
    assert_eq!(is_disabled(), [false]);
    configure(&[&at_other, &at_one]);
    row.upgrade();
    assert_eq!(is_disabled(), [false, false]);
    // Out, away by a reload, and back.
    switch("disable");
    assert_eq!(is_disabled(), [false, true]);
    for backends in [&[&at_other][..], &[&at_other, &at_one]] {
        configure(backends);
        let ended = program::run(stage.path(), &["reload"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    row.upgrade();
    assert_eq!(is_disabled(), [false, false]);
    // Out, and in again.
    switch("disable");
    row.upgrade();
    assert_eq!(is_disabled(), [false, true]);
    switch("enable");
    row.upgrade();
    assert_eq!(is_disabled(), [false, false]);
    row.stop();
}

#[test]
fn metrics_are_the_new_processes() {
    let stage = Stage::new();
    let echo = backend::echo();
    let unix = stage.path().join("metrics.sock");
    for place in [
        format!("127.0.0.1:{}", program::quiet_port()),
        format!("unix:{}", unix.display()),
    ] {
        let metrics: Address = place.parse().expect("an address");
        stage.configure(
            &[stage.listener("127.0.0.1:0", echo.address())],
            &format!("shards: 1, metrics: (address: {place:?}), timeouts: (drain: \"10m\")"),
        );
        let row = stage.start(&[]);
        let trust = program::trust(&stage.certificate);
        let held = program::echo_at(row.addresses()[0], &trust);
        let served = || {
            let answer = http::client::get(&metrics, "/metrics", PATIENCE).expect("an answer");
            assert_eq!(answer.status, 200);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let line = text
                .lines()
                .find(|l| l.starts_with("adit_connections_accepted_total "));
            let line = line.or_else(|| text.lines().find(|l| l.starts_with("adit_tunnels_open")));
            line.unwrap_or_else(|| panic!("{text}")).to_owned()
        };
        let before = served();
        for _ in 0..2 {
            row.upgrade();
            // The old process, which has a tunnel yet, is never the one to answer.
            for _ in 0..10 {
                assert_ne!(served(), before);
                let ready = http::client::get(&metrics, "/readyz", PATIENCE).expect("an answer");
                assert_eq!(
                    ready.status,
                    200,
                    "{}",
                    String::from_utf8_lossy(&ready.body)
                );
            }
        }
        held.close_notify();
        assert_eq!(held.receive_all().1, End::CloseNotify);
        drop(held);
        // The end of the first one takes nothing away.
        let first = row.first().pid();
        wait_for("the end of the first", || is_gone(first).then_some(()));
        assert_ne!(served(), before);
        row.stop();
        assert!(http::client::get(&metrics, "/metrics", PATIENCE).is_err());
        assert!(!unix.exists());
    }
}
