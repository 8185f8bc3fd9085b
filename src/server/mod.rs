//! The public face of a running front door.
//!
//! [`Server`] checks and binds, [`Running`] serves, and a [`Handle`] is a hold
//! on it for any thread; `operator` has what it asks of tunnels and backends.
//! [`Layout`] is where shards run, `machine` whether that can be, `listeners`
//! keeps what is bound, or was left to this process ([`Inheritance`]), `offer` is
//! what it can leave to another one, `thread` is one shard's.

mod demands;
mod handle;
mod inheritance;
mod layout;
mod listeners;
mod machine;
mod offer;
mod operator;
mod thread;

pub use handle::Handle;
pub(crate) use inheritance::Group;
pub use inheritance::Inheritance;
pub use layout::Layout;
pub(crate) use offer::Offer;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flume::RecvTimeoutError;

use crate::backend::Resolver;
use crate::config::{Address, Config};
use crate::control::{self, Outcome};
use crate::error::Error;
use crate::limits;
use crate::logging::access::InUse;
use crate::mesh::{Mesh, Message, Order, Report, Seat};
use crate::metrics::ListenerStats;
use crate::plan::Plan;
use crate::shard::{self, Door};
use crate::sys::socket::{self, BindError};
use crate::tls::TicketKeys;
use listeners::Late;

/// A front door: checked and bound, not yet serving.
///
/// Dropping it closes what it bound.
#[derive(Debug)]
pub struct Server {
    plan: Arc<Plan>,
    /// The CPU of each shard, if it is pinned.
    placement: Vec<Option<usize>>,
    /// Those CPUs; none if shards are not pinned.
    cpus: Arc<[usize]>,
    listeners: Vec<ListenerStats>,
    /// For each shard and each listener, its sockets.
    sockets: Vec<Vec<Vec<Door>>>,
    /// What is to be done with inherited ones before they are served at.
    late: Vec<Late>,
    /// The process before has sealed tickets with these, which were to change in
    /// that time.
    keys: Option<(TicketKeys, Duration)>,
    /// Backends that get no tunnel from the start: of which service, and where.
    disabled: Arc<[(String, Address)]>,
    handle: Handle,
    mesh: Mesh,
    seats: Vec<Seat>,
    arriving: flume::Receiver<Message>,
}

/// A front door that serves.
///
/// Dropping it cuts every tunnel, stops every shard and joins its threads.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    access: InUse,
    mesh: Mesh,
    ended: flume::Receiver<Result<Outcome, String>>,
}

impl Server {
    /// Looks for what [`new`](Self::new) would refuse in a configuration, but
    /// for certificates, keys, addresses and what the whole process needs.
    ///
    /// # Errors
    ///
    /// [`Error::Demand`] for what this machine, or so many shards, cannot do;
    /// [`Error::System`] if its CPUs cannot be listed.
    pub fn check(config: &Config) -> Result<(), Error> {
        demands::check(config, &Layout::of(config)?.shards)
    }

    /// Checks everything, reads certificates and keys, and binds every
    /// listener. Nothing is accepted yet; but clients may connect from now on,
    /// and wait in the kernel's queue.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] for a certificate or key that cannot be used,
    /// [`Error::Demand`] for what cannot be had here, [`Error::System`] for what
    /// the machine refuses. Nothing is left bound.
    pub fn new(config: Config) -> Result<Self, Error> {
        Self::inheriting(config, Inheritance::default())
    }

