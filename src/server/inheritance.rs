//! Listening sockets that this process did not bind: another one's, whose work
//! it takes up, or systemd's.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::listeners::{Entry, Sockets};
use crate::config::{Address, Listener};
use crate::error::Error;
use crate::sys::activation;
use crate::sys::socket::{self, BindError};
use crate::tls::TicketKeys;

/// Listening sockets to serve at in place of ones that would be bound, for
/// [`Server::inheriting`](crate::Server::inheriting).
///
/// A listener takes the sockets that were its own in the process before; else
/// those that are bound to its address. `systemd:NAME` takes those of that
/// name. What no listener takes is closed, unless it is systemd's.
#[derive(Debug, Default)]
pub struct Inheritance {
    pub(crate) groups: Vec<Group>,
    /// Sealed tickets in the process before, and in what time they were to
    /// change.
    pub(crate) keys: Option<(TicketKeys, Duration)>,
    /// Backends that an operator has disabled there: of which service, and
    /// where.
    pub(crate) disabled: Vec<(String, Address)>,
    /// The numbers of what another process has left and a listener has taken,
    /// once that is settled.
    pub(super) taken: Vec<u32>,
}

/// The sockets of one bound address.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its place in what the other process sent. `None`: it comes from systemd.
    pub(crate) number: Option<u32>,
    /// The listener's address as the other process had it configured.
    pub(crate) configured: Option<Address>,
    /// By which systemd knows it. Such sockets stay systemd's: none is bound
    /// beside them, and their files are not removed.
    pub(crate) activated: Option<String>,
    pub(crate) bound: Address,
    pub(crate) sockets: Vec<Arc<OwnedFd>>,
    /// A listener has taken it.
    pub(crate) claimed: bool,
}

/// What a listener takes.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) activated: Option<String>,
    pub(super) bound: Address,
    pub(super) sockets: Vec<Arc<OwnedFd>>,
}

impl Inheritance {
    /// What systemd has passed to this process (sd_listen_fds(3)). Nothing, if
    /// it was not started by a socket unit. To be called once, and before
    /// anything is opened.
    ///
    /// # Errors
    ///
    /// [`Error::System`] for variables that make no sense, and for whatever is
    /// no listening stream socket; it is named, and the remedy with it.
    pub fn from_systemd() -> Result<Self, Error> {
        let passed = activation::passed().map_err(Error::System)?;
        let mut inheritance = Self::default();
        for activation::Passed { fd, name } in passed {
            inheritance.add_activated(fd, name)?;
        }
        Ok(inheritance)
    }

    /// Nothing was handed to this process.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What those sockets are bound to.
    pub fn held(&self) -> Vec<Address> {
        let groups = self.groups.iter();
        groups.map(|group| group.bound.clone()).collect()
    }

    fn add_activated(&mut self, fd: OwnedFd, name: String) -> Result<(), Error> {
        let bound = socket::bound_to(fd.as_fd())
            .and_then(|bound| {
                socket::adopt(fd.as_fd())?;
                Ok(bound)
            })
            .map_err(|error| {
                Error::System(format!(
                    "the socket \"{name}\" that systemd has passed cannot be used: {error}; its \
                     unit should have ListenStream= and Accept=no"
                ))
            })?;
        let same = self
            .groups
            .iter_mut()
            .find(|group| group.activated.as_deref() == Some(&*name) && group.bound == bound);
        match same {
            // With ReusePort= a unit may have several at one address.
            Some(group) => group.sockets.push(Arc::new(fd)),
            None => self.groups.push(Group {
                number: None,
                configured: None,
                activated: Some(name),
                bound,
                sockets: vec![Arc::new(fd)],
                claimed: false,
            }),
        }
        Ok(())
    }

