//! Polls of sockets that wait for the executor's next sleep.
//!
//! They are submitted when the tasks that wait for them have run. If nothing
//! else is to be done the executor sleeps next, and then one entry of the
//! kernel serves for both. If the sockets had something to tell at once, as
//! they mostly have on a busy shard, submitting them right away is quicker, for
//! it leads straight to that. Which it is, is seen from time to time.

use crate::limits;

use super::queues::Submission;

/// The polls that wait, and whether more should.
#[derive(Debug)]
pub(super) struct Held {
    polls: Vec<Submission>,
    /// Turns of the executor that began since the first of them came.
    turns: u8,
    /// How often polls may still be held before it is seen again whether they
    /// tell something at once; 0 while they do.
    trust: u8,
    /// How many have been, in all.
    total: u64,
}

impl Held {
    pub(super) const fn new() -> Self {
        Self {
            polls: Vec::new(),
            turns: 0,
            trust: 0,
            total: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.polls.len()
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether to hold so many more, for a queue with that many places.
    pub(super) fn admits(&mut self, more: usize, places: usize) -> bool {
        // Beside them go what links the rings, and a timer.
        let fits = self.polls.len() + more <= places.min(limits::POLLS_HELD);
        let admits = fits && self.trust > 0;
        if admits {
            self.trust -= 1;
        }
        admits
    }

    pub(super) fn keep(&mut self, poll: Submission) {
        self.polls.push(poll);
        self.total += 1;
    }

    /// Polls were submitted right away: whether any of them had something to
    /// tell.
    pub(super) fn learn(&mut self, told: bool) {
        self.trust = if told { 0 } else { limits::POLLS_TRUSTED };
    }

    /// The executor begins another turn, or is about to sleep.
    pub(super) fn turn(&mut self) {
        if !self.polls.is_empty() {
            self.turns = self.turns.saturating_add(1);
        }
    }

    /// Whether the executor has not slept for too long.
    pub(super) fn is_due(&self) -> bool {
        self.turns > limits::TURNS_HELD
    }

    /// Takes one out again. False: it is not here.
    pub(super) fn cancel(&mut self, user_data: u64) -> bool {
        let place = self.polls.iter().position(|p| p.user_data == user_data);
        place.is_some_and(|place| {
            self.polls.swap_remove(place);
            true
        })
    }

    pub(super) fn take(&mut self) -> Option<Submission> {
        self.turns = 0;
        self.polls.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(user_data: u64) -> Submission {
        let mut poll = Submission::default();
        poll.user_data = user_data;
        poll
    }

    #[test]
    fn polls_are_held_once_they_were_seen_to_wait_and_are_seen_again() {
        let mut held = Held::new();
        assert!(!held.admits(1, 64));
        held.learn(true);
        assert!(!held.admits(1, 64));
        held.learn(false);
        for _ in 0..limits::POLLS_TRUSTED {
            assert!(held.admits(1, 64));
        }
        assert!(!held.admits(1, 64));
    }

    #[test]
    fn no_more_are_held_than_a_queue_has_places() {
        let mut held = Held::new();
        held.learn(false);
        assert!(!held.admits(limits::POLLS_HELD + 1, 2 * limits::POLLS_HELD));
        assert!(!held.admits(5, 4));
        held.keep(poll(1));
        assert!(!held.admits(4, 4));
        assert!(held.admits(3, 4));
    }

    #[test]
    fn they_do_not_wait_for_a_sleep_that_does_not_come() {
        let mut held = Held::new();
        held.turn();
        assert!(!held.is_due());
        held.keep(poll(1));
        for _ in 0..limits::TURNS_HELD {
            held.turn();
            assert!(!held.is_due());
        }
        held.turn();
        assert!(held.is_due());
        assert_eq!(held.take().map(|poll| poll.user_data), Some(1));
        assert!(!held.is_due() && held.take().is_none());
    }

    #[test]
    fn one_that_is_cancelled_is_not_submitted() {
        let mut held = Held::new();
        held.keep(poll(1));
        held.keep(poll(2));
        assert!(held.cancel(1) && !held.cancel(1) && !held.cancel(3));
        assert_eq!(held.take().map(|poll| poll.user_data), Some(2));
        assert_eq!((held.len(), held.total()), (0, 2));
    }
}
