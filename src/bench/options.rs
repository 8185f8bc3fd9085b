//! What a load generator is told.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::dialect::{Cipher, Group, Signature, Version};
use crate::config::Address;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is done.
    pub scenario: Scenario,
    /// Whom it is done to.
    pub target: Address,
    /// How TLS is spoken; `None` is plain TCP.
    pub tls: Option<TlsOptions>,
    /// After how many operations the measurement ends, failed ones included.
    /// `None`: when `duration` is over.
    pub count: Option<u64>,
    /// How long it lasts, if `count` is `None`.
    pub duration: Duration,
    /// For how long the same is done before it counts. Zero: not at all.
    pub warmup: Duration,
    /// How long one operation may take.
    pub timeout: Duration,
    /// Executors, each with its share of the lanes. At least one.
    pub threads: usize,
    /// The CPU of each executor, at least as many as there are.
    pub cpus: Option<Vec<usize>>,
    /// The server's processes, if they are on this machine. Their children
    /// belong to them.
    pub pids: Vec<u32>,
}

/// What is done to the server. A *lane* does one thing after another.
#[derive(Clone, Debug, PartialEq)]
pub enum Scenario {
    /// One connection after the other: connect, handshake, one byte there and
    /// back, close.
    Handshake(Handshake),
    /// Bytes in one direction.
    Bulk(Bulk),
    /// Some bytes there and back, again and again on the same tunnel.
    RoundTrip(RoundTrip),
    /// Tunnels that are opened and held.
    Idle(Idle),
    /// One connection after the other, full and resumed handshakes mixed, with
    /// an exchange of some bytes.
    Churn(Churn),
    /// Churn, round trips and bulk beside each other.
    Mixed(Churn, RoundTrip, Bulk),
}

/// See [`Scenario::Handshake`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handshake {
    /// Connections at a time.
    pub lanes: usize,
    /// Sessions are kept and resumed.
    pub resume: bool,
    /// One byte is sent and awaited back.
    pub echo: bool,
    /// Operations a second, in an open loop.
    pub rate: Option<f64>,
}

/// See [`Scenario::Bulk`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bulk {
    /// Which way the bytes go.
    pub direction: Direction,
    /// Connections at a time.
    pub streams: usize,
    /// After how many bytes a transfer ends. `None`: with the measurement.
    pub bytes: Option<u64>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the server, which reads to the end and then closes.
    Up,
    /// From the server, which sends of itself.
    Down,
}

/// See [`Scenario::RoundTrip`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoundTrip {
    /// Bytes in each direction.
    pub bytes: u64,
    /// Tunnels at a time, one round trip on each.
    pub tunnels: usize,
    /// Round trips a second over all tunnels, in an open loop.
    pub rate: Option<f64>,
}

/// See [`Scenario::Idle`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// How many.
    pub tunnels: usize,
    /// For how long, once all are open.
    #[serde(rename = "hold_seconds", serialize_with = "seconds")]
    pub hold: Duration,
    /// One byte is sent and awaited back on each.
    pub echo: bool,
}

/// See [`Scenario::Churn`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Churn {
    /// Connections at a time.
    pub lanes: usize,
    /// Bytes in each direction.
    pub bytes: u64,
    /// The part of the connections that offer a session to resume, from 0 to 1.
    pub resumed: f64,
    /// Operations a second, in an open loop.
    pub rate: Option<f64>,
}

/// How a client speaks TLS. What is `None` is left to rustls.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The name that the client asks for.
    pub server_name: String,
    /// A file of certificates in PEM that a server's must lead to. `None`: any
    /// certificate will do.
    pub ca: Option<PathBuf>,
    /// The one version that is offered.
    pub version: Option<Version>,
    /// The one cipher suite that is offered.
    pub cipher: Option<Cipher>,
    /// The one key exchange group that is offered.
    pub group: Option<Group>,
    /// The one kind of signature that is offered, so that a server with several
    /// certificates chooses one.
    pub signature: Option<Signature>,
}

