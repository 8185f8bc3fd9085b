//! What a measurement has found. As JSON its field names are stable.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::bottleneck::Generator;
use super::curve::Curve;
use super::machine::Machine;
use super::process::Reading;
use super::tally::{Closes, Course, Latencies, Tally};

/// What a measurement has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this form: 1.
    pub adit_bench: u32,
    /// What was done.
    pub scenario: &'static str,
    /// Whom it was done to.
    pub target: String,
    /// When the measurement began (RFC 3339).
    pub started: String,
    /// The options as they were meant.
    pub options: Value,
    /// How long it was from the begin of the measurement to the end of the last
    /// operation.
    pub seconds: f64,
    /// All that was counted.
    #[serde(flatten)]
    pub total: Figures,
    /// The parts of `mixed`, by name. Of any other scenario, none.
    pub parts: BTreeMap<&'static str, Figures>,
    /// The server's own figures, if its processes were named.
    pub server: Option<ServerFigures>,
    /// The generator's own.
    pub generator: Generator,
    /// Whether it was told to stop before its time.
    pub interrupted: bool,
    /// What whoever reads the figures should know.
    pub notes: Vec<String>,
    /// Where it was measured.
    pub machine: Machine,
}

/// What was counted.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Operations that came to their end. Of bulk: transfers.
    pub operations: u64,
    /// Of these, in a second.
    pub operations_per_second: f64,
    /// Connections that were made for them.
    pub connections: u64,
    /// Full handshakes.
    pub handshakes_full: u64,
    /// Handshakes that resumed a session.
    pub handshakes_resumed: u64,
    /// What was agreed on with the server; `None` in plain.
    pub tls: Option<Negotiated>,
    /// Plaintext bytes to the server.
    pub bytes_up: u64,
    /// Plaintext bytes from the server.
    pub bytes_down: u64,
    /// Bytes in both directions, in a second.
    pub bytes_per_second: f64,
    /// Operations that failed, by cause.
    pub errors: BTreeMap<String, u64>,
    /// How the server ended connections.
    pub closes: Closes,
    /// Operations that were in flight when the generator was told to stop, and
    /// are counted nowhere else.
    pub abandoned: u64,
    /// Sends of an open loop that were due and had not been made by the end:
    /// all lanes waited for the server. They are in `latency.operation`, with
    /// the time for which they had waited.
    pub unsent: u64,
    /// How long it took.
    pub latency: LatencyFigures,
    /// Operations and bytes over time.
    pub rate: RateFigures,
    /// The whole distributions that there are, by the names that they have in
    /// `latency`, for plots.
    #[serde(skip)]
    pub curves: Vec<(&'static str, Curve)>,
}

/// What was agreed on in a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Negotiated {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: String,
    /// As IANA calls it.
    pub cipher: String,
    /// As IANA calls it; `None` if the session was resumed without one.
    pub group: Option<String>,
}

/// Distributions; those with nothing in them are left out.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyFigures {
    /// A whole operation. In an open loop, from the moment at which it was
    /// due: what coordinated omission would hide is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Distribution>,
    /// From the begin of connecting to the end of the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Distribution>,
    /// From the begin of connecting to the end of the answer, where a connection
    /// is made for one: what a client waits that has no connection yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Distribution>,
    /// In an open loop, an operation from the moment at which it was begun in
    /// fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Distribution>,
}

/// A distribution, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "their names say it")]
pub struct Distribution {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// Operations and bytes, step by step.
#[derive(Clone, Debug, Serialize)]
pub struct RateFigures {
    /// The length of a step.
    pub step_seconds: f64,
    /// Operations that ended in each step.
    pub operations: Vec<u64>,
    /// Bytes that were counted in each step.
    pub bytes: Vec<u64>,
}

/// What a server has used for a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct ServerFigures {
    /// Its processes, with their children.
    pub pids: Vec<u32>,
    /// CPU time of all of them, exact.
    pub cpu_seconds: f64,
    /// Of it, in user space; to within 0.01 s for each process.
    pub user_seconds: f64,
    /// And in the kernel.
    pub system_seconds: f64,
    /// For how long its threads waited for a CPU on which something else ran:
    /// much of it, and the latencies are those of a crowded machine.
    pub waiting_seconds: f64,
    /// CPU time for each operation; `None` if there was none.
    pub cpu_us_per_operation: Option<f64>,
    /// CPU time for each KiB in either direction; `None` if there was none.
    pub cpu_ns_per_kib: Option<f64>,
    /// Threads at the end.
    pub threads: u64,
    /// Anonymous resident memory (RssAnon) at the begin.
    pub memory_before_bytes: u64,
    /// And at the end; of `idle`, while the tunnels are held.
    pub memory_bytes: u64,
    /// By how much it has grown for each tunnel that is held; of `idle` alone.
    pub memory_bytes_per_tunnel: Option<f64>,
    /// Open descriptors at the end; `None` if they may not be looked at.
    pub descriptors: Option<u64>,
}

