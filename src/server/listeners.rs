//! Listeners, as they are bound, or as they were left to this process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use super::inheritance::Claim;
use crate::config::{Accept, Address, Config, Listener, TcpOptions};
use crate::error::Error;
use crate::metrics::ListenerStats;
use crate::sys::socket::{self, Bound, SocketFile, Steering};

/// One listener, as it is bound.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) configured: Address,
    pub(super) stats: ListenerStats,
    pub(super) groups: Vec<Sockets>,
    /// Removed from the file system when this is dropped.
    files: Vec<SocketFile>,
}

/// The sockets of one bound address.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) bound: Address,
    /// By which systemd knows them.
    pub(super) activated: Option<String>,
    /// Each once, though several shards may have it. They are open for as long
    /// as a shard has them.
    pub(super) each: Vec<Weak<OwnedFd>>,
}

/// A listener that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) entry: Entry,
    /// For each shard, its doors.
    pub(super) doors: Vec<Vec<Arc<OwnedFd>>>,
    /// What is yet to be done, once it is sure that this process will serve.
    pub(super) late: Late,
}

/// Inherited sockets that are still as the process before has them, and those
/// bound beside them, where nobody can connect yet: who did so would be reset if
/// this process came to nothing.
#[derive(Debug, Default)]
pub(super) struct Late {
    name: String,
    /// Those of each bound address, in the order in which they are dealt to
    /// shards.
    groups: Vec<Vec<Arc<OwnedFd>>>,
    tcp: TcpOptions,
    backlog: u32,
    same_cpu: bool,
    cpus: Arc<[usize]>,
}

/// Lets clients in at a listener's sockets, and deals them out: to each shard
/// its own. `cpus` are those that shards are pinned to.
pub(super) fn open(
    config: &Config,
    listener: &Listener,
    group: Vec<Bound>,
    shards: usize,
    cpus: &Arc<[usize]>,
) -> Result<Opened, Error> {
    for bound in &group {
        if let Address::Tcp { .. } = bound.address {
            if listener.accept == Accept::SameCpu {
                steer(listener, bound.fds.iter().map(AsFd::as_fd), cpus)?;
            }
            for fd in &bound.fds {
                socket::ask_tcp(fd.as_fd(), &listener.tcp, listener.backlog)
                    .map_err(|error| Error::System(format!("{}: {error}", listener.name)))?;
            }
        }
        bound
            .listen()
            .map_err(|error| Error::System(error.to_string()))?;
    }
    let mut opened = Opened::new(config, listener, shards, cpus);
    for bound in group {
        let mut sockets: Vec<Arc<OwnedFd>> = bound.fds.into_iter().map(Arc::new).collect();
        if bound.file.is_some() {
            // One socket, duplicated: the first is as good for all shards.
            sockets.truncate(1);
        }
        opened.deal(bound.address, None, sockets);
        opened.entry.files.extend(bound.file);
    }
    opened.describe();
    Ok(opened)
}

/// Has each shard get what comes in on its CPU: of the sockets of a group, in
/// the order in which they are dealt to shards.
fn steer<'a>(
    listener: &Listener,
    group: impl Iterator<Item = BorrowedFd<'a>>,
    cpus: &Arc<[usize]>,
) -> Result<(), Error> {
    let steering = Steering::new(Arc::clone(cpus));
    for (index, fd) in group.enumerate() {
        steering.steer(fd, index).map_err(|error| {
            Error::System(format!(
                "{}: connections cannot be steered to the CPU they come in on ({error}); \
                 write accept: Spread",
                listener.name
            ))
        })?;
    }
    Ok(())
}

/// Does so with inherited ones. Every one of them becomes a door, so that
/// nobody who waits behind it is forgotten: a shard may have several. Where
/// there are more shards than sockets, others are bound beside them, which
/// keeps the kernel's spread even; where that may not be (the port is for root,
/// or the sockets were made by another user, or are systemd's), shards share a
/// socket, and whoever is awake first gets a connection.
pub(super) fn take_over(
    config: &Config,
    listener: &Listener,
    claims: Vec<Claim>,
    shards: usize,
    cpus: &Arc<[usize]>,
) -> Opened {
    let mut opened = Opened::new(config, listener, shards, cpus);
    for claim in claims {
        let mut sockets = claim.sockets;
        let is_tcp = matches!(claim.bound, Address::Tcp { .. });
        let first = sockets.first().cloned();
        if let (true, None, Some(first)) = (is_tcp, &claim.activated, first) {
            while sockets.len() < shards {
                match socket::bind_beside(first.as_fd()) {
                    Ok(fd) => sockets.push(Arc::new(fd)),
                    Err(error) => {
                        log::info!(
                            "{}: {shards} shards share {} sockets, since no more can be bound: \
                             {error}",
                            listener.name,
                            sockets.len()
                        );
                        break;
                    }
                }
            }
        }
        opened.late.groups.push(sockets.clone());
        opened.deal(claim.bound, claim.activated, sockets);
    }
    opened.describe();
    opened
}

