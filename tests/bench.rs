//! The load generator from outside: what it says it did is what its servers
//! have seen.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::adit::{Adit, Setup};
use support::backend::{self, Backend};
use support::certificate::Certificate;
use support::wait_for;

/// How one run of the generator ended.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command
        .arg("bench")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(words: &[&str]) -> Run {
    let output = command(words).output().expect("the program runs");
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs it to a good end, and gives its figures.
#[track_caller]
fn figures(words: &str, target: impl ToString) -> Value {
    let target = target.to_string();
    let mut all: Vec<&str> = words.split_whitespace().collect();
    all.extend(["--json", "-", &target]);
    if !words.contains("--warmup") {
        all.extend(["--warmup", "0s"]);
    }
    let run = run(&all);
    assert_eq!(run.code, Some(0), "{words}: {run:?}");
    let json = run.json();
    assert_eq!(json["errors"], serde_json::json!({}), "{json:#}");
    json
}

#[track_caller]
fn number(json: &Value, path: &str) -> f64 {
    let value = json.pointer(path);
    value
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number {path} in {json:#}"))
}

fn count(json: &Value, path: &str) -> u64 {
    number(json, path) as u64
}

/// A port that nobody listens on, held by a socket that does not either.
fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a port");
    let address = socket.local_addr().expect("an address").as_socket();
    (socket, address.expect("an address"))
}

/// `adit bench backend` at work.
struct Plaintext {
    child: Child,
    addresses: Vec<(String, String)>,
}

impl Plaintext {
    fn start(words: &[&str]) -> Self {
        let mut child = command(&[&["backend"], words].concat())
            .spawn()
            .expect("the program runs");
        let mut ready = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        out.read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n");
        // What it listens on stands on standard error before that line.
        let err = BufReader::new(child.stderr.take().expect("its errors"));
        let lines = err.lines().map(|line| line.expect("text"));
        let addresses = lines
            .take(words.len() / 2)
            .map(|line| {
                let (role, address) = line.split_once(" on ").expect("a role and an address");
                let role = role.strip_prefix("adit: ").expect("the program's name");
                (role.to_owned(), address.to_owned())
            })
            .collect();
        Self { child, addresses }
    }

    fn address(&self, role: &str) -> &str {
        let found = self.addresses.iter().find(|(r, _)| r == role);
        &found.expect("a listener of that role").1
    }

    fn terminate(mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    let done = Command::new("sh").args(["-c", &kill]).status();
    assert!(done.expect("a shell").success());
}

#[test]
fn every_handshake_is_one_that_the_server_has_seen() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let json = figures("handshake -n 41 --lanes 4", adit.address());
    assert_eq!(count(&json, "/adit_bench"), 1);
    for path in [
        "/operations",
        "/connections",
        "/handshakes_full",
        "/bytes_up",
        "/bytes_down",
        "/closes/clean",
        "/latency/operation/count",
        "/latency/handshake/count",
        "/latency/answer/count",
    ] {
        assert_eq!(count(&json, path), 41, "{path}");
    }
    assert_eq!(count(&json, "/handshakes_resumed"), 0);
    assert_eq!(json["tls"]["version"], "TLSv1.3");
    assert_eq!(json["tls"]["group"], "X25519MLKEM768");
    assert_eq!(json["options"]["lanes"], 4);
    adit.assert_closes(41, "relay/backend/eof");
    let total = adit.stats().total;
    assert_eq!((total.handshakes, total.handshakes_resumed), (41, 0));
    assert_eq!((total.bytes_up, total.bytes_down), (41, 41));

    let latency = &json["latency"]["operation"];
    let in_order: Vec<f64> = ["min_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"]
        .iter()
        .map(|name| latency[*name].as_f64().expect(name))
        .collect();
    assert!(in_order.is_sorted() && in_order[0] > 0.0, "{latency}");
    let least = |name: &str| number(&json, &format!("/latency/{name}/min_us"));
    let longer = ["handshake", "answer", "operation"].map(least);
    assert!(longer.is_sorted(), "{longer:?}");
    let rate = number(&json, "/operations") / number(&json, "/seconds");
    assert!((rate / number(&json, "/operations_per_second") - 1.0).abs() < 1e-6);
    let steps = json["rate"]["operations"].as_array().expect("steps");
    assert_eq!(steps.iter().filter_map(Value::as_u64).sum::<u64>(), 41);
}

#[test]
fn without_an_echo_not_a_byte_is_sent() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let json = figures("handshake -n 5 --no-echo", adit.address());
    assert_eq!(count(&json, "/operations"), 5);
    assert!(json["latency"].get("answer").is_none());
    adit.closes(5);
    assert_eq!(adit.stats().total.bytes_up, 0);
}

