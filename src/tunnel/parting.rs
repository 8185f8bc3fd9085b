//! The last phase: both peers are told, and the tunnel has its close reason.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::closing::{self, Farewell};
use super::end::Link;
use super::{CloseReason, Side, Summary, Tunnel};
use crate::limits;

/// A tunnel that is over, and what its peers are still to be told. A peer that
/// is not named has been told all, or is not there.
#[derive(Debug)]
pub(super) struct Parting {
    summary: Summary,
    client: Option<(Link, Farewell)>,
    backend: Option<(Link, Farewell)>,
}

impl Parting {
    pub(super) fn new((reason, detail): (CloseReason, Option<String>)) -> Self {
        Self {
            summary: Summary { reason, detail },
            client: None,
            backend: None,
        }
    }

    pub(super) fn client(mut self, link: Link, farewell: Farewell) -> Self {
        self.client = Some((link, farewell));
        self
    }

    pub(super) fn backend(mut self, link: Link, farewell: Farewell) -> Self {
        self.backend = Some((link, farewell));
        self
    }

    /// Whose doing the end was.
    pub(super) fn side(&self) -> Side {
        self.summary.reason.side
    }

    /// Whether there is anything to wait for before the connections are closed.
    pub(super) fn takes_time(&self) -> bool {
        [&self.client, &self.backend]
            .into_iter()
            .flatten()
            .any(|(_, farewell)| *farewell != Farewell::Close)
    }

    /// Closes what is still open, once what is unsent has been offered: the alert
    /// of a backend that is given up. Nobody waits for it to be taken.
    pub(super) async fn close_at_once(mut self: Box<Self>) {
        poll_fn(|cx| {
            let links = [&mut self.client, &mut self.backend];
            for (link, _) in links.into_iter().flatten() {
                let _ = link.flush(cx);
            }
            Poll::Ready(())
        })
        .await;
        self.close();
    }

    /// Closes what is still open.
    pub(super) fn close(self: Box<Self>) -> Summary {
        for (link, farewell) in [self.client, self.backend].into_iter().flatten() {
            closing::close(link, farewell);
        }
        self.summary
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary.reason)?;
        match &self.summary.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl Tunnel<'_> {
    /// Takes leave of the peers, within [`limits::LINGER_TIMEOUT`] of the last
    /// byte that one of them took, and the half-close time in all.
    pub(super) async fn part(&self, mut parting: Box<Parting>) -> Summary {
        let began = self.alarm.now();
        let mut due = began.after(limits::LINGER_TIMEOUT);
        let mut untaken = usize::MAX;
        poll_fn(|cx| {
            let scratch = &mut *self.around.scratch.borrow_mut();
            let later = &self.around.later;
            let told = [
                closing::poll(&mut parting.client, cx, &mut scratch.plain, later),
                closing::poll(&mut parting.backend, cx, &mut scratch.plain, later),
            ];
            let now = self.alarm.now();
            let in_all = began.after(self.terms.timeouts.half_close);
            if now >= due && now < in_all && self.is_ordered_to_stop().is_none() {
                let queued = closing::owed(&parting.client) + closing::owed(&parting.backend);
                if queued > 0 && queued < untaken {
                    untaken = queued;
                    due = now.after(limits::LINGER_TIMEOUT);
                }
            }
            let over = now >= due || self.around.leaving.get();
            if over || told.iter().all(Poll::is_ready) {
                return Poll::Ready(());
            }
            // What the kernel has still to send is looked at once a tick.
            self.alarm.set(cx, now.after(limits::TICK).min(due));
            Poll::Pending
        })
        .await;
        parting.close()
    }
}
