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
    /// byte that one of them took, and the half-close time in all; or within
    /// [`limits::CUT_LINGER_TIMEOUT`] of being told to make an end. Who is told
    /// all does not wait for the other.
    pub(super) async fn part(&self, mut parting: Box<Parting>) -> Summary {
        let began = self.alarm.now();
        let mut due = began.after(limits::LINGER_TIMEOUT);
        let mut untaken = usize::MAX;
        let mut is_cut = false;
        poll_fn(|cx| {
            let scratch = &mut *self.around.scratch.borrow_mut();
            let later = &self.around.later;
            for peer in [&mut parting.client, &mut parting.backend] {
                if closing::poll(peer, cx, &mut scratch.plain, later).is_ready()
                    && let Some((link, farewell)) = peer.take()
                {
                    closing::close(link, farewell);
                }
            }
            let now = self.alarm.now();
            let in_all = began.after(self.terms.timeouts.half_close);
            if self.is_ordered_to_stop().is_some() {
                if !std::mem::replace(&mut is_cut, true) {
                    due = due.min(now.after(limits::CUT_LINGER_TIMEOUT));
                }
            } else if now >= due && now < in_all {
                let queued = closing::owed(&parting.client) + closing::owed(&parting.backend);
                if queued > 0 && queued < untaken {
                    untaken = queued;
                    due = now.after(limits::LINGER_TIMEOUT);
                }
            }
            let over = now >= due || self.around.leaving.get();
            if over || (parting.client.is_none() && parting.backend.is_none()) {
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