    /// What this listener takes; nothing, if it has to be bound.
    ///
    /// # Errors
    ///
    /// [`BindError::NotPassed`] if it asks for a name that there is not.
    pub(super) fn claim(&mut self, listener: &Listener) -> Result<Vec<Claim>, BindError> {
        let address = &listener.address;
        let free = |group: &&mut Group| !group.claimed;
        let taken: Vec<&mut Group> = match address {
            Address::Systemd(name) => self
                .groups
                .iter_mut()
                .filter(free)
                .filter(|group| group.activated.as_ref() == Some(name))
                .collect(),
            _ => {
                let own = |group: &Group| group.configured.as_ref() == Some(address);
                let by_configuration = self.groups.iter().any(|g| !g.claimed && own(g));
                self.groups
                    .iter_mut()
                    .filter(free)
                    .filter(|group| match by_configuration {
                        true => own(group),
                        false => group.bound == *address,
                    })
                    .collect()
            }
        };
        if let (Address::Systemd(_), true) = (address, taken.is_empty()) {
            return Err(BindError::NotPassed {
                address: address.clone(),
                passed: self.names(),
            });
        }
        let claim = |group: &mut Group| {
            group.claimed = true;
            Claim {
                activated: group.activated.clone(),
                bound: group.bound.clone(),
                sockets: group.sockets.clone(),
            }
        };
        Ok(taken.into_iter().map(claim).collect())
    }

    /// What was left for that address: as the process before had it configured ([`Handle::lend`](crate::Handle::lend)), for another purpose
    /// than letting clients in: what each is bound to, in non-blocking mode.
    ///
    /// # Errors
    ///
    /// Those of dup(2).
    pub fn take(&mut self, address: &Address) -> io::Result<Vec<(Address, OwnedFd)>> {
        let mut taken = Vec::new();
        for group in self.groups.iter_mut().filter(|group| !group.claimed) {
            let own = group.configured.as_ref() == Some(address);
            let named = match address {
                Address::Systemd(name) => group.activated.as_ref() == Some(name),
                _ => group.configured.is_none() && group.bound == *address,
            };
            if own || named {
                group.claimed = true;
                for fd in &group.sockets {
                    taken.push((group.bound.clone(), fd.try_clone()?));
                }
            }
        }
        Ok(taken)
    }

    /// The names that systemd has passed, each with what it is bound to.
    fn names(&self) -> Vec<String> {
        let named = self.groups.iter().filter_map(|group| {
            let name = group.activated.as_ref()?;
            Some(format!("\"{name}\" ({})", group.bound))
        });
        named.collect()
    }

    /// Lets go of what nobody has taken, and of all that others hold: systemd's
    /// own are kept, for a configuration that may come to name them.
    pub(super) fn settle(&mut self) {
        for group in self.groups.iter().filter(|group| !group.claimed) {
            match &group.activated {
                Some(name) => log::warn!(
                    "no listener takes the socket \"{name}\" ({}) that systemd has passed: write \
                     \"systemd:{name}\" as an address, or remove it from the socket unit",
                    group.bound
                ),
                None => log::debug!("no listener has {} any more", group.bound),
            }
        }
        let taken = self.groups.iter().filter(|group| group.claimed);
        self.taken = taken.filter_map(|group| group.number).collect();
        self.groups.retain(|group| group.activated.is_some());
    }

    /// These are the listeners that there are, and no others have taken any.
    pub(super) fn reckon(&mut self, entries: &[Entry]) {
        for group in &mut self.groups {
            let same =
                |other: &Sockets| group.activated == other.activated && group.bound == other.bound;
            group.claimed = entries.iter().flat_map(|entry| &entry.groups).any(same);
        }
    }
}

impl fmt::Display for Inheritance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sockets: usize = self.groups.iter().map(|group| group.sockets.len()).sum();
        let count = |number: usize, one: &str, more: &str| match number {
            1 => format!("1 {one}"),
            _ => format!("{number} {more}"),
        };
        write!(
            f,
            "{} of {}",
            count(sockets, "socket", "sockets"),
            count(self.groups.len(), "address", "addresses")
        )
    }
}
