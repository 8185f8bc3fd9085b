//! What two pictures of a server tell of the time between them.

use adit::metrics::{ServiceStats, ShardStats, Stats, Totals};
use adit::tunnel::{Cause, CloseReason, Phase};

/// Everything a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) flow: Flow,
    /// Each shard that is in both pictures.
    pub(super) shards: Vec<ShardRates>,
    /// What ended tunnels otherwise than in order.
    pub(super) failures: Vec<Failures>,
    /// For each backend, by service and address.
    pub(super) backends: Vec<BackendRates>,
}

/// What goes through a server, or a shard, in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) connections: f64,
    pub(super) full: f64,
    pub(super) resumed: f64,
    /// Handshakes that failed.
    pub(super) unshaken: f64,
    pub(super) up: f64,
    pub(super) down: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ShardRates {
    pub(super) shard: usize,
    /// The part of a CPU that it used, from 0 to 1.
    pub(super) load: f64,
    pub(super) flow: Flow,
}

/// Tunnels that ended for one reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Failures {
    pub(super) reason: CloseReason,
    pub(super) per_second: f64,
    pub(super) total: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct BackendRates {
    pub(super) service: String,
    pub(super) address: String,
    pub(super) connects: f64,
    pub(super) failures: f64,
}

impl Rates {
    /// `None` if there is nothing between them: another process, or no time.
    pub(super) fn between(then: &Stats, now: &Stats) -> Option<Self> {
        let same = (then.pid, then.started_unix_seconds) == (now.pid, now.started_unix_seconds);
        // By the server's clock: how long its answer was on its way is nobody's
        // affair.
        let span = now.uptime_seconds - then.uptime_seconds;
        if !same || span < 0.001 {
            return None;
        }
        let mut rates = Self::default();
        for shard in &now.shards {
            // One that did not answer is left out, and not counted as idle.
            let Some(before) = then.shards.iter().find(|one| one.shard == shard.shard) else {
                continue;
            };
            let one = ShardRates::between(before, shard, span);
            rates.flow.add(one.flow);
            rates.shards.push(one);
        }
        rates.failures = failures(then, now, span);
        rates.backends = backends(&then.services, &now.services, span);
        Some(rates)
    }

    pub(super) fn backend(&self, service: &str, address: &str) -> Option<&BackendRates> {
        let mut all = self.backends.iter();
        all.find(|one| one.service == service && one.address == address)
    }

    pub(super) fn shard(&self, shard: usize) -> Option<&ShardRates> {
        self.shards.iter().find(|one| one.shard == shard)
    }
}

impl ShardRates {
    fn between(then: &ShardStats, now: &ShardStats, span: f64) -> Self {
        let used = now.cpu_seconds - then.cpu_seconds;
        Self {
            shard: now.shard,
            load: (used / span).clamp(0.0, 1.0),
            flow: Flow::between(&then.totals, &now.totals, span),
        }
    }
}

impl Flow {
    fn between(then: &Totals, now: &Totals, span: f64) -> Self {
        let full = |totals: &Totals| totals.handshakes.saturating_sub(totals.handshakes_resumed);
        let unshaken = |totals: &Totals| {
            let closed = totals.closed.iter();
            let failed = closed.filter(|close| close.reason.phase == Phase::Handshake);
            failed.map(|close| close.count).sum()
        };
        let rate = |of: &dyn Fn(&Totals) -> u64| per_second(of(then), of(now), span);
        Self {
            connections: rate(&|totals| totals.accepted),
            full: rate(&full),
            resumed: rate(&|totals| totals.handshakes_resumed),
            unshaken: rate(&unshaken),
            up: rate(&|totals| totals.bytes_up),
            down: rate(&|totals| totals.bytes_down),
        }
    }

    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.full += other.full;
        self.resumed += other.resumed;
        self.unshaken += other.unshaken;
        self.up += other.up;
        self.down += other.down;
    }
}

/// Whether a tunnel that ends so has failed.
pub(super) fn is_failure(reason: CloseReason) -> bool {
    !matches!(
        reason.cause,
        Cause::Eof | Cause::Idle | Cause::Drained | Cause::Closed
    ) || reason.phase != Phase::Relay && reason.cause != Cause::Closed
}

/// What fails most now comes first, and then what has failed most.
fn failures(then: &Stats, now: &Stats, span: f64) -> Vec<Failures> {
    let closed = now.total.closed.iter();
    let mut failures: Vec<Failures> = closed
        .filter(|close| is_failure(close.reason))
        .map(|close| Failures {
            reason: close.reason,
            per_second: per_second(then.total.closed_for(close.reason), close.count, span),
            total: close.count,
        })
        .collect();
    failures.sort_by(|a, b| {
        let by_rate = b.per_second.total_cmp(&a.per_second);
        by_rate.then(b.total.cmp(&a.total))
    });
    failures
}

