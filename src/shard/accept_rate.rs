//! How fast connections may come in, from all clients together.

use std::cell::Cell;
use std::time::Duration;

use crate::config::Rate;
use crate::limits;
use crate::rate::Allowance;

/// One shard's part of the rate at which the process, or a listener, accepts.
#[derive(Debug, Default)]
pub(super) struct AcceptRate {
    /// `None`: as fast as they come.
    allowance: Cell<Option<Allowance>>,
    /// When the allowance is whole again, in nanoseconds since the shard began.
    whole: Cell<u64>,
}

impl AcceptRate {
    /// From now on so fast.
    pub(super) fn allow(&self, rate: Option<Rate>, shards: usize) {
        self.allowance
            .set(rate.map(|rate| Allowance::new(rate, shards)));
    }

    /// How long it takes until one more may come in. `None`: it may now.
    /// `now` is asked for only if there is a limit.
    pub(super) fn wait(&self, now: impl FnOnce() -> u64) -> Option<Duration> {
        let allowance = self.allowance.get()?;
        allowance.wait(self.whole.get(), now(), limits::RATE_PAUSE)
    }

    /// One has come in.
    pub(super) fn count(&self, now: impl FnOnce() -> u64) {
        if let Some(allowance) = self.allowance.get()
            && let Some(whole) = allowance.taken(self.whole.get(), now())
        {
            self.whole.set(whole);
        }
    }
}
