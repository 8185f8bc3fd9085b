//! What the lanes of an executor are to do at the moment, and which of them
//! have done it.
//!
//! A lane asks for leave before each operation. Where there is none for it, it
//! *parks*, until the stage changes. Once all are parked no operation is in
//! flight, so that what is read of the server then belongs to the operations
//! before, and to all of them.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What lanes are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing.
    Hold,
    /// Open what is to be open before the measurement.
    Prepare,
    /// Operations that do not count.
    Warm,
    /// Operations that count.
    Run,
    /// Look once whether what is held is still open.
    Inspect,
    /// Close what is open, and end.
    Leave,
}

/// The stage of one executor.
#[derive(Debug)]
pub(super) struct Stages {
    stage: Cell<Stage>,
    /// How often it has changed.
    generation: Cell<u64>,
    lanes: Cell<usize>,
    parked: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
    /// Operations of [`Stage::Run`] that are still to be begun.
    budget: Cell<Option<u64>>,
    /// When no operation of [`Stage::Run`] is begun any more.
    end: Cell<Option<Instant>>,
}

/// What one lane remembers of the stages.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// The generation in which it has done its share.
    rested: Option<u64>,
    /// The generation in which it was counted as parked.
    parked: Option<u64>,
}

impl Stages {
    pub(super) fn new() -> Self {
        Self {
            stage: Cell::new(Stage::Hold),
            generation: Cell::new(0),
            lanes: Cell::new(0),
            parked: Cell::new(0),
            waiting: RefCell::default(),
            budget: Cell::new(None),
            end: Cell::new(None),
        }
    }

    pub(super) fn set_lanes(&self, lanes: usize) {
        self.lanes.set(lanes);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.get()
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Turns to another stage, and wakes those that are parked.
    pub(super) fn turn(&self, stage: Stage) {
        self.stage.set(stage);
        self.generation.set(self.generation.get() + 1);
        self.parked.set(0);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Turns to [`Stage::Run`].
    pub(super) fn run(&self, budget: Option<u64>, end: Option<Instant>) {
        self.budget.set(budget);
        self.end.set(end);
        self.turn(Stage::Run);
    }

    /// No operation is begun after `now`.
    pub(super) fn stop(&self, now: Instant) {
        self.end
            .set(Some(self.end.get().map_or(now, |end| end.min(now))));
    }

    /// When the last operation may begin.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end.get()
    }

    /// Whether something that began under this generation, and is not one
    /// operation but goes on and on, is to end.
    pub(super) fn is_over(&self, generation: u64) -> bool {
        self.generation.get() != generation
            || (self.stage.get() == Stage::Run
                && self.end.get().is_some_and(|end| Instant::now() >= end))
    }

    /// Ready once there is something to do. `parked` is called when the last
    /// lane parks.
    pub(super) fn poll_leave(
        &self,
        cx: &Context<'_>,
        seat: &mut Seat,
        parked: impl FnOnce(),
    ) -> Poll<Stage> {
        let generation = self.generation.get();
        let stage = self.stage.get();
        if seat.rested != Some(generation) {
            match stage {
                Stage::Hold => {}
                Stage::Prepare | Stage::Inspect => {
                    seat.rested = Some(generation);
                    return Poll::Ready(stage);
                }
                Stage::Warm | Stage::Leave => return Poll::Ready(stage),
                Stage::Run => {
                    let late = self.end.get().is_some_and(|end| Instant::now() >= end);
                    match self.budget.get() {
                        _ if late => {}
                        Some(0) => {}
                        Some(left) => {
                            self.budget.set(Some(left - 1));
                            return Poll::Ready(stage);
                        }
                        None => return Poll::Ready(stage),
                    }
                }
            }
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        if seat.parked != Some(generation) {
            seat.parked = Some(generation);
            self.parked.set(self.parked.get() + 1);
            if self.parked.get() == self.lanes.get() {
                parked();
            }
        }
        Poll::Pending
    }

    /// The lane has done its share of this stage.
    pub(super) fn rest(&self, seat: &mut Seat) {
        seat.rested = Some(self.generation.get());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ask(stages: &Stages, seat: &mut Seat, parked: &Cell<u32>) -> Poll<Stage> {
        let cx = Context::from_waker(Waker::noop());
        stages.poll_leave(&cx, seat, || parked.set(parked.get() + 1))
    }

    #[test]
    fn a_budget_is_spent_once_and_the_last_lane_to_park_is_told_once() {
        let (stages, parked) = (Stages::new(), Cell::new(0));
        let mut seats = [Seat::default(), Seat::default()];
        stages.set_lanes(seats.len());
        stages.run(Some(3), None);
        let mut begun = 0;
        for _ in 0..4 {
            for seat in &mut seats {
                begun += u32::from(ask(&stages, seat, &parked).is_ready());
            }
        }
        assert_eq!((begun, parked.get()), (3, 1));
        stages.turn(Stage::Prepare);
        for seat in &mut seats {
            assert_eq!(ask(&stages, seat, &parked), Poll::Ready(Stage::Prepare));
            assert!(ask(&stages, seat, &parked).is_pending());
        }
        assert_eq!(parked.get(), 2);
    }

    #[test]
    fn nothing_begins_after_the_end_or_once_a_lane_rests() {
        let (stages, parked) = (Stages::new(), Cell::new(0));
        let mut seat = Seat::default();
        stages.set_lanes(1);
        let now = Instant::now();
        stages.run(None, Some(now + Duration::from_secs(60)));
        let generation = stages.generation();
        assert!(ask(&stages, &mut seat, &parked).is_ready());
        assert!(!stages.is_over(generation));
        stages.stop(now);
        assert!(stages.is_over(generation));
        assert!(ask(&stages, &mut seat, &parked).is_pending());
        stages.turn(Stage::Warm);
        assert!(ask(&stages, &mut seat, &parked).is_ready());
        stages.rest(&mut seat);
        assert!(ask(&stages, &mut seat, &parked).is_pending());
    }
}
