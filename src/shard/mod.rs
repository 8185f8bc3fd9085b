//! One executor on one CPU: its listeners, its tunnels, its counters.
//!
//! Everything here is `Rc` and `Cell`; no other thread ever touches it. What
//! the outside wants of a shard comes as an [`Order`] over the mesh, and what
//! it has to say goes as a [`Report`].
//!
//! [`entrance`] accepts and starts tunnels, [`admission`] says when it may,
//! [`ending`] tells of their end, and [`configuring`] takes up configurations; this
//! file makes the shard, carries out its orders and keeps its clock.

mod accept_rate;
mod admission;
mod budget;
mod configuring;
mod crowd;
mod ending;
mod entrance;
mod errands;
mod handover;
mod loads;
mod reserve;
mod room;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_lite::FutureExt;
use futures_lite::future::poll_once;

use crate::backend::{Resolver, Service};
use crate::config::Address;
use crate::later::Later;
use crate::limits;
use crate::mesh::{Mesh, Order, Report, Seat};
use crate::metrics::{Counters, ServiceStats, ShardStats, Totals};
use crate::plan::Plan;
use crate::runtime::{self, Job, Queues};
use crate::sys::socket::Steering;
use crate::sys::{cpu, cpu_time, ring};
use crate::timer::{Tick, Timers};
use crate::tls::TicketKeys;
use crate::tunnel::{Ids, Rates, Records, Scratch, Surroundings, Turns};
use accept_rate::AcceptRate;
use admission::Said;
use budget::Budget;
use configuring::Prepared;
use crowd::Crowd;
use ending::Access;
pub(crate) use entrance::Door;
use entrance::Entrance;
use errands::{Errand, Errands};
pub(crate) use loads::Loads;
use reserve::Reserve;
use room::Room;
pub(crate) use room::descriptors_suffice_for;

/// What a shard is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) seat: Seat,
    pub(crate) cpu: Option<usize>,
    /// Those of all shards; none if they are not pinned.
    pub(crate) cpus: Arc<[usize]>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) keys: TicketKeys,
    /// Backends that get no tunnel from the start: of which service, and where.
    pub(crate) disabled: Arc<[(String, Address)]>,
    pub(crate) resolver: Resolver,
    /// For each listener of the plan, its sockets.
    pub(crate) sockets: Vec<Vec<Door>>,
    /// How many tunnels of all shards there are descriptors for.
    pub(crate) tunnels_possible: usize,
    pub(crate) loads: Loads,
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    number: usize,
    cpu: Option<usize>,
    /// To which shard connections go that come in on a CPU.
    steering: Steering,
    mesh: Mesh,
    queues: Queues,
    resolver: Resolver,
    around: Rc<Surroundings>,
    keys: RefCell<TicketKeys>,
    entrances: RefCell<Vec<Rc<Entrance>>>,
    /// Those of the present configuration.
    services: RefCell<Vec<Rc<Service>>>,
    /// Tells who keeps the names of backends that there are others.
    renewed: flume::Sender<()>,
    /// Those that were closed last: what was handed over for them may still be
    /// on its way.
    retired: RefCell<Vec<Rc<Entrance>>>,
    /// Its tunnels.
    room: Room,
    /// Whether tunnels have gone that held much memory.
    crowd: Crowd,
    /// How fast they may come in.
    rate: AcceptRate,
    /// What they may hold in memory.
    budget: Budget,
    /// The descriptor for when there is no other.
    reserve: Reserve,
    /// That there are no descriptors, and that there is no memory.
    said_lack: Said,
    said_memory: Said,
    access: RefCell<Option<Access>>,
    /// How many tunnels of all shards there are descriptors for.
    tunnels_possible: usize,
    loads: Loads,
    errands: Errands,
    /// One of its listeners is `Balanced`.
    balances: Cell<bool>,
    /// The order to drain has come. Nothing is taken up any more: what opened
    /// now would never be closed.
    is_draining: Cell<bool>,
    /// Doors that are still open.
    doors_open: Cell<usize>,
    /// When a tunnel's end was last worth a warning, and how many have been
    /// passed over since.
    warned: Cell<(Tick, u64)>,
    /// The tasks that wait for the last tunnel to end.
    draining: RefCell<Vec<Waker>>,
    /// Tasks that are ended with the shard.
    jobs: RefCell<Vec<Job>>,
}

