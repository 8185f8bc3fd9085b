//! Gathering every shard's figures.

use std::time::Instant;

use super::Control;
use crate::limits;
use crate::logging;
use crate::mesh::{Mesh, Order};
use crate::metrics::{ServiceStats, ShardStats, Stats, Totals};
use crate::sys::rlimit;

/// Gatherings under way.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    open: Vec<Gathering>,
    last: u64,
}

#[derive(Debug)]
struct Gathering {
    number: u64,
    deadline: Instant,
    shards: Vec<ShardStats>,
    services: Vec<ServiceStats>,
    reply: flume::Sender<Stats>,
}

impl Gatherings {
    /// Asks every shard. One whose inbox is full is stalled, and will be named
    /// as silent.
    pub(super) fn begin(&mut self, mesh: &Mesh, reply: flume::Sender<Stats>) {
        self.last += 1;
        let asked = Instant::now();
        for shard in 0..mesh.len() {
            let order = Order::Snapshot {
                gathering: self.last,
                asked,
            };
            let _ = mesh.try_order(shard, order);
        }
        self.open.push(Gathering {
            number: self.last,
            deadline: asked + limits::SNAPSHOT_TIMEOUT,
            shards: Vec::with_capacity(mesh.len()),
            services: Vec::new(),
            reply,
        });
    }

    pub(super) fn add(&mut self, number: u64, stats: ShardStats, services: Vec<ServiceStats>) {
        let Some(gathering) = self.open.iter_mut().find(|g| g.number == number) else {
            return;
        };
        gathering.shards.push(stats);
        for theirs in services {
            let ours = &mut gathering.services;
            match ours.iter_mut().find(|ours| ours.name == theirs.name) {
                Some(ours) => ours.add(&theirs),
                None => ours.push(theirs),
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|g| g.deadline).min()
    }

    /// Those that every shard has answered, or that have waited long enough.
    fn finished(&mut self, shards: usize, now: Instant) -> Vec<Gathering> {
        self.open
            .extract_if(.., |g| g.shards.len() == shards || now >= g.deadline)
            .collect()
    }
}

impl Control {
    pub(super) fn answer_gatherings(&mut self, now: Instant) {
        for gathering in self.gatherings.finished(self.mesh.len(), now) {
            let reply = gathering.reply.clone();
            // Who asked may have gone away.
            let _ = reply.try_send(self.stats(gathering));
        }
    }

    fn stats(&self, gathering: Gathering) -> Stats {
        let mut services = gathering.services;
        self.health.annotate(&mut services, Instant::now());
        let mut shards = gathering.shards;
        shards.sort_by_key(|stats| stats.shard);
        let mut total = Totals::default();
        for stats in &shards {
            total.add(&stats.totals);
        }
        let answered = |shard: &usize| shards.iter().any(|stats| stats.shard == *shard);
        let silent_shards = (0..self.mesh.len()).filter(|s| !answered(s)).collect();
        Stats {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started_unix_seconds: self.started_unix_seconds,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            state: self.state(),
            reloads: self.reloads,
            reloads_failed: self.reloads_failed,
            log_lines_dropped: logging::dropped(),
            access_lines_lost: logging::access_lines_lost(),
            descriptors_open: rlimit::descriptors_in_use(),
            descriptors_max: rlimit::nofile().ok().map(|limit| limit.soft),
            listeners: self.listeners.clone(),
            services,
            total,
            shards,
            silent_shards,
        }
    }
}
