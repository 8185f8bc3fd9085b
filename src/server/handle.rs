//! A hold on a running server, and how it takes up another configuration.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flume::RecvTimeoutError;

use super::demands;
use super::listeners::{self, Entry};
use crate::config::Config;
use crate::error::Error;
use crate::limits;
use crate::logging::access::InUse;
use crate::mesh::{Command, Message};
use crate::metrics::{ListenerStats, Stats};
use crate::plan::Plan;
use crate::sys::socket;

/// A hold on a running server, for any thread. It keeps nothing running.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: flume::Sender<Message>,
    live: Arc<Mutex<Live>>,
    stopping: Arc<AtomicBool>,
    access: InUse,
}

/// What must be known in order to reload. Locked for the length of a reload,
/// so that two of them follow one another.
#[derive(Debug)]
struct Live {
    /// The CPU of each shard, if it is pinned.
    shards: Vec<Option<usize>>,
    config: Config,
    entries: Vec<Entry>,
}

impl Handle {
    pub(super) fn new(
        commands: flume::Sender<Message>,
        config: Config,
        shards: Vec<Option<usize>>,
        entries: Vec<Entry>,
        access: InUse,
    ) -> Self {
        let live = Live {
            shards,
            config,
            entries,
        };
        Self {
            commands,
            live: Arc::new(Mutex::new(live)),
            stopping: Arc::default(),
            access,
        }
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
    /// [`Error::Identity`] and [`Error::System`] as [`Server::new`](crate::Server::new) has them;
    /// also for a change that needs a restart (the number of shards, their
    /// CPUs). [`Error::Stopped`] if the server is not running.
    pub fn reload(&self, config: Config) -> Result<(), Error> {
        if self.is_stopping() {
            // Nothing is bound that would only be closed again.
            return Err(
                match self.commands.send(Message::Command(Command::ReloadRefused)) {
                    Ok(()) => Error::System("not reloaded: the server is stopping".into()),
                    Err(_) => Error::Stopped,
                },
            );
        }
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, change) = live
            .prepare(config, &self.access)
            .inspect_err(|_| self.reload_refused())?;
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
        // Longer than the main shard allows all shards for both steps.
        let patience = 2 * limits::PREPARE_TIMEOUT + limits::SHARD_START_TIMEOUT;
        match replied.recv_timeout(patience) {
            Ok(result) => result?,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Error::System(
                    "not reloaded: the main shard does not answer; nothing was changed".into(),
                ));
            }
        }
        self.access.take_up(plan.access.clone());
        live.take_up(plan.config.clone(), change.opened);
        Ok(())
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
            sockets: live.shards.iter().map(|_| Vec::new()).collect(),
        };
        let cpus: Arc<[usize]> = live.shards.iter().copied().flatten().collect();
        for listener in &config.listeners {
            let known = live
                .entries
                .iter()
                .find(|e| e.configured == listener.address);
            let per_shard: Vec<Option<Vec<OwnedFd>>> = match known {
                Some(entry) => {
                    change.listeners.push(ListenerStats {
                        address: entry.stats.address.clone(),
                        ..listeners::describe(config, listener, &[])
                    });
                    live.shards.iter().map(|_| None).collect()
                }
                None => {
                    let group =
                        socket::bind_group(&listener.address, live.shards.len(), listener.backlog)
                            .map_err(|error| Error::System(error.to_string()))?;
                    let (entry, fds) =
                        listeners::open(config, listener, group, live.shards.len(), &cpus)?;
                    change.listeners.push(entry.stats.clone());
                    change.opened.push(entry);
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
    /// Reads, checks and binds what a configuration names and the server has
    /// not got.
    fn prepare(&self, config: Config, access: &InUse) -> Result<(Arc<Plan>, Change), Error> {
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
        demands::check(&config, &self.shards)?;
        let plan = Arc::new(Plan::new(config, access)?);
        let change = Change::new(self, &plan.config)?;
        Ok((plan, change))
    }

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
