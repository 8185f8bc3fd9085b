//! One executor on one CPU: its listeners, its tunnels, its counters.
//!
//! Everything here is `Rc` and `Cell`; no other thread ever touches it. What
//! the outside wants of a shard comes as an [`Order`] over the mesh, and what
//! it has to say goes as a [`Report`].
//!
//! [`entrance`] accepts and starts tunnels; this file makes the shard, carries
//! out its orders and keeps its clock.

mod entrance;
mod handover;
mod loads;
mod room;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_lite::FutureExt;
use futures_lite::future::poll_once;

use crate::backend::{Resolver, Service, Upstream};
use crate::config::{self, AccessList, Config, ProxyTlv};
use crate::later::Later;
use crate::limits;
use crate::mesh::{Mesh, Order, Report, Seat};
use crate::metrics::{Counters, ShardStats};
use crate::plan::Plan;
use crate::runtime::{self, Job, Queues};
use crate::timer::{Tick, Timers};
use crate::tls::{self, ClientParts, TicketKeys};
use crate::tunnel::{Ids, Pace, Rates, Scratch, Surroundings, Terms, Turns, Way};
pub(crate) use entrance::Door;
use entrance::Entrance;
pub(crate) use loads::Loads;
use room::Room;
pub(crate) use room::descriptors_suffice_for;

/// What a shard is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) seat: Seat,
    pub(crate) cpu: Option<usize>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) keys: TicketKeys,
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
    mesh: Mesh,
    queues: Queues,
    resolver: Resolver,
    around: Rc<Surroundings>,
    keys: RefCell<TicketKeys>,
    entrances: RefCell<Vec<Rc<Entrance>>>,
    /// Those that were closed last: what was handed over for them may still be
    /// on its way.
    retired: RefCell<Vec<Rc<Entrance>>>,
    /// Its tunnels.
    room: Room,
    /// How many tunnels of all shards there are descriptors for.
    tunnels_possible: usize,
    loads: Loads,
    /// One of its listeners is `Balanced`.
    balances: Cell<bool>,
    /// The order to drain has come.
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

/// A configuration made ready, and not yet taken up.
#[derive(Debug)]
struct Prepared {
    generation: u64,
    buffer_size: usize,
    max_handshakes: usize,
    /// Tunnels that this shard may have.
    most: usize,
    entrances: Vec<PreparedEntrance>,
}

#[derive(Debug)]
struct PreparedEntrance {
    listener: config::Listener,
    terms: Rc<Terms>,
    /// None: the doors that are open already.
    doors: Option<Vec<Door>>,
}

impl Shard {
    /// Makes the shard of the calling thread's executor, reports that it is
    /// ready, and serves until it is ordered to leave.
    pub(crate) async fn run(setup: Setup) {
        let Setup {
            seat,
            cpu,
            plan,
            keys,
            resolver,
            sockets,
            tunnels_possible,
            loads,
        } = setup;
        let number = seat.shard;
        let mesh = seat.mesh.clone();
        let shard = Rc::new(Self {
            number,
            cpu,
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
            }),
            keys: RefCell::new(keys),
            entrances: RefCell::default(),
            retired: RefCell::default(),
            room: Room::new(tunnels_possible),
            tunnels_possible,
            loads,
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
        while let Ok(order) = inbox.recv_async().await {
            match order {
                Order::Serve => self.commit(&mut prepared, 0),
                Order::Snapshot { gathering, asked } => {
                    let stats = Box::new(self.snapshot(asked));
                    self.mesh
                        .report(Report::Snapshot { gathering, stats })
                        .await;
                }
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
                Order::Commit { generation } => self.commit(&mut prepared, generation),
                Order::Abort { generation } => {
                    prepared.take_if(|ready| ready.generation == generation);
                }
                Order::Rekey(keys) => self.rekey(keys),
                Order::Adopt {
                    listener,
                    client,
                    from,
                    returned,
                } => self.adopt(listener, client, from, returned),
                Order::Drain => self.drain(),
                Order::Cut => {
                    self.around.cut.set(true);
                    self.around.timers.wake_all();
                }
                Order::Stop => return,
            }
        }
    }

