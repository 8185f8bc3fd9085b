//! One backend as one shard knows it.

use std::cell::Cell;
use std::rc::Rc;

use super::Resolver;
use super::balance::Candidate;
use super::chance::hash;
use super::resolve::Addresses;
use super::standing::{Standing, WHOLE};
use crate::config::{self, Address};
use crate::metrics::{BackendState, BackendStats};
use crate::runtime::Queues;

/// One backend of a service.
#[derive(Debug)]
pub(super) struct Place {
    address: Address,
    /// The same in words.
    shown: Box<str>,
    pub(super) addresses: Addresses,
    pub(super) weight: u32,
    pub(super) backup: bool,
    /// How many tunnels this shard may have to it.
    room: u32,
    identity: u64,
    pub(super) load: Rc<Load>,
    pub(super) standing: Rc<Standing>,
}

/// What this shard has to do with a backend. It outlives a configuration.
#[derive(Debug, Default)]
pub(super) struct Load {
    tunnels: Cell<u32>,
    tunnels_total: Cell<u64>,
    connect_failures: Cell<u64>,
    /// An operator wants it to get no tunnels.
    disabled: Cell<bool>,
}

impl Place {
    /// `former`: the same backend before a reload, whose counts, addresses and,
    /// if `keeps_standing`, whose standing it keeps.
    pub(super) fn new(
        backend: &config::Backend,
        service: &config::Service,
        room: u32,
        former: Option<&Self>,
        keeps_standing: bool,
        resolver: &Resolver,
        queues: Queues,
    ) -> Self {
        let known = former.and_then(|former| former.addresses.with_interval(service.resolve));
        Self {
            address: backend.address.clone(),
            shown: backend.address.to_string().into(),
            addresses: known.unwrap_or_else(|| {
                Addresses::new(&backend.address, service.resolve, resolver.clone(), queues)
            }),
            weight: backend.weight,
            backup: backend.backup,
            room,
            identity: hash(backend.address.to_string().as_bytes()),
            load: former.map_or_else(Rc::default, |former| former.load.clone()),
            standing: match former {
                Some(former) if keeps_standing => former.standing.clone(),
                _ => Rc::default(),
            },
        }
    }

    /// The address as it was configured.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The same in words.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Gets no tunnel in any case: the checks say that it is down, or an
    /// operator has disabled it.
    pub(super) fn is_out(&self) -> bool {
        self.standing.is_down() || self.load.disabled.get()
    }

    /// In, and not ejected.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_out() && !self.standing.is_ejected()
    }

    /// Whether this shard may open another tunnel to it.
    pub(super) fn has_room(&self) -> bool {
        self.load.tunnels.get() < self.room
    }

    pub(super) fn is_limited(&self) -> bool {
        self.room != u32::MAX
    }

    /// As a balancer sees it; `part`: what it is due of its share.
    pub(super) fn candidate(&self, index: usize, part: Option<u32>) -> Candidate {
        Candidate {
            index,
            weight: self.weight,
            tunnels: self.load.tunnels.get(),
            identity: self.identity,
            part: part.unwrap_or(WHOLE),
        }
    }

    pub(super) fn stats(&self) -> BackendStats {
        let ejected = self.standing.is_ejected();
        BackendStats {
            address: self.shown.to_string(),
            state: if self.load.disabled.get() {
                BackendState::Disabled
            } else if self.standing.is_down() {
                BackendState::Down
            } else if ejected {
                BackendState::Ejected
            } else {
                BackendState::Up
            },
            backup: self.backup,
            ejected_on_shards: usize::from(ejected),
            tunnels_open: u64::from(self.load.tunnels.get()),
            tunnels_total: self.load.tunnels_total.get(),
            connect_failures: self.load.connect_failures.get(),
            max_connections: self.is_limited().then(|| self.room.into()),
            last_check: None,
        }
    }
}

impl Load {
    pub(super) fn begin(&self) {
        self.tunnels.set(self.tunnels.get() + 1);
    }

    pub(super) fn end(&self) {
        debug_assert!(self.tunnels.get() > 0);
        self.tunnels.set(self.tunnels.get().saturating_sub(1));
    }

    pub(super) fn connected(&self) {
        self.tunnels_total.set(self.tunnels_total.get() + 1);
    }

    /// Whether an operator wants it to get tunnels. Gives whether that is news.
    pub(super) fn enable(&self, enabled: bool) -> bool {
        self.disabled.replace(!enabled) == enabled
    }

    pub(super) fn failed(&self) {
        self.connect_failures.set(self.connect_failures.get() + 1);
    }
}

/// One shard's share of what all shards together may have: they add up to
/// `total`, and differ by no more than one.
pub(super) fn share(total: u32, shard: usize, shards: usize) -> u32 {
    // There are no more shards than limits::SHARDS_MAX.
    let (shard, shards) = (shard as u32, shards.max(1) as u32);
    total / shards + u32::from(shard < total % shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for total in [0, 1, 7, 64, 1000, u32::MAX] {
            for shards in [1, 2, 3, 64] {
                let shares = (0..shards).map(|shard| u64::from(share(total, shard, shards)));
                assert_eq!(shares.sum::<u64>(), u64::from(total));
            }
        }
    }
}
