//! A service of systemd's: what the manager is told (sd_notify(3)), and the
//! sockets that it passes (sd_listen_fds(3)).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit::sys::notify;

use crate::program;
use crate::support::client::{Client, End};
use crate::support::{PATIENCE, backend, same_rights, tools, wait_for};
use crate::upgrade::Stage;

/// The manager's end, with what it was told so far.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        Self::on(UnixDatagram::bind(path).expect("a socket"))
    }

    fn on(socket: UnixDatagram) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout");
        Self {
            socket,
            told: Vec::new(),
        }
    }

    /// Reads what there is.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            self.told.push(text.to_owned());
        }
    }

    /// The first message from there on that has this line, and its place.
    #[track_caller]
    fn wait(&mut self, from: usize, line: &str) -> (usize, String) {
        let due = Instant::now() + PATIENCE;
        loop {
            let has = |text: &String| text.lines().any(|l| l.starts_with(line));
            let later = self.told.iter().enumerate().skip(from);
            if let Some((at, text)) = later.clone().find(|(_, text)| has(text)) {
                return (at, text.clone());
            }
            assert!(Instant::now() < due, "no {line:?} in {:#?}", self.told);
            self.read();
        }
    }

    /// Whether any message has this line.
    fn was_told(&self, from: usize, line: &str) -> bool {
        self.told[from..]
            .iter()
            .any(|text| text.lines().any(|l| l == line))
    }
}

/// The number behind this name.
#[track_caller]
fn number(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text:?}"))
}

#[test]
fn the_manager_is_told_of_every_stage() {
    let stage = Stage::new();
    let echo = backend::echo();
    let listeners = [stage.listener("127.0.0.1:0", echo.address())];
    stage.configure(&listeners, "shards: 2");
    let path = stage.path().join("notify");
    let mut manager = Manager::at(&path);
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let row = stage.start(&["env", &variable]);
    let first = row.serving();
    let (at, ready) = manager.wait(0, "READY=1");
    assert_eq!(at, 0, "nothing before it: {:?}", manager.told);
    assert_eq!(number(&ready, "MAINPID"), u64::from(first));

    // A reload as systemd asks for it: the stamp is of a moment after that.
    let asked = notify::monotonic_micros();
    program::signal(first, "HUP");
    let (reloading, text) = manager.wait(at + 1, "RELOADING=1");
    let stamp = number(&text, "MONOTONIC_USEC");
    assert!(
        (asked..=notify::monotonic_micros()).contains(&stamp),
        "{stamp}"
    );
    let (at, text) = manager.wait(reloading + 1, "READY=1");
    assert!(text.contains("STATUS=serving, reloaded"), "{text}");
    // One that is refused ends as well, or systemd would wait for it.
    stage.configure(&listeners, "shards: 2, shrads: 3");
    program::signal(first, "HUP");
    let (reloading, _) = manager.wait(at + 1, "RELOADING=1");
    let (at, text) = manager.wait(reloading + 1, "READY=1");
    assert!(text.contains("unknown key \"shrads\""), "{text}");

    // An upgrade that fails is nothing that it need know.
    program::signal(first, "USR2");
    row.first().wait_log("not upgraded");
    stage.configure(&listeners, "shards: 3");
    let held = program::echo_at(row.addresses()[0], &program::trust(&stage.certificate));
    program::signal(first, "USR2");
    // The old process names the new one, and only then does that speak.
    let (left, text) = manager.wait(at + 1, "MAINPID=");
    let second = number(&text, "MAINPID");
    assert!(
        !text.contains("READY") && second != u64::from(first),
        "{text}"
    );
    let (barrier, _) = manager.wait(left + 1, "BARRIER=1");
    let (at, text) = manager.wait(barrier + 1, "READY=1");
    assert_eq!(number(&text, "MAINPID"), second);
    assert_eq!(u64::from(row.serving()), second);
    held.close_notify();
    assert_eq!(held.receive_all().1, End::CloseNotify);
    drop(held);
    wait_for("the end of the first", || {
        (!Path::new(&format!("/proc/{first}/fd/0")).exists()).then_some(())
    });
    manager.read();
    // It goes without a word: the service goes on.
    assert!(!manager.was_told(0, "STOPPING=1"), "{:#?}", manager.told);

    row.stop();
    manager.read();
    let (stopping, _) = manager.wait(at + 1, "STOPPING=1");
    assert!(
        !manager.was_told(stopping, "READY=1"),
        "{:#?}",
        manager.told
    );
}

