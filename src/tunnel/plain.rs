//! The end of a tunnel that speaks plaintext.

use std::task::{Context, Poll, Waker, ready};

use super::end::{EndError, Link, Party};
use super::relay::{End, Pulled};
use super::scratch::Wire;

/// A peer that is spoken to in plaintext.
#[derive(Debug)]
pub(crate) struct PlainEnd {
    link: Link,
}

impl PlainEnd {
    /// A peer, which may be owed something already.
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }
}

impl Party for PlainEnd {
    type Wired<'a> = WiredPlain<'a>;

    fn wired<'a>(&'a mut self, waker: &'a Waker, _: &'a mut Wire, take: usize) -> WiredPlain<'a> {
        WiredPlain {
            end: self,
            cx: Context::from_waker(waker),
            take,
        }
    }

    fn is_stalled(&self) -> bool {
        !self.link.unsent.is_empty()
    }

    fn was_truncated(&self) -> bool {
        false
    }

    fn link(&self) -> &Link {
        &self.link
    }

    fn into_link(self) -> Link {
        self.link
    }

    fn release(&mut self) {}

    fn take_leave(&mut self, _: &mut Wire) {}
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
