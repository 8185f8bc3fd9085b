//! So many a second, and so many at once: one shard's part of a rate.

use std::time::Duration;

use crate::config::Rate;

/// One shard's part of a rate. An account of it is one number, the time at
/// which the allowance is whole again, in nanoseconds (the generic cell rate
/// algorithm, ITU-T I.371, annex A, which is a token bucket without a clock of
/// its own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// From one to the next, in nanoseconds.
    interval: u64,
    /// How far ahead of its time one may be, in nanoseconds.
    ahead: u64,
}

impl Allowance {
    /// The part of one of so many shards. Each grants one at once in any case.
    pub(crate) fn new(rate: Rate, shards: usize) -> Self {
        let shards = shards.max(1) as u64;
        // A rate of none a second gets one each 30 years.
        let interval = (1_000_000_000 * shards)
            .checked_div(rate.per_second.into())
            .unwrap_or(1_000_000_000_000_000_000)
            .max(1);
        let burst = u64::from(rate.burst).div_ceil(shards).max(1);
        Self {
            interval,
            ahead: interval.saturating_mul(burst - 1),
        }
    }

    /// When an account is whole again after one more is taken; `None`: there is
    /// none to take now.
    pub(crate) fn taken(self, whole: u64, now: u64) -> Option<u64> {
        (whole.saturating_sub(now) <= self.ahead)
            .then(|| whole.max(now).saturating_add(self.interval))
    }

    /// When an account is whole again after one that was taken is given back.
    pub(crate) fn given_back(self, whole: u64) -> u64 {
        whole.saturating_sub(self.interval)
    }

    /// How long it takes until there is one to take, and no more of them at
    /// once than come in `batch` or may be taken at once. `None`: there is one.
    pub(crate) fn wait(self, whole: u64, now: u64, batch: Duration) -> Option<Duration> {
        let missing = whole.saturating_sub(now).checked_sub(self.ahead)?;
        if missing == 0 {
            return None;
        }
        let batch = Duration::from_nanos(self.ahead).min(batch);
        Some(Duration::from_nanos(missing).saturating_add(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Who waits as long as it is told gets all that it may, and no more.
    #[test]
    fn waiting_as_long_as_is_told_keeps_the_rate() {
        for (per_second, burst) in [(1000, 1000), (1000, 1), (10, 3), (100_000, 50)] {
            let allowance = Allowance::new(Rate { per_second, burst }, 1);
            let (mut whole, mut now, mut taken) = (0, SECOND, 0_u64);
            let mut looks = 0;
            while now < 11 * SECOND {
                match allowance.taken(whole, now) {
                    Some(then) => {
                        assert_eq!(allowance.wait(whole, now, Duration::from_millis(5)), None);
                        whole = then;
                        taken += 1;
                    }
                    None => {
                        let wait = allowance.wait(whole, now, Duration::from_millis(5));
                        now += wait.expect("there is none").as_nanos() as u64;
                        looks += 1;
                    }
                }
            }
            let most = 10 * u64::from(per_second) + u64::from(burst) + 1;
            assert!(taken <= most, "{taken} of {most}");
            assert!(taken * 100 >= most * 97, "{taken} of {most}");
            assert!(looks <= 25_000, "{looks} looks in ten seconds");
        }
    }
}
