//! What monitoring and load balancers see: the metrics, in both formats, as a
//! reader of its own ([`text`]) and other people's programs read them, and the
//! probes.

#[path = "../support/mod.rs"]
mod support;

mod figures;
mod foreign;
mod ready;
mod server;
mod text;

use std::net::SocketAddr;
use std::time::Duration;

use adit::config::Address;
use adit::http::client::{self, Answer};

use support::adit::{Adit, Setup};
use support::wait_for;
use text::{Format, Scrape};

/// One shard in front of this backend, with metrics somewhere.
fn setup(backend: impl ToString) -> Setup {
    Setup::new(backend)
        .argument("--metrics")
        .argument("127.0.0.1:0")
}

/// Where the last line about it says that there are metrics.
fn metrics_at(adit: &Adit) -> SocketAddr {
    adit.log().wait("metrics at ");
    let lines = adit.log().lines();
    let line = lines.iter().rev().find(|line| line.contains("metrics at "));
    line.and_then(|line| line.split_once("http://"))
        .and_then(|(_, rest)| rest.strip_suffix("/metrics"))
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("no address in {line:?}"))
}

fn get(address: SocketAddr, path: &str) -> Answer {
    let address: Address = address.to_string().parse().expect("an address");
    client::get(&address, path, support::PATIENCE).expect("an answer")
}

/// Status and text of a probe.
fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = get(address, path);
    let text = String::from_utf8(answer.body).expect("text");
    (answer.status, text.trim_end().to_owned())
}

/// The metrics of this moment, in the Prometheus format.
#[track_caller]
fn scrape(address: SocketAddr) -> Scrape {
    let answer = get(address, "/metrics");
    assert_eq!(answer.status, 200);
    Scrape::read(&answer.body, Format::Prometheus)
}

/// Waits until the metrics are as they should be, and gives them.
#[track_caller]
fn wait_scrape(address: SocketAddr, what: &str, done: impl Fn(&Scrape) -> bool) -> Scrape {
    wait_for(what, || {
        let scrape = scrape(address);
        if done(&scrape) {
            return Some(scrape);
        }
        std::thread::sleep(Duration::from_millis(20));
        None
    })
}
