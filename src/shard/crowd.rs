//! When it is worth the trouble to give memory back: after a crowd.
//!
//! What thousands of tunnels have needed lies about in pieces when they are
//! gone, and the allocator keeps nearly all of it.

use std::cell::Cell;

use crate::limits;

/// The most tunnels that a shard has had of late.
#[derive(Debug, Default)]
pub(super) struct Crowd(Cell<usize>);

impl Crowd {
    /// So many are open, one having come.
    pub(super) fn came(&self, open: usize) {
        self.0.set(self.0.get().max(open));
    }

    /// So many are open, one having gone. Whether a crowd has gone with it.
    pub(super) fn went(&self, open: usize) -> bool {
        let most = self.0.get();
        let gone = most >= limits::CROWD && open <= most / 4;
        if gone {
            self.0.set(open);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_goes_once() {
        let crowd = Crowd::default();
        let few = limits::CROWD - 1;
        crowd.came(few);
        assert!(!crowd.went(0));
        crowd.came(4 * limits::CROWD);
        assert!(!crowd.went(limits::CROWD + 1));
        assert!(crowd.went(limits::CROWD));
        assert!(!crowd.went(few));
        assert!(crowd.went(limits::CROWD / 4));
        assert!(!crowd.went(0));
    }
}
