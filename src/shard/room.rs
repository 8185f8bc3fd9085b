//! How many tunnels a shard may have open: the limits that pause accepting.
//!
//! Every limit is the process's, and each shard has its equal part of it, so
//! that the sum is never passed and no shard has to ask another. The price is
//! that one shard may have reached its part while another has not: who comes to
//! it then waits in the kernel's queue, until one of its tunnels ends.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use crate::limits;

/// Tunnels of a shard, or of a listener on it, and how many there may be.
#[derive(Debug)]
pub(super) struct Room {
    open: Cell<usize>,
    most: Cell<usize>,
    /// The doors that wait for one to end.
    waiting: RefCell<Vec<Waker>>,
    /// That it is full has been said, and it has not been much emptier since.
    said: Cell<bool>,
}

impl Room {
    /// For so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            open: Cell::new(0),
            most: Cell::new(most),
            waiting: RefCell::default(),
            said: Cell::new(false),
        }
    }

    /// From now on so many. Those that are open stay.
    pub(super) fn allow(&self, most: usize) {
        self.most.set(most);
        self.wake();
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.get() >= self.most.get()
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// How many there may be; `None`: any number.
    pub(super) fn most(&self) -> Option<u64> {
        Some(self.most.get())
            .filter(|most| *most != usize::MAX)
            .map(|most| most as u64)
    }

    /// Whether an operator has still to be told that it is full: not again
    /// before an eighth of it has been free in between.
    pub(super) fn is_news(&self) -> bool {
        !self.said.replace(true)
    }

    /// One more is open, whether there is room or not.
    pub(super) fn enter(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// One has ended.
    pub(super) fn leave(&self) {
        let left = self.open.get() - 1;
        self.open.set(left);
        let most = self.most.get();
        if left < most - most / 8 {
            self.said.set(false);
        }
        self.wake();
    }

    /// Ready unless it is full.
    pub(super) fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Everybody: it is few who wait, and the first may want something else.
    fn wake(&self) {
        if !self.is_full() {
            for waker in self.waiting.take() {
                waker.wake();
            }
        }
    }
}

/// A shard's part of a limit for the whole process.
pub(super) fn part(whole: usize, shard: usize, shards: usize) -> usize {
    whole / shards + usize::from(shard < whole % shards)
}

/// Tunnels that descriptors suffice for, over all shards: each may need two,
/// so that no client is accepted whose backend cannot be connected to, and some
/// are kept for the admin endpoint and whatever else the process opens.
/// `free`: those that are left once the server is bound and its shards run.
pub(crate) fn descriptors_suffice_for(free: u64) -> usize {
    let spare = limits::DESCRIPTORS_SPARE.min(free / 4);
    usize::try_from((free - spare) / limits::TUNNEL_DESCRIPTORS).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_shards_are_the_whole() {
        for (whole, shards) in [(1, 1), (7, 3), (64, 64), (100, 7), (usize::MAX, 3)] {
            let parts: Vec<usize> = (0..shards).map(|n| part(whole, n, shards)).collect();
            assert_eq!(parts.iter().sum::<usize>(), whole);
            let (least, most) = (parts.iter().min(), parts.iter().max());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
        }
    }

    #[test]
    fn a_door_waits_until_a_tunnel_ends_or_more_are_allowed() {
        let room = Room::new(1);
        let cx = Context::from_waker(Waker::noop());
        assert!(room.poll_free(&cx).is_ready());
        room.enter();
        assert!(room.poll_free(&cx).is_pending());
        room.allow(2);
        assert!(room.poll_free(&cx).is_ready());
        room.enter();
        room.allow(1);
        room.leave();
        assert!(room.poll_free(&cx).is_pending());
        room.leave();
        assert!(room.poll_free(&cx).is_ready());
    }
}