impl Shard {
    /// Makes the shard of the calling thread's executor, reports that it is
    /// ready, and serves until it is ordered to leave.
    pub(crate) async fn run(setup: Setup) {
        let Setup {
            seat,
            cpu,
            cpus,
            plan,
            keys,
            disabled,
            resolver,
            sockets,
            tunnels_possible,
            loads,
        } = setup;
        let number = seat.shard;
        let mesh = seat.mesh.clone();
        let (errands, waiting) = Errands::new();
        let (renewed, names_new) = flume::bounded(1);
        let shard = Rc::new(Self {
            number,
            cpu,
            steering: Steering::new(cpus),
            mesh: seat.mesh,
            queues: Queues::new(),
            resolver,
            around: Rc::new(Surroundings {
                timers: Rc::new(Timers::new(Instant::now())),
                counters: Counters::new(),
                later: Later::default(),
                rates: Rates::default(),
                turns: Turns::new(plan.config.max_handshakes.get()),
                scratch: RefCell::new(Scratch::new(plan.config.buffer_size)),
                cut: Cell::new(false),
                leaving: Cell::new(false),
                ids: Ids::new(number),
                records: Records::default(),
            }),
            keys: RefCell::new(keys),
            entrances: RefCell::default(),
            services: RefCell::default(),
            renewed,
            retired: RefCell::default(),
            room: Room::new(tunnels_possible),
            crowd: Crowd::default(),
            rate: AcceptRate::default(),
            budget: Budget::new(),
            reserve: Reserve::new(),
            said_lack: Said::default(),
            said_memory: Said::default(),
            access: RefCell::default(),
            tunnels_possible,
            loads,
            errands,
            balances: Cell::new(false),
            is_draining: Cell::new(false),
            doors_open: Cell::new(0),
            warned: Cell::new((Tick::NEVER, 0)),
            draining: RefCell::default(),
            jobs: RefCell::default(),
        });
        let sockets = sockets.into_iter().map(Some).collect();
        let first = match shard.prepare(0, &plan, sockets) {
            Ok(first) => first,
            Err(cause) => {
                let failed = Report::Failed {
                    shard: number,
                    cause,
                };
                mesh.report(failed).await;
                return;
            }
        };
        drop(plan);
        for (name, backend) in disabled.iter() {
            let mut services = first.services.iter();
            if let Some(service) = services.find(|service| service.name() == name) {
                service.enable(backend, false);
            }
        }
        mesh.report(Report::Ready { shard: number }).await;
        let (left, leaving) = flume::bounded(1);
        let control = shard.clone();
        shard.queues.spawn_control(async move {
            control.obey(&seat.inbox, first).await;
            let _ = left.try_send(());
        });
        let around = shard.around.clone();
        shard.start(async move { around.later.attend().await });
        let around = shard.around.clone();
        shard.start(async move { around.turns.attend().await });
        let ticking = shard.clone();
        shard.start(async move { ticking.tick().await });
        let running = shard.clone();
        shard.start(async move { running.run_errands(&waiting).await });
        let naming = shard.clone();
        shard.start(async move { naming.keep_names(&names_new).await });
        for number in 0..limits::HEARTBEAT_TASKS {
            shard.start(runtime::heartbeat(number));
        }
        let _ = leaving.recv_async().await;
        shard.leave().await;
    }

