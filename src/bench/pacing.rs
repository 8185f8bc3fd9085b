//! The schedule of an open loop: sends are due at a fixed rate, whatever
//! becomes of those before.
//!
//! The lanes of an executor take the sends in their order, each the next one
//! when it is free. Latency counts from the moment at which a send was due, so
//! that a server that stalls is charged with all that should have been sent in
//! the meantime (what Gil Tene calls coordinated omission).

use std::cell::Cell;
use std::time::{Duration, Instant};

/// When sends are due, for the lanes of one executor that do the same.
#[derive(Debug)]
pub(super) struct Pacing {
    interval: Duration,
    /// Where this executor begins within an interval.
    offset: Duration,
    begun: Cell<Instant>,
    next: Cell<u64>,
}

impl Pacing {
    /// A schedule for one of several executors, which together send `rate`
    /// times a second; it does `share`, from 0 to 1, of it.
    pub(super) fn new(rate: f64, share: f64, worker: usize, workers: usize, now: Instant) -> Self {
        let interval = Duration::from_secs_f64(1.0 / (rate * share));
        Self {
            interval,
            offset: interval.mul_f64(worker as f64 / workers as f64),
            begun: Cell::new(now),
            next: Cell::new(0),
        }
    }

    /// Begins anew.
    pub(super) fn begin(&self, now: Instant) {
        self.begun.set(now);
        self.next.set(0);
    }

    /// Takes the next send, if it is due before `end`.
    pub(super) fn take(&self, end: Option<Instant>) -> Option<Instant> {
        let due = self.due(self.next.get());
        if end.is_some_and(|end| due >= end) {
            return None;
        }
        self.next.set(self.next.get() + 1);
        Some(due)
    }

    /// Takes all sends that are due before `end`: they will not be made.
    pub(super) fn forgo(&self, end: Instant) -> impl Iterator<Item = Instant> + '_ {
        std::iter::from_fn(move || self.take(Some(end)))
    }

    fn due(&self, number: u64) -> Instant {
        let nanos = self.interval.as_nanos() * u128::from(number);
        let since = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.begun.get() + self.offset + since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_together_keep_the_rate_and_take_turns() {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(1);
        let mut due: Vec<Instant> = (0..4)
            .flat_map(|worker| {
                let pacing = Pacing::new(1000.0, 0.25, worker, 4, begun);
                let all: Vec<_> = pacing.forgo(end).collect();
                all
            })
            .collect();
        due.sort();
        assert_eq!(due.len(), 1000);
        for pair in due.windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_millis(1));
        }
    }

    #[test]
    fn nothing_is_due_past_the_end() {
        let begun = Instant::now();
        let pacing = Pacing::new(10.0, 1.0, 0, 1, begun);
        let end = begun + Duration::from_millis(150);
        assert_eq!(pacing.take(Some(end)), Some(begun));
        assert_eq!(
            pacing.take(Some(end)),
            Some(begun + Duration::from_millis(100))
        );
        assert_eq!(pacing.take(Some(end)), None);
        assert_eq!(pacing.take(None), Some(begun + Duration::from_millis(200)));
    }
}
