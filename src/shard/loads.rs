//! How loaded each shard is, for those that hand connections over.
//!
//! A shard writes its own figure where a tunnel is opened or closed, to a cache
//! line of its own, with a plain store; others read it only where they accept
//! for a listener that is `Balanced`. Reports over the mesh would be older than
//! what they are to decide on, and cost messages while nothing happens. Nothing
//! here is touched by bytes that are carried.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// The loads of all shards; a clone shares them.
#[derive(Clone, Debug)]
pub(crate) struct Loads(Arc<[Load]>);

/// One shard's, on a cache line of its own (two, as processors fetch them).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    /// Tunnels open; [`CLOSED`] when it adopts nothing any more.
    open: AtomicUsize,
    /// Connections on their way to it.
    coming: AtomicUsize,
}

const CLOSED: usize = usize::MAX;

impl Loads {
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Load::default()).collect())
    }

    /// The shard has so many tunnels open.
    pub(super) fn tell(&self, shard: usize, open: usize) {
        let load = &self.0[shard].open;
        if load.load(Ordering::Relaxed) != CLOSED {
            load.store(open, Ordering::Relaxed);
        }
    }

    /// The shard adopts nothing any more, except what is on its way.
    pub(super) fn close(&self, shard: usize) {
        // In one order with what `choose` does: either the giver sees this, or
        // this shard sees that something is coming.
        self.0[shard].open.store(CLOSED, Ordering::SeqCst);
    }

    /// Whether anything is on its way to the shard.
    pub(super) fn is_awaited(&self, shard: usize) -> bool {
        self.0[shard].coming.load(Ordering::SeqCst) > 0
    }

    /// What was on its way has arrived, or is not going to.
    pub(super) fn arrived(&self, shard: usize) {
        self.0[shard].coming.fetch_sub(1, Ordering::SeqCst);
    }

    /// The shard that ought to carry a connection which `here` has accepted, if
    /// that is another one. It counts as on its way there from now on.
    pub(super) fn choose(&self, here: usize, open: usize) -> Option<usize> {
        let weigh = |load: &Load| {
            let coming = load.coming.load(Ordering::Relaxed);
            load.open.load(Ordering::Relaxed).saturating_add(coming)
        };
        let (least, load) = self
            .0
            .iter()
            .enumerate()
            .filter(|(shard, _)| *shard != here)
            .min_by_key(|(_, load)| weigh(load))?;
        let enough = weigh(load).saturating_add(limits::BALANCE_MARGIN);
        if open < enough.saturating_add(enough / limits::BALANCE_PART) {
            return None;
        }
        load.coming.fetch_add(1, Ordering::SeqCst);
        if load.open.load(Ordering::SeqCst) == CLOSED {
            load.coming.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lighter_shard_is_given_to_and_none_that_closes() {
        let loads = Loads::new(3);
        loads.tell(1, 4);
        loads.tell(2, 2);
        assert_eq!(loads.choose(0, 2), None);
        // Few tunnels may be heavy ones: one more than another has is enough.
        assert_eq!(loads.choose(0, 3), Some(2));
        loads.arrived(2);
        // Of many it has to be a sixteenth.
        loads.tell(1, 1000);
        loads.tell(2, 1000);
        assert_eq!(loads.choose(0, 1062), None);
        assert_eq!(loads.choose(0, 1063), Some(1));
        loads.arrived(1);
        loads.tell(1, 4);
        loads.tell(2, 2);
        assert_eq!(loads.choose(0, 1000), Some(2));
        // What is on its way counts: in the end they are alike.
        let given = (0..10_000).map_while(|_| loads.choose(0, 1000)).count();
        assert!((1800..1900).contains(&given), "{given}");
        let loads = Loads::new(2);
        loads.close(1);
        assert_eq!(loads.choose(0, 1000), None);
        assert!(!loads.is_awaited(1));
        loads.tell(1, 0);
        assert_eq!(loads.choose(0, 1000), None, "it stays closed");
    }
}
