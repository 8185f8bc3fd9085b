//! The program with any command line, for what
//! [`Setup`](crate::support::adit::Setup) does not foresee: several listeners,
//! refusals, signals before it serves.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit::config::Address;
use adit::http;
use adit::metrics::Stats;
use rustls::ClientConfig;

use crate::support::certificate::Certificate;
use crate::support::client::{self, Client};
use crate::support::{PATIENCE, same_rights, turn, wait_for};

/// Descriptors by which two counts of an idle program may differ: one at each
/// shard's door, which is not there between two waits, and one of an admin
/// connection that was counted while it closed. What is lost for every
/// connection, or for every hundredth, is far more.
pub(crate) const DESCRIPTORS_IN_PASSING: usize = 4;

/// The program at work. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    folder: PathBuf,
    out: PathBuf,
    err: PathBuf,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) dumped_core: bool,
}

/// A command in an environment of its own: what it keeps, it keeps in `folder`.
pub(crate) fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_STATE_HOME", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null());
    command
}

impl Program {
    /// Starts adit with these words, and waits for nothing.
    #[track_caller]
    pub(crate) fn start(folder: &Path, words: &[&str]) -> Self {
        Self::start_under(folder, &[], words)
    }

    /// Starts adit behind these words.
    #[track_caller]
    pub(crate) fn start_under(folder: &Path, wrapper: &[&str], words: &[&str]) -> Self {
        let serves = words
            .first()
            .is_some_and(|w| *w == "run" || w.starts_with('-'));
        let rights = if serves && !words.contains(&"--user") {
            same_rights()
        } else {
            &[]
        };
        Self::start_as(folder, wrapper, &[words, rights].concat())
    }

    /// Starts adit behind these words, with no word about its rights.
    #[track_caller]
    pub(crate) fn start_as(folder: &Path, wrapper: &[&str], words: &[&str]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        turn::take();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let out = folder.join(format!("{number}.out"));
        let err = folder.join(format!("{number}.err"));
        let words = [wrapper, &[env!("CARGO_BIN_EXE_adit")], words].concat();
        let child = command(folder, &words)
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"))
            .spawn()
            .expect("the program starts");
        Self {
            child,
            folder: folder.to_owned(),
            out,
            err,
        }
    }

    /// Starts adit with this configuration, in `adit.ron`, and waits until it
    /// serves; gives where, too.
    #[track_caller]
    pub(crate) fn serve(folder: &Path, ron: &str) -> (Self, Vec<SocketAddr>) {
        configure(folder, ron);
        let file = folder.join("adit.ron");
        // What a test changes is taken up when the test says so.
        let words = [
            "run",
            "--no-watch",
            "--config",
            file.to_str().expect("text"),
        ];
        let program = Self::start(folder, &words);
        program.wait_log("listening on ");
        let addresses = program.listeners();
        (program, addresses)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written to standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).expect("its log")).into_owned()
    }

    /// All that it has written to standard output.
    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.out).expect("text")
    }

    /// The first whole line with this in it, waited for.
    #[track_caller]
    pub(crate) fn wait_log(&self, part: &str) -> String {
        self.wait_log_times(part, 1)
    }

    /// The line that has this in it for the `times`th time.
    #[track_caller]
    pub(crate) fn wait_log_times(&self, part: &str, times: usize) -> String {
        let what = format!("{part:?} in the log, {times} times");
        wait_for(&what, || {
            let log = self.log();
            let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
            let line = whole
                .lines()
                .filter(|line| line.contains(part))
                .nth(times - 1);
            line.map(str::to_owned)
        })
    }

    /// The addresses of its admin socket's answer.
    #[track_caller]
    pub(crate) fn listeners(&self) -> Vec<SocketAddr> {
        let stats = self.stats();
        let addresses = stats.listeners.iter().flat_map(|l| l.address.split(", "));
        addresses.filter_map(|a| a.parse().ok()).collect()
    }

    /// Its admin socket, by the default naming.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.folder.join(format!("adit/admin-{}.sock", self.pid()))
    }

    #[track_caller]
    pub(crate) fn stats(&self) -> Stats {
        let socket = Address::Unix(self.admin_socket());
        wait_for("an answer of the admin socket", || {
            let answer = http::client::get(&socket, "/stats", PATIENCE).ok()?;
            serde_json::from_slice(&answer.body).ok()
        })
    }

    /// Sends it a signal, such as `TERM`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let status = wait_for("the end of the program", || {
            self.child.try_wait().expect("a child")
        });
        Ended {
            code: status.code(),
            dumped_core: status.core_dumped(),
            out: self.out(),
            err: self.log(),
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program's log ---\n{}---", self.log());
        }
    }
}

