//! The formats as other people's programs read them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::figures::ask;
use crate::support::client::Client;
use crate::support::tools::has;
use crate::support::{adit::Adit, backend};
use crate::{metrics_at, setup};

/// A server that has done a little of everything that is counted.
fn worn() -> (backend::Backend<()>, Adit) {
    let backend = backend::echo();
    let adit = setup(backend.address()).shards(2).start();
    for _ in 0..3 {
        let client = Client::connect(&adit);
        client.send(b"x").expect("sent");
        assert_eq!(client.receive_exact(1), b"x");
    }
    let mut stranger = crate::support::client::tcp(adit.address());
    stranger.write_all(b"no TLS at all\r\n").expect("sent");
    (backend, adit)
}

fn feed(command: &mut Command, bytes: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut to = child.stdin.take().expect("its input");
    to.write_all(bytes).expect("it reads");
    drop(to);
    child.wait_with_output().expect("its end")
}

#[test]
fn promtool_finds_no_fault() {
    if !has("promtool", "--version") {
        return;
    }
    let (_backend, adit) = worn();
    let (_, body) = ask(metrics_at(&adit), "GET /metrics", "");
    let checked = feed(Command::new("promtool").args(["check", "metrics"]), &body);
    assert!(checked.status.success(), "{checked:?}");
    let said = [checked.stdout, checked.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
}

#[test]
fn promtool_takes_the_rules_and_the_scrape_configuration() {
    if !has("promtool", "--version") {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/prometheus");
    for (what, file) in [("rules", "adit.rules.yml"), ("config", "prometheus.yml")] {
        let checked = Command::new("promtool")
            .args(["check", what, &format!("{folder}/{file}")])
            .output()
            .expect("it starts");
        assert!(checked.status.success(), "{checked:?}");
    }
    let tested = Command::new("promtool")
        .args(["test", "rules", &format!("{folder}/adit.rules.test.yml")])
        .output()
        .expect("it starts");
    assert!(tested.status.success(), "{tested:?}");
}

/// The reader of the reference client, if python has it.
#[test]
fn the_reference_client_reads_both_formats() {
    const READ: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
families = list({'openmetrics': openmetrics, 'plain': plain}[sys.argv[1]](sys.stdin.read()))
assert len(families) > 50, len(families)
";
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python)
        .args(["-c", "import prometheus_client"])
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        println!("passed over: {python} has no prometheus_client");
        return;
    }
    let (_backend, adit) = worn();
    for (name, accept) in [
        (
            "openmetrics",
            "Accept: application/openmetrics-text; version=1.0.0\r\n",
        ),
        ("plain", ""),
    ] {
        let (_, body) = ask(metrics_at(&adit), "GET /metrics", accept);
        let read = feed(Command::new(&python).args(["-c", READ, name]), &body);
        assert!(read.status.success(), "{name}: {read:?}");
    }
}

#[test]
fn curl_gets_metrics_and_probes() {
    if !has("curl", "--version") {
        return;
    }
    let (_backend, adit) = worn();
    let at = metrics_at(&adit);
    let curl = |words: &[&str], path: &str| {
        let asked = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "20"])
            .args(words)
            .arg(format!("http://{at}{path}"))
            .output()
            .expect("it starts");
        assert!(asked.status.success(), "{asked:?}");
        String::from_utf8(asked.stdout).expect("text")
    };
    assert!(curl(&[], "/metrics").contains("adit_tunnels_open "));
    assert!(curl(&["--head"], "/metrics").contains("version=0.0.4"));
    assert_eq!(curl(&[], "/readyz"), "ready\n");
    assert_eq!(curl(&["--http1.0"], "/healthz"), "healthy\n");
}
