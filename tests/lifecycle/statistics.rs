//! What a running instance tells of itself, and how soon.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit::metrics::{NameCount, NegotiatedCounts, Stats};

use crate::program::{self, Ended, Program, borrowed, words};
use crate::support::adit::Setup;
use crate::support::backend;
use crate::support::certificate::Certificate;
use crate::support::client::{Client, End};
use crate::support::{pattern, wait_for};

/// `adit stats --watch | head -1`
#[test]
fn who_watches_ends_once_nobody_reads() {
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).start();
    let socket = adit.folder().join("admin.sock");
    for format in [&[][..], &["--json"]] {
        let mut watching = Command::new(env!("CARGO_BIN_EXE_adit"))
            .args(["stats", "--watch", "0.1", "--admin"])
            .arg(&socket)
            .args(format)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = watching.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        assert!(!line.is_empty());
        let ended = wait_for("the end", || watching.try_wait().expect("a process"));
        assert_eq!(ended.code(), Some(0));
    }
}

#[test]
fn figures_come_by_process_and_by_path_as_text_and_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut words = words("127.0.0.1:0", &certificate, backend.address());
    let by_pid = Program::start(folder.path(), &borrowed(&words));
    let socket = folder.path().join("here.sock");
    let path = socket.to_str().expect("text");
    words.extend(["--admin".to_owned(), path.to_owned()]);
    let by_path = Program::start(folder.path(), &borrowed(&words));
    by_pid.wait_log("listening on");
    by_path.wait_log("listening on");
    let address = by_pid.listeners()[0];
    program::echo_at(address, &program::trust(&certificate));

    let pid = by_pid.pid().to_string();
    let ask = |words: &[&str]| -> Ended {
        let ended = program::run(folder.path(), &[&["stats"], words].concat());
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended
    };
    let json = |words: &[&str]| -> Stats {
        let words = [words, &["--json"]].concat();
        serde_json::from_str(&ask(&words).out).expect("statistics")
    };
    let stats = json(&["--pid", &pid]);
    assert_eq!(stats.pid, by_pid.pid());
    assert_eq!(stats.listeners[0].address, address.to_string());
    assert_eq!(stats.total.handshakes, 1);
    let names = |counts: &[NameCount]| -> Vec<(String, u64)> {
        let pairs = counts.iter().map(|c| (c.name.clone(), c.count));
        pairs.collect()
    };
    let agreed = &stats.total.negotiated;
    assert_eq!(names(&agreed.versions), [("TLSv1.3".to_owned(), 1)]);
    assert_eq!(
        names(&agreed.ciphers),
        [("TLS_AES_256_GCM_SHA384".to_owned(), 1)]
    );
    assert_eq!(names(&agreed.groups), [("X25519MLKEM768".to_owned(), 1)]);
    assert_eq!(stats.total.backend_negotiated, NegotiatedCounts::default());
    let text = ask(&["--pid", &pid]).out;
    assert!(
        text.contains("handshakes with clients  1, 0 % resumed"),
        "{text}"
    );
    assert!(!text.contains("handshakes with backends"), "{text}");
    // The only one in the folder is found without a name.
    assert_eq!(json(&[]).pid, by_pid.pid());
    crate::support::wait_for("the other's socket", || socket.exists().then_some(()));
    assert_eq!(json(&["--admin", path]).pid, by_path.pid());
    for (asked, pid) in [(["--pid", &pid], &by_pid), (["--admin", path], &by_path)] {
        let text = ask(&asked).out;
        for part in [
            &format!("pid {}", pid.pid()),
            "serving",
            "shard",
            "handshakes",
        ] {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }

    // Nobody else may ask.
    assert_eq!(mode(&by_pid.admin_socket()), 0o600);
    assert_eq!(
        mode(by_pid.admin_socket().parent().expect("a folder")),
        0o700
    );
    assert_eq!(mode(&socket), 0o600);

    // Nothing is left.
    let left = by_pid.admin_socket();
    for program in [by_pid, by_path] {
        program.signal("TERM");
        let ended = program.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert!(!left.exists() && !socket.exists());
}

fn mode(path: &Path) -> u32 {
    let meta = std::fs::metadata(path).expect("a file");
    meta.permissions().mode() & 0o777
}

#[test]
fn a_busy_shard_answers_soon() {
    const TUNNELS: usize = 4;
    let backend = backend::echo();
    let adit = Setup::new(backend.address()).start();
    let over = AtomicBool::new(false);
    let clients: Vec<Client> = (0..TUNNELS).map(|_| Client::connect(&adit)).collect();
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let mut offset = 0;
                while !over.load(Ordering::SeqCst) {
                    let next = pattern::at(offset, 128 * 1024);
                    client.send(next).expect("sent");
                    offset += next.len() as u64;
                }
                client.close_notify();
            });
            scope.spawn(|| {
                let (_, end) = client.receive_pattern();
                assert_eq!(end, End::CloseNotify);
            });
        }
        let busy = |bytes: u64| {
            move |stats: &Stats| stats.total.bytes_up > bytes && stats.total.bytes_down > bytes
        };
        adit.wait_stats("transfers both ways", busy(4 << 20));
        let (mut answers, mut trips) = (Vec::new(), Vec::new());
        let before = adit.stats().total.bytes_up;
        let (cpu, begun) = (adit.cpu_time(), Instant::now());
        while answers.len() < 50 || begun.elapsed() < Duration::from_secs(1) {
            let asked = Instant::now();
            let stats = adit.stats();
            trips.push(asked.elapsed());
            assert_eq!(stats.silent_shards, [0; 0]);
            answers.push(Duration::from_micros(stats.shards[0].answer_micros));
        }
        let (cpu, span) = (adit.cpu_time() - cpu, begun.elapsed());
        let moved = adit.stats().total.bytes_up - before;
        over.store(true, Ordering::SeqCst);
        answers.sort();
        trips.sort();
        let (half, last) = (answers.len() / 2, answers.len() - 1);
        println!(
            "a shard that moved {} MiB/s each way with {:.0} % of a CPU: it answers in {:?} \
             (median), {:?} (worst of {}); the whole trip takes {:?}, {:?}",
            moved as f64 / f64::from(1 << 20) / span.as_secs_f64(),
            100.0 * cpu.as_secs_f64() / span.as_secs_f64(),
            answers[half],
            answers[last],
            answers.len(),
            trips[half],
            trips[last],
        );
        // Half of them within milliseconds, though the machine be loaded.
        assert!(answers[half] < Duration::from_millis(50), "{answers:?}");
        assert!(answers[last] < Duration::from_millis(500), "{answers:?}");
    });
}
