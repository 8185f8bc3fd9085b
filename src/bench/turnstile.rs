//! So many at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Lets so many lanes of an executor do something at a time.
#[derive(Debug)]
pub(super) struct Turnstile {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// The right to be inside, until it is dropped.
#[derive(Debug)]
pub(super) struct Inside<'a>(&'a Turnstile);

impl Turnstile {
    pub(super) fn new(free: usize) -> Self {
        Self {
            free: Cell::new(free),
            waiting: RefCell::default(),
        }
    }

    /// Waits for room.
    pub(super) async fn enter(&self) -> Inside<'_> {
        poll_fn(|cx| match self.free.get() {
            0 => {
                self.waiting.borrow_mut().push_back(cx.waker().clone());
                Poll::Pending
            }
            free => {
                self.free.set(free - 1);
                Poll::Ready(())
            }
        })
        .await;
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        if let Some(next) = self.0.waiting.borrow_mut().pop_front() {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn no_more_than_so_many_are_inside() {
        let turnstile = Turnstile::new(1);
        let mut cx = Context::from_waker(Waker::noop());
        let first = {
            let entering = pin!(turnstile.enter());
            match entering.poll(&mut cx) {
                Poll::Ready(inside) => inside,
                Poll::Pending => panic!("there is room"),
            }
        };
        let mut second = pin!(turnstile.enter());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        drop(first);
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }
}
