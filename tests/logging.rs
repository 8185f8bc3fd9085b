//! The log as its readers see it: a syslog daemon (a real datagram socket that
//! comes and goes), a console, a closed pipe.

use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use adit::config::{JournaldSink, Log, LogSink, SyslogLevel, SyslogSink};
use adit::limits;
use adit::logging::{self, Logger, NOTICE, escaped};
use log::{Level, LevelFilter, Log as _, Record};

/// Longer than anything here takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// LOCAL1 (RFC 3164, section 4.1.1), the default facility.
const LOCAL1: u8 = 17 * 8;

#[test]
fn a_line_arrives_with_priority_ident_and_pid() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Trace);

    for (level, target, severity) in [
        (Level::Error, "adit", 3),
        (Level::Warn, "adit::shard", 4),
        (Level::Info, NOTICE, 5),
        (Level::Info, "adit::tunnel", 6),
        (Level::Debug, "adit", 7),
        (Level::Trace, "adit", 7),
    ] {
        say(&logger, level, target, "a text");
        let (priority, stamp, rest) = split(&receive(&daemon));
        assert_eq!(priority, LOCAL1 + severity, "{level} {target}");
        assert_eq!(rest, format!("adit[{}]: a text", std::process::id()));
        assert_stamp(&stamp);
    }

    say(&logger, Level::Error, "rustls::conn", "theirs");
    assert!(receive(&daemon).ends_with("]: rustls: theirs"));
}

#[test]
fn the_default_mask_ends_at_notice() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogSink::default().up_to, LevelFilter::Trace);
    assert_eq!(logger.max_level(), LevelFilter::Info);

    say(&logger, Level::Info, "adit", "masked");
    say(&logger, Level::Debug, "adit", "masked");
    say(&logger, Level::Info, NOTICE, "started");
    assert!(receive(&daemon).ends_with("started"));
    assert_eq!(logger.dropped(), 0, "a masked line is not a lost one");
}

#[test]
fn the_level_holds_beside_the_mask() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Warn);
    assert_eq!(logger.max_level(), LevelFilter::Warn);

    say(&logger, Level::Info, NOTICE, "not wanted");
    say(&logger, Level::Warn, "adit", "wanted");
    assert!(receive(&daemon).ends_with("]: wanted"));
}

#[test]
fn a_daemon_that_goes_away_is_found_again_and_the_console_stands_in() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);
    say(&logger, Level::Warn, "adit", "one");
    assert!(receive(&daemon).ends_with("]: one"));

    drop(daemon);
    say(&logger, Level::Warn, "adit", "two"); // refused: the path leads nowhere
    assert!(logger.flush_within(PATIENCE));
    std::fs::remove_file(&place.socket).expect("its path");
    say(&logger, Level::Warn, "adit", "three"); // not found
    assert!(logger.flush_within(PATIENCE));

    let daemon = place.daemon();
    say(&logger, Level::Warn, "adit", "four");
    say(&logger, Level::Warn, "adit", "five");
    assert!(receive(&daemon).ends_with("]: four"));
    let (priority, _, notice) = split(&receive(&daemon));
    assert_eq!(priority, LOCAL1 + 5);
    assert!(
        notice.ends_with("2 log lines went to the console"),
        "{notice}"
    );
    assert!(receive(&daemon).ends_with("]: five"));

    let console = place.console.lines();
    assert_eq!(console.len(), 3, "{console:?}");
    assert!(console[0].contains("no syslog daemon at") && console[0].contains("refused"));
    assert!(console[1].ends_with("Z WARN  adit: two"));
    assert!(console[2].ends_with("Z WARN  adit: three"));
    assert_eq!(logger.dropped(), 0);
}

#[test]
fn a_daemon_restarted_between_two_lines_misses_neither() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);
    say(&logger, Level::Warn, "adit", "one");
    assert!(receive(&daemon).ends_with("]: one"));

    drop(daemon);
    std::fs::remove_file(&place.socket).expect("its path");
    let daemon = place.daemon();
    say(&logger, Level::Warn, "adit", "two");
    assert!(receive(&daemon).ends_with("]: two"));
    assert!(place.console.lines().is_empty());
}