#[test]
fn an_abstract_socket_is_told_how_much_there_is_to_do() {
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        "shards: 2",
    );
    let name = format!("adit-test{}", stage.path().display());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let mut manager = Manager::on(UnixDatagram::bind_addr(&address).expect("a socket"));
    let variable = format!("NOTIFY_SOCKET=@{name}");
    let row = stage.start(&["env", &variable, "WATCHDOG_USEC=1000000"]);
    manager.wait(0, "READY=1");
    let held = program::echo_at(row.addresses()[0], &program::trust(&stage.certificate));
    let (at, text) = manager.wait(0, "STATUS=serving: 1 tunnel, 2 shards");
    assert!(!text.contains("READY"), "{text}");
    manager.wait(0, "WATCHDOG=1");
    program::signal(row.serving(), "TERM");
    let (at, _) = manager.wait(at + 1, "STOPPING=1");
    let (at, _) = manager.wait(at + 1, "STATUS=draining: 1 tunnel, 2 shards");
    // It is alive while it drains.
    manager.wait(at + 1, "WATCHDOG=1");
    held.close_notify();
    assert_eq!(held.receive_all().1, End::CloseNotify);
}

/// Another process's watchdog is not this one's to feed.
#[test]
fn a_watchdog_of_another_process_is_left_alone() {
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        "shards: 1",
    );
    let path = stage.path().join("notify");
    let mut manager = Manager::at(&path);
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let row = stage.start(&["env", &variable, "WATCHDOG_USEC=100000", "WATCHDOG_PID=1"]);
    manager.wait(0, "READY=1");
    // Fed, it would be so in between.
    let _held = program::echo_at(row.addresses()[0], &program::trust(&stage.certificate));
    manager.wait(0, "STATUS=serving: 1 tunnel, 1 shard");
    assert!(!manager.was_told(0, "WATCHDOG=1"), "{:#?}", manager.told);
}

/// One thread of the program, held still by a debugger's means (ptrace(2)).
/// Dropping it lets it go on.
struct Held(Child);

impl Held {
    /// `None`: this machine does not let us.
    fn thread(tid: u32) -> Option<Self> {
        const SCRIPT: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
tid = int(sys.argv[1])
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
if libc.ptrace(SEIZE, tid, 0, 0) or libc.ptrace(INTERRUPT, tid, 0, 0):
    print(os.strerror(ctypes.get_errno()), flush=True)
    sys.exit(1)
os.waitpid(tid, WALL)
print('held', flush=True)
sys.stdin.read()
";
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT, &tid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let held = Self(child);
        if line.trim() != "held" {
            println!("passed over: no thread can be held here: {line}");
            return None;
        }
        Some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its end lets go of the thread.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn the_watchdog_is_fed_only_while_every_shard_answers() {
    if !tools::has("python3", "--version") {
        return;
    }
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("127.0.0.1:0", echo.address())],
        "shards: 3",
    );
    let path = stage.path().join("notify");
    let mut manager = Manager::at(&path);
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let row = stage.start(&["env", &variable, "WATCHDOG_USEC=400000"]);
    let (mut at, _) = manager.wait(0, "READY=1");
    // At half its interval.
    let begun = Instant::now();
    for _ in 0..5 {
        at = manager.wait(at + 1, "WATCHDOG=1").0;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(4 * 200), "{took:?}");

    let pid = row.serving();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let shard = tasks.flatten().find(|task| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "adit-1")
    });
    let tid = shard.expect("shard 1").file_name();
    let tid = tid
        .to_str()
        .and_then(|tid| tid.parse().ok())
        .expect("an id");
    let Some(held) = Held::thread(tid) else {
        return;
    };
    let (silent, text) = manager.wait(at + 1, "STATUS=serving: 0 tunnels, 3 shards; silent");
    assert!(text.ends_with("silent: [1]"), "{text}");
    // Each of these takes as long as the server waits for a silent shard, so that
    // it has asked again meanwhile, and told what it thinks of the answer.
    for _ in 0..2 {
        assert_eq!(row.stats().silent_shards, [1]);
    }
    manager.read();
    assert!(
        !manager.was_told(silent, "WATCHDOG=1"),
        "{:#?}",
        manager.told
    );
    drop(held);
    manager.wait(silent + 1, "WATCHDOG=1");
    assert!(row.stats().silent_shards.is_empty());
    row.stop();
}

