//! Whose turn it is to shake hands, so that a flood of handshakes leaves the
//! tunnels that carry bytes their time.
//!
//! A step of a handshake takes some 100 µs without a break, and the executor
//! looks for bytes of the other tunnels only when no task can run. So the steps
//! have a budget of time between two of its looks, [`limits::HANDSHAKE_TURN`]:
//! who comes when it is used up waits in line until after the next look, and
//! behind what was found there. And no more than so many handshakes are begun
//! at a time; the others wait before their first step, in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limits;
use crate::runtime;

/// What the handshakes of a shard share.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many may be in progress.
    most: Cell<usize>,
    inside: Cell<usize>,
    /// How many had to wait before they began, so far.
    queued: Cell<u64>,
    door: Line,
    /// Time used since the executor's last look at its ring.
    spent: Cell<Duration>,
    /// When the last step ended.
    ended: Cell<Option<Instant>>,
    steps: Line,
    /// The task that gives the steps their time, while none wait.
    idle: RefCell<Option<Waker>>,
}

/// The right to have a handshake in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct Inside<'a>(&'a Turns);

/// A task's place in a line; none before it asks.
#[derive(Debug)]
pub(super) struct Place<'a> {
    line: &'a Line,
    number: Option<u64>,
}

/// Tasks that wait in order.
#[derive(Debug, Default)]
struct Line {
    /// The number of the next that joins. Numbers in the line ascend.
    next: Cell<u64>,
    waiting: RefCell<VecDeque<(u64, Waker)>>,
}

