//! How long things took, in buckets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counters::Counter;

/// The upper bounds of the buckets, in microseconds, each included. Beyond the
/// last there is one more, without a bound.
pub const TIME_BOUNDS_MICROS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// The bounds in seconds, as metrics write them.
pub(super) const TIME_BOUNDS_SECONDS: [&str; 16] = [
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
    "0.25", "0.5", "1.0", "2.5", "5.0", "10.0",
];

/// One shard's cells for times of one kind. One more time is one search among
/// sixteen numbers and two additions.
#[derive(Debug, Default)]
pub(crate) struct TimeCells {
    buckets: [Counter; TIME_BOUNDS_MICROS.len() + 1],
    micros: Counter,
}

/// How many times there were of which length. All zero where `buckets` is
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeCounts {
    /// For each of [`TIME_BOUNDS_MICROS`] how many were no longer than it, but
    /// longer than the bound before; last, those beyond all bounds.
    pub buckets: Vec<u64>,
    /// All of them together, in microseconds.
    pub sum_micros: u64,
}

impl TimeCells {
    /// One more.
    pub(crate) fn count(&self, time: Duration) {
        // No process lives for so long that they do not fit.
        let micros = time.as_micros() as u64;
        let bucket = TIME_BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].add(1);
        self.micros.add(micros);
    }

    pub(crate) fn counts(&self) -> TimeCounts {
        TimeCounts {
            buckets: self.buckets.iter().map(Counter::get).collect(),
            sum_micros: self.micros.get(),
        }
    }
}

impl TimeCounts {
    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds another shard's figures to these.
    pub(super) fn add(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.sum_micros += other.sum_micros;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_of_bounds_are_one() {
        for (micros, seconds) in TIME_BOUNDS_MICROS.iter().zip(TIME_BOUNDS_SECONDS) {
            let seconds: f64 = seconds.parse().expect("a number");
            assert_eq!((seconds * 1e6).round() as u64, *micros);
        }
        assert!(TIME_BOUNDS_MICROS.is_sorted());
    }

    #[test]
    fn a_time_falls_into_the_bucket_whose_bound_it_does_not_pass() {
        for (micros, bucket) in [
            (0, 0),
            (100, 0),
            (101, 1),
            (10_000_000, 15),
            (10_000_001, 16),
        ] {
            let cells = TimeCells::default();
            cells.count(Duration::from_micros(micros));
            let counts = cells.counts();
            assert_eq!(counts.buckets.iter().position(|n| *n == 1), Some(bucket));
            assert_eq!((counts.count(), counts.sum_micros), (1, micros));
        }
    }

    #[test]
    fn counts_of_shards_are_added_even_to_none() {
        let cells = TimeCells::default();
        cells.count(Duration::from_micros(7));
        let mut sum = TimeCounts::default();
        sum.add(&cells.counts());
        sum.add(&cells.counts());
        sum.add(&TimeCounts::default());
        assert_eq!((sum.count(), sum.sum_micros), (2, 14));
    }
}
