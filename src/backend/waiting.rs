//! Tunnels in a line.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

/// Tunnels of one shard that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    last: Cell<u64>,
    entries: RefCell<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// Not everything will do for it, so that it holds up nobody.
    picky: bool,
    waker: Option<Waker>,
}

/// A place in a [`Line`], given up when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    line: &'a Line,
    number: u64,
    /// That it leaves may be good news for the next.
    passes_on: bool,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether somebody waits whom nobody may overtake.
    pub(super) fn is_held_up(&self) -> bool {
        self.entries.borrow().iter().any(|entry| !entry.picky)
    }

    /// Joins it at its end.
    pub(super) fn join(&self, picky: bool) -> Turn<'_> {
        self.enter(picky, true)
    }

    /// Waits beside the others, whom it neither holds up nor wakes as it leaves:
    /// what they wait for is not to be had by one's going away.
    pub(super) fn stand_by(&self) -> Turn<'_> {
        self.enter(true, false)
    }

    fn enter(&self, picky: bool, passes_on: bool) -> Turn<'_> {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.entries.borrow_mut().push_back(Entry {
            number,
            picky,
            waker: None,
        });
        Turn {
            line: self,
            number,
            passes_on,
        }
    }

    /// Something has come free: wakes whoever may take it.
    pub(super) fn wake(&self) {
        for entry in self.entries.borrow_mut().iter_mut() {
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
            if !entry.picky {
                break;
            }
        }
    }

    /// Everything may be different: wakes everybody.
    pub(super) fn wake_all(&self) {
        for entry in self.entries.borrow_mut().iter_mut() {
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Turn<'_> {
    /// Notes whom to wake, and tells whether nobody is ahead who is not to be
    /// overtaken.
    pub(super) fn is_next(&self, waker: &Waker) -> bool {
        let mut entries = self.line.entries.borrow_mut();
        for entry in entries.iter_mut() {
            if entry.number == self.number {
                entry.waker = Some(waker.clone());
                return true;
            }
            if !entry.picky {
                break;
            }
        }
        let own = entries.iter_mut().find(|entry| entry.number == self.number);
        if let Some(own) = own {
            own.waker = Some(waker.clone());
        }
        false
    }
}

impl Turn<'_> {
    /// Whether there was reason to wake it since it said whom to wake.
    pub(super) fn was_woken(&self) -> bool {
        let entries = self.line.entries.borrow();
        let own = entries.iter().find(|entry| entry.number == self.number);
        own.is_none_or(|own| own.waker.is_none())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut entries = self.line.entries.borrow_mut();
        entries.retain(|entry| entry.number != self.number);
        drop(entries);
        // There may be room for the next as well.
        if self.passes_on {
            self.line.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_overtaken_but_those_who_are_picky() {
        let line = Line::default();
        let waker = Waker::noop();
        let picky = line.join(true);
        assert!(!line.is_held_up());
        let first = line.join(false);
        let second = line.join(false);
        assert!(line.is_held_up());
        assert!(picky.is_next(waker) && first.is_next(waker) && !second.is_next(waker));
        drop(first);
        assert!(second.is_next(waker));
        drop((picky, second));
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn who_stands_by_wakes_nobody_by_leaving() {
        let line = Line::default();
        let (one, other) = (line.stand_by(), line.stand_by());
        assert!(one.is_next(Waker::noop()) && other.is_next(Waker::noop()));
        drop(one);
        assert!(!other.was_woken());
        line.wake_all();
        assert!(other.was_woken());
    }
}