/// The words that pass standard input and output as sockets, by these names.
fn passing(names: &str) -> Vec<String> {
    let count = names.split(':').count();
    let script = format!(
        "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS={count} \
         LISTEN_FDNAMES={names}; exec \"$@\""
    );
    ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// adit, started as by a socket unit.
struct Activated {
    child: Child,
    err: std::path::PathBuf,
}

impl Activated {
    fn start(stage: &Stage, names: &str, sockets: [OwnedFd; 2]) -> Self {
        let file = stage.path().join("adit.ron");
        let mut words = passing(names);
        words.extend(
            [
                env!("CARGO_BIN_EXE_adit"),
                "run",
                "--no-watch",
                "--config",
                file.to_str().expect("text"),
            ]
            .map(str::to_owned),
        );
        words.extend(same_rights().iter().map(|word| (*word).to_owned()));
        let err = stage.path().join("activated.err");
        let [first, second] = sockets;
        let child = program::command(stage.path(), &program::borrowed(&words))
            .stdin(first)
            .stdout(second)
            .stderr(std::fs::File::create(&err).expect("a file"))
            .spawn()
            .expect("the program starts");
        Self { child, err }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.err).expect("its log")
    }

    #[track_caller]
    fn wait_log(&self, part: &str) {
        wait_for(part, || self.log().contains(part).then_some(()));
    }

    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        wait_for("its end", || self.child.try_wait().expect("a child")).code()
    }

    #[track_caller]
    fn stop(mut self) -> String {
        program::signal(self.child.id(), "TERM");
        let code = self.wait();
        assert_eq!(code, Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- its log ---\n{}---", self.log());
        }
    }
}

