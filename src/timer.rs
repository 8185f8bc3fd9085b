//! One coarse timer wheel per shard.
//!
//! A tunnel keeps its own deadlines, in ticks, and looks at them whenever it
//! is polled. The wheel only sees to it that it *is* polled: an [`Alarm`] asks
//! to be woken at some tick and may be woken earlier. So a byte that moves
//! costs no timer work at all: the tunnel notes the tick, and the wake-up that
//! was set for the old deadline finds the new one and is set again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limits::{TICK, WHEEL_SLOTS};

/// A point in time, in steps of [`TICK`] since the shard began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    /// A time that never comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The first tick by which at least `duration` has passed since this one.
    /// Zero means never.
    pub(crate) fn after(self, duration: Duration) -> Self {
        if duration.is_zero() {
            return Self::NEVER;
        }
        // One more, since the present tick may be all but over.
        let steps = duration.as_nanos().div_ceil(TICK.as_nanos()) + 1;
        Self(
            self.0
                .saturating_add(u64::try_from(steps).unwrap_or(u64::MAX)),
        )
    }
}

/// The wheel.
#[derive(Debug)]
pub(crate) struct Timers {
    began: Instant,
    now: Cell<Tick>,
    wheel: RefCell<Wheel>,
    /// The ticking task, while there is nothing to tick for.
    resting: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Wheel {
    slots: Vec<Vec<u32>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    open: usize,
}

#[derive(Debug)]
struct Entry {
    waker: Option<Waker>,
    /// The tick at which the wheel looks at it. Whatever else in the wheel
    /// bears its number is out of date.
    at: Tick,
}

/// One task's claim to be woken.
#[derive(Debug)]
pub(crate) struct Alarm {
    timers: Rc<Timers>,
    number: u32,
}

impl Timers {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            now: Cell::new(Tick(0)),
            wheel: RefCell::new(Wheel {
                slots: (0..WHEEL_SLOTS).map(|_| Vec::new()).collect(),
                entries: Vec::new(),
                free: Vec::new(),
                open: 0,
            }),
            resting: RefCell::new(None),
        }
    }

    /// The present tick.
    pub(crate) fn now(&self) -> Tick {
        self.now.get()
    }

    /// Nanoseconds since the shard began. It asks the system's clock.
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A new alarm, set to nothing.
    pub(crate) fn alarm(self: &Rc<Self>) -> Alarm {
        let mut wheel = self.wheel.borrow_mut();
        wheel.open += 1;
        let number = wheel.free.pop().unwrap_or_else(|| {
            wheel.entries.push(Entry {
                waker: None,
                at: Tick::NEVER,
            });
            (wheel.entries.len() - 1) as u32
        });
        let first = wheel.open == 1;
        drop(wheel);
        if first && let Some(ticker) = self.resting.borrow_mut().take() {
            // Nothing ticked while there was nobody to tick for.
            self.advance(Instant::now());
            ticker.wake();
        }
        Alarm {
            timers: self.clone(),
            number,
        }
    }

    /// Moves on to `now` and wakes whoever asked for it.
    pub(crate) fn advance(&self, now: Instant) {
        let target = (now - self.began).as_nanos() / TICK.as_nanos();
        let target = u64::try_from(target).unwrap_or(u64::MAX);
        let Tick(present) = self.now.get();
        if target <= present {
            return;
        }
        self.now.set(Tick(target));
        // After a long stall one turn of the wheel passes every slot.
        let first = target
            .saturating_sub(WHEEL_SLOTS as u64 - 1)
            .max(present + 1);
        for tick in first..=target {
            let slot = (tick % WHEEL_SLOTS as u64) as usize;
            let due = std::mem::take(&mut self.wheel.borrow_mut().slots[slot]);
            for number in due {
                let mut wheel = self.wheel.borrow_mut();
                let Some(entry) = wheel.entries.get_mut(number as usize) else {
                    continue;
                };
                if entry.at > Tick(target) {
                    continue;
                }
                entry.at = Tick::NEVER;
                let waker = entry.waker.take();
                drop(wheel);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    /// Wakes every task that holds an alarm.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> = self
            .wheel
            .borrow_mut()
            .entries
            .iter_mut()
            .filter_map(|entry| entry.waker.take())
            .collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Wakes the task that holds the alarm with that [number](Alarm::number).
    pub(crate) fn wake(&self, number: u32) {
        let mut wheel = self.wheel.borrow_mut();
        let waker = wheel
            .entries
            .get_mut(number as usize)
            .and_then(|entry| entry.waker.take());
        drop(wheel);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready while there is somebody to tick for.
    pub(crate) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wheel.borrow().open > 0 {
            Poll::Ready(())
        } else {
            *self.resting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }
    }
}

impl Alarm {
    /// Asks that the calling task be polled at `due` or before. Called in
    /// every poll that ends in waiting.
    pub(crate) fn set(&self, cx: &Context<'_>, due: Tick) {
        let now = self.timers.now();
        let mut wheel = self.timers.wheel.borrow_mut();
        let entry = &mut wheel.entries[self.number as usize];
        match &entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => entry.waker = Some(cx.waker().clone()),
        }
        if due >= entry.at {
            return;
        }
        // No farther than one turn of the wheel, and never in a slot that has
        // passed.
        let at = due
            .max(Tick(now.0 + 1))
            .min(Tick(now.0 + WHEEL_SLOTS as u64 - 1));
        if at < entry.at {
            entry.at = at;
            wheel.slots[(at.0 % WHEEL_SLOTS as u64) as usize].push(self.number);
        }
    }

    /// The present tick.
    pub(crate) fn now(&self) -> Tick {
        self.timers.now()
    }

    /// By which [`Timers::wake`] knows it, as long as it lives.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut wheel = self.timers.wheel.borrow_mut();
        wheel.open -= 1;
        // Its place in the wheel stays, for whoever has the number next: tunnels
        // that come and go leave no trail of places behind them.
        wheel.entries[self.number as usize].waker = None;
        wheel.free.push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn at(began: Instant, ticks: u32) -> Instant {
        began + TICK * ticks
    }

    #[test]
    fn it_wakes_not_before_the_deadline_and_within_two_ticks_after() {
        let began = Instant::now();
        for wait in [1, 2, 7, 100] {
            let timers = Rc::new(Timers::new(began));
            let alarm = timers.alarm();
            let count = Arc::new(Count::default());
            let waker = count.clone().into();
            let cx = Context::from_waker(&waker);
            alarm.set(&cx, timers.now().after(TICK * wait));
            timers.advance(at(began, wait));
            assert_eq!(count.0.load(Ordering::Relaxed), 0, "{wait}");
            timers.advance(at(began, wait + 1));
            assert_eq!(count.0.load(Ordering::Relaxed), 1, "{wait}");
        }
    }

    #[test]
    fn a_deadline_beyond_the_wheel_wakes_at_least_once_a_turn() {
        let began = Instant::now();
        let timers = Rc::new(Timers::new(began));
        let alarm = timers.alarm();
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        let cx = Context::from_waker(&waker);
        let due = timers.now().after(TICK * (3 * WHEEL_SLOTS as u32));
        let mut woken_at_due = false;
        for tick in 1..=4 * WHEEL_SLOTS as u32 {
            let before = count.0.load(Ordering::Relaxed);
            alarm.set(&cx, due);
            timers.advance(at(began, tick));
            let woken = count.0.load(Ordering::Relaxed) > before;
            woken_at_due |= woken && timers.now() >= due;
        }
        assert!(woken_at_due);
    }

    #[test]
    fn an_earlier_deadline_overtakes_and_a_reused_number_is_not_confused() {
        let began = Instant::now();
        let timers = Rc::new(Timers::new(began));
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        let cx = Context::from_waker(&waker);
        let first = timers.alarm();
        first.set(&cx, timers.now().after(TICK * 9));
        drop(first);
        let second = timers.alarm();
        let due = timers.now().after(TICK * 20);
        second.set(&cx, timers.now().after(TICK * 30));
        second.set(&cx, due);
        // Woken early, by what the first had set, it sets its own again.
        timers.advance(at(began, 15));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        second.set(&cx, due);
        timers.advance(at(began, 20));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        timers.advance(at(began, 21));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn churn_leaves_nothing_behind() {
        let began = Instant::now();
        let timers = Rc::new(Timers::new(began));
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        let cx = Context::from_waker(&waker);
        for _ in 0..10_000 {
            let alarm = timers.alarm();
            alarm.set(&cx, timers.now().after(Duration::from_secs(10)));
        }
        let wheel = timers.wheel.borrow();
        assert_eq!(wheel.entries.len(), 1);
        let waiting: usize = wheel.slots.iter().map(Vec::len).sum();
        assert_eq!(waiting, 1);
    }
}