#[test]
fn a_daemon_that_does_not_read_costs_lines_but_not_the_callers_time() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);

    let sent = 3 * limits::LOG_LINES_QUEUED_MAX as u64;
    let begun = Instant::now();
    for index in 0..sent {
        say(&logger, Level::Info, "adit", &format!("line {index}"));
    }
    // A caller that waited for the daemon would take minutes.
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(!logger.flush_within(Duration::ZERO));
    let beyond_queues = sent - limits::LOG_LINES_QUEUED_MAX as u64 - kernel_queue() - 2;
    assert!(logger.dropped() >= beyond_queues, "{}", logger.dropped());

    let reader = Reader::start(daemon);
    assert!(logger.flush_within(PATIENCE));
    let lines = reader.finish(&place.socket);
    let received = lines
        .iter()
        .filter(|line| line.contains("]: line "))
        .count() as u64;
    assert_eq!(received + logger.dropped(), sent);
    assert_eq!(drops_told(&lines), logger.dropped());
}

#[test]
fn a_line_that_is_not_read_in_time_is_given_up() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);
    for _ in 0..kernel_queue() + 2 {
        say(&logger, Level::Info, "adit", "a line");
    }
    assert!(logger.flush_within(PATIENCE), "the writer goes on");
    assert_eq!(logger.dropped(), 2);
    assert!(place.console.lines().is_empty(), "there is a daemon");

    assert!(receive(&daemon).ends_with("]: a line"));
}

#[test]
fn a_daemon_that_does_not_read_does_not_keep_the_process() {
    let place = Place::new();
    let _daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);
    for _ in 0..limits::LOG_LINES_QUEUED_MAX {
        say(&logger, Level::Info, "adit", "a line");
    }
    let begun = Instant::now();
    drop(logger);
    assert!(
        begun.elapsed() < limits::LOG_FLUSH_TIMEOUT * 2,
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn in_a_flood_every_line_is_received_or_counted() {
    const THREADS: u64 = 4;
    const LINES: u64 = 20_000;
    let place = Place::new();
    let reader = Reader::start(place.daemon());
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);

    let slowest = thread::scope(|scope| {
        let flooders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let logger = &logger;
                scope.spawn(move || {
                    let begun = Instant::now();
                    for index in 0..LINES {
                        say(
                            logger,
                            Level::Info,
                            "adit",
                            &format!("line {thread} {index}"),
                        );
                    }
                    begun.elapsed()
                })
            })
            .collect();
        flooders
            .into_iter()
            .map(|flooder| flooder.join().expect("no panic"))
            .max()
    });
    assert!(slowest < Some(Duration::from_secs(10)), "{slowest:?}");
    assert!(logger.flush_within(PATIENCE));

    let lines = reader.finish(&place.socket);
    let mut received = 0;
    let mut next = [0; THREADS as usize];
    for line in &lines {
        if let Some((_, numbers)) = line.split_once("]: line ") {
            let (thread, index) = numbers.split_once(' ').expect("two numbers");
            let next = &mut next[thread.parse::<usize>().expect("a number")];
            let index: u64 = index.parse().expect("a number");
            assert!(index >= *next, "a thread's lines keep their order");
            *next = index + 1;
            received += 1;
        }
    }
    assert_eq!(received + logger.dropped(), THREADS * LINES);
    assert_eq!(drops_told(&lines), logger.dropped());
}

#[test]
fn a_peer_cannot_forge_a_line_nor_move_the_cursor() {
    let forged = "a.example\n<0>Jan  1 00:00:00 kernel: panic\x1b[2J\0\u{9b}31m";
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);

    // Even when the call to `escaped` was forgotten.
    say(&logger, Level::Info, "adit", &format!("name {forged}"));
    let line = receive(&daemon);
    assert!(
        line.ends_with(r"]: name a.example\n<0>Jan  1 00:00:00 kernel: panic\x1b[2J\x00\x9b31m")
    );
    say(
        &logger,
        Level::Info,
        "adit",
        &format!("name {}", escaped(forged)),
    );
    let line = receive(&daemon);
    assert!(line.ends_with(r"panic\x1b[2J\x00\xc2\x9b31m"), "{line}");

    logger.reconfigure(&Log::default());
    say(&logger, Level::Info, "adit\nforged::module", forged);
    assert!(logger.flush_within(PATIENCE));
    assert_eq!(
        place.console.lines().len(),
        1,
        "{:?}",
        place.console.lines()
    );
}

#[test]
fn a_line_is_bounded() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);
    let long = "\n世".repeat(limits::LOG_LINE_MAX);

    say(&logger, Level::Info, "adit", &long);
    let line = receive(&daemon);
    assert!(line.len() <= limits::LOG_LINE_MAX && line.len() > limits::LOG_LINE_MAX - 6);
    assert!(line.ends_with('…'));

    logger.reconfigure(&Log::default());
    say(&logger, Level::Info, "adit", &long);
    assert!(logger.flush_within(PATIENCE));
    let line = &place.console.lines()[0];
    assert!(line.len() <= limits::LOG_LINE_MAX && line.ends_with('…'));
}

