//! Whether the generator, and not the server, has set the pace.

use std::time::Duration;

use serde::Serialize;

use super::tally::Latencies;
use crate::limits::{BENCH_BUSY_MAX, BENCH_LAG_MAX};
use crate::sys::cpu_time;

/// What a thread has had of its CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// It ran.
    pub(super) cpu: Duration,
    /// It could have run, had something else not run there.
    pub(super) waited: Duration,
}

impl Usage {
    /// Of the calling thread, since it began.
    pub(super) fn of_this_thread() -> Self {
        // Time on the CPU, time waited for it, both in nanoseconds
        // (Documentation/scheduler/sched-stats.rst). Not every kernel has it.
        let waited = std::fs::read_to_string("/proc/thread-self/schedstat")
            .ok()
            .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
            .map_or(Duration::ZERO, Duration::from_nanos);
        Self {
            cpu: cpu_time::of_this_thread().unwrap_or_default(),
            waited,
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// What the generator itself did in the measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// CPU time of its executors, in seconds.
    pub cpu_seconds: f64,
    /// The part of its time that the busiest executor ran, from 0 to 1.
    pub cpu_share: f64,
    /// The part of its time that the most hindered executor waited for a CPU on
    /// which something else ran, from 0 to 1.
    pub waiting_share: f64,
    /// How late 99 in 100 of an open loop's sends were at the most, by the
    /// generator's own fault, in microseconds.
    pub lag_p99_us: Option<f64>,
    /// Whether the server could have done more than the generator asked for.
    pub bottleneck: bool,
    /// Why, or why not, in one sentence.
    pub why: String,
}

impl Generator {
    pub(super) fn new(usages: &[Usage], window: Duration, lag: &Latencies) -> Self {
        let seconds = window.as_secs_f64().max(1e-9);
        let cpu: Duration = usages.iter().map(|usage| usage.cpu).sum();
        let share = |time: fn(&Usage) -> Duration| {
            let shares = usages
                .iter()
                .map(|usage| time(usage).as_secs_f64() / seconds);
            shares.fold(0.0, f64::max).min(1.0)
        };
        let mut generator = Self {
            cpu_seconds: cpu.as_secs_f64(),
            cpu_share: share(|usage| usage.cpu),
            waiting_share: share(|usage| usage.waited),
            lag_p99_us: (!lag.is_empty()).then(|| lag.quantile_us(0.99)),
            bottleneck: false,
            why: String::new(),
        };
        let busy = share(|usage| usage.cpu + usage.waited);
        generator.judge(busy);
        generator
    }

    fn judge(&mut self, busy: f64) {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let late = self
            .lag_p99_us
            .filter(|us| *us > BENCH_LAG_MAX.as_micros() as f64);
        self.bottleneck = true;
        self.why = if self.cpu_share >= BENCH_BUSY_MAX {
            format!(
                "its busiest thread used {} of a CPU: give it more --threads",
                percent(self.cpu_share)
            )
        } else if busy >= BENCH_BUSY_MAX {
            format!(
                "its busiest thread ran for {} of the time and waited {} for a CPU on which \
                 something else ran: give it a CPU of its own, with --cpus",
                percent(self.cpu_share),
                percent(self.waiting_share)
            )
        } else if let Some(late) = late {
            format!(
                "it made its sends late, one in a hundred by more than {:.1} ms: give it more \
                 --threads, or a CPU of its own",
                late / 1e3
            )
        } else {
            self.bottleneck = false;
            let used = percent(self.cpu_share);
            match self.waiting_share {
                share if share < 0.05 => format!("its busiest thread used {used} of a CPU"),
                share => format!(
                    "its busiest thread used {used} of a CPU; it waited {} of the time for one on \
                     which something else ran, which is in the latencies",
                    percent(share)
                ),
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(cpu_ms: u64, waited_ms: u64, lag: &[u64]) -> Generator {
        let usage = Usage {
            cpu: Duration::from_millis(cpu_ms),
            waited: Duration::from_millis(waited_ms),
        };
        let mut lags = Latencies::new();
        for micros in lag {
            lags.record(Duration::from_micros(*micros));
        }
        Generator::new(&[Usage::default(), usage], Duration::from_secs(1), &lags)
    }

    #[test]
    fn one_busy_starved_or_late_executor_is_a_bottleneck() {
        let crowded = judged(500, 100, &[]);
        assert!(
            !crowded.bottleneck && crowded.why.contains("waited 10 %"),
            "{crowded:?}"
        );
        assert!(!judged(500, 10, &[]).why.contains("waited"));
        for (generator, word) in [
            (judged(950, 0, &[]), "used 95 %"),
            (judged(480, 500, &[]), "waited 50 %"),
            (judged(100, 0, &[50, 9000, 9000]), "late"),
        ] {
            assert!(generator.bottleneck, "{generator:?}");
            assert!(generator.why.contains(word), "{generator:?}");
        }
        assert!(!judged(100, 0, &[50; 1000]).bottleneck);
    }
}