impl Figures {
    pub(super) fn new(tally: &Tally, seconds: f64) -> Self {
        let per_second = |n: u64| n as f64 / seconds.max(1e-9);
        let distributions = [
            ("operation", &tally.operation),
            ("service", &tally.service),
            ("handshake", &tally.handshake),
            ("answer", &tally.answer),
        ];
        let curves = distributions
            .into_iter()
            .filter(|(_, latencies)| !latencies.is_empty())
            .map(|(name, latencies)| (name, Curve::new(latencies)))
            .collect();
        Self {
            operations: tally.operations,
            operations_per_second: per_second(tally.operations),
            connections: tally.connections,
            handshakes_full: tally.handshakes_full,
            handshakes_resumed: tally.handshakes_resumed,
            tls: tally.negotiated.clone(),
            bytes_up: tally.bytes_up,
            bytes_down: tally.bytes_down,
            bytes_per_second: per_second(tally.bytes_up + tally.bytes_down),
            errors: tally.errors.clone(),
            closes: tally.closes,
            abandoned: tally.abandoned,
            unsent: tally.unsent,
            latency: LatencyFigures {
                operation: Distribution::new(&tally.operation),
                handshake: Distribution::new(&tally.handshake),
                answer: Distribution::new(&tally.answer),
                service: Distribution::new(&tally.service),
            },
            rate: RateFigures::new(&tally.course),
            curves,
        }
    }

    /// Operations that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Distribution {
    fn new(latencies: &Latencies) -> Option<Self> {
        if latencies.is_empty() {
            return None;
        }
        let (min_us, max_us) = latencies.range_us();
        Some(Self {
            count: latencies.count(),
            min_us,
            mean_us: latencies.mean_us(),
            p50_us: latencies.quantile_us(0.5),
            p90_us: latencies.quantile_us(0.9),
            p99_us: latencies.quantile_us(0.99),
            p999_us: latencies.quantile_us(0.999),
            max_us,
        })
    }
}

impl RateFigures {
    fn new(course: &Course) -> Self {
        Self {
            step_seconds: course.step.as_secs_f64(),
            operations: course.steps.iter().map(|step| step.operations).collect(),
            bytes: course.steps.iter().map(|step| step.bytes).collect(),
        }
    }
}

impl ServerFigures {
    pub(super) fn new(
        before: &Reading,
        after: &Reading,
        total: &Figures,
        held: Option<u64>,
    ) -> Self {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        let bytes = total.bytes_up + total.bytes_down;
        let grown = after.memory_bytes as f64 - before.memory_bytes as f64;
        Self {
            pids: after.pids.clone(),
            cpu_seconds: cpu,
            user_seconds: after.user.saturating_sub(before.user).as_secs_f64(),
            system_seconds: after.system.saturating_sub(before.system).as_secs_f64(),
            waiting_seconds: after.waited.saturating_sub(before.waited).as_secs_f64(),
            cpu_us_per_operation: (total.operations > 0)
                .then(|| cpu * 1e6 / total.operations as f64),
            cpu_ns_per_kib: (bytes > 0).then(|| cpu * 1e9 / (bytes as f64 / 1024.0)),
            threads: after.threads,
            memory_before_bytes: before.memory_bytes,
            memory_bytes: after.memory_bytes,
            memory_bytes_per_tunnel: held.filter(|n| *n > 0).map(|n| grown / n as f64),
            descriptors: after.descriptors,
        }
    }
}