fn backends(then: &[ServiceStats], now: &[ServiceStats], span: f64) -> Vec<BackendRates> {
    let mut rates = Vec::new();
    for service in now {
        let former = then.iter().find(|one| one.name == service.name);
        for backend in &service.backends {
            let mut known = former.iter().flat_map(|former| &former.backends);
            let before = known.find(|one| one.address == backend.address);
            // One that a reload has brought has had none before.
            let (total, failed) =
                before.map_or((0, 0), |one| (one.tunnels_total, one.connect_failures));
            rates.push(BackendRates {
                service: service.name.clone(),
                address: backend.address.clone(),
                connects: per_second(total, backend.tunnels_total, span),
                failures: per_second(failed, backend.connect_failures, span),
            });
        }
    }
    rates
}

fn per_second(then: u64, now: u64, span: f64) -> f64 {
    now.saturating_sub(then) as f64 / span
}

#[cfg(test)]
mod tests {
    use adit::metrics::CloseCount;
    use adit::tunnel::Side;

    use super::*;

    fn stats(uptime: f64, shards: &[(usize, u64)]) -> Stats {
        let refused = CloseReason::new(Phase::Connect, Side::Backend, Cause::Refused);
        let eof = CloseReason::new(Phase::Relay, Side::Client, Cause::Eof);
        let not_tls = CloseReason::new(Phase::Handshake, Side::Client, Cause::NotTls);
        let closes = |n| {
            [(eof, 10 * n), (refused, n), (not_tls, 3)]
                .map(|(reason, count)| CloseCount { reason, count })
                .to_vec()
        };
        let shards: Vec<ShardStats> = shards
            .iter()
            .map(|(shard, n)| ShardStats {
                shard: *shard,
                cpu: None,
                answer_micros: 0,
                cpu_seconds: *n as f64 / 100.0,
                thread: 0,
                running_on: None,
                submissions_left_out: 0,
                totals: Totals {
                    accepted: 10 * n,
                    handshakes: 9 * n,
                    handshakes_resumed: 4 * n,
                    bytes_up: 1000 * n,
                    closed: closes(*n),
                    ..Totals::default()
                },
            })
            .collect();
        let sum = shards.iter().map(|shard| shard.totals.accepted / 10).sum();
        Stats {
            pid: 7,
            uptime_seconds: uptime,
            total: Totals {
                closed: closes(sum),
                ..Totals::default()
            },
            shards,
            ..Stats::default()
        }
    }

    #[test]
    fn everything_is_told_by_the_servers_clock() {
        let then = stats(10.0, &[(0, 100), (1, 100)]);
        let now = stats(12.0, &[(0, 200), (1, 150)]);
        let rates = Rates::between(&then, &now).expect("rates");
        assert_eq!(
            rates.flow,
            Flow {
                connections: 750.0,
                full: 375.0,
                resumed: 300.0,
                unshaken: 0.0,
                up: 75_000.0,
                down: 0.0,
            }
        );
        assert_eq!(rates.shard(0).map(|one| one.load), Some(0.5));
        assert_eq!(rates.shard(1).map(|one| one.load), Some(0.25));
        let failures: Vec<_> = rates
            .failures
            .iter()
            .map(|one| (one.reason.to_string(), one.per_second, one.total))
            .collect();
        assert_eq!(
            failures,
            [
                ("connect/backend/refused".to_owned(), 75.0, 350),
                ("handshake/client/not-tls".to_owned(), 0.0, 3),
            ]
        );
    }

    #[test]
    fn a_shard_that_was_silent_is_no_shard_that_did_nothing() {
        let then = stats(10.0, &[(0, 100), (1, 100)]);
        let now = stats(11.0, &[(1, 110)]);
        let rates = Rates::between(&then, &now).expect("rates");
        assert_eq!(rates.flow.connections, 100.0);
        assert_eq!(rates.shard(0), None);
    }

    #[test]
    fn another_process_has_nothing_to_do_with_this_one() {
        let then = stats(10.0, &[(0, 100)]);
        let mut now = stats(11.0, &[(0, 110)]);
        now.pid = 8;
        assert_eq!(Rates::between(&then, &now), None);
        assert_eq!(Rates::between(&then, &then), None);
    }
}
