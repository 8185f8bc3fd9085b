//! The public face of a running front door.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::backend::Resolver;
use crate::config::{Address, Config, format_cpu_list};
use crate::control;
use crate::error::Error;
use crate::limits;
use crate::mesh::{Command, Mesh, Message, Order, Report, Seat};
use crate::metrics::{ListenerStats, Stats};
use crate::plan::Plan;
use crate::runtime;
use crate::shard::{self, Door, Shard};
use crate::sys::preflight::{self, Needs, Severity};
use crate::sys::socket::{self, Bound, SocketFile};
use crate::sys::{cpu, rlimit};
use crate::tls::TicketKeys;

/// A front door: checked and bound, not yet serving.
///
/// Dropping it closes what it bound.
#[derive(Debug)]
pub struct Server {
    plan: Arc<Plan>,
    placement: Vec<Option<usize>>,
    listeners: Vec<ListenerStats>,
    /// For each shard and each listener, its sockets.
    sockets: Vec<Vec<Vec<Door>>>,
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
    mesh: Mesh,
    ended: flume::Receiver<Result<Outcome, String>>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every tunnel ended of itself.
    Drained,
    /// That many tunnels were still open when the drain time ran out, and were
    /// cut.
    Cut(u64),
}

/// A hold on a running server, for any thread. It keeps nothing running.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: flume::Sender<Message>,
    live: Arc<Mutex<Live>>,
}

/// What must be known in order to reload. Locked for the length of a reload,
/// so that two of them follow one another.
#[derive(Debug)]
struct Live {
    shards: usize,
    config: Config,
    entries: Vec<Entry>,
}

/// One listener, as it is bound.
#[derive(Debug)]
struct Entry {
    configured: Address,
    stats: ListenerStats,
    /// Removed from the file system when this is dropped.
    _files: Vec<SocketFile>,
}

impl Server {
    /// Checks everything, reads certificates and keys, and binds every
    /// listener. Nothing is accepted yet; but clients may connect from now on,
    /// and wait in the kernel's queue.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] for a certificate or key that cannot be used,
    /// [`Error::System`] for what the machine refuses. Nothing is left bound.
    pub fn new(config: Config) -> Result<Self, Error> {
        let placement = placement(&config)?;
        let plan = Arc::new(Plan::new(config)?);
        check_machine(&plan.config, placement.len())?;
        let addresses = plan
            .config
            .listeners
            .iter()
            .map(|l| (&l.address, l.backlog));
        let groups = socket::bind_all(addresses, placement.len())
            .map_err(|error| Error::System(error.to_string()))?;
        let (entries, sockets) = open(&plan.config, groups, placement.len())?;
        let listeners = entries.iter().map(|entry| entry.stats.clone()).collect();
        let (mesh, seats, arriving) = Mesh::new(placement.len());
        let handle = Handle {
            commands: mesh.commands(),
            live: Arc::new(Mutex::new(Live {
                shards: placement.len(),
                config: plan.config.clone(),
                entries,
            })),
        };
        Ok(Self {
            plan,
            placement,
            listeners,
            sockets,
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
            listeners,
            sockets,
            mesh,
            seats,
            arriving,
            ..
        } = self;
        let keys = TicketKeys::fresh().map_err(|error| Error::System(error.to_string()))?;
        let resolver = Resolver::new();
        let (ended_tx, ended) = flume::bounded(1);
        let mut running = Running {
            threads: Vec::with_capacity(placement.len()),
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
                plan: plan.clone(),
                keys: keys.clone(),
                resolver: resolver.clone(),
                sockets,
            };
            let begun = (number == 0).then(|| begun.clone());
            let thread = thread::Builder::new()
                .name(format!("adit-{number}"))
                .spawn(move || run_shard(setup, begun))
                .map_err(|error| {
                    Error::System(format!("shard {number} gets no thread: {error}"))
                })?;
            running.threads.push(thread);
        }
        let waiting = await_ready(&arriving, running.threads.len())?;
        let control = control::Setup {
            mesh,
            arriving,
            listeners,
            drain_timeout: plan.config.timeouts.drain,
            keys,
            ended: ended_tx,
        };
        for message in waiting {
            // Commands that came early; there is room, for they came from there.
            let _ = running.mesh.commands().try_send(message);
        }
        let _ = begin.send(control);
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
        match self.ended.recv() {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(cause)) => Err(Error::System(cause)),
            Err(_) => Err(Error::System("the main shard has died".into())),
        }
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
    }
}

impl Handle {
    /// Stop accepting, and let open tunnels end within the drain time. Called
    /// a second time it has no effect.
    pub fn shutdown(&self) {
        // A server that is gone has stopped.
        let _ = self.commands.send(Message::Command(Command::Shutdown));
    }