    /// Starts a task that is ended with the shard.
    fn start(&self, future: impl Future<Output = ()> + 'static) {
        let job = self.queues.spawn_job(future);
        self.jobs.borrow_mut().push(job);
    }

    /// Ends whatever is left: nothing of the shard outlives it.
    async fn leave(&self) {
        for entrance in self.entrances.take() {
            entrance.close();
        }
        self.around.cut.set(true);
        self.around.leaving.set(true);
        self.around.timers.wake_all();
        let stuck = runtime::sleep(limits::LINGER_TIMEOUT);
        poll_fn(|cx| self.poll_empty(cx)).or(stuck).await;
        for job in self.jobs.take() {
            job.cancel().await;
        }
    }

    /// Carries out orders until the one to leave.
    async fn obey(self: &Rc<Self>, inbox: &flume::Receiver<Order>, first: Prepared) {
        let mut prepared = Some(first);
        // Orders may overtake each other where an inbox was full: what was
        // aborted is not prepared after that.
        let mut aborted = 0;
        while let Ok(order) = inbox.recv_async().await {
            match order {
                Order::Serve => self.commit(&mut prepared, 0),
                Order::Snapshot { gathering, asked } => {
                    let stats = Box::new(self.snapshot(asked));
                    let report = Report::Snapshot {
                        gathering,
                        stats,
                        services: self.service_stats(),
                    };
                    self.mesh.report(report).await;
                }
                Order::Prepare { generation, .. } if generation <= aborted => {}
                Order::Prepare {
                    generation,
                    plan,
                    sockets,
                } => {
                    let sockets = sockets
                        .into_iter()
                        .map(|fds| fds.map(|fds| fds.into_iter().map(Door::new).collect()))
                        .collect();
                    let result = self
                        .prepare(generation, &plan, sockets)
                        .map(|ready| prepared = Some(ready));
                    let report = Report::Prepared {
                        shard: self.number,
                        generation,
                        result,
                    };
                    self.mesh.report(report).await;
                }
                Order::Commit { generation } => {
                    self.commit(&mut prepared, generation);
                    let report = Report::Committed {
                        shard: self.number,
                        generation,
                    };
                    self.mesh.report(report).await;
                }
                Order::Abort { generation } => {
                    aborted = aborted.max(generation);
                    prepared.take_if(|ready| ready.generation == generation);
                }
                Order::Health(verdict) => {
                    for service in self.services.borrow().iter() {
                        if service.name() == &*verdict.service {
                            service.judge(&verdict.address, verdict.up);
                        }
                    }
                }
                Order::Enable(switch) => {
                    for service in self.services.borrow().iter() {
                        if service.name() == &*switch.service {
                            service.enable(&switch.address, switch.enabled);
                        }
                    }
                    let _ = switch.reply.try_send(self.number);
                }
                // They take their time, and other orders do not wait for them.
                Order::List(listing) => self.errands.add(Errand::List(listing)),
                Order::Close { number, reply } => {
                    self.errands.add(Errand::Close { number, reply });
                }
                Order::Rekey(keys) => self.rekey(keys, prepared.as_mut()),
                Order::Adopt {
                    listener,
                    client,
                    from,
                    returned,
                } => self.adopt(listener, client, from, returned),
                Order::Drain { left } => self.drain(&left),
                Order::Cut => {
                    self.around.cut.set(true);
                    self.around.timers.wake_all();
                }
                Order::Stop => return,
            }
        }
    }

    /// Closes every entrance, leaves those with these addresses to another
    /// process, and sees to it that the end of the last tunnel is reported.
    fn drain(self: &Rc<Self>, left: &[Address]) {
        self.is_draining.set(true);
        self.loads.close(self.number);
        for entrance in self.entrances.borrow().iter() {
            if left.contains(entrance.address()) {
                entrance.leave();
            }
        }
        self.retire(self.entrances.take());
        let shard = self.clone();
        self.start(async move {
            while poll_once(poll_fn(|cx| shard.poll_empty(cx)))
                .await
                .is_none()
            {
                // A giver that keeps what it was about to hand over wakes nobody.
                let look = runtime::sleep(limits::HANDOVER_LOOK);
                poll_fn(|cx| shard.poll_empty(cx)).or(look).await;
            }
            let report = Report::Drained {
                shard: shard.number,
                cut: shard.around.counters.cut(),
            };
            shard.mesh.report(report).await;
        });
    }