/// Runs adit with these words to its end.
#[track_caller]
pub(crate) fn run(folder: &Path, words: &[&str]) -> Ended {
    Program::start(folder, words).wait()
}

/// Sends a process a signal.
#[track_caller]
pub(crate) fn signal(pid: u32, name: &str) {
    let line = format!("kill -{name} {pid}");
    let done = Command::new("sh").args(["-c", &line]).status();
    assert!(done.expect("a shell").success(), "{line}");
}

/// Writes `adit.ron`.
pub(crate) fn configure(folder: &Path, ron: &str) {
    // In one step, as it should be done while a server may read it.
    let (new, file) = (folder.join("adit.ron.new"), folder.join("adit.ron"));
    fs::write(&new, ron).expect("the configuration");
    fs::rename(new, file).expect("the configuration");
}

/// One listener's part of a configuration.
pub(crate) fn listener(address: &str, certificate: &Certificate, backend: SocketAddr) -> String {
    format!(
        "(address: {address:?}, tls: (cert: {:?}, key: {:?}), backend: \"{backend}\")",
        certificate.cert, certificate.key
    )
}

/// The words for one listener.
pub(crate) fn words(listen: &str, certificate: &Certificate, backend: SocketAddr) -> Vec<String> {
    [
        "run",
        "--listen",
        listen,
        "--backend",
        &backend.to_string(),
        "--cert",
        certificate.cert.to_str().expect("text"),
        "--key",
        certificate.key.to_str().expect("text"),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What [`Program::start`] takes.
pub(crate) fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A free port of 127.0.0.1 that the kernel gives to nobody who asks for any
/// port: it is below the range that such ports are taken from.
pub(crate) fn quiet_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("a range");
    let first: u16 = range
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a port");
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut random = fastrand::Rng::new();
    let low = 10_000.min(first / 2);
    // Wide steps, so that tests at the same time get different ones.
    for _ in 0..1000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) as u16;
        let port = low + (random.u16(..(first - low)) / 64 * 64 + step % 64).min(first - low - 1);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port below {first}");
}

/// A client's configuration that trusts this certificate.
pub(crate) fn trust(certificate: &Certificate) -> Arc<ClientConfig> {
    Arc::new(client::config(certificate, rustls::ALL_VERSIONS))
}

/// Shakes hands at this address and has one byte sent back.
#[track_caller]
pub(crate) fn echo_at(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    let client = Client::shake(client::tcp(address), config).expect("a handshake");
    assert_echo(&client);
    client
}

#[track_caller]
pub(crate) fn assert_echo(client: &Client) {
    client.send(b"!").expect("sent");
    assert_eq!(client.receive_exact(1), b"!");
}

/// Whether this address takes connections.
pub(crate) fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// What a program is started behind that is to see other mounts than the rest:
/// the shell runs this script, which ends in `exec … "$0" "$@"`. `None`, and said
/// so, where it cannot be done.
pub(crate) fn with_mounts(script: &str) -> Option<Vec<String>> {
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", script];
    let works = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        println!("passed over: no namespace of mounts can be had here, or a command is missing");
    }
    works.then(|| wrapper.map(str::to_owned).to_vec())
}