impl Scenario {
    /// What it is called on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::Bulk(_) => "bulk",
            Self::RoundTrip(_) => "rr",
            Self::Idle(_) => "idle",
            Self::Churn(_) => "churn",
            Self::Mixed(..) => "mixed",
        }
    }

    /// Its lanes by what they do.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Self::Handshake(handshake) => vec![Part::Handshake(handshake.clone())],
            Self::Bulk(bulk) => vec![Part::Bulk(bulk.clone())],
            Self::RoundTrip(trip) => vec![Part::RoundTrip(trip.clone())],
            Self::Idle(idle) => vec![Part::Idle(idle.clone())],
            Self::Churn(churn) => vec![Part::Churn(churn.clone())],
            Self::Mixed(churn, trip, bulk) => vec![
                Part::Churn(churn.clone()),
                Part::RoundTrip(trip.clone()),
                Part::Bulk(bulk.clone()),
            ],
        }
    }

    /// Lanes altogether.
    pub fn lanes(&self) -> usize {
        self.parts().iter().map(Part::lanes).sum()
    }
}

/// What some of the lanes do.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Handshake(Handshake),
    Bulk(Bulk),
    RoundTrip(RoundTrip),
    Idle(Idle),
    Churn(Churn),
}

impl Part {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::Bulk(_) => "bulk",
            Self::RoundTrip(_) => "rr",
            Self::Idle(_) => "idle",
            Self::Churn(_) => "churn",
        }
    }

    pub(super) fn lanes(&self) -> usize {
        match self {
            Self::Handshake(handshake) => handshake.lanes,
            Self::Bulk(bulk) => bulk.streams,
            Self::RoundTrip(trip) => trip.tunnels,
            Self::Idle(idle) => idle.tunnels,
            Self::Churn(churn) => churn.lanes,
        }
    }

    /// Operations a second, if the loop is open.
    pub(super) fn rate(&self) -> Option<f64> {
        match self {
            Self::Handshake(handshake) => handshake.rate,
            Self::RoundTrip(trip) => trip.rate,
            Self::Churn(churn) => churn.rate,
            Self::Bulk(_) | Self::Idle(_) => None,
        }
    }

    /// How many of the lanes one of several executors has.
    pub(super) fn share(&self, worker: usize, workers: usize) -> usize {
        share(self.lanes() as u64, worker, workers) as usize
    }

    fn json(&self) -> Value {
        match self {
            Self::Handshake(handshake) => json!(handshake),
            Self::Bulk(bulk) => json!(bulk),
            Self::RoundTrip(trip) => json!(trip),
            Self::Idle(idle) => json!(idle),
            Self::Churn(churn) => json!(churn),
        }
    }
}

/// The part of `whole` that falls to one of several.
pub(super) fn share(whole: u64, one: usize, of: usize) -> u64 {
    let (one, of) = (one as u64, of as u64);
    whole / of + u64::from(one < whole % of)
}

impl Options {
    /// All of it as it is meant, for a report.
    pub fn json(&self) -> Value {
        let mut all = match self.scenario.parts().as_slice() {
            [only] => only.json(),
            parts => {
                let each = parts.iter().map(|part| (part.name().into(), part.json()));
                Value::Object(each.collect())
            }
        };
        let common = json!({
            "tls": self.tls.as_ref().map(TlsOptions::json),
            "count": self.count,
            "duration_seconds": self.count.is_none().then_some(self.duration.as_secs_f64()),
            "warmup_seconds": self.warmup.as_secs_f64(),
            "timeout_seconds": self.timeout.as_secs_f64(),
            "threads": self.threads,
            "cpus": self.cpus,
            "pids": self.pids,
        });
        if let (Value::Object(all), Value::Object(common)) = (&mut all, common) {
            all.extend(common);
        }
        all
    }
}

impl TlsOptions {
    fn json(&self) -> Value {
        json!({
            "server_name": self.server_name,
            "ca": self.ca,
            "version": self.version.map(|version| version.to_string()),
            "cipher": self.cipher.map(|cipher| cipher.to_string()),
            "group": self.group.map(|group| group.to_string()),
            "signature": self.signature.map(|signature| signature.to_string()),
        })
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_up_the_whole_and_differ_by_one_at_most() {
        for (whole, of) in [(0, 3), (1, 3), (10, 3), (64, 1), (7, 7)] {
            let shares: Vec<u64> = (0..of).map(|one| share(whole, one, of)).collect();
            assert_eq!(shares.iter().sum::<u64>(), whole);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
