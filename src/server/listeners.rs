//! Listeners, as they are bound.

use std::os::fd::{AsFd, OwnedFd};

use crate::config::{Address, Config, Listener};
use crate::error::Error;
use crate::metrics::{ListenerLoad, ListenerStats};
use crate::sys::socket::{self, Bound, SocketFile};

/// One listener, as it is bound.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) configured: Address,
    pub(super) stats: ListenerStats,
    /// Removed from the file system when this is dropped.
    _files: Vec<SocketFile>,
}

/// Lets clients in at a listener's sockets, and deals them out: for each shard,
/// its own.
pub(super) fn open(
    config: &Config,
    listener: &Listener,
    group: Vec<Bound>,
    shards: usize,
) -> Result<(Entry, Vec<Vec<OwnedFd>>), Error> {
    for bound in &group {
        if let Address::Tcp { .. } = bound.address {
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
        load: ListenerLoad::default(),
        certificates: None,
        ticket_key: None,
    }
}
