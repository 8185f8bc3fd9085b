//! Listeners, as they are bound.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::config::{Accept, Address, Config, Listener};
use crate::error::Error;
use crate::metrics::ListenerStats;
use crate::sys::socket::{self, Bound, SocketFile, Steering};

/// One listener, as it is bound.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) configured: Address,
    pub(super) stats: ListenerStats,
    /// Removed from the file system when this is dropped.
    _files: Vec<SocketFile>,
}

/// Lets clients in at a listener's sockets, and deals them out: for each shard,
/// its own. `cpus` are those that shards are pinned to.
pub(super) fn open(
    config: &Config,
    listener: &Listener,
    group: Vec<Bound>,
    shards: usize,
    cpus: &Arc<[usize]>,
) -> Result<(Entry, Vec<Vec<OwnedFd>>), Error> {
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
    let stats = describe(config, listener, &group);
    let mut files = Vec::new();
    let mut dealt: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for bound in group {
        files.extend(bound.file);
        for (shard, fd) in dealt.iter_mut().zip(bound.fds) {
            shard.push(fd);
        }
    }
    let entry = Entry {
        configured: listener.address.clone(),
        stats,
        _files: files,
    };
    Ok((entry, dealt))
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

/// What statistics say of a listener.
pub(super) fn describe(config: &Config, listener: &Listener, group: &[Bound]) -> ListenerStats {
    let addresses: Vec<String> = group.iter().map(|b| b.address.to_string()).collect();
    ListenerStats {
        name: listener.name.clone(),
        address: addresses.join(", "),
        service: config
            .services
            .get(listener.service)
            .map_or_else(String::new, |service| service.name.clone()),
        certificates: None,
        ticket_key: None,
    }
}