impl Turns {
    /// So many handshakes at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: Cell::new(most),
            inside: Cell::new(0),
            queued: Cell::new(0),
            door: Line::default(),
            spent: Cell::new(Duration::ZERO),
            ended: Cell::new(None),
            steps: Line::default(),
            idle: RefCell::default(),
        }
    }

    /// From now on so many. Those in progress stay.
    pub(crate) fn allow(&self, most: usize) {
        self.most.set(most);
        self.admit();
    }

    /// How many may be in progress.
    pub(crate) fn most(&self) -> usize {
        self.most.get()
    }

    /// How many wait to begin.
    pub(crate) fn waiting(&self) -> usize {
        self.door.waiting.borrow().len()
    }

    /// How many had to wait before they began, so far.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.get()
    }

    /// A place in the line of those who want to begin.
    pub(super) fn at_the_door(&self) -> Place<'_> {
        Place {
            line: &self.door,
            number: None,
        }
    }

    /// Ready when one more may begin.
    pub(super) fn poll_begin<'a>(
        &'a self,
        cx: &Context<'_>,
        place: &mut Place<'a>,
    ) -> Poll<Inside<'a>> {
        let comes = place.number.is_none();
        if place.poll(cx, self.has_room()).is_pending() {
            if comes {
                self.queued.set(self.queued.get() + 1);
            }
            return Poll::Pending;
        }
        self.inside.set(self.inside.get() + 1);
        self.admit();
        Poll::Ready(Inside(self))
    }

    fn has_room(&self) -> bool {
        self.inside.get() < self.most.get()
    }

    fn admit(&self) {
        if self.has_room() {
            self.door.wake_first();
        }
    }

    /// A place in the line of those who want to go on.
    pub(super) fn among_steps(&self) -> Place<'_> {
        Place {
            line: &self.steps,
            number: None,
        }
    }

    /// Ready when a step may be taken now; [`spend`](Self::spend) tells then
    /// how long it took.
    ///
    /// Where a whole turn has passed since the last step, others have had as
    /// much time, or there was nothing to do: then the budget is whole again
    /// without a look at the ring for it, which costs a call of the kernel. It
    /// would cost that for each handshake of clients that come one by one.
    pub(super) fn poll_step(
        &self,
        cx: &Context<'_>,
        place: &mut Place<'_>,
        now: Instant,
    ) -> Poll<()> {
        let ended = self.ended.get();
        if ended.is_some_and(|e| now.saturating_duration_since(e) >= limits::HANDSHAKE_TURN) {
            self.spent.set(Duration::ZERO);
        }
        let turn = place.poll(cx, self.has_time());
        if turn.is_pending()
            && let Some(idle) = self.idle.borrow_mut().take()
        {
            idle.wake();
        }
        turn
    }

    /// A step is over.
    pub(super) fn spend(&self, began: Instant, ended: Instant) {
        let time = ended.saturating_duration_since(began);
        self.ended.set(Some(ended));
        self.spent.set(self.spent.get().saturating_add(time));
        if self.has_time() {
            self.steps.wake_first();
        }
    }

    fn has_time(&self) -> bool {
        self.spent.get() < limits::HANDSHAKE_TURN
    }

    /// Gives the steps their time anew after each look at the ring, while any
    /// wait, for as long as the shard lives.
    ///
    /// The time is not given anew while none wait: so a step now and then waits
    /// for one look at the ring, which costs less than to count the looks.
    pub(crate) async fn attend(&self) {
        loop {
            poll_fn(|cx| {
                if !self.steps.is_empty() {
                    return Poll::Ready(());
                }
                *self.idle.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            // Timers are looked at together with the ring, and only then.
            runtime::sleep(limits::GIVE_WAY).await;
            self.spent.set(Duration::ZERO);
            self.steps.wake_first();
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.set(self.0.inside.get() - 1);
        self.0.admit();
    }
}

impl Place<'_> {
    /// Ready if the way is open and nobody is before it.
    fn poll(&mut self, cx: &Context<'_>, open: bool) -> Poll<()> {
        let mut waiting = self.line.waiting.borrow_mut();
        let Some(number) = self.number else {
            if open && waiting.is_empty() {
                return Poll::Ready(());
            }
            let number = self.line.next.get();
            self.line.next.set(number + 1);
            waiting.push_back((number, cx.waker().clone()));
            self.number = Some(number);
            return Poll::Pending;
        };
        if open && waiting.front().is_some_and(|(first, _)| *first == number) {
            waiting.pop_front();
            self.number = None;
            return Poll::Ready(());
        }
        if let Ok(at) = waiting.binary_search_by_key(&number, |(number, _)| *number)
            && !waiting[at].1.will_wake(cx.waker())
        {
            waiting[at].1 = cx.waker().clone();
        }
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else {
            return;
        };
        let mut waiting = self.line.waiting.borrow_mut();
        if let Ok(at) = waiting.binary_search_by_key(&number, |(number, _)| *number) {
            waiting.remove(at);
        }
        drop(waiting);
        // It may have been this one's turn.
        self.line.wake_first();
    }
}

impl Line {
    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    fn wake_first(&self) {
        if let Some((_, waker)) = self.waiting.borrow().front() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_begins_first_and_no_more_than_so_many() {
        let turns = Turns::new(1);
        let cx = Context::from_waker(Waker::noop());
        let mut places: Vec<_> = (0..3).map(|_| turns.at_the_door()).collect();
        let Poll::Ready(first) = turns.poll_begin(&cx, &mut places[0]) else {
            panic!("there is room");
        };
        assert!(turns.poll_begin(&cx, &mut places[1]).is_pending());
        assert!(turns.poll_begin(&cx, &mut places[2]).is_pending());
        drop(first);
        let mut late = turns.at_the_door();
        assert!(turns.poll_begin(&cx, &mut late).is_pending());
        assert!(turns.poll_begin(&cx, &mut places[2]).is_pending());
        // It goes away, and its turn is the next one's.
        drop(places.remove(1));
        assert!(turns.poll_begin(&cx, &mut places[1]).is_ready());
        assert!(turns.poll_begin(&cx, &mut late).is_ready());
    }

    #[test]
    fn steps_have_so_much_time_between_two_looks() {
        let turns = Turns::new(1);
        let cx = Context::from_waker(Waker::noop());
        let (mut one, mut two) = (turns.among_steps(), turns.among_steps());
        let (mut now, turn) = (Instant::now(), limits::HANDSHAKE_TURN);
        let mut spend = |time| {
            turns.spend(now, now + time);
            now += time;
            now
        };
        assert!(turns.poll_step(&cx, &mut one, spend(turn / 2)).is_ready());
        assert!(turns.poll_step(&cx, &mut two, spend(turn / 4)).is_ready());
        let now = spend(turn);
        assert!(turns.poll_step(&cx, &mut two, now).is_pending());
        assert!(turns.poll_step(&cx, &mut one, now + turn / 2).is_pending());
        turns.spent.set(Duration::ZERO);
        assert!(turns.poll_step(&cx, &mut one, now).is_pending());
        assert!(turns.poll_step(&cx, &mut two, now).is_ready());
        assert!(turns.poll_step(&cx, &mut one, now).is_ready());
    }

    #[test]
    fn a_pause_as_long_as_a_turn_makes_the_budget_whole() {
        let turns = Turns::new(1);
        let cx = Context::from_waker(Waker::noop());
        let mut one = turns.among_steps();
        let (began, turn) = (Instant::now(), limits::HANDSHAKE_TURN);
        let ended = began + 2 * turn;
        turns.spend(began, ended);
        assert!(turns.poll_step(&cx, &mut one, ended + turn).is_ready());
        turns.spend(began, ended);
        assert!(
            turns
                .poll_step(&cx, &mut one, ended + turn / 2)
                .is_pending()
        );
        // In line, it need not wait for the look either.
        assert!(turns.poll_step(&cx, &mut one, ended + turn).is_ready());
    }
}
