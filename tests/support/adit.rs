//! The program under test, as a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit::config::{Address, parse_cpu_list};
use adit::http::client;
use adit::metrics::Stats;
use tempfile::TempDir;

use super::certificate::Certificate;
use super::{PATIENCE, lock, same_rights, turn, wait_for};

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    backend: String,
    shards: usize,
    /// Lines of RON beside the listener; with any, the server reads a file.
    settings: String,
    tls: String,
    from_file: bool,
    arguments: Vec<String>,
    /// Where it is started, if that matters.
    wrapper: Vec<String>,
    /// A folder that is there beside its files.
    beside: Option<String>,
    /// The file that its log goes to, if that is not standard error.
    log_file: Option<String>,
}

impl Setup {
    /// One shard in front of this backend, all else by default.
    pub fn new(backend: impl ToString) -> Self {
        Self {
            backend: backend.to_string(),
            shards: 1,
            settings: String::new(),
            tls: String::new(),
            from_file: false,
            arguments: Vec::new(),
            wrapper: Vec::new(),
            beside: None,
            log_file: None,
        }
    }

    /// That many shards.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// A setting of the configuration file, such as `buffer_size: "1KiB"`.
    pub fn setting(mut self, ron: &str) -> Self {
        self.settings += &format!("    {ron},\n");
        self.in_a_file()
    }

    /// A setting of the listener's `tls`, such as `tickets: 0`.
    pub fn tls_setting(mut self, ron: &str) -> Self {
        self.tls += &format!(", {ron}");
        self.in_a_file()
    }

    /// By a configuration file, though nothing but the defaults is in it.
    pub fn in_a_file(mut self) -> Self {
        self.from_file = true;
        self
    }

    /// One more word of the command line.
    pub fn argument(mut self, word: impl Into<String>) -> Self {
        self.arguments.push(word.into());
        self
    }

    /// Words in front of the command line, such as `prlimit --nofile=40`.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With a folder beside its files.
    pub fn with_folder(mut self, name: &str) -> Self {
        self.beside = Some(name.to_owned());
        self
    }

    /// Starts it, where its settings have the log go to that file.
    #[track_caller]
    pub fn start_logging_to(mut self, file: &str) -> Adit {
        self.log_file = Some(file.to_owned());
        self.start()
    }

    /// The configuration file's text.
    fn ron(&self, certificate: &Certificate) -> String {
        format!(
            "(\n    listeners: [(address: \"127.0.0.1:0\", tls: (cert: {:?}, key: {:?}{}), \
             backend: {:?})],\n{})\n",
            certificate.cert, certificate.key, self.tls, self.backend, self.settings
        )
    }

    fn command(&self, folder: &Path, certificate: &Certificate) -> Command {
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_adit").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("run");
        if self.from_file {
            let file = folder.join("adit.ron");
            std::fs::write(&file, self.ron(certificate)).expect("the configuration's file");
            command.arg("--config").arg(file);
        } else {
            command
                .args(["--listen", "127.0.0.1:0", "--backend", &self.backend])
                .arg("--cert")
                .arg(&certificate.cert)
                .arg("--key")
                .arg(&certificate.key);
        }
        if !self.arguments.iter().any(|word| word == "--user") {
            command.args(same_rights());
        }
        command
            .args(["--shards", &self.shards.to_string()])
            .args(["--log-level", "debug"])
            // What a test changes is taken up when the test says so.
            .arg("--no-watch")
            .arg("--admin")
            .arg(admin_socket(folder));
        if self.shards == 1 && !self.arguments.iter().any(|word| word == "--cpus") {
            // Else every server of every test would sit on the first CPU.
            command.args(["--cpus", &next_cpu().to_string()]);
        }
        command
            .args(&self.arguments)
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder)
            .env("XDG_STATE_HOME", folder)
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub fn start(&self) -> Adit {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::make(folder.path());
        self.start_in(folder, certificate)
    }

