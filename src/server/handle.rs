//! A hold on a running server, and how it takes up another configuration.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flume::RecvTimeoutError;

use super::demands;
use super::inheritance::Inheritance;
use super::listeners::{self, Entry, Opened};
use crate::config::{Address, Config, Listener};
use crate::error::Error;
use crate::limits;
use crate::logging::access::InUse;
use crate::mesh::{Command, Message};
use crate::metrics::{ListenerStats, Stats};
use crate::plan::Plan;
use crate::sys::socket::{self, BindError};

/// A hold on a running server, for any thread. It keeps nothing running.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) commands: flume::Sender<Message>,
    pub(super) live: Arc<Mutex<Live>>,
    pub(super) stopping: Arc<AtomicBool>,
    shards: usize,
    access: InUse,
}

/// What must be known in order to reload. Locked for the length of a reload, or
/// of an upgrade, so that two of them follow one another.
#[derive(Debug)]
pub(super) struct Live {
    /// The CPU of each shard, if it is pinned.
    pub(super) shards: Vec<Option<usize>>,
    pub(super) config: Config,
    pub(super) entries: Vec<Entry>,
    pub(super) inheritance: Inheritance,
    /// Backends that an operator has disabled: of which service, and where.
    pub(super) disabled: Vec<(String, Address)>,
    /// Listening sockets that are not for clients, and are handed over as well.
    pub(super) lent: Vec<Lent>,
}

/// A listening socket that is not the server's own, for the process that takes
/// over ([`Handle::lend`]).
#[derive(Debug)]
pub(super) struct Lent {
    /// The address, as configured, by which it is asked for.
    pub(super) configured: Address,
    pub(super) bound: Address,
    pub(super) socket: Arc<OwnedFd>,
}

impl Handle {
    pub(super) fn new(
        commands: flume::Sender<Message>,
        config: Config,
        shards: Vec<Option<usize>>,
        entries: Vec<Entry>,
        inheritance: Inheritance,
        disabled: Vec<(String, Address)>,
        access: InUse,
    ) -> Self {
        let count = shards.len();
        let live = Live {
            shards,
            config,
            entries,
            inheritance,
            disabled,
            lent: Vec::new(),
        };
        Self {
            commands,
            live: Arc::new(Mutex::new(live)),
            stopping: Arc::default(),
            shards: count,
            access,
        }
    }

    /// How many shards the server has.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The access log that is in use.
    pub(super) fn access(&self) -> InUse {
        self.access.clone()
    }

    /// Has the access log's file opened anew, if it goes to one, without
    /// waiting for it: whoever rotates it has renamed the old one. A reload does
    /// the same.
    pub fn reopen_logs(&self) {
        self.access.reopen();
    }

    /// Writes what is queued for the access log, within
    /// [`limits::LOG_FLUSH_TIMEOUT`]; what comes later is lost. For a process that
    /// does not wait for the server's end.
    pub fn flush_access_log(&self) {
        self.access.stop();
    }

    /// Stop accepting, and let open tunnels end within the drain time. Called
    /// a second time it has no effect.
    pub fn shutdown(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        // A server that is gone has stopped.
        let _ = self.commands.send(Message::Command(Command::Shutdown));
    }

    /// Whether [`shutdown`](Self::shutdown) was called, on this handle or
    /// another of the same server.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Takes up another configuration: its listeners, certificates, services,
    /// timeouts. Open tunnels keep what they began with. Every shard prepares
    /// before any takes it up, and nothing changes unless all of it can.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], [`Error::Demand`] and [`Error::System`] as [`Server::new`](crate::Server::new) has them;
    /// also for a change that needs a restart (the number of shards, their
    /// CPUs). [`Error::Stopped`] if the server is not running.
    pub fn reload(&self, config: Config) -> Result<(), Error> {
        if self.is_stopping() {
            // Nothing is bound that would only be closed again.
            return Err(
                match self.commands.send(Message::Command(Command::ReloadRefused)) {
                    Ok(()) => Error::System("the server is stopping".into()),
                    Err(_) => Error::Stopped,
                },
            );
        }
        // Files are read while nobody waits for the lock: it may take forever.
        let checked = self.live().check(&config);
        let plan = checked
            .and_then(|()| Plan::new(config, &self.access))
            .map(Arc::new)
            .inspect_err(|_| self.reload_refused())?;
        let mut live = self.live();
        if self.is_stopping() {
            // An upgrade was under way.
            return Err(Error::System("the server is stopping".into()));
        }
        let change = Change::new(&mut live, &plan.config).inspect_err(|_| self.reload_refused())?;
        let done = self.change(&plan, change.sockets, change.listeners);
        if done.is_ok() {
            self.access.take_up(plan.access.clone());
            live.take_up(plan.config.clone(), change.opened);
        }
        done
    }