#[test]
fn resumed_handshakes_are_resumed_in_both_versions() {
    let backend = backend::echo();
    for version in ["1.2", "1.3"] {
        let adit = Adit::start(backend.address());
        let words = format!("handshake --resume -n 30 -l 3 --tls {version}");
        let json = figures(&words, adit.address());
        assert_eq!(json["tls"]["version"], format!("TLSv{version}"));
        assert_eq!(count(&json, "/handshakes_resumed"), 30);
        assert_eq!(count(&json, "/handshakes_full"), 0);
        // The three that there was nothing to resume for are not counted.
        adit.closes(33);
        let total = adit.stats().total;
        assert_eq!((total.handshakes, total.handshakes_resumed), (33, 30));
    }
    let adit = Setup::new(backend.address())
        .tls_setting("tickets: 0")
        .start();
    let json = figures("handshake --resume -n 3", adit.address());
    assert_eq!(count(&json, "/handshakes_full"), 3);
    assert!(
        json["notes"]
            .to_string()
            .contains("3 of 3 handshakes were full"),
        "{json:#}"
    );
}

#[test]
fn what_tls_is_asked_for_is_what_is_spoken() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    for (words, version, cipher, group) in [
        (
            "--tls 1.2 --group p-256 --cipher TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLSv1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "secp256r1",
        ),
        (
            "--group x25519 --cipher TLS_CHACHA20_POLY1305_SHA256 --signature ecdsa",
            "TLSv1.3",
            "TLS_CHACHA20_POLY1305_SHA256",
            "x25519",
        ),
    ] {
        let json = figures(&format!("handshake -n 2 {words}"), adit.address());
        assert_eq!(json["tls"]["version"], version);
        assert_eq!(json["tls"]["cipher"], cipher);
        assert_eq!(json["tls"]["group"], group);
    }
}

#[test]
fn options_that_cannot_be_meant_are_refused_with_what_to_write() {
    for (words, part) in [
        ("handshake --group x25520 h:1", "X25519MLKEM768"),
        ("handshake --cipher RC4 h:1", "TLS_AES_128_GCM_SHA256"),
        ("handshake --tls 1.1 h:1", "1.2 or 1.3"),
        (
            "handshake --tls 1.2 --cipher TLS_AES_128_GCM_SHA256 127.0.0.1:1",
            "TLS 1.3",
        ),
        ("handshake --threads 2 127.0.0.1:1", "--threads"),
        (
            "handshake --threads 2 -l 2 --cpus 0 127.0.0.1:1",
            "as many CPUs",
        ),
        ("handshake --cpus 4000 127.0.0.1:1", "CPU 4000"),
        ("handshake --plain --resume 127.0.0.1:1", "--plain"),
        ("handshake -n 1 -d 1s 127.0.0.1:1", "--duration"),
        ("handshake 127.0.0.1:0", "127.0.0.1:0"),
        ("handshake --pid 4194305 127.0.0.1:1", "no process 4194305"),
        (
            "handshake --ca /nowhere/ca.pem 127.0.0.1:1",
            "/nowhere/ca.pem",
        ),
        ("bulk -n 3 127.0.0.1:1", "--bytes"),
        ("rr --rate 0 127.0.0.1:1", "more than 0"),
        ("rr --bytes 0 127.0.0.1:1", "16KiB"),
        ("mixed -l 0 -t 0 -s 0 127.0.0.1:1", "1"),
        ("backend", "--echo"),
    ] {
        let run = run(&words.split_whitespace().collect::<Vec<_>>());
        assert_eq!(run.code, Some(2), "{words}: {run:?}");
        assert_eq!(run.out, "", "{words}");
        let err = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(err.contains(part), "{words}: {part} not in {err}");
    }
}

