//! SIGHUP: all of the new configuration, or nothing of it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;

use crate::program::{self, Program, listener, quiet_port};
use crate::support::certificate::Certificate;
use crate::support::client::{self, Client, End};
use crate::support::{backend, backend::Backend, tools, wait_for};

/// A server with a configuration file that can be changed.
struct Stage {
    folder: TempDir,
    backend: Backend<()>,
    certificate: Certificate,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::make(folder.path());
        Self {
            folder,
            backend: backend::echo(),
            certificate,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn listener(&self, address: &str) -> String {
        listener(address, &self.certificate, self.backend.address())
    }

    fn config(&self, listeners: &[String]) -> String {
        format!(
            "(\n  listeners: [{}],\n  shards: 2,\n)",
            listeners.join(", ")
        )
    }

    fn serve(&self, listeners: &[String]) -> (Program, Vec<SocketAddr>) {
        Program::serve(self.path(), &self.config(listeners))
    }
}

/// SIGHUP, waited for until it is carried out.
#[track_caller]
fn reload(program: &Program, times: usize) {
    program.signal("HUP");
    program.wait_log_times("reloaded: the new configuration is in use", times);
}

#[test]
fn new_connections_see_the_new_certificate_and_old_ones_go_on() {
    let stage = Stage::new();
    let (program, addresses) = stage.serve(&[stage.listener("127.0.0.1:0")]);
    let old = program::trust(&stage.certificate);
    let held = program::echo_at(addresses[0], &old);

    // In the same files, as a renewal does it.
    let renewed = Certificate::make(stage.path());
    let new = program::trust(&renewed);
    for _ in 0..8 {
        // Not before it is told to.
        program::echo_at(addresses[0], &old);
    }
    reload(&program, 1);
    for _ in 0..8 {
        program::echo_at(addresses[0], &new);
    }
    // What the server shows now is not what the old trust knows.
    let fresh = program::trust(&stage.certificate);
    let refused = Client::shake(client::tcp(addresses[0]), &fresh).err();
    assert!(matches!(refused, Some(End::Tls(_))), "{refused:?}");
    program::assert_echo(&held);
    held.close_notify();
    assert_eq!(held.receive_all(), (vec![], End::CloseNotify));
    let stats = program.stats();
    assert_eq!((stats.reloads, stats.reloads_failed), (1, 0));
    // Every shard said that it had taken it up.
    assert!(!program.log().contains("have yet to take"));
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_where() {
    let stage = Stage::new();
    let one = stage.listener("127.0.0.1:0");
    let (mut program, addresses) = stage.serve(std::slice::from_ref(&one));
    let trust = program::trust(&stage.certificate);
    let held = program::echo_at(addresses[0], &trust);
    let file = stage.path().join("adit.ron");
    let good = fs::read_to_string(&file).expect("the configuration");
    let elsewhere = stage.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let other = Certificate::make(&elsewhere);
    let key = |path: &Path| format!("{:?}", path);
    let our_key = key(&stage.certificate.key);
    let missing = stage.path().join("missing.key");

    let place = |line: usize| format!("{}:{line}:", file.display());
    let cases = [
        (good.replace("shards: 2", "shards: 2, shrads: 3"), place(3)),
        (good.replace("shards: 2,\n)", "shards: 2,\n"), place(1)),
        (String::new(), format!("{}:", file.display())),
        (
            good.replace(&our_key, &key(&other.key)),
            other.key.display().to_string(),
        ),
        (
            good.replace(&our_key, &key(&missing)),
            missing.display().to_string(),
        ),
        (good.replace("shards: 2", "shards: 3"), "restart".to_owned()),
        (
            good.replace("127.0.0.1:0", "192.0.2.1:4433"),
            "192.0.2.1:4433".to_owned(),
        ),
    ];
    let tried = cases.len();
    for (index, (bad, part)) in cases.into_iter().enumerate() {
        assert_ne!(bad, good);
        program::configure(stage.path(), &bad);
        let before = program.log().len();
        program.signal("HUP");
        program.wait_log_times(
            "not reloaded, the old configuration stays in use",
            index + 1,
        );
        wait_for(&format!("{part:?} in the log"), || {
            program.log()[before..].contains(&part).then_some(())
        });
        assert!(program.is_running());
        program::assert_echo(&held);
        program::echo_at(addresses[0], &trust);
    }
    assert_eq!(program.listeners(), addresses);
    let stats = program.stats();
    assert_eq!((stats.reloads, stats.reloads_failed), (0, tried as u64));

    // And a good one is taken up after all that.
    program::configure(stage.path(), &good);
    reload(&program, 1);
    program::echo_at(addresses[0], &trust);
    program.signal("TERM");
    drop(held);
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn listeners_come_and_go() {
    let stage = Stage::new();
    let ports = [quiet_port(), quiet_port()];
    let [a, b] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let [la, lb] = [a, b].map(|address| stage.listener(&address.to_string()));
    let (program, addresses) = stage.serve(std::slice::from_ref(&la));
    assert_eq!(addresses, [a]);
    let trust = program::trust(&stage.certificate);
    let held = program::echo_at(a, &trust);
    assert!(!program::accepts(b));
    let fds = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", program.pid()));
        fds.expect("a process").count()
    };

    let mut most = 0;
    for turn in 0..4 {
        program::configure(stage.path(), &stage.config(&[la.clone(), lb.clone()]));
        reload(&program, 3 * turn + 1);
        program::echo_at(a, &trust);
        wait_for("the new listener", || program::accepts(b).then_some(()));
        program::echo_at(b, &trust);

        program::configure(stage.path(), &stage.config(std::slice::from_ref(&lb)));
        reload(&program, 3 * turn + 2);
        wait_for("the end of the old one", || {
            (!program::accepts(a)).then_some(())
        });
        program::echo_at(b, &trust);
        // The tunnel that came in by it goes on.
        program::assert_echo(&held);
        assert_eq!(program.listeners(), [b]);

        program::configure(stage.path(), &stage.config(std::slice::from_ref(&la)));
        reload(&program, 3 * turn + 3);
        wait_for("the end of the other", || {
            (!program::accepts(b)).then_some(())
        });
        wait_for("the first again", || program::accepts(a).then_some(()));
        program::echo_at(a, &trust);
        let alone = |stats: &adit::metrics::Stats| stats.total.tunnels_open == 1;
        wait_for("the held tunnel alone", || {
            alone(&program.stats()).then_some(())
        });
        if turn == 0 {
            most = fds() + 2;
        }
    }
    wait_for("no more descriptors than after one turn", || {
        (fds() <= most).then_some(())
    });
}

/// Its own sockets keep a listener from another address with the same port:
/// nobody else is to be looked for.
#[test]
fn what_the_server_has_itself_is_named_as_such() {
    let stage = Stage::new();
    let [port, figures, other] = [quiet_port(), quiet_port(), quiet_port()];
    let config = |listen: &str, metrics: &str| {
        let one = stage.listener(listen);
        format!("(listeners: [{one}], shards: 2, metrics: (address: {metrics:?}))")
    };
    let here = format!("127.0.0.1:{port}");
    let read = format!("127.0.0.1:{figures}");
    let (program, addresses) = Program::serve(stage.path(), &config(&here, &read));
    let trust = program::trust(&stage.certificate);
    let held = program::echo_at(addresses[0], &trust);
    for (listen, metrics, had) in [
        (&*format!("*:{port}"), &*read, &*here),
        (&*format!("localhost:{port}"), &read, &here),
        (&here, &format!("*:{figures}"), &read),
        // Each has what the other is to get.
        (&read, &here, &here),
    ] {
        program::configure(stage.path(), &config(listen, metrics));
        let done = program::run(stage.path(), &["reload"]);
        assert_eq!(done.code, Some(1), "{listen}, {metrics}");
        let said = format!("while this server listens at {had} itself");
        assert!(
            done.err.contains(&said),
            "{listen}, {metrics}: {}",
            done.err
        );
        assert!(!done.err.contains("ss -ltnp"), "{}", done.err);
        program::echo_at(addresses[0], &trust);
    }
    program::assert_echo(&held);
    // What it says to do helps.
    for (listen, times) in [(format!("*:{other}"), 1), (format!("*:{port}"), 2)] {
        program::configure(stage.path(), &config(&listen, &read));
        reload(&program, times);
        wait_for("the end of the old listener", || {
            (times == 2 || !program::accepts(addresses[0])).then_some(())
        });
    }
    program::echo_at(addresses[0], &trust);
}

/// Handshakes hammered at a listener throughout many reloads, of certificates,
/// timeouts and the other listeners: none fails.
#[test]
fn no_handshake_is_lost_to_a_reload() {
    const LEAST: u64 = 300;
    const RELOADS: usize = 20;
    let stage = Stage::new();
    let port = SocketAddr::from(([127, 0, 0, 1], quiet_port()));
    let hammered = stage.listener("127.0.0.1:0");
    let (program, addresses) = stage.serve(std::slice::from_ref(&hammered));
    let address = addresses[0];
    let trust = program::trust(&stage.certificate);
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) || done.load(Ordering::SeqCst) < LEAST {
                    let client = program::echo_at(address, &trust);
                    client.close_notify();
                    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for turn in 1..=RELOADS {
            // Some handshakes between any two.
            let before = done.load(Ordering::SeqCst);
            wait_for("handshakes", || {
                (done.load(Ordering::SeqCst) >= before + 3).then_some(())
            });
            let listeners = if turn % 2 == 0 {
                vec![hammered.clone()]
            } else {
                vec![stage.listener(&port.to_string()), hammered.clone()]
            };
            program::configure(stage.path(), &stage.config(&listeners));
            reload(&program, turn);
        }
        over.store(true, Ordering::SeqCst);
    });
    let done = done.load(Ordering::SeqCst);
    assert!(done >= LEAST);
    let ended = |stats: &adit::metrics::Stats| stats.total.tunnels_open == 0;
    let stats = wait_for("the end of all tunnels", || {
        Some(program.stats()).filter(ended)
    });
    assert_eq!(stats.total.handshakes, done, "{stats:#?}");
    assert_eq!(stats.reloads, RELOADS as u64);
}

