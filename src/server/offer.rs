//! What a server can leave to the process that takes over from it.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, Weak};
use std::time::Duration;

use super::handle::{Handle, Live};
use crate::config::Address;
use crate::error::Error;
use crate::limits;
use crate::mesh::{Command, Message};
use crate::tls::TicketKeys;

/// A server's listening sockets and ticket keys, offered to another process.
/// While it is there, nothing about the listeners changes: reloads wait.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    handle: &'a Handle,
    live: MutexGuard<'a, Live>,
    /// In an order that numbers them.
    pub(crate) groups: Vec<OfferedGroup>,
    pub(crate) keys: (TicketKeys, Duration),
    /// Backends that an operator has disabled: of which service, and where.
    pub(crate) disabled: Vec<(String, Address)>,
}

/// The sockets of one bound address.
#[derive(Debug)]
pub(crate) struct OfferedGroup {
    /// The listener's address. `None`: no listener has taken it, but systemd
    /// has passed it.
    pub(crate) configured: Option<Address>,
    pub(crate) bound: Address,
    /// By which systemd knows it.
    pub(crate) activated: Option<String>,
    pub(crate) sockets: Vec<Arc<OwnedFd>>,
}

impl Handle {
    /// Offers what this server listens at to another process.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], and [`Error::System`] for a server that is stopping.
    pub(crate) fn offer(&self) -> Result<Offer<'_>, Error> {
        let mut live = self.live();
        if self.is_stopping() {
            return Err(Error::System("the server is stopping".into()));
        }
        let (reply, replied) = flume::bounded(1);
        self.commands
            .send(Message::Command(Command::TicketKeys { reply }))
            .map_err(|_| Error::Stopped)?;
        let keys = replied
            .recv_timeout(limits::SHARD_START_TIMEOUT)
            .map_err(|_| Error::System("the main shard does not answer".into()))?;
        let known = &mut *live;
        known.inheritance.reckon(&known.entries);
        let mut groups = Vec::new();
        for entry in &live.entries {
            for group in &entry.groups {
                groups.push(OfferedGroup {
                    configured: Some(entry.configured.clone()),
                    bound: group.bound.clone(),
                    activated: group.activated.clone(),
                    sockets: group.each.iter().filter_map(Weak::upgrade).collect(),
                });
            }
        }
        for lent in &live.lent {
            groups.push(OfferedGroup {
                configured: Some(lent.configured.clone()),
                bound: lent.bound.clone(),
                activated: None,
                sockets: vec![lent.socket.clone()],
            });
        }
        for group in live.inheritance.groups.iter().filter(|g| !g.claimed) {
            groups.push(OfferedGroup {
                configured: None,
                bound: group.bound.clone(),
                activated: group.activated.clone(),
                sockets: group.sockets.clone(),
            });
        }
        let disabled = live.disabled.clone();
        Ok(Offer {
            handle: self,
            live,
            groups,
            keys,
            disabled,
        })
    }

    /// Whether no command reaches the server any more, or it is to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_stopping() || self.commands.is_disconnected()
    }

    /// What another process has left and is served at here, by its number.
    pub(crate) fn taken(&self) -> Vec<u32> {
        self.live().inheritance.taken.clone()
    }

    /// The process before has let go: what it removed at its end is ours to
    /// remove now.
    pub(crate) fn own_files(&self) {
        for entry in &mut self.live().entries {
            entry.own_files();
        }
    }
}

impl Offer<'_> {
    /// Another process serves at these, by their number: this one accepts
    /// nobody more and drains. Listeners that it does not serve at are closed,
    /// their queues being emptied first.
    pub(crate) fn hand_over(mut self, taken: &[u32], to: u32) {
        self.handle.stopping.store(true, Ordering::Relaxed);
        let mut left = Vec::new();
        for entry in &mut self.live.entries {
            let groups = (0..).zip(&self.groups);
            let mut own =
                groups.filter(|(_, group)| group.configured.as_ref() == Some(&entry.configured));
            if own.all(|(number, _)| taken.contains(&number)) {
                entry.leave_files();
                left.push(entry.configured.clone());
            }
        }
        self.live.lent.clear();
        let command = Command::HandOver { left, to };
        // A server that is gone has drained.
        let _ = self.handle.commands.send(Message::Command(command));
    }
}
