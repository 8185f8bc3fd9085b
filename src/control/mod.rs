//! The main shard's other work: what comes from outside, and what becomes of
//! it.
//!
//! One task, in a queue of its own that a busy data path cannot starve, takes
//! commands and reports from one inbox, keeps what is under way (`gather`,
//! `reload`, the drain), and never waits for any one shard: what does not
//! answer by a deadline is reported as silent.

pub mod admin;
pub mod exporter;
mod gather;
mod health;
mod reload;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_lite::FutureExt;

use crate::config::Address;
use crate::limits;
use crate::mesh::{Command, Mesh, Message, Order, Report};
use crate::metrics::{ListenerStats, State};
use crate::notice;
use crate::plan::Plan;
use crate::runtime::{self, Job, Queues};
use crate::tls::TicketKeys;
use gather::{Answer, Gatherings};
use health::Health;
use reload::Reload;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every tunnel ended of itself.
    Drained,
    /// That many tunnels were still open when the drain time ran out, and were
    /// cut.
    Cut(u64),
}

/// What the control task is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) mesh: Mesh,
    pub(crate) arriving: flume::Receiver<Message>,
    pub(crate) listeners: Vec<ListenerStats>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) keys: TicketKeys,
    /// When they are to change for the first time, from now.
    pub(crate) rekey_in: Duration,
    /// For how long they are needed once they seal no more.
    pub(crate) ticket_lifetime: Duration,
    /// Where the end is told.
    pub(crate) ended: flume::Sender<Result<Outcome, String>>,
}

/// The control task's state.
#[derive(Debug)]
pub(crate) struct Control {
    mesh: Mesh,
    queues: Queues,
    started: Instant,
    started_unix_seconds: u64,
    listeners: Vec<ListenerStats>,
    drain_timeout: Duration,
    ready_grace: Duration,
    keys: TicketKeys,
    ticket_lifetime: Duration,
    rekey_at: Instant,
    rekeyed_unix_seconds: u64,
    gatherings: Gatherings,
    health: Health,
    reload: Option<Reload>,
    reloads: u64,
    reloads_failed: u64,
    /// The last reload was refused.
    reload_refused: bool,
    configured_unix_seconds: u64,
    generation: u64,
    /// It was told to stop, and begins to drain then.
    stopping_until: Option<Instant>,
    drain: Option<Drain>,
}

/// A drain under way.
#[derive(Debug)]
struct Drain {
    /// Shards that have not reported their last tunnel's end.
    waiting: Vec<usize>,
    cut: u64,
    deadline: Instant,
    /// The deadline has passed once, and every tunnel was ordered to end.
    cutting: bool,
}

/// Starts the control task on the calling thread's executor, once it is given
/// what it is made of.
pub(crate) fn start(begun: flume::Receiver<Setup>) -> Job {
    Queues::new().spawn_job(async move {
        if let Ok(setup) = begun.recv_async().await {
            run(setup).await;
        }
    })
}