#[test]
fn errors_are_counted_by_cause_and_tell_in_the_exit_code() {
    #[track_caller]
    fn causes(words: &str, target: impl ToString, expected: &[(&str, u64)]) {
        let target = target.to_string();
        let words: Vec<&str> = words.split_whitespace().collect();
        let run = run(&[&words, &["--warmup", "0s", "--json", "-", &target][..]].concat());
        assert_eq!(run.code, Some(1), "{run:?}");
        let json = run.json();
        let errors: serde_json::Map<String, Value> = expected
            .iter()
            .map(|(cause, count)| ((*cause).to_owned(), (*count).into()))
            .collect();
        assert_eq!(json["errors"], Value::Object(errors), "{json:#}");
        assert_eq!(count(&json, "/operations"), 0, "{json:#}");
    }
    let (_held, refusing) = nobody();
    causes("handshake -n 5", refusing, &[("connect/refused", 5)]);
    causes("rr -n 5 -t 2 --plain", refusing, &[("connect/refused", 5)]);
    causes("idle -t 3 --hold 0s", refusing, &[("connect/refused", 3)]);
    causes(
        "handshake -n 1",
        "unix:/nowhere/s",
        &[("connect/no-socket", 1)],
    );

    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let alert = "handshake/alert/handshake_failure";
    causes(
        "handshake -n 3 --signature rsa",
        adit.address(),
        &[(alert, 3)],
    );
    let other = tempfile::tempdir().expect("a folder");
    let other = Certificate::make(other.path()).cert.display().to_string();
    let run = run(&[
        "handshake",
        "-n",
        "2",
        "--ca",
        &other,
        "--json",
        "-",
        "--warmup",
        "0s",
        &adit.address().to_string(),
    ]);
    let errors = &run.json()["errors"];
    let causes_named: Vec<&String> = errors.as_object().expect("errors").keys().collect();
    assert!(
        causes_named
            .iter()
            .all(|cause| cause.starts_with("handshake/certificate/")),
        "{errors}"
    );
    assert_eq!(run.code, Some(1));

    let resetting = Backend::start(|mut stream| {
        let _ = stream.read(&mut [0; 1]);
        backend::reset(stream);
    });
    causes("rr -n 2 --plain", resetting.address(), &[("io/reset", 2)]);
    let leaving = Backend::start(|mut stream| drop(stream.read(&mut [0; 1])));
    causes(
        "rr -n 2 --bytes 1 --plain",
        leaving.address(),
        &[("io/eof", 2)],
    );
    let silent = Backend::start(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    causes(
        "rr -n 2 -t 2 --timeout 200ms --plain",
        silent.address(),
        &[("io/timeout", 2)],
    );
    causes(
        "handshake -n 1 --timeout 200ms",
        silent.address(),
        &[("handshake/timeout", 1)],
    );
    let babbling = Backend::start(|mut stream| {
        let mut byte = [0];
        let _ = stream.read(&mut byte);
        let _ = stream.write_all(&[0; 2]);
        let _ = stream.read(&mut byte);
    });
    causes(
        "rr -n 1 --bytes 1 --plain",
        babbling.address(),
        &[("io/surplus", 1)],
    );
}

#[test]
fn a_certificate_is_verified_where_there_are_roots_for_it() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let target = adit.address().to_string();
    let ca = adit.certificate().cert.display().to_string();
    let words = ["handshake", "-n", "2", "--warmup", "0s"];
    let verified = run(&[&words[..], &["--ca", &ca, &target]].concat());
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(!verified.err.contains("verified"), "{verified:?}");
    let unverified = run(&[&words[..], &[&target[..]]].concat());
    assert_eq!(unverified.code, Some(0), "{unverified:?}");
    assert_eq!(
        unverified.err.matches("no certificate is verified").count(),
        1
    );
    let meant = run(&[&words[..], &["--insecure", &target]].concat());
    assert_eq!((meant.code, meant.err.as_str()), (Some(0), ""));
}