fn tcp_listener() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[test]
fn passed_sockets_are_served_by_every_shard() {
    let stage = Stage::new();
    let echo = backend::echo();
    let (tcp, by_name) = tcp_listener();
    let (other, by_address) = tcp_listener();
    stage.configure(
        &[
            stage.listener("systemd:https", echo.address()),
            stage.listener(&by_address.to_string(), echo.address()),
        ],
        "shards: 3",
    );
    // As systemd does: it keeps them, and clients may come before anybody
    // serves.
    let keep = (
        tcp.try_clone().expect("kept"),
        other.try_clone().expect("kept"),
    );
    let trust = program::trust(&stage.certificate);
    let early: Vec<_> = (0..8)
        .map(|_| crate::support::client::tcp(by_name))
        .collect();
    let activated = Activated::start(&stage, "https:plain", [tcp.into(), other.into()]);
    activated.wait_log("serving with 3 shards");
    for tcp in early {
        let client = Client::shake(tcp, &trust).expect("a handshake");
        program::assert_echo(&client);
    }
    program::echo_at(by_address, &trust);
    let ended = program::run(stage.path(), &["stats", "--json"]);
    let stats: adit::metrics::Stats = serde_json::from_str(&ended.out).expect("statistics");
    let addresses: Vec<_> = stats.listeners.iter().map(|l| l.address.clone()).collect();
    assert_eq!(addresses, [by_name.to_string(), by_address.to_string()]);

    // Whichever shard is awake takes a connection; none is left out for long.
    wait_for("every shard to have accepted", || {
        let held: Vec<_> = (0..12).map(|_| program::echo_at(by_name, &trust)).collect();
        drop(held);
        let ended = program::run(stage.path(), &["stats", "--json"]);
        let stats: adit::metrics::Stats = serde_json::from_str(&ended.out).expect("statistics");
        let all = stats.shards.iter().all(|shard| shard.totals.accepted > 0);
        all.then_some(())
    });

    // An upgrade hands them on, and they stay systemd's.
    let ended = program::run(stage.path(), &["upgrade"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    program::echo_at(by_name, &trust);
    program::echo_at(by_address, &trust);
    let log = activated.log();
    assert!(log.contains("taking over from process"), "{log}");
    let ended = program::run(stage.path(), &["stats", "--json"]);
    let stats: adit::metrics::Stats = serde_json::from_str(&ended.out).expect("statistics");
    program::signal(stats.pid, "TERM");
    wait_for("its end", || {
        activated.log().matches("stopped;").nth(1).map(|_| ())
    });
    // Clients may still come.
    assert!(program::accepts(by_name) && program::accepts(by_address));
    drop(keep);
    assert!(!program::accepts(by_name));
}

#[test]
fn a_unix_socket_that_was_passed_keeps_its_file() {
    let stage = Stage::new();
    let echo = backend::echo();
    let path = stage.path().join("in.sock");
    let unix = UnixListener::bind(&path).expect("a socket");
    let (tcp, address) = tcp_listener();
    stage.configure(
        &[
            stage.listener(&format!("unix:{}", path.display()), echo.address()),
            stage.listener("systemd:web", echo.address()),
        ],
        "shards: 2",
    );
    let keep = unix.try_clone().expect("kept");
    let activated = Activated::start(&stage, "unix:web", [unix.into(), tcp.into()]);
    activated.wait_log("serving with 2 shards");
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    let trust = program::trust(&stage.certificate);
    program::echo_at(address, &trust);

    // A reload may let go of one, and take it up again.
    let file = stage.path().join("adit.ron");
    let both = std::fs::read_to_string(&file).expect("the configuration");
    stage.configure(
        &[stage.listener(&format!("unix:{}", path.display()), echo.address())],
        "shards: 2",
    );
    let reload = || {
        let ended = program::run(stage.path(), &["reload"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    reload();
    let waiting = crate::support::client::tcp(address);
    std::fs::write(&file, both).expect("the configuration");
    reload();
    let client = Client::shake(waiting, &trust).expect("a handshake");
    program::assert_echo(&client);
    drop(client);
    activated.stop();
    assert!(path.exists(), "it is not ours to remove");
    drop(keep);
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let stage = Stage::new();
    let echo = backend::echo();
    let start = |listener: &str, names: &str, sockets: [OwnedFd; 2]| {
        stage.configure(&[stage.listener(listener, echo.address())], "shards: 1");
        let mut activated = Activated::start(&stage, names, sockets);
        let code = activated.wait();
        (code, activated.log())
    };
    let (one, at) = tcp_listener();
    let (code, log) = start(
        "systemd:htps",
        "https:other",
        [one.into(), tcp_listener().0.into()],
    );
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("systemd:htps: systemd has passed no socket of that name"),
        "{log}"
    );
    assert!(log.contains(&format!("\"https\" ({at})")), "{log}");

    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let (code, log) = start(
        "systemd:a",
        "a:b",
        [datagrams.into(), tcp_listener().0.into()],
    );
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("\"a\"") && log.contains("datagram") && log.contains("ListenStream="));

    // Not started by a socket unit at all.
    stage.configure(
        &[stage.listener("systemd:https", echo.address())],
        "shards: 1",
    );
    let file = stage.path().join("adit.ron");
    let words = ["run", "--config", file.to_str().expect("text")];
    let ended = program::run(stage.path(), &words);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .err
            .contains("systemd has passed no socket to this process"),
        "{ended:?}"
    );
    // Variables of another process are not ours.
    let ours = program::run(stage.path(), &["stats"]);
    assert!(!ours.err.contains("LISTEN"), "{ours:?}");

    // What no listener takes is told of.
    let (spare, at) = tcp_listener();
    let (one, _) = tcp_listener();
    stage.configure(&[stage.listener("systemd:a", echo.address())], "shards: 1");
    let activated = Activated::start(&stage, "a:spare", [one.into(), spare.into()]);
    activated.wait_log("serving with");
    let log = activated.stop();
    assert!(
        log.contains(&format!("no listener takes the socket \"spare\" ({at})")),
        "{log}"
    );
}

/// systemd's own idea of it, where the machine has it.
#[test]
fn systemd_socket_activate_starts_it() {
    if !tools::has("systemd-socket-activate", "--version") {
        return;
    }
    let stage = Stage::new();
    let echo = backend::echo();
    stage.configure(
        &[stage.listener("systemd:https", echo.address())],
        "shards: 2",
    );
    let port = program::quiet_port();
    let file = stage.path().join("adit.ron");
    let words = [
        "systemd-socket-activate",
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--fdname=https",
        env!("CARGO_BIN_EXE_adit"),
        "run",
        "--config",
        file.to_str().expect("text"),
    ];
    let words = [&words[..], same_rights()].concat();
    let err = stage.path().join("activated.err");
    let child = program::command(stage.path(), &words)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&err).expect("a file"))
        .spawn()
        .expect("systemd-socket-activate");
    let activated = Activated { child, err };
    activated.wait_log("Listening on");
    // It starts with the first client, who waits for it.
    let trust = program::trust(&stage.certificate);
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let client = program::echo_at(address, &trust);
    program::echo_at(address, &trust);
    drop(client);
    activated.stop();
    let _ = std::io::stdout().flush();
}