    /// Lets in at these who is waiting already, and nobody after that.
    fn retire(&self, old: Vec<Rc<Entrance>>) {
        for entrance in &old {
            entrance.close();
        }
        *self.retired.borrow_mut() = old;
    }

    fn is_empty(&self) -> bool {
        !self.loads.is_awaited(self.number)
            && self.doors_open.get() == 0
            && self.around.counters.tunnels_open.get() == 0
    }

    /// Ready once no door is open and the last tunnel has ended.
    fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_empty() {
            return Poll::Ready(());
        }
        let mut draining = self.draining.borrow_mut();
        if !draining.iter().any(|waker| waker.will_wake(cx.waker())) {
            draining.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// A door was shut or a tunnel has ended.
    fn emptier(&self) {
        if self.is_empty() {
            for waker in self.draining.take() {
                waker.wake();
            }
        }
    }

    fn snapshot(&self, asked: Instant) -> ShardStats {
        let cpu_time = cpu_time::of_this_thread().unwrap_or_default();
        ShardStats {
            shard: self.number,
            cpu: self.cpu,
            answer_micros: u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX),
            cpu_seconds: cpu_time.as_secs_f64(),
            thread: cpu_time::this_thread(),
            running_on: cpu::running_on(),
            submissions_left_out: ring::left_out().submissions,
            totals: self.totals(),
        }
    }

    /// The counters, with the limits and their use.
    fn totals(&self) -> Totals {
        let around = &self.around;
        let memory = Some(self.budget.most()).filter(|most| *most != usize::MAX);
        Totals {
            tunnels_max: self.room.most(),
            handshakes_max: around.turns.most() as u64,
            handshakes_waiting: around.turns.waiting() as u64,
            handshakes_queued: around.turns.queued(),
            memory_held: Budget::held(&around.counters) as u64,
            memory_max: memory.map(|most| most as u64),
            listeners: self.entrances.borrow().iter().map(|e| e.stats()).collect(),
            ..around.counters.totals()
        }
    }

    fn service_stats(&self) -> Vec<ServiceStats> {
        let services = self.services.borrow();
        services.iter().map(|service| service.stats()).collect()
    }

    /// Asks for the names whose addresses are old. Gives the time at which to
    /// look again.
    fn refresh_names(&self) -> Instant {
        let now = Instant::now();
        let services = self.services.borrow();
        let due = services.iter().filter_map(|service| service.refresh(now));
        due.min().unwrap_or(now + limits::RESOLVE_TTL)
    }

    /// Sees to it that the addresses of names are no older than they should
    /// be, whether or not anybody asks for them. Told by `renewed` of names that
    /// are new.
    async fn keep_names(&self, renewed: &flume::Receiver<()>) {
        loop {
            let due = self.refresh_names();
            let wait = due.saturating_duration_since(Instant::now());
            let due = runtime::sleep(wait.clamp(limits::RESOLVE_RETRY, limits::RESOLVE_TTL));
            // It lasts as long as the shard.
            let told = async { renewed.recv_async().await.unwrap_or(()) };
            due.or(told).await;
        }
    }

    /// Keeps the clock, while there is anybody to keep it for.
    async fn tick(&self) {
        let timers = &self.around.timers;
        loop {
            poll_fn(|cx| timers.poll_wanted(cx)).await;
            runtime::sleep(limits::TICK).await;
            timers.advance(Instant::now());
        }
    }
}
