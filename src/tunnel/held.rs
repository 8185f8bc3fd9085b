//! Bytes that tunnels keep for later, and how many there are.
//!
//! What tunnels hold in memory is bounded by `memory_budget`, and this is how
//! it is known: each buffer that outlives a turn is a [`Kept`], whose room is
//! counted; all else that a tunnel has is charged at a flat rate,
//! [`limits::TUNNEL_MEMORY`](crate::limits::TUNNEL_MEMORY) and, until it carries,
//! [`limits::OPENING_MEMORY`](crate::limits::OPENING_MEMORY). The kernel's
//! buffers are not in it.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

thread_local! {
    /// Of the shard that the thread is.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// How many bytes of room the buffers of this shard's tunnels have.
pub(crate) fn bytes() -> usize {
    HELD.get()
}

/// Bytes of one tunnel that outlive its turn. Empty, it owns no memory. It
/// stays on the shard that it was made on.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    /// Adds these at the end.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.change(|kept| kept.extend_from_slice(bytes));
    }

    /// Adds these at the end, with room for no more than that.
    pub(super) fn extend_exactly(&mut self, bytes: &[u8]) {
        self.change(|kept| {
            kept.reserve_exact(bytes.len());
            kept.extend_from_slice(bytes);
        });
    }

    /// Takes that many away in front. The room stays.
    pub(super) fn consume(&mut self, n: usize) {
        self.0.drain(..n);
    }

    /// Takes all away. The room stays.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives the room back that is not needed.
    pub(super) fn shrink(&mut self) {
        self.change(Vec::shrink_to_fit);
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let before = self.0.capacity();
        change(&mut self.0);
        let after = self.0.capacity();
        if before != after {
            HELD.set(HELD.get() - before + after);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.0.capacity() > 0 {
            HELD.set(HELD.get() - self.0.capacity());
        }
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let before = bytes();
        let mut one = Kept::default();
        one.extend_exactly(&[0; 1000]);
        let mut two = Kept::default();
        two.extend(&[0; 10]);
        assert!(bytes() >= before + 1010);
        two.consume(10);
        two.shrink();
        assert_eq!(bytes(), before + 1000);
        one = std::mem::take(&mut two);
        assert_eq!(bytes(), before);
        assert!(one.is_empty());
    }
}