/// Reloads on top of each other, by signal and by command, under handshakes
/// and transfers without a pause.
#[test]
fn a_storm_of_reloads_breaks_nothing() {
    const ROUNDS: u64 = 40;
    const LENGTH: u64 = 3_000_000;
    let stage = Stage::new();
    let source = backend::source(LENGTH);
    let listeners = [
        stage.listener("127.0.0.1:0"),
        listener("127.0.0.2:0", &stage.certificate, source.address()),
    ];
    let (program, addresses) = stage.serve(&listeners);
    let trust = program::trust(&stage.certificate);
    let over = AtomicBool::new(false);
    let (shaken, carried) = (AtomicU64::new(0), AtomicU64::new(0));
    let admin = program.admin_socket();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    // Fresh ones: sessions would spare the certificate.
                    let trust = program::trust(&stage.certificate);
                    let client = program::echo_at(addresses[0], &trust);
                    client.close_notify();
                    assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
                    shaken.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let client = Client::shake(client::tcp(addresses[1]), &trust);
                    let client = client.expect("a handshake");
                    assert_eq!(client.receive_pattern(), (LENGTH, End::CloseNotify));
                    carried.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 1..=ROUNDS {
            let before = shaken.load(Ordering::SeqCst);
            program.signal("HUP");
            program.signal("HUP");
            let socket = admin.to_str().expect("text");
            let done = program::run(stage.path(), &["reload", "--admin", socket]);
            assert_eq!(done.code, Some(0), "{}", done.err);
            assert!(done.out.contains("reloaded"), "{}", done.out);
            wait_for("reloads", || {
                (program.stats().reloads >= 2 * round).then_some(())
            });
            wait_for("handshakes", || {
                (shaken.load(Ordering::SeqCst) > before).then_some(())
            });
        }
        wait_for("transfers", || {
            (carried.load(Ordering::SeqCst) >= 4).then_some(())
        });
        over.store(true, Ordering::SeqCst);
    });
    let stats = wait_for("the end of all tunnels", || {
        Some(program.stats()).filter(|stats| stats.total.tunnels_open == 0)
    });
    let clients = shaken.into_inner() + carried.into_inner();
    assert_eq!(stats.total.handshakes, clients, "{stats:#?}");
    assert_eq!(stats.total.accepted, clients);
    assert_eq!(stats.reloads_failed, 0);
}

