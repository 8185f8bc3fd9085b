//! Health checks: once per process, and every shard is told what they find.
//!
//! The control task says when a check is due, threads do it ([`check`]), and
//! [`watch`] makes of its results whether the backend is up. A thread may wait
//! for a backend; no shard ever does.

mod check;
mod watch;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Control;
use crate::backend::{Chance, Upstream};
use crate::config::{self, Address, HealthCheck};
use crate::limits;
use crate::mesh::{Mesh, Order, Report, Verdict};
use crate::metrics::{CheckStats, ServiceStats};
use crate::notice;
use crate::plan::Plan;
use crate::tls::{self, ClientParts};
use check::Target;
use watch::Watch;

/// Every check of the process.
#[derive(Debug)]
pub(super) struct Health {
    checked: Vec<Checked>,
    last: u64,
    under_way: usize,
    threads: usize,
    jobs: flume::Sender<Job>,
    /// For threads to come; no more wait in it than there are checks.
    waiting: flume::Receiver<Job>,
    chance: Chance,
}

/// A backend that is checked.
#[derive(Debug)]
struct Checked {
    /// Never given to another check, so that a late result finds its own.
    number: u64,
    service: Arc<str>,
    address: Arc<Address>,
    check: HealthCheck,
    target: Arc<Target>,
    watch: Watch,
    /// When it is checked next; `None`: it is being checked.
    due: Option<Instant>,
    ended: Option<Instant>,
    /// What the last check found wrong.
    wrong: Option<String>,
}

#[derive(Debug)]
struct Job {
    number: u64,
    target: Arc<Target>,
}

impl Health {
    pub(super) fn new() -> Self {
        let (jobs, waiting) = flume::unbounded();
        Self {
            checked: Vec::new(),
            last: 0,
            under_way: 0,
            threads: 0,
            jobs,
            waiting,
            chance: Chance::new(0),
        }
    }

