//! Which tunnels get a line.

use std::cell::Cell;

use crate::config;
use crate::config::Rate;
use crate::rate::Allowance;

/// One shard's choice of the tunnels that get a line.
#[derive(Debug)]
pub(crate) struct Sampling {
    one_in: u32,
    /// Ordinary ends since the last one that got a line.
    passed: Cell<u32>,
    allowance: Option<Allowance>,
    /// When the allowance of ordinary ends is whole again, and that of others,
    /// in nanoseconds since the shard began.
    ordinary: Cell<u64>,
    others: Cell<u64>,
}

impl Sampling {
    /// The part of one of so many shards.
    pub(crate) fn new(config: &config::AccessLog, shards: usize) -> Self {
        let rate = |lines: std::num::NonZeroU32| Rate {
            per_second: lines.get(),
            burst: lines.get(),
        };
        Self {
            one_in: config.sample.get(),
            // The first gets one.
            passed: Cell::new(config.sample.get() - 1),
            allowance: config
                .per_second
                .map(|lines| Allowance::new(rate(lines), shards)),
            ordinary: Cell::new(0),
            others: Cell::new(0),
        }
    }

    /// Whether this end gets a line. `ordinary`: the tunnel carried bytes, and
    /// ended in the ordinary way. `now`: nanoseconds since the shard began.
    pub(crate) fn takes(&self, ordinary: bool, now: impl FnOnce() -> u64) -> bool {
        if ordinary {
            let passed = self.passed.get() + 1;
            if passed < self.one_in {
                self.passed.set(passed);
                return false;
            }
            self.passed.set(0);
        }
        let Some(allowance) = &self.allowance else {
            return true;
        };
        let whole = match ordinary {
            true => &self.ordinary,
            false => &self.others,
        };
        match allowance.taken(whole.get(), now()) {
            Some(then) => {
                whole.set(then);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn sampling(sample: u32, per_second: Option<u32>, shards: usize) -> Sampling {
        let config = config::AccessLog {
            sample: sample.try_into().expect("not zero"),
            per_second: per_second.map(|lines| lines.try_into().expect("not zero")),
            ..config::AccessLog::default()
        };
        Sampling::new(&config, shards)
    }

    #[test]
    fn one_in_so_many_and_all_that_are_out_of_the_ordinary() {
        let sampling = sampling(10, None, 4);
        let taken = (0..100).filter(|_| sampling.takes(true, || 0)).count();
        assert_eq!(taken, 10);
        assert!((0..100).all(|_| sampling.takes(false, || 0)));
    }

    #[test]
    fn a_flood_of_one_kind_leaves_the_other_its_lines() {
        let sampling = sampling(1, Some(40), 4);
        let count = |ordinary, now| {
            (0..1000)
                .filter(|_| sampling.takes(ordinary, || now))
                .count()
        };
        assert_eq!(count(true, SECOND), 10);
        assert_eq!(count(false, SECOND), 10);
        assert_eq!(count(true, SECOND * 3 / 2), 5);
        assert_eq!(count(false, SECOND * 9), 10);
    }
}
