//! Whether a backend is worth a tunnel, as one shard knows it. There is no
//! clock in it: whoever asks says what time it is.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::config::Ejection;
use crate::limits;

/// The whole of a backend's share, in the units of [`Standing::part`].
pub(super) const WHOLE: u32 = 1 << 16;

/// Whether a backend is worth a tunnel.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The checks say that it is down.
    down: Cell<bool>,
    /// Connects that failed since one did not.
    failures: Cell<u32>,
    /// How often it was ejected since a connect did not fail.
    ejections: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
    /// Since when it has been coming back.
    back_since: Cell<Option<Instant>>,
}

impl Standing {
    /// The checks say that it is down.
    pub(super) fn is_down(&self) -> bool {
        self.down.get()
    }

    /// It is left alone for a time, since its connects failed. Out of date
    /// until [`settle`](Self::settle) has been told the time.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.get().is_some()
    }

    /// Whether the time matters to it.
    pub(super) fn is_timed(&self) -> bool {
        self.ejected_until.get().is_some() || self.back_since.get().is_some()
    }

    /// Until when it is left alone, if it is.
    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.ejected_until.get()
    }

    /// Ends what is over by `now`. Whether that is an ejection.
    pub(super) fn settle(&self, now: Instant, slow_start: Duration) -> bool {
        let over = self.ejected_until.get().filter(|until| now >= *until);
        if let Some(until) = over {
            self.ejected_until.set(None);
            self.come_back(until, slow_start);
        }
        if let Some(since) = self.back_since.get()
            && now.saturating_duration_since(since) >= slow_start
        {
            self.back_since.set(None);
        }
        over.is_some()
    }

    /// What it is due of its share, of [`WHOLE`]: it grows in a straight line
    /// over `slow_start`.
    pub(super) fn part(&self, now: Instant, slow_start: Duration) -> u32 {
        let Some(since) = self.back_since.get() else {
            return WHOLE;
        };
        let past = now.saturating_duration_since(since);
        if past >= slow_start {
            return WHOLE;
        }
        (past.as_secs_f64() / slow_start.as_secs_f64() * f64::from(WHOLE)) as u32
    }

    /// The checks have found it up, or down. Whether that is news.
    pub(super) fn judge(&self, up: bool, now: Instant, slow_start: Duration) -> bool {
        let news = self.down.replace(!up) == up;
        if news && up {
            self.welcome(now, slow_start);
        }
        news
    }

    /// It begins anew: whatever was held against it was before.
    pub(super) fn welcome(&self, now: Instant, slow_start: Duration) {
        self.forgive();
        self.come_back(now, slow_start);
    }

    /// A connect has succeeded. Whether that ends an ejection.
    pub(super) fn succeeded(&self, now: impl FnOnce() -> Instant, slow_start: Duration) -> bool {
        if self.failures.get() == 0 {
            return false;
        }
        let was_ejected = self.is_ejected();
        self.forgive();
        if was_ejected {
            self.come_back(now(), slow_start);
        }
        was_ejected
    }

    /// A connect has failed. If that ejects it: for how long.
    ///
    /// `spare`: there is another to take its place. The last is never ejected.
    pub(super) fn failed(
        &self,
        now: impl FnOnce() -> Instant,
        eject: Ejection,
        spare: bool,
    ) -> Option<Duration> {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if eject.failures == 0 || failures < eject.failures || self.is_ejected() || !spare {
            return None;
        }
        let ejections = self.ejections.get();
        self.ejections.set(ejections.saturating_add(1));
        let doubled = 1_u32.checked_shl(ejections).unwrap_or(u32::MAX);
        let pause = eject.pause.saturating_mul(doubled);
        let pause = pause.min(limits::EJECTION_MAX.max(eject.pause));
        self.ejected_until.set(now().checked_add(pause));
        self.back_since.set(None);
        Some(pause)
    }

    fn forgive(&self) {
        self.failures.set(0);
        self.ejections.set(0);
        self.ejected_until.set(None);
    }

    fn come_back(&self, now: Instant, slow_start: Duration) {
        if !slow_start.is_zero() {
            self.back_since.set(Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const EJECT: Ejection = Ejection {
        failures: 3,
        pause: SECOND,
    };

    #[test]
    fn ejection_doubles_until_a_connect_succeeds() {
        let standing = Standing::default();
        let mut now = Instant::now();
        assert_eq!(standing.failed(|| now, EJECT, true), None);
        assert_eq!(standing.failed(|| now, EJECT, true), None);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = SECOND * pause;
            assert_eq!(standing.failed(|| now, EJECT, true), Some(pause));
            standing.settle(now + pause - SECOND / 10, Duration::ZERO);
            assert!(standing.is_ejected());
            now += pause;
            standing.settle(now, Duration::ZERO);
            assert!(!standing.is_ejected());
        }
        assert!(!standing.succeeded(|| now, Duration::ZERO));
        assert_eq!(standing.failed(|| now, EJECT, true), None);
        assert_eq!(standing.failed(|| now, EJECT, true), None);
        assert_eq!(standing.failed(|| now, EJECT, true), Some(SECOND));
    }

    #[test]
    fn the_last_one_and_one_that_never_is_are_not_ejected() {
        let now = Instant::now();
        for (eject, spare) in [
            (EJECT, false),
            (
                Ejection {
                    failures: 0,
                    ..EJECT
                },
                true,
            ),
        ] {
            let standing = Standing::default();
            for _ in 0..100 {
                assert_eq!(standing.failed(|| now, eject, spare), None);
            }
        }
    }

    #[test]
    fn the_share_grows_in_a_straight_line_after_every_return() {
        let slow = 10 * SECOND;
        let standing = Standing::default();
        let now = Instant::now();
        assert_eq!(standing.part(now, slow), WHOLE);
        assert!(standing.judge(false, now, slow));
        assert!(!standing.judge(false, now, slow));
        assert!(standing.judge(true, now, slow));
        for tenth in 0..10 {
            let expected = WHOLE / 10 * tenth;
            assert!(standing.part(now + SECOND * tenth, slow).abs_diff(expected) < 10);
        }
        standing.settle(now + slow, slow);
        assert!(!standing.is_timed());
        for _ in 0..3 {
            standing.failed(|| now, EJECT, true);
        }
        // From the end of the pause, however late it is noticed.
        standing.settle(now + 6 * SECOND, slow);
        assert!(standing.part(now + 6 * SECOND, slow).abs_diff(WHOLE / 2) < 10);
    }
}