#[test]
fn another_configuration_takes_the_next_line() {
    let place = Place::new();
    let daemon = place.daemon();
    let logger = place.console_logger(LevelFilter::Info);
    say(&logger, Level::Debug, "adit", "too verbose");
    say(&logger, Level::Info, "adit", "to the console");
    assert!(logger.flush_within(PATIENCE));

    logger.reconfigure(&place.config(SyslogLevel::Debug, LevelFilter::Debug));
    assert_eq!(logger.max_level(), LevelFilter::Debug);
    say(&logger, Level::Debug, "adit", "to the daemon");
    assert!(receive(&daemon).ends_with("]: to the daemon"));
    assert_eq!(place.console.lines().len(), 1);
}

#[test]
fn what_is_queued_is_written_before_the_end() {
    let place = Place::new();
    let logger = place.console_logger(LevelFilter::Info);
    for index in 0..1000 {
        say(&logger, Level::Info, "adit", &format!("line {index}"));
    }
    drop(logger);
    assert_eq!(place.console.lines().len(), 1000);
}

#[test]
fn a_console_that_nobody_reads_any_more_costs_lines_only() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    let logger = Logger::with_console(&Log::default(), Box::new(ours)).expect("a thread");
    for _ in 0..10 {
        say(&logger, Level::Error, "adit", "unheard");
    }
    assert!(logger.flush_within(PATIENCE), "the writer lives on");
    assert_eq!(logger.dropped(), 10);
}

#[test]
fn without_daemon_and_console_lines_are_counted_as_lost() {
    let place = Place::new();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    let config = place.config(SyslogLevel::Debug, LevelFilter::Info);
    let logger = Logger::with_console(&config, Box::new(ours)).expect("a thread");
    say(&logger, Level::Error, "adit", "unheard");
    assert!(logger.flush_within(PATIENCE));
    assert_eq!(logger.dropped(), 1);

    let daemon = place.daemon();
    say(&logger, Level::Error, "adit", "heard");
    assert!(receive(&daemon).ends_with("]: heard"));
    assert!(logger.flush_within(PATIENCE));
    assert!(receive(&daemon).contains("]: 1 log lines were dropped"));
}

#[test]
fn the_journal_gets_fields_and_the_console_stands_in() {
    let place = Place::new();
    let journal = place.daemon();
    let config = Log {
        level: LevelFilter::Info,
        sink: LogSink::Journald(JournaldSink {
            socket: place.socket.clone(),
            ident: "door".into(),
        }),
    };
    let logger = place.with_console(&config);
    say(&logger, Level::Warn, "adit", "a\nPRIORITY=0");
    let entry = receive(&journal);
    assert_eq!(
        entry,
        "MESSAGE=a\\nPRIORITY=0\nPRIORITY=4\nSYSLOG_IDENTIFIER=door\n"
    );
    say(&logger, Level::Info, NOTICE, "b");
    assert!(receive(&journal).starts_with("MESSAGE=b\nPRIORITY=5\n"));
    say(&logger, Level::Info, "rustls::conn", "c");
    assert!(receive(&journal).ends_with("\nADIT_CRATE=rustls\n"));

    drop(journal);
    std::fs::remove_file(&place.socket).expect("its path");
    say(&logger, Level::Warn, "adit", "away");
    assert!(logger.flush_within(PATIENCE));
    let console = place.console.lines();
    assert!(console[0].contains("no journald at"), "{console:?}");
    assert!(console[1].ends_with("Z WARN  adit: away"), "{console:?}");
    let journal = place.daemon();
    say(&logger, Level::Warn, "adit", "back");
    assert!(receive(&journal).starts_with("MESSAGE=back\n"));
    assert!(receive(&journal).contains("there was no journald: 1 log lines"));
    assert_eq!(logger.dropped(), 0);
}