#[test]
fn round_trips_carry_the_bytes_that_are_asked_for() {
    let backend = backend::echo();
    for (trips, tunnels, bytes) in [(200, 5, 3000), (6, 2, 2 << 20), (3, 3, 1)] {
        let adit = Adit::start(backend.address());
        let words = format!("rr -n {trips} -t {tunnels} --bytes {bytes}");
        let json = figures(&words, adit.address());
        assert_eq!(count(&json, "/operations"), trips);
        assert_eq!(count(&json, "/connections"), tunnels);
        assert_eq!(count(&json, "/bytes_up"), trips * bytes);
        assert_eq!(count(&json, "/bytes_down"), trips * bytes);
        assert!(json["latency"].get("service").is_none());
        adit.assert_closes(tunnels, "relay/backend/eof");
        let total = adit.stats().total;
        assert_eq!(total.bytes_up, trips * bytes);
        assert_eq!(total.bytes_down, trips * bytes);
    }
}

#[test]
fn several_executors_share_the_work_and_their_figures_are_one() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let json = figures("rr -n 301 -t 7 --bytes 10 --threads 3", adit.address());
    assert_eq!(count(&json, "/operations"), 301);
    assert_eq!(count(&json, "/connections"), 7);
    assert_eq!(count(&json, "/latency/operation/count"), 301);
    adit.closes(7);
    assert_eq!(adit.stats().total.bytes_up, 3010);
}

#[test]
fn bulk_counts_what_has_passed() {
    const EACH: u64 = 5 << 20;
    let received = Arc::new(AtomicU64::new(0));
    let sink = Backend::start({
        let received = received.clone();
        move |mut stream| {
            backend::read_all(&mut stream, |bytes| {
                received.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            })
        }
    });
    let adit = Adit::start(sink.address());
    let json = figures("bulk --bytes 5MiB --streams 2", adit.address());
    assert_eq!(count(&json, "/operations"), 2);
    assert_eq!(count(&json, "/bytes_up"), 2 * EACH);
    // Its end came only when all had passed.
    assert_eq!(received.load(Ordering::SeqCst), 2 * EACH);
    let json = figures(
        "bulk --bytes 5MiB --streams 2 -n 5 --warmup 50ms",
        adit.address(),
    );
    assert_eq!(count(&json, "/operations"), 5);
    assert_eq!(count(&json, "/bytes_up"), 5 * EACH);
    let before = adit.stats().total.bytes_up;
    let json = figures("bulk -d 300ms", adit.address());
    assert_eq!(count(&json, "/operations"), 1);
    assert!(number(&json, "/seconds") >= 0.3);
    assert_eq!(
        adit.stats().total.bytes_up - before,
        count(&json, "/bytes_up")
    );

    let source = Plaintext::start(&["--source", "127.0.0.1:0"]);
    let adit = Adit::start(source.address("source"));
    let json = figures(
        "bulk --direction down --bytes 5MiB --streams 2",
        adit.address(),
    );
    assert_eq!(count(&json, "/operations"), 2);
    let down = count(&json, "/bytes_down");
    // The last record of each may go past what was asked for.
    assert!((2 * EACH..2 * EACH + 600_000).contains(&down), "{down}");
    assert!(adit.stats().total.bytes_down >= down);
    let json = figures(
        "bulk --direction down -d 300ms --warmup 100ms",
        adit.address(),
    );
    assert!(count(&json, "/bytes_down") > 0);
    assert_eq!(count(&json, "/operations"), 1);
}

