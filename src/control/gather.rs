//! Gathering every shard's figures.

use std::time::Instant;

use super::Control;
use crate::limits;
use crate::logging;
use crate::mesh::{Mesh, Order};
use crate::metrics::{
    ListenerLoad, ListenerStats, ServiceStats, ShardStats, Stats, TicketKeySource, Totals,
};

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
    listeners: Vec<(String, ListenerLoad)>,
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
            listeners: Vec::new(),
            services: Vec::new(),
            reply,
        });
    }

    pub(super) fn add(
        &mut self,
        number: u64,
        stats: ShardStats,
        listeners: Vec<(String, ListenerLoad)>,
        services: Vec<ServiceStats>,
    ) {
        let Some(gathering) = self.open.iter_mut().find(|g| g.number == number) else {
            return;
        };
        gathering.shards.push(stats);
        for (name, theirs) in listeners {
            let ours = &mut gathering.listeners;
            match ours.iter_mut().find(|(ours, _)| *ours == name) {
                Some((_, ours)) => ours.add(&theirs),
                None => ours.push((name, theirs)),
            }
        }
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

    /// What is known of the listeners, with what the shards tell of them.
    fn listener_stats(&self, loads: &[(String, ListenerLoad)]) -> Vec<ListenerStats> {
        let mut listeners = self.listeners.clone();
        for listener in &mut listeners {
            if let Some((_, load)) = loads.iter().find(|(name, _)| *name == listener.name) {
                listener.load = *load;
            }
            if let Some(key) = &mut listener.ticket_key
                && key.source == TicketKeySource::Process
            {
                key.since_unix_seconds = self.rekeyed_unix_seconds;
            }
        }
        listeners
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
            configured_unix_seconds: self.configured_unix_seconds,
            reload_refused: self.reload_refused,
            listeners: self.listener_stats(&gathering.listeners),
            services,
            total,
            shards,
            silent_shards,
        }
    }
}