    /// Takes up another configuration: its listeners, certificates, services,
    /// timeouts. Open tunnels keep what they began with. Every shard prepares
    /// before any takes it up, and nothing changes unless all of it can.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] and [`Error::System`] as [`Server::new`] has them;
    /// also for a change that needs a restart (the number of shards, their
    /// CPUs). [`Error::Stopped`] if the server is not running.
    pub fn reload(&self, config: Config) -> Result<(), Error> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if config.shards != live.config.shards {
            return Err(Error::System(
                "not reloaded: the shards and their CPUs cannot change while adit runs; restart it"
                    .into(),
            ));
        }
        let plan = Arc::new(Plan::new(config)?);
        let change = Change::new(&live, &plan.config)?;
        let listeners = change.listeners.clone();
        let (reply, replied) = flume::bounded(1);
        let command = Command::Reload {
            plan: plan.clone(),
            sockets: change.sockets,
            listeners,
            reply,
        };
        self.commands
            .send(Message::Command(command))
            .map_err(|_| Error::Stopped)?;
        let patience = limits::PREPARE_TIMEOUT + limits::SHARD_START_TIMEOUT;
        match replied.recv_timeout(patience) {
            Ok(result) => result?,
            Err(_) => return Err(Error::Stopped),
        }
        live.take_up(plan.config.clone(), change.opened);
        Ok(())
    }

    /// The figures of this moment, from every shard that answers in
    /// [`limits::SNAPSHOT_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the server is not running.
    pub fn stats(&self) -> Result<Stats, Error> {
        let (reply, replied) = flume::bounded(1);
        self.commands
            .send(Message::Command(Command::Stats { reply }))
            .map_err(|_| Error::Stopped)?;
        let patience = limits::SNAPSHOT_TIMEOUT + limits::SHARD_START_TIMEOUT;
        replied.recv_timeout(patience).map_err(|_| Error::Stopped)
    }
}

/// What a reload changes about the listeners.
struct Change {
    /// Those of the new configuration.
    listeners: Vec<ListenerStats>,
    /// The ones that are new.
    opened: Vec<Entry>,
    /// For each shard and each listener of the new configuration: its sockets
    /// if it is new.
    sockets: Vec<Vec<Option<Vec<OwnedFd>>>>,
}

impl Change {
    fn new(live: &Live, config: &Config) -> Result<Self, Error> {
        let mut change = Self {
            listeners: Vec::new(),
            opened: Vec::new(),
            sockets: (0..live.shards).map(|_| Vec::new()).collect(),
        };
        for listener in &config.listeners {
            let known = live
                .entries
                .iter()
                .find(|e| e.configured == listener.address);
            let per_shard: Vec<Option<Vec<OwnedFd>>> = match known {
                Some(entry) => {
                    change.listeners.push(ListenerStats {
                        address: entry.stats.address.clone(),
                        ..describe(config, listener, &[])
                    });
                    (0..live.shards).map(|_| None).collect()
                }
                None => {
                    let group =
                        socket::bind_group(&listener.address, live.shards, listener.backlog)
                            .map_err(|error| Error::System(error.to_string()))?;
                    listen(&group)?;
                    let stats = describe(config, listener, &group);
                    change.listeners.push(stats.clone());
                    let (files, fds) = deal(group, live.shards);
                    change.opened.push(Entry {
                        configured: listener.address.clone(),
                        stats,
                        _files: files,
                    });
                    fds.into_iter().map(Some).collect()
                }
            };
            for (sockets, fds) in change.sockets.iter_mut().zip(per_shard) {
                sockets.push(fds);
            }
        }
        Ok(change)
    }
}

impl Live {
    fn take_up(&mut self, config: Config, opened: Vec<Entry>) {
        self.entries.retain(|entry| {
            config
                .listeners
                .iter()
                .any(|l| l.address == entry.configured)
        });
        self.entries.extend(opened);
        self.config = config;
    }
}

/// Raises what may be raised, and looks for what the machine would refuse.
fn check_machine(config: &Config, shards: usize) -> Result<(), Error> {
    // Where they cannot be raised, the check says whether that matters.
    let _ = rlimit::raise_nofile();
    let _ = rlimit::raise_memlock();
    let report = preflight::check(&Needs::of(config, shards));
    if !report.can_start() {
        let errors: Vec<String> = report.errors().map(ToString::to_string).collect();
        return Err(Error::System(errors.join("\n")));
    }
    for finding in &report.findings {
        match finding.severity {
            Severity::Error | Severity::Warning => log::warn!("{}; {}", finding.what, finding.fix),
            Severity::Info => log::debug!("{}; {}", finding.what, finding.fix),
        }
    }
    Ok(())
}