/// Runs until every shard has drained, or has had its time to.
async fn run(setup: Setup) {
    let Setup {
        mesh,
        arriving,
        listeners,
        plan,
        keys,
        rekey_in,
        ticket_lifetime,
        ended,
    } = setup;
    let now = Instant::now();
    let unix_now = unix_seconds();
    let mut control = Control {
        mesh,
        queues: Queues::new(),
        started: now,
        started_unix_seconds: unix_now,
        listeners: plan.tell(listeners),
        drain_timeout: plan.config.timeouts.drain,
        ready_grace: plan.config.timeouts.ready_grace,
        keys,
        ticket_lifetime,
        rekey_at: now + rekey_in,
        rekeyed_unix_seconds: {
            // The keys may have been another process's before.
            let age = limits::TICKET_KEY_ROTATION.saturating_sub(rekey_in);
            unix_now.saturating_sub(age.as_secs())
        },
        gatherings: Gatherings::default(),
        health: Health::new(),
        reload: None,
        reloads: 0,
        reloads_failed: 0,
        reload_refused: false,
        configured_unix_seconds: unix_now,
        generation: 0,
        stopping_until: None,
        drain: None,
    };
    control.order_all(|| Order::Serve);
    control.check_health_of(&plan);
    drop(plan);
    let shards = control.mesh.len();
    let noun = if shards == 1 { "shard" } else { "shards" };
    notice!("serving with {shards} {noun}, pid {}", std::process::id());
    let outcome = control.work(&arriving).await;
    control.order_all(|| Order::Stop);
    let _ = ended.try_send(outcome);
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

enum Event {
    Message(Message),
    Time,
}

impl Control {
    async fn work(&mut self, arriving: &flume::Receiver<Message>) -> Result<Outcome, String> {
        loop {
            let wait = self
                .next_deadline()
                .saturating_duration_since(Instant::now());
            let arrived = async { arriving.recv_async().await.map(Event::Message) };
            let time = async {
                runtime::sleep(wait).await;
                Ok(Event::Time)
            };
            match arrived.or(time).await {
                Ok(Event::Message(Message::Command(command))) => self.command(command),
                Ok(Event::Message(Message::Report(report))) => self.report(report)?,
                Ok(Event::Time) => self.on_time(),
                // Nobody is left who could say anything.
                Err(_) => return Err("every shard has gone".into()),
            }
            if let Some(outcome) = self.outcome() {
                return Ok(outcome);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Shutdown => self.stop(),
            Command::TicketKeys { reply } => {
                let rest = self.rekey_at.saturating_duration_since(Instant::now());
                let _ = reply.try_send((self.keys.clone(), rest));
            }
            Command::HandOver { left, to } => self.hand_over(&left, to),
            Command::Stats { reply } => self.gatherings.begin(&self.mesh, reply),
            // Whoever asked gathers the answers, so that this task is spared. A
            // shard whose inbox is full is stalled, and is not asked: that it
            // does not answer is told by the end of the way to do so.
            Command::List(listing) => {
                for shard in 0..self.mesh.len() {
                    let _ = self.mesh.try_order(shard, Order::List(listing.clone()));
                }
            }
            Command::Close { id, reply } => {
                let number = id.number;
                let order = Order::Close { number, reply };
                let _ = self.mesh.try_order(id.shard, order);
            }
            Command::Enable(switch) => self.order_all(|| Order::Enable(switch.clone())),
            Command::ReloadRefused => self.refuse_reload(),
            Command::Reload {
                plan,
                sockets,
                listeners,
                reply,
            } => self.begin_reload(plan, sockets, listeners, reply),
        }
        self.answer_gatherings(Instant::now());
    }

    fn report(&mut self, report: Report) -> Result<(), String> {
        match report {
            Report::Ready { .. } => {}
            Report::Failed { shard, cause } => {
                return Err(format!("shard {shard} has died: {cause}"));
            }
            Report::Snapshot {
                gathering,
                stats,
                services,
            } => {
                let gatherings = &mut self.gatherings;
                let answer = Answer { stats, services };
                gatherings.add(gathering, answer);
                self.answer_gatherings(Instant::now());
            }
            Report::Prepared {
                shard,
                generation,
                result,
            } => self.prepared(shard, generation, result),
            Report::Committed { shard, generation } => self.committed(shard, generation),
            Report::Checked { check, result } => self.checked(check, result),
            Report::Drained { shard, cut } => {
                if let Some(drain) = &mut self.drain {
                    drain.waiting.retain(|waiting| *waiting != shard);
                    drain.cut += cut;
                }
            }
        }
        Ok(())
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.answer_gatherings(now);
        self.expire_reload(now);
        self.health.begin_due(now, &self.mesh);
        if now >= self.rekey_at {
            self.rekey(now);
        }
        if self.stopping_until.take_if(|until| now >= *until).is_some() {
            self.stop_accepting();
        }
        if let Some(drain) = &mut self.drain
            && now >= drain.deadline
            && !drain.cutting
        {
            drain.cutting = true;
            // Time enough for what is cut to be told so.
            drain.deadline = now + 2 * limits::LINGER_TIMEOUT;
            log::warn!("the drain time has run out; the tunnels that are left are cut");
            self.order_all(|| Order::Cut);
        }
    }

    fn next_deadline(&self) -> Instant {
        let drain = self.drain.as_ref().map(|drain| drain.deadline);
        let reload = self.reload.as_ref().map(Reload::deadline);
        let health = self.health.next_due();
        let gathering = self.gatherings.deadline();
        [drain, self.stopping_until, reload, gathering, health]
            .into_iter()
            .flatten()
            .fold(self.rekey_at, Instant::min)
    }

    /// It was told to stop. Whoever asks is told at once that it is not ready;
    /// if they are to have time to hear of it, it goes on accepting so long.
    fn stop(&mut self) {
        if self.is_stopping() {
            return;
        }
        // It would open new doors while the old ones are shut.
        self.abort_reload("the server is stopping".into());
        if self.ready_grace.is_zero() {
            return self.stop_accepting();
        }
        notice!(
            "told to stop: not ready any more; connections are accepted for another {}",
            humantime::format_duration(self.ready_grace)
        );
        self.stopping_until = Some(Instant::now() + self.ready_grace);
    }

    fn is_stopping(&self) -> bool {
        self.stopping_until.is_some() || self.drain.is_some()
    }

    fn stop_accepting(&mut self) {
        notice!(
            "stopping: no more connections, open tunnels get {}",
            humantime::format_duration(self.drain_timeout)
        );
        self.begin_drain(&[]);
    }

    /// Drains, and leaves these listeners to that process: clients are accepted
    /// there, and need no time to hear of it.
    fn hand_over(&mut self, left: &[Address], to: u32) {
        if self.drain.is_some() {
            return;
        }
        self.stopping_until = None;
        self.abort_reload("the server is stopping".into());
        notice!(
            "process {to} has taken over: no more connections here, open tunnels get {}",
            humantime::format_duration(self.drain_timeout)
        );
        self.begin_drain(left);
    }

    fn begin_drain(&mut self, left: &[Address]) {
        self.drain = Some(Drain {
            waiting: (0..self.mesh.len()).collect(),
            cut: 0,
            deadline: Instant::now() + self.drain_timeout,
            cutting: false,
        });
        let left: Arc<[Address]> = left.into();
        self.order_all(|| Order::Drain { left: left.clone() });
    }

    /// How the server ended, once it has.
    fn outcome(&self) -> Option<Outcome> {
        let drain = self.drain.as_ref()?;
        let given_up = drain.cutting && Instant::now() >= drain.deadline;
        if !drain.waiting.is_empty() && !given_up {
            return None;
        }
        if given_up {
            log::error!(
                "shards {:?} did not end their tunnels in time",
                drain.waiting
            );
        }
        match drain.cut + drain.waiting.len() as u64 {
            0 => Some(Outcome::Drained),
            cut => Some(Outcome::Cut(cut)),
        }
    }

    fn state(&self) -> State {
        match (&self.drain, self.stopping_until) {
            (Some(_), _) => State::Draining,
            (None, Some(_)) => State::Stopping,
            (None, None) => State::Serving,
        }
    }

    fn rekey(&mut self, now: Instant) {
        self.rekey_at = now + limits::TICKET_KEY_ROTATION;
        match self.keys.rotated(self.ticket_lifetime) {
            Ok(keys) => {
                self.keys = keys.clone();
                self.rekeyed_unix_seconds = unix_seconds();
                self.order_all(|| Order::Rekey(keys.clone()));
                log::debug!("the ticket keys were rotated");
            }
            Err(error) => log::error!("the ticket keys stay as they are: {error}"),
        }
    }

    /// Sends an order to every shard. One whose inbox is full gets it when it
    /// has room, and keeps nobody waiting.
    fn order_all(&self, order: impl Fn() -> Order) {
        for shard in 0..self.mesh.len() {
            self.order(shard, order());
        }
    }

    fn order(&self, shard: usize, order: Order) {
        if let Err(order) = self.mesh.try_order(shard, order) {
            let mesh = self.mesh.clone();
            self.queues
                .spawn_control(async move { mesh.order(shard, order).await });
        }
    }
}
