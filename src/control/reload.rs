//! Taking up another configuration: every shard prepares, and then all commit,
//! or none does. It is done once each of them has said that it did.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Control, unix_seconds};
use crate::error::Error;
use crate::limits;
use crate::mesh::Order;
use crate::metrics::ListenerStats;
use crate::plan::Plan;

/// A reload under way.
#[derive(Debug)]
pub(super) struct Reload {
    generation: u64,
    /// Every shard was ready, and was told to take it up.
    decided: bool,
    /// Shards that have not said that they are ready; once that is decided,
    /// that they have taken it up.
    waiting: Vec<usize>,
    deadline: Instant,
    listeners: Vec<ListenerStats>,
    plan: Arc<Plan>,
    drain_timeout: Duration,
    ready_grace: Duration,
    ticket_lifetime: Duration,
    reply: flume::Sender<Result<(), Error>>,
}

impl Reload {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Control {
    /// A reload has come to nothing.
    pub(super) fn refuse_reload(&mut self) {
        self.reloads_failed += 1;
        self.reload_refused = true;
    }

    pub(super) fn begin_reload(
        &mut self,
        plan: Arc<Plan>,
        sockets: Vec<Vec<Option<Vec<Arc<OwnedFd>>>>>,
        listeners: Vec<ListenerStats>,
        reply: flume::Sender<Result<(), Error>>,
    ) {
        if reply.is_disconnected() {
            // Whoever asked has given up, and would not know of it.
            self.refuse_reload();
            return;
        }
        let busy = if self.is_stopping() {
            Some("the server is stopping")
        } else if self.reload.is_some() {
            Some("another reload is under way")
        } else {
            None
        };
        if let Some(busy) = busy {
            self.refuse_reload();
            let _ = reply.try_send(Err(Error::System(busy.into())));
            return;
        }
        self.generation += 1;
        let generation = self.generation;
        let drain_timeout = plan.config.timeouts.drain;
        let ready_grace = plan.config.timeouts.ready_grace;
        let listeners = plan.tell(listeners);
        let ticket_lifetime = plan.ticket_lifetime();
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
            decided: false,
            waiting: (0..self.mesh.len()).collect(),
            deadline: Instant::now() + limits::PREPARE_TIMEOUT,
            listeners,
            plan,
            drain_timeout,
            ready_grace,
            ticket_lifetime,
            reply,
        });
    }

    pub(super) fn prepared(&mut self, shard: usize, generation: u64, result: Result<(), String>) {
        let Some(reload) = self.reload.as_mut().filter(|r| r.generation == generation) else {
            return;
        };
        match result {
            Ok(()) => reload.waiting.retain(|waiting| *waiting != shard),
            Err(cause) => return self.abort_reload(format!("shard {shard} refused: {cause}")),
        }
        if !reload.waiting.is_empty() {
            return;
        }
        if reload.reply.is_disconnected() {
            return self.abort_reload("nobody waits for it any more".into());
        }
        reload.decided = true;
        reload.waiting = (0..self.mesh.len()).collect();
        reload.deadline = Instant::now() + limits::PREPARE_TIMEOUT;
        self.listeners = std::mem::take(&mut reload.listeners);
        self.drain_timeout = reload.drain_timeout;
        self.ready_grace = reload.ready_grace;
        // Longer tickets may still be about that were sealed before.
        self.ticket_lifetime = self.ticket_lifetime.max(reload.ticket_lifetime);
        let plan = reload.plan.clone();
        self.reloads += 1;
        self.reload_refused = false;
        self.configured_unix_seconds = unix_seconds();
        self.order_all(|| Order::Commit { generation });
        self.check_health_of(&plan);
    }

    /// A shard has taken the new configuration up.
    pub(super) fn committed(&mut self, shard: usize, generation: u64) {
        if let Some(reload) = self.reload.as_mut().filter(|r| r.generation == generation) {
            reload.waiting.retain(|waiting| *waiting != shard);
            if reload.waiting.is_empty() {
                self.end_reload();
            }
        }
    }

    pub(super) fn expire_reload(&mut self, now: Instant) {
        if let Some(reload) = self.reload.as_ref().filter(|r| now >= r.deadline) {
            let silent = format!("shards {:?} did not answer in time", reload.waiting);
            self.abort_reload(silent);
        }
    }

    /// Gives up the reload that is under way, if there is one. One that is
    /// decided cannot be given up: the shards get to it when they can.
    pub(super) fn abort_reload(&mut self, cause: String) {
        let Some(reload) = &self.reload else {
            return;
        };
        if reload.decided {
            log::warn!(
                "shards {:?} have yet to take the new configuration up: {cause}",
                reload.waiting
            );
            return self.end_reload();
        }
        if let Some(reload) = self.reload.take() {
            let generation = reload.generation;
            self.refuse_reload();
            self.order_all(|| Order::Abort { generation });
            let _ = reload.reply.try_send(Err(Error::System(cause)));
        }
    }

    /// Tells whoever asked that it is done.
    fn end_reload(&mut self) {
        if let Some(reload) = self.reload.take() {
            let _ = reload.reply.try_send(Ok(()));
        }
    }
}