#[test]
fn a_source_that_ends_is_asked_again() {
    let source = backend::source(100_000);
    let adit = Adit::start(source.address());
    let json = figures("bulk --direction down -d 500ms", adit.address());
    let transfers = count(&json, "/operations");
    assert!(transfers > 1, "{json:#}");
    assert!(count(&json, "/bytes_down") >= (transfers - 1) * 100_000);
}

#[test]
fn idle_tunnels_are_held_and_weighed() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let pid = adit.pid().to_string();
    let words = format!("idle -t 150 --hold 100ms --pid {pid} --warmup 50ms");
    let json = figures(&words, adit.address());
    assert_eq!(count(&json, "/operations"), 150);
    assert_eq!(json["server"]["pids"], serde_json::json!([adit.pid()]));
    assert!(count(&json, "/server/descriptors") >= 300, "{json:#}");
    // It was measured until the last was open.
    assert!(number(&json, "/generator/cpu_seconds") > 0.01, "{json:#}");
    let each = number(&json, "/server/memory_bytes_per_tunnel");
    assert!((2_000.0..60_000.0).contains(&each), "{each} bytes a tunnel");
    // With those of the warm-up, all closed in order.
    adit.assert_closes(150 + 16, "relay/backend/eof");

    let closing = Backend::start(|mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        stream.write_all(&byte).expect("sent");
    });
    let target = closing.address().to_string();
    let run = run(&[
        "idle", "-t", "3", "--hold", "300ms", "--plain", "--warmup", "0s", "--json", "-", &target,
    ]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.json()["errors"], serde_json::json!({"io/eof": 3}));
}

#[test]
fn churn_mixes_full_and_resumed_handshakes() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let json = figures(
        "churn -n 40 -l 2 --bytes 100 --resumed 0.25",
        adit.address(),
    );
    assert_eq!(count(&json, "/operations"), 40);
    let resumed = count(&json, "/handshakes_resumed");
    assert!((8..=12).contains(&resumed), "{resumed}");
    assert_eq!(resumed + count(&json, "/handshakes_full"), 40);
    adit.closes(42);
    let total = adit.stats().total;
    assert_eq!(total.handshakes_resumed, resumed);
    assert_eq!(total.bytes_up, 42 * 100);
}

#[test]
fn mixed_reports_each_of_its_parts() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let json = figures("mixed -l 2 -t 3 -s 1 -d 500ms", adit.address());
    for (path, sum) in [
        ("/operations", count(&json, "/operations")),
        ("/connections", count(&json, "/connections")),
        ("/bytes_up", count(&json, "/bytes_up")),
    ] {
        let parts = ["churn", "rr", "bulk"].map(|part| count(&json["parts"][part], path));
        assert!(parts.iter().all(|n| *n > 0), "{path}: {parts:?}");
        assert_eq!(parts.iter().sum::<u64>(), sum, "{path}");
    }
    assert_eq!(count(&json["parts"]["rr"], "/connections"), 3);
}