    /// As [`new`](Self::new), and serves at what was left to this process
    /// instead of binding it.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new). Then nothing is changed about the sockets
    /// that were left.
    pub fn inheriting(config: Config, mut inheritance: Inheritance) -> Result<Self, Error> {
        let layout = Layout::of(&config)?;
        demands::check(&config, &layout.shards)?;
        let access = InUse::default();
        let plan = Arc::new(Plan::new(config, &access)?);
        access.take_up(plan.access.clone());
        machine::check(&plan.config, layout.shards.len())?;
        machine::tell(&layout.troubles());
        let (cpus, placement) = (layout.cpus(), layout.shards);
        let shards = placement.len();
        let held = inheritance.held();
        let cannot = |error: BindError| Error::System(error.among(&held).to_string());
        let listening = &plan.config.listeners;
        let claims = listening
            .iter()
            .map(|listener| inheritance.claim(listener))
            .collect::<Result<Vec<_>, _>>()
            .map_err(cannot)?;
        let to_bind = listening
            .iter()
            .zip(&claims)
            .filter(|(_, claims)| claims.is_empty())
            .map(|(listener, _)| (&listener.address, listener.backlog));
        let mut bound = socket::bind_all(to_bind, shards, &held)
            .map_err(cannot)?
            .into_iter();
        let mut entries = Vec::with_capacity(listening.len());
        let mut sockets: Vec<Vec<Vec<Door>>> = placement.iter().map(|_| Vec::new()).collect();
        let mut late = Vec::new();
        for (listener, claims) in listening.iter().zip(claims) {
            let opened = if claims.is_empty() {
                let group = bound.next().unwrap_or_default();
                listeners::open(&plan.config, listener, group, shards, &cpus)?
            } else {
                listeners::take_over(&plan.config, listener, claims, shards, &cpus)
            };
            entries.push(opened.entry);
            late.push(opened.late);
            for (shard, fds) in sockets.iter_mut().zip(opened.doors) {
                shard.push(fds.into_iter().map(Door::new).collect());
            }
        }
        let keys = inheritance.keys.take();
        let mut disabled = std::mem::take(&mut inheritance.disabled);
        disabled.retain(|(service, backend)| plan.config.has_backend(service, backend));
        for (service, backend) in &disabled {
            crate::notice!("the backend {backend} of service {service} stays disabled");
        }
        let listeners = entries.iter().map(|entry| entry.stats.clone()).collect();
        let (mesh, seats, arriving) = Mesh::new(placement.len());
        let config = plan.config.clone();
        let handle = Handle::new(
            mesh.commands(),
            config,
            placement.clone(),
            entries,
            inheritance,
            disabled.clone(),
            access,
        );
        Ok(Self {
            plan,
            placement,
            cpus,
            listeners,
            sockets,
            late,
            keys,
            disabled: disabled.into(),
            handle,
            mesh,
            seats,
            arriving,
        })
    }

    /// What is bound, with the ports that the kernel chose.
    pub fn listeners(&self) -> &[ListenerStats] {
        &self.listeners
    }

    /// How many shards there will be.
    pub fn shards(&self) -> usize {
        self.placement.len()
    }

