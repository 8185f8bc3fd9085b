//! The end of a tunnel that speaks plaintext.

use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker, ready};

use super::end::{EndError, Link};
use super::relay::{End, Pulled};
use crate::limits;
use crate::runtime::Socket;
use crate::sys::socket;

/// A peer that is spoken to in plaintext.
#[derive(Debug)]
pub(crate) struct PlainEnd {
    link: Link,
}

impl PlainEnd {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            link: Link::new(socket),
        }
    }

    /// Whether bytes wait for the peer to take them.
    pub(crate) fn is_stalled(&self) -> bool {
        !self.link.unsent.is_empty()
    }

    /// Bytes that the peer has not taken yet.
    pub(crate) fn queued(&self) -> usize {
        self.link.queued()
    }

    /// Has the kernel find out when the peer is no longer there.
    pub(crate) fn keep_alive(&self) {
        // A connection without is as good, and a Unix socket needs none.
        let _ = socket::set_keepalive(
            self.link.socket.as_fd(),
            limits::KEEPALIVE_IDLE,
            limits::KEEPALIVE_INTERVAL,
            limits::KEEPALIVE_PROBES,
        );
    }

    pub(crate) fn into_link(self) -> Link {
        self.link
    }

    /// This end for the length of one poll. It takes at most `take` bytes a
    /// turn.
    pub(crate) fn wired<'a>(&'a mut self, waker: &'a Waker, take: usize) -> WiredPlain<'a> {
        WiredPlain {
            end: self,
            cx: Context::from_waker(waker),
            take,
        }
    }
}

/// A [`PlainEnd`] with what it needs in order to make progress.
pub(crate) struct WiredPlain<'a> {
    end: &'a mut PlainEnd,
    cx: Context<'a>,
    take: usize,
}

impl End for WiredPlain<'_> {
    type Error = EndError;

    fn pull(&mut self, plain: &mut [u8]) -> Poll<Result<Pulled, EndError>> {
        let take = self.take.min(plain.len());
        let received = ready!(
            self.end
                .link
                .socket
                .poll_recv(&mut self.cx, &mut plain[..take])
        )?;
        Poll::Ready(Ok(match received {
            0 => Pulled::Eof,
            n => Pulled::Bytes(n),
        }))
    }

    fn push(&mut self, plain: &[u8]) -> Result<(), EndError> {
        Ok(self.end.link.send(&mut self.cx, plain)?)
    }

    fn flush(&mut self) -> Poll<Result<(), EndError>> {
        self.end.link.flush(&mut self.cx).map_err(EndError::Io)
    }

    fn finish(&mut self) -> Poll<Result<(), EndError>> {
        self.end.link.finish(&mut self.cx).map_err(EndError::Io)
    }
}
