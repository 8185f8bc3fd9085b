//! Giving the other tasks of a shard their turn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::limits;
use crate::runtime;

/// Tasks that could go on, and have given way.
///
/// A task that wakes itself runs again before the executor looks at its ring,
/// and keeps it from looking for as long as the executor's preemption timer
/// takes. So it leaves its waker here instead: it runs again after one look at
/// the ring, together with whatever was found there.
#[derive(Debug, Default)]
pub(crate) struct Later {
    waiting: RefCell<Vec<Waker>>,
    /// The task that wakes them, while there is nobody to wake.
    idle: RefCell<Option<Waker>>,
}

impl Later {
    /// Has the calling task polled again after the executor's next look at its
    /// ring.
    pub(crate) fn give_way(&self, cx: &Context<'_>) {
        self.waiting.borrow_mut().push(cx.waker().clone());
        if let Some(idle) = self.idle.borrow_mut().take() {
            idle.wake();
        }
    }

    /// Gives way once.
    pub(crate) async fn pass(&self) {
        let mut given = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut given, true) {
                return Poll::Ready(());
            }
            self.give_way(cx);
            Poll::Pending
        })
        .await;
    }

    /// Wakes those who gave way, for as long as the shard lives.
    pub(crate) async fn attend(&self) {
        loop {
            poll_fn(|cx| self.poll_wanted(cx)).await;
            // Timers are looked at together with the ring, and only then.
            runtime::sleep(limits::GIVE_WAY).await;
            // The room stays: whoever gives way now has it next time.
            let mut waiting = self.waiting.take();
            for waker in waiting.drain(..) {
                waker.wake();
            }
            let mut empty = self.waiting.borrow_mut();
            if empty.is_empty() {
                *empty = waiting;
            }
        }
    }

    fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.waiting.borrow().is_empty() {
            *self.idle.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