    /// A hold on this server, for any thread. What it is told before the
    /// server runs is done when it does.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts every shard, and begins to accept once all of them are ready.
    ///
    /// # Errors
    ///
    /// [`Error::System`], naming the shard and the cause, if any of them is
    /// not ready within [`limits::SHARD_START_TIMEOUT`]. Then none is left.
    pub fn start(self) -> Result<Running, Error> {
        let Self {
            plan,
            placement,
            cpus,
            listeners,
            sockets,
            late,
            keys,
            disabled,
            handle,
            mesh,
            seats,
            arriving,
        } = self;
        let (keys, rekey_in) = match keys {
            Some(left) => left,
            None => {
                let fresh = TicketKeys::fresh();
                let fresh = fresh.map_err(|error| Error::System(error.to_string()))?;
                (fresh, limits::TICKET_KEY_ROTATION)
            }
        };
        let tunnels_possible = machine::tunnels_possible(placement.len());
        let loads = shard::Loads::new(placement.len());
        let resolver = Resolver::new();
        let (ended_tx, ended) = flume::bounded(1);
        let mut running = Running {
            threads: Vec::with_capacity(placement.len()),
            access: handle.access(),
            mesh: mesh.clone(),
            ended,
        };
        // The main shard gets its control task's things once all are ready.
        let (begin, begun) = flume::bounded(1);
        for ((seat, cpu), sockets) in seats.into_iter().zip(placement).zip(sockets) {
            let number = seat.shard;
            let setup = shard::Setup {
                seat,
                cpu,
                cpus: cpus.clone(),
                plan: plan.clone(),
                keys: keys.clone(),
                disabled: disabled.clone(),
                resolver: resolver.clone(),
                sockets,
                tunnels_possible,
                loads: loads.clone(),
            };
            let begun = (number == 0).then(|| begun.clone());
            let thread = std::thread::Builder::new()
                .name(format!("adit-{number}"))
                .spawn(move || thread::run(setup, begun))
                .map_err(|error| {
                    Error::System(format!("shard {number} gets no thread: {error}"))
                })?;
            running.threads.push(thread);
        }
        let waiting = await_ready(&arriving, running.threads.len())?;
        for late in late {
            late.finish()?;
        }
        let control = control::Setup {
            mesh,
            arriving,
            listeners,
            ticket_lifetime: plan.ticket_lifetime(),
            plan,
            keys,
            rekey_in,
            ended: ended_tx,
        };
        for message in waiting {
            // Commands that came early; there is room, for they came from there.
            let _ = running.mesh.commands().try_send(message);
        }
        let _ = begin.send(control);
        // A reload that came early holds this until the control task, which has
        // only begun now, has answered it.
        handle.live().inheritance.settle();
        Ok(running)
    }

    /// Serves until told to stop, and drained: [`start`](Self::start) and
    /// [`wait`](Running::wait).
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn serve_forever(self) -> Result<Outcome, Error> {
        self.start()?.wait()
    }
}

impl Running {
    /// Waits until the server has been told to stop, and has drained.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a shard died.
    pub fn wait(self) -> Result<Outcome, Error> {
        loop {
            match self.ended.recv_timeout(limits::MAIN_SHARD_LOOK) {
                Ok(Ok(outcome)) => return Ok(outcome),
                Ok(Err(cause)) => return Err(Error::System(cause)),
                // A task that an executor leaves behind keeps what it holds, so
                // that the death of the main shard need not end the channel.
                Err(RecvTimeoutError::Timeout) if !self.main_has_died() => {}
                Err(_) => return Err(Error::System("the main shard has died".into())),
            }
        }
    }

    fn main_has_died(&self) -> bool {
        self.threads.first().is_none_or(JoinHandle::is_finished) && self.ended.is_empty()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for shard in 0..self.mesh.len() {
            // One that is gone needs no order; one whose inbox is full is
            // stalled for good or will come to it.
            let _ = self.mesh.try_order(shard, Order::Stop);
        }
        for thread in self.threads.drain(..) {
            // It has reported what there was to report.
            let _ = thread.join();
        }
        self.access.stop();
    }
}

/// Counts the shards ready, by the deadline. Gives back what else arrived.
fn await_ready(arriving: &flume::Receiver<Message>, shards: usize) -> Result<Vec<Message>, Error> {
    let deadline = Instant::now() + limits::SHARD_START_TIMEOUT;
    let mut missing: Vec<usize> = (0..shards).collect();
    let mut early = Vec::new();
    while !missing.is_empty() {
        match arriving.recv_deadline(deadline) {
            Ok(Message::Report(Report::Ready { shard })) => missing.retain(|m| *m != shard),
            Ok(Message::Report(Report::Failed { shard, cause })) => {
                return Err(Error::System(format!(
                    "shard {shard} did not start: {cause}"
                )));
            }
            Ok(other) => early.push(other),
            Err(_) => {
                let waited = limits::SHARD_START_TIMEOUT;
                return Err(Error::System(format!(
                    "shards {missing:?} were not ready within {waited:?}"
                )));
            }
        }
    }
    Ok(early)
}
