//! Taking up another configuration: every shard prepares, and then all commit,
//! or none does.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Control;
use crate::error::Error;
use crate::limits;
use crate::mesh::Order;
use crate::metrics::ListenerStats;
use crate::plan::Plan;

/// A reload under way.
#[derive(Debug)]
pub(super) struct Reload {
    generation: u64,
    waiting: Vec<usize>,
    deadline: Instant,
    listeners: Vec<ListenerStats>,
    plan: Arc<Plan>,
    drain_timeout: Duration,
    reply: flume::Sender<Result<(), Error>>,
}

impl Reload {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Control {
    pub(super) fn begin_reload(
        &mut self,
        plan: Arc<Plan>,
        sockets: Vec<Vec<Option<Vec<OwnedFd>>>>,
        listeners: Vec<ListenerStats>,
        reply: flume::Sender<Result<(), Error>>,
    ) {
        let busy = if self.drain.is_some() {
            Some("the server is stopping")
        } else if self.reload.is_some() {
            Some("another reload is under way")
        } else {
            None
        };
        if let Some(busy) = busy {
            self.reloads_failed += 1;
            let _ = reply.try_send(Err(Error::System(format!("not reloaded: {busy}"))));
            return;
        }
        self.generation += 1;
        let generation = self.generation;
        let drain_timeout = plan.config.timeouts.drain;
        for (shard, sockets) in sockets.into_iter().enumerate() {
            let order = Order::Prepare {
                generation,
                plan: plan.clone(),
                sockets,
            };
            self.order(shard, order);
        }
        self.reload = Some(Reload {
            generation,
            waiting: (0..self.mesh.len()).collect(),
            deadline: Instant::now() + limits::PREPARE_TIMEOUT,
            listeners,
            plan,
            drain_timeout,
            reply,
        });
    }

    pub(super) fn prepared(&mut self, shard: usize, generation: u64, result: Result<(), String>) {
        let Some(reload) = &mut self.reload else {
            return;
        };
        if reload.generation != generation {
            return;
        }
        match result {
            Ok(()) => reload.waiting.retain(|waiting| *waiting != shard),
            Err(cause) => return self.abort_reload(format!("shard {shard} refused: {cause}")),
        }
        if reload.waiting.is_empty()
            && let Some(reload) = self.reload.take()
        {
            self.reloads += 1;
            self.listeners = reload.listeners;
            self.drain_timeout = reload.drain_timeout;
            self.order_all(|| Order::Commit { generation });
            self.check_health_of(&reload.plan);
            let _ = reload.reply.try_send(Ok(()));
        }
    }

    pub(super) fn expire_reload(&mut self, now: Instant) {
        if let Some(reload) = &self.reload
            && now >= reload.deadline
        {
            let silent = format!("shards {:?} did not answer in time", reload.waiting);
            self.abort_reload(silent);
        }
    }

    /// Gives up the reload that is under way, if there is one.
    pub(super) fn abort_reload(&mut self, cause: String) {
        if let Some(reload) = self.reload.take() {
            let generation = reload.generation;
            self.reloads_failed += 1;
            self.order_all(|| Order::Abort { generation });
            let _ = reload
                .reply
                .try_send(Err(Error::System(format!("not reloaded: {cause}"))));
        }
    }
}
