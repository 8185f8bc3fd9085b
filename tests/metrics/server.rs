//! The HTTP that metrics are served by, and where.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use adit::limits;

use crate::figures::ask;
use crate::support::adit::Adit;
use crate::support::backend;
use crate::support::{PATIENCE, wait_for};
use crate::text::{Format, Scrape};
use crate::{metrics_at, probe, scrape, setup};

#[test]
fn methods_and_paths_get_their_statuses() {
    let backend = backend::echo();
    let adit = setup(backend.address()).start();
    let at = metrics_at(&adit);
    for (first, status, allow) in [
        ("GET /metrics", 200, None),
        ("GET /metrics?x=1", 200, None),
        ("GET /readyz", 200, None),
        ("GET /healthz", 200, None),
        ("GET /", 404, None),
        ("GET /stats", 404, None),
        ("POST /reload", 404, None),
        ("POST /metrics", 405, Some("GET, HEAD")),
        ("POST /readyz", 405, Some("GET, HEAD")),
        ("PUT /metrics", 405, Some("GET, HEAD, POST")),
        ("BREW /metrics", 405, Some("GET, HEAD, POST")),
    ] {
        let (head, body) = ask(at, first, "");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{first}: {head}"
        );
        let length = format!("Content-Length: {}\r\n", body.len());
        assert!(head.contains(&length), "{first}: {head}");
        if let Some(allow) = allow {
            assert!(head.contains(&format!("Allow: {allow}\r\n")), "{head}");
        }
    }
    let (head, body) = ask(at, "HEAD /metrics", "");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.is_empty(),
        "{head}"
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|n| n.parse().ok()).expect("a length");
    assert!(length > 5000, "{length}");
    let (head, body) = ask(at, "HEAD /nothing", "");
    assert!(
        head.starts_with("HTTP/1.1 404 ") && body.is_empty(),
        "{head}"
    );
}

/// Clients that say nothing, say half of something, or take no answer hold a
/// bounded number of threads for a bounded time.
#[test]
fn slow_clients_keep_nobody_from_a_scrape_for_long() {
    let backend = backend::echo();
    let adit = setup(backend.address()).start();
    let at = metrics_at(&adit);
    let threads = scrape(at).value("process_threads", &[]);
    let slow: Vec<TcpStream> = (0..limits::ADMIN_CONNECTIONS_MAX + 30)
        .map(|number| {
            let mut stream = TcpStream::connect(at).expect("a connection");
            let said: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET /metrics HTTP/1.1\r\nHost:",
                _ => b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            };
            stream.write_all(said).expect("sent");
            stream
        })
        .collect();
    let now = scrape(at).value("process_threads", &[]);
    let most = threads + limits::ADMIN_CONNECTIONS_MAX as f64;
    assert!(now <= most, "{now} threads, of {threads} at first");
    // Whoever said half is told so; nobody is kept for good.
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an end");
    }
}

#[test]
fn many_may_scrape_at_once() {
    let backend = backend::echo();
    let adit = setup(backend.address()).shards(4).start();
    let at = metrics_at(&adit);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let accept = "Accept: application/openmetrics-text\r\n";
                    let (_, body) = ask(at, "GET /metrics", accept);
                    let scrape = Scrape::read(&body, Format::OpenMetrics);
                    assert_eq!(scrape.all("adit_shard_up", &[]).len(), 4);
                }
            });
        }
    });
}

fn rewrite(adit: &Adit, from: &str, to: &str) {
    let file = adit.folder().join("adit.ron");
    let text = std::fs::read_to_string(&file).expect("the file");
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).expect("written");
    adit.signal("HUP");
}

fn is_served(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

#[test]
fn a_reload_moves_them_and_puts_an_end_to_them() {
    let backend = backend::echo();
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("bound");
    let adit = crate::support::adit::Setup::new(backend.address())
        .setting("metrics: (address: \"127.0.0.1:0\")")
        .start();
    let first = metrics_at(&adit);
    // Somewhere else: an address of the loopback network that is another's.
    rewrite(&adit, "\"127.0.0.1:0\")", "\"127.0.0.2:0\")");
    let second = wait_for("another address", || {
        Some(metrics_at(&adit)).filter(|at| at.ip().to_string() == "127.0.0.2")
    });
    assert_eq!(probe(second, "/readyz").0, 200);
    wait_for("the end of the first", || (!is_served(first)).then_some(()));
    // Where it cannot be: all stays as it is.
    let bad = format!("\"{taken}\")");
    rewrite(&adit, "\"127.0.0.2:0\")", &bad);
    adit.log().wait(&format!("metrics: {taken} is in use"));
    adit.wait_stats("a refusal", |stats| stats.reloads_failed == 1);
    assert_eq!(probe(second, "/readyz").0, 200);
    drop(held);
    rewrite(&adit, &format!("metrics: (address: {bad},"), "");
    wait_for("the end", || (!is_served(second)).then_some(()));
    assert_eq!(adit.stats().reloads, 2);
}

#[test]
fn an_address_that_cannot_be_had_is_told_and_nothing_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = crate::support::certificate::Certificate::make(folder.path());
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("bound").to_string();
    let run = |metrics: &str| {
        Command::new(env!("CARGO_BIN_EXE_adit"))
            .args(["--listen", "127.0.0.1:0", "--backend", "127.0.0.1:9"])
            .arg("--cert")
            .arg(&certificate.cert)
            .arg("--key")
            .arg(&certificate.key)
            .args(["--admin", "off", "--shards", "1", "--metrics", metrics])
            .output()
            .expect("it starts")
    };
    for (metrics, code, part) in [
        (taken.as_str(), 1, format!("metrics: {taken} is in use")),
        ("9464", 2, "has no port".into()),
        ("192.0.2.1:1", 1, "metrics: 192.0.2.1:1".into()),
    ] {
        let ended = run(metrics);
        let text = String::from_utf8(ended.stderr).expect("text");
        assert_eq!(ended.status.code(), Some(code), "{text}");
        assert!(text.contains(&part), "{part} not in {text}");
        assert!(!text.contains("listening on"), "{text}");
    }
}