    /// Has the shards take up what was prepared.
    fn change(
        &self,
        plan: &Arc<Plan>,
        sockets: Vec<Vec<Option<Vec<Arc<OwnedFd>>>>>,
        listeners: Vec<ListenerStats>,
    ) -> Result<(), Error> {
        let (reply, replied) = flume::bounded(1);
        let command = Command::Reload {
            plan: plan.clone(),
            sockets,
            listeners,
            reply,
        };
        self.commands
            .send(Message::Command(command))
            .map_err(|_| Error::Stopped)?;
        // Longer than the main shard allows all shards for both steps.
        let patience = 2 * limits::PREPARE_TIMEOUT + limits::SHARD_START_TIMEOUT;
        match replied.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(Error::Stopped),
            Err(RecvTimeoutError::Timeout) => Err(Error::System(
                "the main shard does not answer; nothing was changed".into(),
            )),
        }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has these listening sockets, each with what it is bound to, handed over
    /// with the server's own to a process that takes over; there
    /// [`Inheritance::take`](crate::Inheritance::take) finds them by that
    /// address. They take the place of those that were lent by it before, and
    /// stay open until that is done.
    pub fn lend(&self, configured: &Address, sockets: Vec<(Address, OwnedFd)>) {
        let lent = &mut self.live().lent;
        lent.retain(|lent| lent.configured != *configured);
        lent.extend(sockets.into_iter().map(|(bound, socket)| Lent {
            configured: configured.clone(),
            bound,
            socket: Arc::new(socket),
        }));
    }

    /// Where the server listens, as it is bound, and the sockets do that were
    /// [lent](Self::lend): no other socket can be bound there, nor at an address
    /// that takes it in.
    pub fn held(&self) -> Vec<Address> {
        self.live().held()
    }

    /// Counts a reload that failed before there was a [`Config`] to give to
    /// [`reload`](Self::reload): a file that could not be read, or is wrong.
    pub fn reload_refused(&self) {
        // A server that is gone shows no figures.
        let _ = self.commands.send(Message::Command(Command::ReloadRefused));
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

impl Handle {
    /// Returns once every shard accepts at its doors.
    ///
    /// # Errors
    ///
    /// [`Error::System`] that names those that do not within
    /// [`limits::SHARD_START_TIMEOUT`]; [`Error::Stopped`].
    pub fn await_serving(&self) -> Result<(), Error> {
        let due = Instant::now() + limits::SHARD_START_TIMEOUT;
        loop {
            // A shard carries out orders one after the other, and the first of
            // all is to serve.
            let silent = self.stats()?.silent_shards;
            if silent.is_empty() {
                return Ok(());
            }
            if Instant::now() >= due {
                return Err(Error::System(format!(
                    "shards {silent:?} do not answer after their start"
                )));
            }
        }
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
    sockets: Vec<Vec<Option<Vec<Arc<OwnedFd>>>>>,
}

impl Change {
    fn new(live: &mut Live, config: &Config) -> Result<Self, Error> {
        live.inheritance.reckon(&live.entries);
        let mut change = Self {
            listeners: Vec::new(),
            opened: Vec::new(),
            sockets: live.shards.iter().map(|_| Vec::new()).collect(),
        };
        for listener in &config.listeners {
            let known = live
                .entries
                .iter()
                .find(|e| e.configured == listener.address);
            let per_shard: Vec<Option<Vec<Arc<OwnedFd>>>> = match known {
                Some(entry) => {
                    let address = entry.stats.address.clone();
                    let stats = listeners::describe(config, listener, address);
                    change.listeners.push(stats);
                    live.shards.iter().map(|_| None).collect()
                }
                None => {
                    let opened = live.open(config, listener)?;
                    change.listeners.push(opened.entry.stats.clone());
                    change.opened.push(opened.entry);
                    opened.doors.into_iter().map(Some).collect()
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
    /// Looks for what cannot change, and for what cannot be had.
    fn check(&self, config: &Config) -> Result<(), Error> {
        if config.shards != self.config.shards {
            return Err(Error::System(
                "the shards and their CPUs cannot change while adit runs; restart it".into(),
            ));
        }
        if config.privileges != self.config.privileges {
            return Err(Error::System(
                "user, group, chroot, core_dumps and landlock cannot change while adit runs; \
                 restart it"
                    .into(),
            ));
        }
        demands::check(config, &self.shards)
    }

    /// Opens a listener that is new: at what systemd has passed, or binds it.
    fn open(&mut self, config: &Config, listener: &Listener) -> Result<Opened, Error> {
        let held = self.held();
        let cannot = |error: BindError| Error::System(error.among(&held).to_string());
        let shards = self.shards.len();
        let cpus: Arc<[usize]> = self.shards.iter().copied().flatten().collect();
        let claims = self.inheritance.claim(listener).map_err(cannot)?;
        if claims.is_empty() {
            let group = socket::bind_patiently(&held, || {
                socket::bind_group(&listener.address, shards, listener.backlog)
            })
            .map_err(cannot)?;
            return listeners::open(config, listener, group, shards, &cpus);
        }
        let mut opened = listeners::take_over(config, listener, claims, shards, &cpus);
        std::mem::take(&mut opened.late).finish()?;
        Ok(opened)
    }

    /// Where this server listens, and what is lent to it does.
    fn held(&self) -> Vec<Address> {
        let groups = self.entries.iter().flat_map(|entry| &entry.groups);
        let lent = self.lent.iter().map(|lent| &lent.bound);
        let held = groups.map(|group| &group.bound).chain(lent);
        held.cloned().collect()
    }

    fn take_up(&mut self, config: Config, opened: Vec<Entry>) {
        self.entries.retain(|entry| {
            config
                .listeners
                .iter()
                .any(|l| l.address == entry.configured)
        });
        self.entries.extend(opened);
        self.disabled
            .retain(|(service, backend)| config.has_backend(service, backend));
        self.config = config;
    }
}