    /// Checks what this configuration says from now on. What is known of
    /// backends that are checked in the same way as before is kept.
    fn renew(&mut self, plan: &Plan, now: Instant) {
        let mut old = std::mem::take(&mut self.checked);
        for (service, parts) in plan.config.services.iter().zip(&plan.clients) {
            let Some(check) = &service.health else {
                continue;
            };
            let targets = match targets(service, check, parts.as_ref()) {
                Ok(targets) => targets,
                Err(error) => {
                    // The shards have made the same, so that it can be made.
                    log::error!("{}: its backends are not checked: {error}", service.name);
                    continue;
                }
            };
            for (backend, target) in service.backends.iter().zip(targets) {
                let same = |known: &Checked| {
                    *known.service == *service.name
                        && *known.address == backend.address
                        && known.check == *check
                };
                let target = Arc::new(target);
                if let Some(at) = old.iter().position(same) {
                    let known = old.swap_remove(at);
                    self.checked.push(Checked { target, ..known });
                    continue;
                }
                self.last += 1;
                self.checked.push(Checked {
                    number: self.last,
                    service: service.name.as_str().into(),
                    address: Arc::new(backend.address.clone()),
                    check: check.clone(),
                    target,
                    watch: Watch::default(),
                    due: Some(now),
                    ended: None,
                    wrong: None,
                });
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.checked.iter().filter_map(|checked| checked.due).min()
    }

    /// Begins the checks that are due.
    pub(super) fn begin_due(&mut self, now: Instant, mesh: &Mesh) {
        let mut begun = 0;
        for checked in &mut self.checked {
            if checked.due.take_if(|due| now >= *due).is_some() {
                let job = Job {
                    number: checked.number,
                    target: checked.target.clone(),
                };
                // It is received as long as this is there.
                let _ = self.jobs.send(job);
                begun += 1;
            }
        }
        self.under_way += begun;
        while self.threads < self.under_way.min(limits::HEALTH_THREADS_MAX) {
            let (waiting, mesh) = (self.waiting.clone(), mesh.clone());
            let spawned = thread::Builder::new()
                .name(format!("adit-health-{}", self.threads))
                .spawn(move || check_all(&waiting, &mesh));
            if let Err(error) = spawned {
                if self.threads == 0 && begun > 0 {
                    log::error!("backends are not checked, for there is no thread: {error}");
                }
                break;
            }
            self.threads += 1;
        }
    }

    /// Takes in a result. Gives what has changed by it.
    fn take_in(
        &mut self,
        number: u64,
        result: Result<(), String>,
        now: Instant,
    ) -> Option<Verdict> {
        self.under_way = self.under_way.saturating_sub(1);
        let spread = self.chance.below(1 << 16) as f64 / f64::from(1 << 15) - 1.0;
        // One that a reload has done away with is nobody's.
        let mut all = self.checked.iter_mut();
        let checked = all.find(|checked| checked.number == number)?;
        let interval = checked.check.interval;
        let varied = interval.mul_f64(1.0 + limits::HEALTH_JITTER * spread);
        checked.due = Some(now + varied.max(Duration::from_millis(1)));
        checked.ended = Some(now);
        let news = checked.watch.take_in(result.is_ok(), &checked.check);
        checked.wrong = result.err();
        let up = news?;
        let (service, address) = (&checked.service, &checked.address);
        match (&checked.wrong, up) {
            (Some(wrong), false) => log::warn!("{service}: {address} is down: {wrong}"),
            (None, false) => log::warn!("{service}: {address} is down"),
            (_, true) => notice!("{service}: {address} is up"),
        }
        Some(Verdict {
            service: service.clone(),
            address: address.clone(),
            up,
        })
    }

    /// Adds what the checks know to what the shards know.
    pub(super) fn annotate(&self, services: &mut [ServiceStats], now: Instant) {
        for checked in &self.checked {
            let Some(ended) = checked.ended else {
                continue;
            };
            let address = checked.address.to_string();
            let service = services.iter_mut().find(|s| s.name == *checked.service);
            let backends = service.into_iter().flat_map(|s| &mut s.backends);
            for backend in backends.filter(|backend| backend.address == address) {
                backend.last_check = Some(CheckStats {
                    passed: checked.wrong.is_none(),
                    detail: checked.wrong.clone().unwrap_or_default(),
                    seconds_ago: now.saturating_duration_since(ended).as_secs_f64(),
                    transitions: checked.watch.transitions(),
                });
            }
        }
    }
}

impl Control {
    /// Checks the backends of this configuration, and no others.
    pub(super) fn check_health_of(&mut self, plan: &Plan) {
        let now = Instant::now();
        self.health.renew(plan, now);
        self.health.begin_due(now, &self.mesh);
    }

    pub(super) fn checked(&mut self, check: u64, result: Result<(), String>) {
        if let Some(verdict) = self.health.take_in(check, result, Instant::now()) {
            self.order_all(|| Order::Health(verdict.clone()));
        }
    }
}

/// What is to be checked, for each backend of a service.
fn targets(
    service: &config::Service,
    check: &HealthCheck,
    parts: Option<&ClientParts>,
) -> Result<Vec<Target>, String> {
    // As each shard does, so that nothing is shared with one.
    let upstream = match (&service.tls, parts) {
        (Some(tls), Some(parts)) => {
            let config = tls::client_config(tls, parts).map_err(|error| error.to_string())?;
            Some(Upstream::new(service, tls.server_name.as_deref(), config)?)
        }
        _ => None,
    };
    let target = |(index, backend): (usize, &config::Backend)| Target {
        address: backend.address.clone(),
        kind: check.kind.clone(),
        timeout: check.timeout,
        tls: upstream
            .as_ref()
            .map(|upstream| (upstream.config(), upstream.name(index))),
        proxy: service.proxy_protocol.as_ref().map(|header| header.version),
    };
    Ok(service.backends.iter().enumerate().map(target).collect())
}

/// One check after the other, until there are to be no more.
fn check_all(jobs: &flume::Receiver<Job>, mesh: &Mesh) {
    while let Ok(Job { number, target }) = jobs.recv() {
        let result = target.check();
        drop(target);
        mesh.report_blocking(Report::Checked {
            check: number,
            result,
        });
    }
}