/// The CPU of each shard, if it is pinned to one.
fn placement(config: &Config) -> Result<Vec<Option<usize>>, Error> {
    let allowed = cpu::allowed()
        .map_err(|error| Error::System(format!("the CPUs cannot be listed: {error}")))?;
    let named = config.shards.cpus.as_deref();
    if let Some(outside) = named
        .into_iter()
        .flatten()
        .find(|cpu| !allowed.contains(cpu))
    {
        return Err(Error::System(format!(
            "CPU {outside} is not among those that this process may use, {}; name others, or \
             change its affinity (taskset, systemd's CPUAffinity=, a container's cpuset)",
            format_cpu_list(&allowed)
        )));
    }
    let cpus = named.unwrap_or(&allowed);
    let count = config.shards.count.map_or(cpus.len(), NonZeroUsize::get);
    // Shards that do not fill the CPUs they may use are left to the kernel,
    // which knows what else runs there; unless the operator has named the CPUs.
    let pinned = count == cpus.len() || (named.is_some() && count <= cpus.len());
    Ok((0..count)
        .map(|shard| pinned.then(|| cpus[shard]))
        .collect())
}

/// Lets clients in at every socket, and deals the sockets out.
#[allow(clippy::type_complexity)]
fn open(
    config: &Config,
    groups: Vec<Vec<Bound>>,
    shards: usize,
) -> Result<(Vec<Entry>, Vec<Vec<Vec<Door>>>), Error> {
    for group in &groups {
        listen(group)?;
    }
    let mut entries = Vec::with_capacity(groups.len());
    let mut sockets: Vec<Vec<Vec<Door>>> = (0..shards).map(|_| Vec::new()).collect();
    for (listener, group) in config.listeners.iter().zip(groups) {
        let stats = describe(config, listener, &group);
        let (files, fds) = deal(group, shards);
        entries.push(Entry {
            configured: listener.address.clone(),
            stats,
            _files: files,
        });
        for (shard, fds) in sockets.iter_mut().zip(fds) {
            shard.push(fds.into_iter().map(Door::new).collect());
        }
    }
    Ok((entries, sockets))
}

fn listen(group: &[Bound]) -> Result<(), Error> {
    for bound in group {
        bound
            .listen()
            .map_err(|error| Error::System(error.to_string()))?;
    }
    Ok(())
}

fn describe(config: &Config, listener: &crate::config::Listener, group: &[Bound]) -> ListenerStats {
    let addresses: Vec<String> = group.iter().map(|b| b.address.to_string()).collect();
    ListenerStats {
        name: listener.name.clone(),
        address: addresses.join(", "),
        service: config
            .services
            .get(listener.service)
            .map_or_else(String::new, |service| service.name.clone()),
    }
}

/// For each shard, its sockets of a group.
fn deal(group: Vec<Bound>, shards: usize) -> (Vec<SocketFile>, Vec<Vec<OwnedFd>>) {
    let mut files = Vec::new();
    let mut dealt: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for bound in group {
        files.extend(bound.file);
        for (shard, fd) in dealt.iter_mut().zip(bound.fds) {
            shard.push(fd);
        }
    }
    (files, dealt)
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
                let waited: Duration = limits::SHARD_START_TIMEOUT;
                return Err(Error::System(format!(
                    "shards {missing:?} were not ready within {waited:?}"
                )));
            }
        }
    }
    Ok(early)
}

/// One shard's thread.
fn run_shard(setup: shard::Setup, begun: Option<flume::Receiver<control::Setup>>) {
    let number = setup.seat.shard;
    let mesh = setup.seat.mesh.clone();
    let mut obituary = Obituary {
        mesh: &mesh,
        shard: number,
        cause: Some("a fault in adit; please report it".into()),
    };
    match runtime::executor(setup.cpu) {
        Ok(executor) => executor.run(async move {
            let control = begun.map(control::start);
            Shard::run(setup).await;
            if let Some(control) = control {
                control.cancel().await;
            }
        }),
        Err(cause) => {
            obituary.cause = Some(cause);
            return;
        }
    }
    obituary.cause = None;
}

/// Reports a shard that ends in any other way than by being told to.
struct Obituary<'a> {
    mesh: &'a Mesh,
    shard: usize,
    cause: Option<String>,
}

impl Drop for Obituary<'_> {
    fn drop(&mut self) {
        if let Some(cause) = self.cause.take() {
            self.mesh.report_blocking(Report::Failed {
                shard: self.shard,
                cause,
            });
        }
    }
}
