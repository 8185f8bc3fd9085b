//! What is counted while a measurement runs: by one executor, then of all
//! together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::link::Ending;
use super::report::Negotiated;
use crate::limits::{BENCH_LATENCY_MAX, BENCH_STEP, BENCH_STEPS_MAX};

/// What was counted of all lanes that do the same.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Operations that came to their end. Of bulk: transfers.
    pub(super) operations: u64,
    /// Connections that were made.
    pub(super) connections: u64,
    pub(super) handshakes_full: u64,
    pub(super) handshakes_resumed: u64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) closes: Closes,
    /// Operations that were in flight when the generator was told to stop.
    pub(super) abandoned: u64,
    /// Sends of an open loop that were due and never came to be made.
    pub(super) unsent: u64,
    /// An operation, from the moment at which it was to begin.
    pub(super) operation: Latencies,
    /// From the begin of connecting to the end of the handshake.
    pub(super) handshake: Latencies,
    /// From the begin of connecting to the end of the answer, where a connection
    /// is made for one.
    pub(super) answer: Latencies,
    /// An operation, from the moment at which it did begin. In an open loop
    /// only.
    pub(super) service: Latencies,
    /// How late the generator was to wake up for a send. In an open loop only.
    pub(super) lag: Latencies,
    pub(super) course: Course,
    pub(super) negotiated: Option<Negotiated>,
}

/// How servers ended the connections that the generator had closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Closes {
    /// With close_notify and FIN; plain, with FIN.
    pub clean: u64,
    /// With FIN, but without close_notify.
    pub truncated: u64,
    /// With RST.
    pub reset: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            operations: 0,
            connections: 0,
            handshakes_full: 0,
            handshakes_resumed: 0,
            bytes_up: 0,
            bytes_down: 0,
            errors: BTreeMap::new(),
            closes: Closes::default(),
            abandoned: 0,
            unsent: 0,
            operation: Latencies::new(),
            handshake: Latencies::new(),
            answer: Latencies::new(),
            service: Latencies::new(),
            lag: Latencies::new(),
            course: Course::default(),
            negotiated: None,
        }
    }

    pub(super) fn failed(&mut self, cause: String) {
        *self.errors.entry(cause).or_default() += 1;
    }

    pub(super) fn closed(&mut self, ending: Ending) {
        match ending {
            Ending::Clean => self.closes.clean += 1,
            Ending::Truncated => self.closes.truncated += 1,
            Ending::Reset => self.closes.reset += 1,
        }
    }

    /// Adds what another executor, or other lanes, have counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.connections += other.connections;
        self.handshakes_full += other.handshakes_full;
        self.handshakes_resumed += other.handshakes_resumed;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        for (cause, count) in &other.errors {
            *self.errors.entry(cause.clone()).or_default() += count;
        }
        self.closes.clean += other.closes.clean;
        self.closes.truncated += other.closes.truncated;
        self.closes.reset += other.closes.reset;
        self.abandoned += other.abandoned;
        self.unsent += other.unsent;
        self.operation.add(&other.operation);
        self.handshake.add(&other.handshake);
        self.answer.add(&other.answer);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        self.course.add(&other.course);
        if self.negotiated.is_none() {
            self.negotiated.clone_from(&other.negotiated);
        }
    }
}

/// A distribution of times, to three significant digits.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        // It grows as needed. Three is within what it takes.
        let histogram = Histogram::new(3).expect("three significant digits are possible");
        Self(histogram)
    }

    pub(super) fn record(&mut self, time: Duration) {
        let nanos = time.min(BENCH_LATENCY_MAX).as_nanos() as u64;
        // Which a growing histogram always has room for.
        let _ = self.0.record(nanos);
    }

    pub(super) fn add(&mut self, other: &Self) {
        // The same holds for another histogram that grows.
        let _ = self.0.add(&other.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The least and the greatest, in microseconds.
    pub(super) fn range_us(&self) -> (f64, f64) {
        (self.0.min() as f64 / 1e3, self.0.max() as f64 / 1e3)
    }

    pub(super) fn mean_us(&self) -> f64 {
        self.0.mean() / 1e3
    }

    /// The time that this part of them, from 0 to 1, does not exceed, in
    /// microseconds.
    pub(super) fn quantile_us(&self, quantile: f64) -> f64 {
        let value = self.0.value_at_quantile(quantile);
        // A bucket's end may lie behind the greatest value in it.
        value.min(self.0.max()) as f64 / 1e3
    }
}

/// Operations and bytes over time.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) step: Duration,
    pub(super) steps: Vec<Step>,
}

/// What came to its end within one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) operations: u64,
    pub(super) bytes: u64,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            step: BENCH_STEP,
            steps: Vec::new(),
        }
    }
}

impl Course {
    /// Notes what came to its end at `now`.
    pub(super) fn record(&mut self, begun: Instant, now: Instant, operations: u64, bytes: u64) {
        let since = now.saturating_duration_since(begun).as_nanos();
        let at = loop {
            let at = (since / self.step.as_nanos()) as usize;
            if at < BENCH_STEPS_MAX {
                break at;
            }
            self.coarsen();
        };
        if at >= self.steps.len() {
            self.steps.resize(at + 1, Step::default());
        }
        self.steps[at].operations += operations;
        self.steps[at].bytes += bytes;
    }

    fn coarsen(&mut self) {
        self.step *= 2;
        self.steps = self
            .steps
            .chunks(2)
            .map(|pair| Step {
                operations: pair.iter().map(|step| step.operations).sum(),
                bytes: pair.iter().map(|step| step.bytes).sum(),
            })
            .collect();
    }

    fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        while other.step < self.step {
            other.coarsen();
        }
        while self.step < other.step {
            self.coarsen();
        }
        if self.steps.len() < other.steps.len() {
            self.steps.resize(other.steps.len(), Step::default());
        }
        for (ours, theirs) in self.steps.iter_mut().zip(&other.steps) {
            ours.operations += theirs.operations;
            ours.bytes += theirs.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_of_any_length_has_few_steps_and_loses_nothing() {
        let begun = Instant::now();
        let mut long = Course::default();
        for second in 0..3600 {
            long.record(begun, begun + Duration::from_secs(second), 1, 10);
        }
        assert!(long.steps.len() <= BENCH_STEPS_MAX);
        let mut short = Course::default();
        short.record(begun, begun, 5, 50);
        short.record(begun, begun + BENCH_STEP * 3, 7, 70);
        for (one, other) in [(&long, &short), (&short, &long)] {
            let mut sum = one.clone();
            sum.add(other);
            assert_eq!(sum.step, long.step);
            assert_eq!(sum.steps.iter().map(|s| s.operations).sum::<u64>(), 3612);
            assert_eq!(sum.steps.iter().map(|s| s.bytes).sum::<u64>(), 36_120);
            assert_eq!(sum.steps[0].operations, long.steps[0].operations + 12);
        }
    }

    #[test]
    fn quantiles_are_exact_to_a_thousandth_and_never_past_the_greatest() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        assert!((latencies.quantile_us(0.5) - 500.0).abs() < 1.0);
        assert!((latencies.quantile_us(0.99) - 990.0).abs() < 1.0);
        assert!(latencies.quantile_us(1.0) <= latencies.range_us().1);
        assert!((latencies.range_us().1 - 1000.0).abs() < 1.0);
    }
}