impl Opened {
    fn new(config: &Config, listener: &Listener, shards: usize, cpus: &Arc<[usize]>) -> Self {
        Self {
            entry: Entry {
                configured: listener.address.clone(),
                stats: describe(config, listener, String::new()),
                groups: Vec::new(),
                files: Vec::new(),
            },
            doors: vec![Vec::new(); shards],
            late: Late {
                name: listener.name.clone(),
                groups: Vec::new(),
                tcp: listener.tcp.clone(),
                backlog: listener.backlog,
                same_cpu: listener.accept == Accept::SameCpu,
                cpus: Arc::clone(cpus),
            },
        }
    }

    /// Deals sockets out, so that each is some shard's and each shard has one.
    fn deal(&mut self, bound: Address, activated: Option<String>, sockets: Vec<Arc<OwnedFd>>) {
        let shards = self.doors.len();
        for index in 0..sockets.len().max(shards) {
            if let Some(fd) = sockets.get(index % sockets.len().max(1)) {
                self.doors[index % shards].push(fd.clone());
            }
        }
        self.entry.groups.push(Sockets {
            bound,
            activated,
            each: sockets.iter().map(Arc::downgrade).collect(),
        });
    }

    fn describe(&mut self) {
        let addresses: Vec<String> = self
            .entry
            .groups
            .iter()
            .map(|group| group.bound.to_string())
            .collect();
        self.entry.stats.address = addresses.join(", ");
    }
}

impl Late {
    /// Lets clients in at what was bound beside, and has inherited sockets do
    /// as this configuration says. They serve in any case.
    ///
    /// # Errors
    ///
    /// A socket does not listen.
    pub(super) fn finish(self) -> Result<(), Error> {
        let steering = Steering::new(Arc::clone(&self.cpus));
        let numbered = |group: &Vec<Arc<OwnedFd>>| group.clone().into_iter().enumerate();
        for (index, fd) in self.groups.iter().flat_map(numbered) {
            let fd = fd.as_fd();
            if socket::local_address(fd).is_ok_and(|address| address.is_some()) {
                let steered = match self.same_cpu {
                    true => steering.steer(fd, index),
                    false => steering.release(fd, index),
                };
                let asked = socket::ask_tcp_anew(fd, &self.tcp, self.backlog);
                if let Err(error) = steered.and(asked) {
                    log::warn!("{}: accept and tcp stay as they were: {error}", self.name);
                }
                socket::prepare_for_accepting(fd);
            }
            socket::set_backlog(fd, self.backlog)
                .map_err(|error| Error::System(format!("{}: {error}", self.name)))?;
        }
        Ok(())
    }
}

impl Entry {
    /// Takes charge of the files of Unix sockets that another process has left
    /// to this one. systemd's stay its own.
    pub(super) fn own_files(&mut self) {
        for group in &self.groups {
            if let (Address::Unix(path), None) = (&group.bound, &group.activated)
                && !self.files.iter().any(|file| file.path() == path)
            {
                match SocketFile::own(path) {
                    Ok(file) => self.files.push(file),
                    Err(error) => log::warn!("{}: {error}", group.bound),
                }
            }
        }
    }

    /// Leaves the files of Unix sockets where they are, for another process.
    pub(super) fn leave_files(&mut self) {
        for file in self.files.drain(..) {
            file.leave();
        }
    }
}

/// What statistics say of a listener that is bound there.
pub(super) fn describe(config: &Config, listener: &Listener, address: String) -> ListenerStats {
    ListenerStats {
        name: listener.name.clone(),
        address,
        service: config
            .services
            .get(listener.service)
            .map_or_else(String::new, |service| service.name.clone()),
        certificates: None,
        ticket_key: None,
    }
}