    /// Starts it in this folder, with this certificate.
    #[track_caller]
    pub fn start_in(&self, folder: TempDir, certificate: Certificate) -> Adit {
        turn::take();
        if let Some(beside) = &self.beside {
            std::fs::create_dir(folder.path().join(beside)).expect("a folder");
        }
        let mut child = self
            .command(folder.path(), &certificate)
            .spawn()
            .expect("the program starts");
        let stderr = child.stderr.take().expect("its standard error");
        let log = Log::default();
        let reader = std::thread::spawn({
            let log = log.clone();
            move || log.follow(BufReader::new(stderr))
        });
        let mut adit = Adit {
            child,
            log,
            reader: Some(reader),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            certificate,
            folder,
        };
        // All sockets listen before this line is written.
        let line = match &self.log_file {
            None => adit.log.wait("listening on "),
            Some(file) => wait_for("the listener's line", || {
                let text = std::fs::read_to_string(adit.folder().join(file)).ok()?;
                let mut lines = text
                    .split_inclusive('\n')
                    .filter(|line| line.ends_with('\n'));
                lines
                    .find(|line| line.contains("listening on "))
                    .map(str::to_owned)
            }),
        };
        adit.address = line
            .split_once("listening on ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        adit
    }
}

fn admin_socket(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// The CPUs that this process may use, one after the other.
fn next_cpu() -> usize {
    static CPUS: LazyLock<Vec<usize>> = LazyLock::new(|| {
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .expect("the CPUs");
        parse_cpu_list(list.trim()).expect("a list of CPUs")
    });
    // Tests of one binary may each have a process of their own.
    static NEXT: LazyLock<AtomicUsize> =
        LazyLock::new(|| AtomicUsize::new(std::process::id() as usize));
    CPUS[NEXT.fetch_add(1, Ordering::Relaxed) % CPUS.len()]
}

/// A server at work. Dropping it kills it.
pub struct Adit {
    child: Child,
    log: Log,
    reader: Option<JoinHandle<()>>,
    address: SocketAddr,
    certificate: Certificate,
    folder: TempDir,
}

impl Adit {
    /// One shard in front of this backend, all else by default.
    #[track_caller]
    pub fn start(backend: impl ToString) -> Self {
        Setup::new(backend).start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it shows to clients.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The folder that holds its files; gone when it is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its figures, from its admin socket. `None` if it does not answer.
    pub fn try_stats(&self) -> Option<Stats> {
        let socket = Address::Unix(admin_socket(self.folder()));
        let answer = client::get(&socket, "/stats", PATIENCE).ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Its figures.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        // The admin socket comes a moment after the listening ones.
        wait_for("an answer of the admin socket", || self.try_stats())
    }

    /// Waits until its figures are as they should be, and gives them.
    #[track_caller]
    pub fn wait_stats(&self, what: &str, mut done: impl FnMut(&Stats) -> bool) -> Stats {
        let due = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats();
            if done(&stats) {
                return stats;
            }
            assert!(
                Instant::now() < due,
                "in vain waited for: {what}; it is {:#?}\n{}",
                stats.total,
                self.log.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `accepted` connections have come and all have ended, checks
    /// that each ended for exactly one reason, and gives how many for each, by
    /// `phase/side/cause`.
    #[track_caller]
    pub fn closes(&self, accepted: u64) -> BTreeMap<String, u64> {
        let what = format!("the end of {accepted} tunnels");
        let stats = self.wait_stats(&what, |stats| {
            stats.total.accepted >= accepted && stats.total.tunnels_open == 0
        });
        let closes = closes_of(&stats);
        assert_eq!(stats.total.accepted, accepted, "{closes:?}");
        assert_eq!(closes.values().sum::<u64>(), accepted, "{closes:?}");
        assert_eq!(stats.total.handshakes_in_progress, 0);
        assert_eq!(stats.total.panics, 0, "{}", self.log.text());
        closes
    }

    /// Waits for the end of this many tunnels, all for the same reason.
    #[track_caller]
    pub fn assert_closes(&self, count: u64, reason: &str) {
        let closes = self.closes(count);
        let expected = BTreeMap::from([(reason.to_owned(), count)]);
        assert_eq!(closes, expected, "{}", self.log.text());
    }

    /// A number of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("a running process");
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    /// How many descriptors it holds.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("a running process")
            .count()
    }

    /// Processor time that it has used so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .expect("a running process");
        // The name, in brackets, may hold blanks.
        let rest = stat.rsplit_once(')').expect("a name").1;
        let ticks: u64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        // USER_HZ is 100 on every architecture that adit runs on.
        Duration::from_millis(ticks * 10)
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.pid()))
            .status()
            .expect("a shell");
        assert!(done.success(), "SIG{name} reaches no process");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the end of the program", || {
            self.child.try_wait().expect("a child")
        });
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status
    }

    /// SIGTERM, and its exit code.
    #[track_caller]
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait().code()
    }
}

impl Drop for Adit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}---", self.log.text());
        }
    }
}

/// How many tunnels ended for each reason.
pub fn closes_of(stats: &Stats) -> BTreeMap<String, u64> {
    let closed = &stats.total.closed;
    closed
        .iter()
        .map(|close| (close.reason.to_string(), close.count))
        .collect()
}

/// The lines that the program has written to standard error.
#[derive(Clone, Debug, Default)]
pub struct Log {
    inner: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn follow(&self, from: impl BufReadLines) {
        for line in from.all() {
            lock(&self.inner.0).lines.push(line);
            self.inner.1.notify_all();
        }
        lock(&self.inner.0).ended = true;
        self.inner.1.notify_all();
    }

    /// The first line with this in it, waited for.
    #[track_caller]
    pub fn wait(&self, part: &str) -> String {
        let due = Instant::now() + PATIENCE;
        let mut lines = lock(&self.inner.0);
        loop {
            if let Some(line) = lines.lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let left = due.saturating_duration_since(Instant::now());
            assert!(
                !lines.ended && !left.is_zero(),
                "no line with {part:?} in the log:\n{}",
                lines.lines.join("\n")
            );
            let woken = self.inner.1.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.inner.0).lines.clone()
    }

    /// All lines so far, as one text.
    pub fn text(&self) -> String {
        self.lines()
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

/// Lines of bytes that need not be text.
trait BufReadLines {
    fn all(self) -> impl Iterator<Item = String>;
}

impl<R: std::io::Read> BufReadLines for BufReader<R> {
    fn all(mut self) -> impl Iterator<Item = String> {
        std::iter::from_fn(move || {
            let mut line = Vec::new();
            match self.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => None,
                Ok(_) => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
            }
        })
    }
}