/// Answers each of its clients, but keeps all of them waiting once: from the
/// `after`-th message on, for so long.
fn stalling(after: u64, stall: Duration) -> Backend<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let stalled = Arc::new(AtomicBool::new(false));
    Backend::start(move |mut stream| {
        stream.set_nodelay(true).expect("a socket");
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            let number = answered.fetch_add(1, Ordering::SeqCst);
            if number >= after && !stalled.swap(true, Ordering::SeqCst) {
                std::thread::sleep(stall);
            }
            if stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn an_open_loop_charges_a_stall_with_all_that_had_to_wait() {
    let stall = Duration::from_secs(1);
    let server = stalling(100, stall);
    let words = "rr --plain -t 1 --bytes 64 --rate 200 -d 3s";
    let json = figures(words, server.address());
    assert_eq!(count(&json, "/operations") + count(&json, "/unsent"), 600);
    // The stall is long over at the end. Only a machine that is itself late then
    // can keep the last sends from being made, here those of 100 ms.
    assert!(count(&json, "/unsent") <= 20, "{json:#}");
    // One in three had to wait, one in six hundred did so for its answer.
    let corrected = number(&json, "/latency/operation/p99_us");
    let uncorrected = number(&json, "/latency/service/p99_us");
    assert!(corrected > 700_000.0, "{json:#}");
    assert!(uncorrected < corrected / 3.0, "{json:#}");
    assert!(number(&json, "/latency/service/max_us") >= 999_000.0);
    assert!(json["generator"]["lag_p99_us"].is_number());
}

#[test]
fn sends_that_a_stall_has_kept_from_being_made_are_not_forgotten() {
    let server = stalling(50, Duration::from_secs(3));
    let words = [
        "rr",
        "--plain",
        "-t",
        "1",
        "--bytes",
        "64",
        "--rate",
        "100",
        "-d",
        "1s",
        "--timeout",
        "500ms",
        "--warmup",
        "0s",
        "--json",
        "-",
        &server.address().to_string(),
    ];
    let run = run(&words);
    assert_eq!(run.code, Some(1), "{run:?}");
    let json = run.json();
    assert!(count(&json, "/errors/io~1timeout") >= 1, "{json:#}");
    let all = count(&json, "/operations")
        + count(&json, "/unsent")
        + json["errors"]
            .as_object()
            .expect("errors")
            .values()
            .filter_map(Value::as_u64)
            .sum::<u64>();
    assert_eq!(all, 100, "{json:#}");
}

#[test]
fn the_servers_own_cpu_time_is_read_exactly() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let pid = adit.pid().to_string();
    let before = adit.cpu_time();
    let json = figures(&format!("handshake -n 100 --pid {pid}"), adit.address());
    let spent = (adit.cpu_time() - before).as_secs_f64();
    let said = number(&json, "/server/cpu_seconds");
    assert!(said > 0.0 && said <= spent + 0.02, "{said} of {spent}");
    // All that the server did since it started was this, but for the last
    // moments.
    assert!(said >= spent * 0.5 - 0.02, "{said} of {spent}");
    let each = number(&json, "/server/cpu_us_per_operation");
    assert!((each / (said * 1e6 / 100.0) - 1.0).abs() < 1e-6);
    assert!(count(&json, "/server/threads") >= 2);
    assert!(count(&json, "/server/memory_bytes") > 100_000);
    assert!(json["server"]["memory_bytes_per_tunnel"].is_null());
}

#[test]
fn told_to_stop_it_says_what_it_has_measured() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let target = adit.address().to_string();
    let words = [
        "rr",
        "-t",
        "2",
        "-d",
        "1h",
        "--warmup",
        "0s",
        "--insecure",
        "--json",
        "-",
        &target,
    ];
    for name in ["TERM", "INT"] {
        let moved = adit.stats().total.bytes_up;
        let child = command(&words).spawn().expect("the program runs");
        adit.wait_stats("round trips", |stats| {
            stats.total.bytes_up > moved + 100_000
        });
        let told = Instant::now();
        signal(&child, name);
        let output = child.wait_with_output().expect("its end");
        assert!(told.elapsed() < Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(0), "{name}");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json["interrupted"], true);
        assert!(count(&json, "/operations") > 10, "{json:#}");
        assert_eq!(json["errors"], serde_json::json!({}));
    }
}