#[test]
fn the_command_tells_why_a_reload_was_refused() {
    let stage = Stage::new();
    let (program, addresses) = stage.serve(&[stage.listener("127.0.0.1:0")]);
    let file = stage.path().join("adit.ron");
    let good = fs::read_to_string(&file).expect("the configuration");
    program::configure(stage.path(), &good.replace("shards: 2", "shrads: 2"));
    // Found by itself.
    let done = program::run(stage.path(), &["reload"]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    for part in ["old configuration stays", "adit.ron:3:", "shards"] {
        assert!(done.err.contains(part), "{part} not in {}", done.err);
    }
    program::configure(stage.path(), &good);
    let pid = program.pid().to_string();
    let done = program::run(stage.path(), &["reload", "--pid", &pid]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let stats = program.stats();
    assert_eq!((stats.reloads, stats.reloads_failed), (1, 1));

    // A server that stops takes nothing up, and opens nothing.
    let held = program::echo_at(addresses[0], &program::trust(&stage.certificate));
    program.signal("TERM");
    program.wait_log("stopping: ");
    let port = quiet_port();
    let other = stage.listener(&format!("127.0.0.1:{port}"));
    program::configure(stage.path(), &stage.config(&[other]));
    let done = program::run(stage.path(), &["reload", "--pid", &pid]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the server is stopping"), "{}", done.err);
    assert_eq!(done.err.matches("not reloaded").count(), 1, "{}", done.err);
    assert!(!program::accepts(SocketAddr::from(([127, 0, 0, 1], port))));
    drop(held);
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn a_listener_that_stays_takes_up_another_backlog() {
    let stage = Stage::new();
    let one = stage.listener("127.0.0.1:0");
    let with = |backlog: u32| {
        let listener = one.replacen('(', &format!("(backlog: {backlog}, "), 1);
        format!("(listeners: [{listener}], shards: 1)")
    };
    let (program, addresses) = Program::serve(stage.path(), &with(1));
    /// How many of so many clients get in while nobody accepts.
    fn fitting(program: &Program, address: SocketAddr, clients: usize) -> usize {
        program.signal("STOP");
        let patience = std::time::Duration::from_millis(300);
        let held: Vec<_> = (0..clients)
            .map(|_| std::net::TcpStream::connect_timeout(&address, patience))
            .collect();
        program.signal("CONT");
        held.iter().filter(|client| client.is_ok()).count()
    }
    assert!(fitting(&program, addresses[0], 8) < 8);
    program::configure(stage.path(), &with(64));
    reload(&program, 1);
    let trust = program::trust(&stage.certificate);
    // Whoever was in the queue is through.
    program::echo_at(addresses[0], &trust);
    assert_eq!(fitting(&program, addresses[0], 8), 8);
    program::echo_at(addresses[0], &trust);
}

/// What is asked of TCP, too, and what is not asked for any more is as before.
#[test]
fn a_listener_that_stays_takes_up_other_tcp_options() {
    let default = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    if !tools::has("ss", "-V") || default.is_ok_and(|name| name.trim() == "reno") {
        return;
    }
    let stage = Stage::new();
    let one = stage.listener("127.0.0.1:0");
    let with = |tcp: &str| {
        let listener = one.replacen('(', &format!("({tcp}"), 1);
        format!("(listeners: [{listener}], shards: 1)")
    };
    let (program, addresses) = Program::serve(stage.path(), &with(""));
    let trust = program::trust(&stage.certificate);
    let has_reno = || {
        let client = program::echo_at(addresses[0], &trust);
        let port = addresses[0].port();
        let output = std::process::Command::new("ss")
            .args(["-tinH", "state", "established"])
            .arg(format!("sport = :{port}"))
            .output()
            .expect("it runs");
        drop(client);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("cwnd"), "{text}");
        text.contains(" reno ")
    };
    assert!(!has_reno());
    program::configure(
        stage.path(),
        &with("tcp: (congestion: \"reno\", fast_open: true), "),
    );
    reload(&program, 1);
    // Whoever wakes the door up finds it as it was.
    program::echo_at(addresses[0], &trust);
    assert!(has_reno());
    program::configure(stage.path(), &with(""));
    reload(&program, 2);
    program::echo_at(addresses[0], &trust);
    assert!(!has_reno());
}
