//! What a shard's tunnels hold in memory, and may hold.

use std::cell::Cell;

use crate::limits;
use crate::metrics::Counters;
use crate::tunnel::held;

/// One shard's part of the memory budget.
#[derive(Debug)]
pub(super) struct Budget {
    /// In bytes; `usize::MAX`: any number.
    most: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            most: Cell::new(usize::MAX),
        }
    }

    /// From now on so many bytes.
    pub(super) fn allow(&self, most: usize) {
        self.most.set(most);
    }

    /// How many may be held.
    pub(super) fn most(&self) -> usize {
        self.most.get()
    }

    /// How many are held: `tunnel::held` says how that is known.
    pub(super) fn held(counters: &Counters) -> usize {
        let tunnels = counters.tunnels_open.get() as usize;
        let opening = counters.tunnels_opening.get() as usize;
        tunnels
            .saturating_mul(limits::TUNNEL_MEMORY)
            .saturating_add(opening.saturating_mul(limits::OPENING_MEMORY))
            .saturating_add(held::bytes())
    }

    /// Whether one more tunnel might pass it.
    pub(super) fn is_short(&self, counters: &Counters) -> bool {
        let most = self.most.get();
        most != usize::MAX
            && Self::held(counters) + limits::TUNNEL_MEMORY + limits::OPENING_MEMORY > most
    }
}