#[test]
fn a_server_that_hangs_does_not_keep_it_from_stopping() {
    let silent = Backend::start(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let target = silent.address().to_string();
    let child = command(&[
        "rr",
        "--plain",
        "-d",
        "1h",
        "--timeout",
        "1h",
        "--warmup",
        "0s",
        "--json",
        "-",
        &target,
    ])
    .spawn()
    .expect("the program runs");
    wait_for("its connection", || has_a_socket(child.id()).then_some(()));
    let told = Instant::now();
    signal(&child, "TERM");
    let output = child.wait_with_output().expect("its end");
    assert!(told.elapsed() < Duration::from_secs(20));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(count(&json, "/operations"), 0);
    assert!(count(&json, "/abandoned") <= 1);
}

/// Whether this process has a socket: the generator opens none but its
/// connections.
fn has_a_socket(pid: u32) -> bool {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    fds.flatten().any(|fd| {
        std::fs::read_link(fd.path())
            .is_ok_and(|to| to.display().to_string().starts_with("socket:"))
    })
}

#[test]
fn people_get_a_table_and_a_page_and_programs_json() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, html) = (path("figures.json"), path("page.html"));
    let (pid, target) = (adit.pid().to_string(), adit.address().to_string());
    let words = [
        "rr",
        "-n",
        "200",
        "-t",
        "2",
        "--warmup",
        "0s",
        "--insecure",
        "--pid",
        &pid,
        "--json",
        &json,
        "--html",
        &html,
        &target,
    ];
    let shown = run(&words);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    for line in shown.out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for part in [
        "operations",
        "200",
        "p99.9",
        "errors       none",
        "µs an operation",
        "generator",
    ] {
        assert!(shown.out.contains(part), "{part} not in:\n{}", shown.out);
    }
    let text = std::fs::read_to_string(&json).expect("a file");
    let figures: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(count(&figures, "/operations"), 200);

    let page = std::fs::read_to_string(&html).expect("a file");
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for part in [
        "<svg",
        "99.9 %",
        &target,
        "Errors",
        "Options",
        "Machine",
        "prefers-color-scheme",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    for elsewhere in ["http://", "https://", "<script", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere} is in the page");
    }
    let quiet = run(&[&words[..], &["--quiet"]].concat());
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    assert_unwritable(&target, folder.path());
}

fn assert_unwritable(target: &str, folder: &Path) {
    let file = folder.join("no/such/folder.json").display().to_string();
    let words = [
        "handshake",
        "-n",
        "1",
        "--warmup",
        "0s",
        "--json",
        &file,
        target,
    ];
    let run = run(&words);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains(&file), "{run:?}");
}

#[test]
fn the_backend_echoes_swallows_and_pours() {
    let folder = tempfile::tempdir().expect("a folder");
    let unix = format!("unix:{}", folder.path().join("echo.sock").display());
    let backend = Plaintext::start(&[
        "--echo",
        "127.0.0.1:0",
        "--echo",
        &unix,
        "--sink",
        "127.0.0.1:0",
        "--source",
        "127.0.0.1:0",
    ]);
    let connect = |role: &str| {
        let stream = TcpStream::connect(backend.address(role)).expect("connected");
        stream
            .set_read_timeout(Some(support::PATIENCE))
            .expect("set");
        stream
    };
    // More than the kernel's buffers hold, so that it must wait for its reader.
    let sent: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 253) as u8).collect();
    let mut echo = connect("echo");
    std::thread::scope(|scope| {
        let mut writing = echo.try_clone().expect("a clone");
        let bytes = &sent;
        scope.spawn(move || {
            writing.write_all(bytes).expect("sent");
            writing.shutdown(Shutdown::Write).expect("ended");
        });
        let mut back = Vec::new();
        echo.read_to_end(&mut back).expect("received");
        assert!(back == sent);
    });
    let mut sink = connect("sink");
    sink.write_all(&sent).expect("sent");
    sink.shutdown(Shutdown::Write).expect("ended");
    assert_eq!(sink.read(&mut [0; 8]).expect("an end"), 0);
    let mut source = connect("source");
    source
        .read_exact(&mut vec![0; 10_000_000])
        .expect("as much as one likes");
    drop(source);

    let json = figures("rr --plain -n 20 -t 2 --bytes 300000", &unix);
    assert_eq!(count(&json, "/bytes_down"), 20 * 300_000);
    assert!(json["tls"].is_null());
    assert_eq!(backend.terminate(), Some(0));
    assert!(!folder.path().join("echo.sock").exists());

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = run(&["backend", "--echo", &address]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(&address), "{refused:?}");
}