#[test]
fn a_file_is_opened_anew_and_kept_where_it_cannot_be() {
    let place = Place::new();
    let folder = place.socket.with_file_name("logs");
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("adit.log");
    let config = Log {
        level: LevelFilter::Info,
        sink: LogSink::File(file.clone()),
    };
    let logger = place.with_console(&config);
    say(&logger, Level::Info, "adit", "one");
    assert!(logger.flush_within(PATIENCE));
    let first = folder.join("adit.log.1");
    std::fs::rename(&file, &first).expect("renamed");
    say(&logger, Level::Info, "adit", "two");
    assert!(logger.flush_within(PATIENCE));
    logger.reopen();
    say(&logger, Level::Info, "adit", "three");
    assert!(logger.flush_within(PATIENCE));
    let read = |path: &Path| std::fs::read_to_string(path).expect("text");
    assert!(
        read(&first).ends_with("Z INFO  adit: two\n"),
        "{}",
        read(&first)
    );
    assert!(read(&file).ends_with("Z INFO  adit: three\n"));
    assert_eq!(
        (read(&first).lines().count(), read(&file).lines().count()),
        (2, 1)
    );

    // Nobody can make it: the old one is kept, and says so.
    let moved = folder.with_file_name("moved");
    std::fs::rename(&folder, &moved).expect("renamed");
    logger.reopen();
    say(&logger, Level::Info, "adit", "four");
    assert!(logger.flush_within(PATIENCE));
    let text = read(&moved.join("adit.log"));
    assert!(
        text.contains("mkdir -p") && text.ends_with("adit: four\n"),
        "{text}"
    );
    // The same for another file.
    logger.reconfigure(&Log {
        sink: LogSink::File(folder.join("other.log")),
        ..config
    });
    say(&logger, Level::Info, "adit", "five");
    assert!(logger.flush_within(PATIENCE));
    let text = read(&moved.join("adit.log"));
    assert!(
        text.contains("other.log") && text.ends_with("adit: five\n"),
        "{text}"
    );
    assert_eq!(logger.dropped(), 0);

    // What cannot be opened in the first place is an error.
    let bad = Log {
        level: LevelFilter::Info,
        sink: LogSink::File(folder.join("adit.log")),
    };
    let error = Logger::start(&bad).expect_err("no folder").to_string();
    assert!(error.contains("mkdir -p"), "{error}");
    assert!(logging::check(&bad.sink).is_err());
    assert!(logging::check(&LogSink::File(moved.join("new.log"))).is_ok());
    assert!(!moved.join("new.log").exists());
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let place = Place::new();
    let logger = place.with_console(&Log {
        level: LevelFilter::Info,
        sink: LogSink::File("/dev/full".into()),
    });
    for _ in 0..10 {
        say(&logger, Level::Error, "adit", "no room");
    }
    assert!(logger.flush_within(PATIENCE), "the writer lives on");
    assert_eq!(logger.dropped(), 10);
}

/// The process's own logger, in a process of its own.
#[test]
fn the_installed_logger_writes_to_standard_error_until_its_guard_is_dropped() {
    if is_child() {
        assert_eq!(logging::dropped(), 0);
        log::error!("before any logger");
        let guard = logging::install(&Log::default()).expect("the first");
        let second = logging::install(&Log::default()).expect_err("the second");
        assert!(second.to_string().contains("already"), "{second}");
        adit::notice!("started {}", 1);
        log::debug!("too verbose");
        log::info!("from a test");
        guard.reconfigure(&Log {
            level: LevelFilter::Debug,
            ..Log::default()
        });
        log::debug!("verbose");
        drop(guard);
        log::info!("too late");
        assert_eq!(logging::dropped(), 1);
        return;
    }
    let name = "the_installed_logger_writes_to_standard_error_until_its_guard_is_dropped";
    let output = run(&mut child(name));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let ends: Vec<_> = stderr
        .lines()
        .filter_map(|line| line.split_once("Z ").map(|(_, rest)| rest))
        .collect();
    assert_eq!(
        ends,
        [
            "NOTE  adit: started 1",
            "INFO  logging: from a test",
            "DEBUG logging: verbose"
        ]
    );
}

#[test]
fn a_closed_standard_error_harms_nobody() {
    if is_child() {
        let guard = logging::install(&Log::default()).expect("the first");
        for _ in 0..100 {
            log::error!("unheard");
        }
        log::logger().flush();
        drop(guard);
        return;
    }
    let test = child("a_closed_standard_error_harms_nobody");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"exec "$0" "$@" 2>&-"#]);
    shell.arg(test.get_program()).args(test.get_args());
    shell.env(CHILD, "1");
    run(&mut shell);
}

