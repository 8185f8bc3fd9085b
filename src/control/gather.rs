//! Gathering every shard's figures.

use std::rc::Rc;
use std::time::Instant;

use super::Control;
use crate::limits;
use crate::logging;
use crate::mesh::{Mesh, Order};
use crate::metrics::{
    ListenerStats, RingStats, ServiceStats, ShardStats, Stats, TicketKeySource, Totals,
};
use crate::sys::{ring, rlimit};

/// Gatherings under way.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    open: Vec<Gathering>,
    number: u64,
    /// For each shard what it said last. Where it is silent, that is what it
    /// has in the sums: what counts up must not seem to count down.
    last: Vec<Option<Rc<Answer>>>,
}

#[derive(Debug)]
struct Gathering {
    number: u64,
    deadline: Instant,
    answers: Vec<Rc<Answer>>,
    reply: flume::Sender<Stats>,
}

/// What one shard has to say.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) stats: Box<ShardStats>,
    pub(super) services: Vec<ServiceStats>,
}

impl Gatherings {
    /// Asks every shard. One whose inbox is full is stalled, and will be named
    /// as silent.
    pub(super) fn begin(&mut self, mesh: &Mesh, reply: flume::Sender<Stats>) {
        self.number += 1;
        let asked = Instant::now();
        for shard in 0..mesh.len() {
            let order = Order::Snapshot {
                gathering: self.number,
                asked,
            };
            let _ = mesh.try_order(shard, order);
        }
        self.open.push(Gathering {
            number: self.number,
            deadline: asked + limits::SNAPSHOT_TIMEOUT,
            answers: Vec::with_capacity(mesh.len()),
            reply,
        });
    }

    pub(super) fn add(&mut self, number: u64, answer: Answer) {
        let (shard, answer) = (answer.stats.shard, Rc::new(answer));
        if self.last.len() <= shard {
            self.last.resize(shard + 1, None);
        }
        // One that comes too late is news of the shard all the same.
        self.last[shard] = Some(answer.clone());
        if let Some(gathering) = self.open.iter_mut().find(|g| g.number == number) {
            gathering.answers.push(answer);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|g| g.deadline).min()
    }

    /// Those that every shard has answered, or that have waited long enough.
    fn finished(&mut self, shards: usize, now: Instant) -> Vec<Gathering> {
        self.open
            .extract_if(.., |g| g.answers.len() == shards || now >= g.deadline)
            .collect()
    }
}

/// What all shards have to say.
#[derive(Debug)]
struct Joined {
    total: Totals,
    services: Vec<ServiceStats>,
    /// Of those that answered, in order.
    answers: Vec<Rc<Answer>>,
    silent_shards: Vec<usize>,
}

impl Gatherings {
    fn join(&self, gathering: Gathering, shards: usize) -> Joined {
        let mut answers = gathering.answers;
        answers.sort_by_key(|answer| answer.stats.shard);
        let answered = |shard: &usize| answers.iter().any(|answer| answer.stats.shard == *shard);
        let silent_shards: Vec<usize> = (0..shards).filter(|s| !answered(s)).collect();
        let last = silent_shards
            .iter()
            .filter_map(|shard| self.last.get(*shard)?.as_ref());
        let mut total = Totals::default();
        let mut services = Vec::new();
        for answer in answers.iter().chain(last) {
            total.add(&answer.stats.totals);
            add_services(&mut services, &answer.services);
        }
        Joined {
            total,
            services,
            answers,
            silent_shards,
        }
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
        let Joined {
            total,
            mut services,
            answers,
            silent_shards,
        } = self.gatherings.join(gathering, self.mesh.len());
        self.health.annotate(&mut services, Instant::now());
        let rings = ring::setup();
        Stats {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started_unix_seconds: self.started_unix_seconds,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            state: self.state(),
            reloads: self.reloads,
            reloads_failed: self.reloads_failed,
            configured_unix_seconds: self.configured_unix_seconds,
            reload_refused: self.reload_refused,
            log_lines_dropped: logging::dropped(),
            rings: RingStats {
                cooperative: rings.cooperative,
                plain: rings.plain,
            },
            access_lines_lost: logging::access_lines_lost(),
            descriptors_open: rlimit::descriptors_in_use(),
            descriptors_max: rlimit::nofile().ok().map(|limit| limit.soft),
            listeners: self.listener_stats(),
            services,
            total,
            shards: answers
                .iter()
                .map(|answer| (*answer.stats).clone())
                .collect(),
            silent_shards,
        }
    }

    /// What is known of the listeners.
    fn listener_stats(&self) -> Vec<ListenerStats> {
        let mut listeners = self.listeners.clone();
        for listener in &mut listeners {
            if let Some(key) = &mut listener.ticket_key
                && key.source == TicketKeySource::Process
            {
                key.since_unix_seconds = self.rekeyed_unix_seconds;
            }
        }
        listeners
    }
}

/// Adds a shard's figures to those of the others. Shards have mostly the same
/// services in the same order; while a reload is under way they may have others.
fn add_services(ours: &mut Vec<ServiceStats>, theirs: &[ServiceStats]) {
    for (index, service) in theirs.iter().enumerate() {
        let at = match ours.get(index) {
            Some(known) if known.name == service.name => Some(index),
            _ => ours.iter().position(|known| known.name == service.name),
        };
        match at {
            Some(at) => ours[at].add(service),
            None => ours.push(service.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(shard: usize, accepted: u64) -> Answer {
        let totals = Totals {
            accepted,
            ..Totals::default()
        };
        Answer {
            stats: Box::new(ShardStats {
                shard,
                cpu: None,
                answer_micros: 1,
                running_on: None,
                submissions_left_out: 0,
                cpu_seconds: 0.0,
                thread: 0,
                totals,
            }),
            services: Vec::new(),
        }
    }

    /// A counter that seemed to fall would be taken for one that began anew,
    /// and what follows for a burst.
    #[test]
    fn a_silent_shard_stays_in_the_sums_as_it_last_was() {
        let (mesh, _seats, _arriving) = Mesh::new(2);
        let mut gatherings = Gatherings::default();
        let mut begin = |answers: Vec<Answer>, after: Duration| {
            let (reply, _replied) = flume::bounded(1);
            gatherings.begin(&mesh, reply);
            let number = gatherings.number;
            for answer in answers {
                gatherings.add(number, answer);
            }
            let finished = gatherings.finished(2, Instant::now() + after);
            let gathering = finished.into_iter().next().expect("it is finished");
            let joined = gatherings.join(gathering, 2);
            (
                joined.total.accepted,
                joined.answers.len(),
                joined.silent_shards,
            )
        };
        let late = limits::SNAPSHOT_TIMEOUT;
        assert_eq!(begin(vec![answer(0, 5)], late), (5, 1, vec![1]));
        let both = vec![answer(1, 7), answer(0, 6)];
        assert_eq!(begin(both, Duration::ZERO), (13, 2, vec![]));
        assert_eq!(begin(vec![answer(0, 8)], late), (15, 1, vec![1]));
        let both = vec![answer(0, 8), answer(1, 9)];
        assert_eq!(begin(both, Duration::ZERO), (17, 2, vec![]));
    }
}