    /// Makes everything ready for a configuration, and changes nothing.
    fn prepare(
        &self,
        generation: u64,
        plan: &Plan,
        sockets: Vec<Option<Vec<Door>>>,
    ) -> Result<Prepared, String> {
        let config = &plan.config;
        let keys = self.keys.borrow();
        let services = config
            .services
            .iter()
            .zip(&plan.clients)
            .map(|(service, parts)| self.service(service, parts.as_ref()).map(Rc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut entrances = Vec::with_capacity(config.listeners.len());
        for ((listener, identity), doors) in
            config.listeners.iter().zip(&plan.identities).zip(sockets)
        {
            let tls = match (&listener.tls, identity) {
                (Some(tls), Some(identity)) => {
                    let made = tls::server_config(tls, identity, &keys);
                    Some(made.map_err(|error| format!("{}: {error}", listener.name))?)
                }
                _ => None,
            };
            let service = |index: usize| {
                let service = services.get(index).cloned();
                service.ok_or_else(|| format!("{} leads to no service", listener.name))
            };
            let ways = listener
                .routes
                .iter()
                .map(|route| {
                    Ok(Way {
                        service: service(route.service)?,
                        route: route.clone(),
                    })
                })
                .collect::<Result<Vec<_>, String>>()?;
            let timeouts = listener.timeouts.as_ref().unwrap_or(&config.timeouts);
            entrances.push(PreparedEntrance {
                listener: listener.clone(),
                terms: Rc::new(Terms {
                    tls,
                    hears_hello: listener.passthrough || wants_name(listener, config),
                    ways,
                    service: service(listener.service)?,
                    access: AccessList::new(&listener.access),
                    pace: Pace::new(&listener.name, &listener.rates, self.mesh.len()),
                    proxy_from: listener.proxy_from.clone(),
                    timeouts: timeouts.clone(),
                    truncation: config.truncation,
                    buffer_size: config.buffer_size,
                }),
                doors,
            });
        }
        Ok(Prepared {
            generation,
            buffer_size: config.buffer_size,
            max_handshakes: config.max_handshakes.get(),
            most: self
                .part(config.max_connections)
                .min(self.part(NonZeroUsize::new(self.tunnels_possible)))
                .max(1),
            entrances,
        })
    }

    /// This shard's part of a limit.
    fn part(&self, whole: Option<NonZeroUsize>) -> usize {
        whole.map_or(usize::MAX, |whole| {
            room::part(whole.get(), self.number, self.mesh.len())
        })
    }

    fn service(
        &self,
        service: &config::Service,
        parts: Option<&ClientParts>,
    ) -> Result<Service, String> {
        let upstream = match (&service.tls, parts) {
            (Some(tls), Some(parts)) => {
                let config = tls::client_config(tls, parts)
                    .map_err(|error| format!("{}: {error}", service.name))?;
                Some(Upstream::new(service, tls.server_name.as_deref(), config)?)
            }
            _ => None,
        };
        Ok(Service::new(service, upstream, &self.resolver, self.queues))
    }

    /// Takes up what was prepared. New connections meet the new terms; open
    /// ones keep theirs.
    fn commit(self: &Rc<Self>, prepared: &mut Option<Prepared>, generation: u64) {
        let Some(ready) = prepared.take_if(|ready| ready.generation == generation) else {
            return;
        };
        {
            // Tunnels on older terms may need the greater space.
            let mut scratch = self.around.scratch.borrow_mut();
            if ready.buffer_size > scratch.buffer_size() {
                *scratch = Scratch::new(ready.buffer_size);
            }
        }
        self.around.turns.allow(ready.max_handshakes);
        self.room.allow(ready.most);
        let mut old = self.entrances.take();
        let mut new = Vec::with_capacity(ready.entrances.len());
        for PreparedEntrance {
            listener,
            terms,
            doors,
        } in ready.entrances
        {
            let most = self.part(listener.max_connections);
            match doors {
                None => {
                    if let Some(at) = old.iter().position(|e| e.address() == &listener.address) {
                        let entrance = old.swap_remove(at);
                        entrance.renew(terms);
                        entrance.allow(most, listener.accept);
                        new.push(entrance);
                    }
                }
                Some(doors) => {
                    let entrance = Entrance::new(listener.address, terms, most, listener.accept);
                    let entrance = Rc::new(entrance);
                    for door in doors {
                        self.open(&entrance, door);
                    }
                    new.push(entrance);
                }
            }
        }
        self.balances.set(new.iter().any(|e| e.is_balanced()));
        self.tell_load();
        *self.entrances.borrow_mut() = new;
        self.retire(old);
    }

    fn rekey(&self, keys: TicketKeys) {
        for entrance in self.entrances.borrow().iter() {
            let terms = entrance.terms();
            let Some(tls) = &terms.tls else {
                continue;
            };
            match tls::with_ticket_keys(tls, &keys) {
                Ok(tls) => entrance.renew(Rc::new(Terms {
                    tls: Some(tls),
                    ..Terms::clone(&terms)
                })),
                Err(error) => log::error!("the ticket keys stay as they are: {error}"),
            }
        }
        *self.keys.borrow_mut() = keys;
    }

    /// Closes every entrance and sees to it that the end of the last tunnel is
    /// reported.
    fn drain(self: &Rc<Self>) {
        self.is_draining.set(true);
        self.loads.close(self.number);
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
        ShardStats {
            shard: self.number,
            cpu: self.cpu,
            answer_micros: u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX),
            totals: self.around.counters.totals(),
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

/// Whether somebody has to know the name that a listener's clients ask for.
fn wants_name(listener: &config::Listener, config: &Config) -> bool {
    let tells_name = |index: &usize| {
        let service = config.services.get(*index);
        let header = service.and_then(|service| service.proxy_protocol.as_ref());
        header.is_some_and(|header| header.tlvs.contains(&ProxyTlv::Authority))
    };
    let mut services = listener.routes.iter().map(|route| route.service);
    let routed = listener.routes.iter().any(|route| !route.sni.is_empty());
    routed
        || listener.tls.is_some()
            && (tells_name(&listener.service) || services.any(|index| tells_name(&index)))
}