/// RFC 3164, section 4.1.2: the stamp is in local time.
#[test]
fn a_daemon_gets_local_time() {
    if is_child() {
        let place = Place::new();
        let daemon = place.daemon();
        let logger = place.logger(SyslogLevel::Debug, LevelFilter::Info);
        let east = time::UtcOffset::from_hms(13, 30, 0).expect("an offset");
        let local = || {
            let now = time::OffsetDateTime::now_utc().to_offset(east);
            format!(
                "{:2} {:02}:{:02}:{:02}",
                now.day(),
                now.hour(),
                now.minute(),
                now.second()
            )
        };
        let before = local();
        say(&logger, Level::Error, "adit", "now");
        let (_, stamp, _) = split(&receive(&daemon));
        // The two differ at most by the second that has ended meanwhile.
        assert!(
            [before, local()].contains(&stamp[4..].to_owned()),
            "{stamp}"
        );
        return;
    }
    // Thirteen and a half hours east of Greenwich (POSIX counts westwards).
    run(child("a_daemon_gets_local_time").env("TZ", "FAR-13:30"));
}

// What the tests stand on.

/// A directory with a daemon's socket in it, and a console.
struct Place {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    console: Console,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            socket: directory.path().join("log"),
            _directory: directory,
            console: Console::default(),
        }
    }

    fn daemon(&self) -> UnixDatagram {
        let daemon = UnixDatagram::bind(&self.socket).expect("a free path");
        daemon.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        daemon
    }

    fn config(&self, up_to: SyslogLevel, level: LevelFilter) -> Log {
        Log {
            level,
            sink: LogSink::Syslog(SyslogSink {
                socket: self.socket.clone(),
                up_to,
                ..SyslogSink::default()
            }),
        }
    }

    fn logger(&self, up_to: SyslogLevel, level: LevelFilter) -> Logger {
        self.with_console(&self.config(up_to, level))
    }

    fn console_logger(&self, level: LevelFilter) -> Logger {
        self.with_console(&Log {
            level,
            sink: LogSink::Stderr,
        })
    }

    fn with_console(&self, config: &Log) -> Logger {
        Logger::with_console(config, Box::new(self.console.clone())).expect("a thread")
    }
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<u8>>>);

impl Console {
    fn lines(&self) -> Vec<String> {
        let written = self.0.lock().expect("no panic").clone();
        let text = String::from_utf8(written).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a daemon's socket on a thread of its own.
struct Reader(thread::JoinHandle<Vec<String>>);

const END: &str = "the end";

impl Reader {
    fn start(daemon: UnixDatagram) -> Self {
        Self(thread::spawn(move || {
            std::iter::repeat_with(|| receive(&daemon))
                .take_while(|line| line != END)
                .collect()
        }))
    }

    /// What was sent until now. A socket's queue keeps its order.
    fn finish(self, socket: &Path) -> Vec<String> {
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.send_to(END.as_bytes(), socket).expect("a reader");
        self.0.join().expect("every line arrives")
    }
}

fn receive(daemon: &UnixDatagram) -> String {
    let mut bytes = vec![0; 2 * limits::LOG_LINE_MAX];
    let length = daemon.recv(&mut bytes).expect("a line in time");
    bytes.truncate(length);
    String::from_utf8(bytes).expect("UTF-8")
}

fn say(logger: &Logger, level: Level, target: &str, text: &str) {
    logger.log(
        &Record::builder()
            .level(level)
            .target(target)
            .args(format_args!("{text}"))
            .build(),
    );
}

/// Priority, stamp and the rest of a packet.
fn split(packet: &str) -> (u8, String, String) {
    let (priority, rest) = packet
        .strip_prefix('<')
        .and_then(|packet| packet.split_once('>'))
        .expect("a priority");
    let priority = priority.parse().expect("a number");
    (priority, rest[..15].to_owned(), rest[16..].to_owned())
}

/// `Mmm dd hh:mm:ss` (RFC 3164, section 4.1.2).
fn assert_stamp(stamp: &str) {
    let shape: String = stamp
        .chars()
        .map(|c| match c {
            'A'..='Z' => 'A',
            'a'..='z' => 'a',
            '0'..='9' => '0',
            _ => c,
        })
        .collect();
    assert!(
        ["Aaa 00 00:00:00", "Aaa  0 00:00:00"].contains(&&*shape),
        "{stamp}"
    );
}

/// The sum of what lines about dropped lines say.
fn drops_told(lines: &[String]) -> u64 {
    lines
        .iter()
        .filter_map(|line| line.split_once(" log lines were dropped"))
        .filter_map(|(front, _)| front.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Datagrams that the kernel keeps for a socket, at most.
fn kernel_queue() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").expect("Linux");
    text.trim().parse::<u64>().expect("a number") + 1
}

const CHILD: &str = "ADIT_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// This very program, running one test alone.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("a process");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{output:?}"
    );
    output
}
