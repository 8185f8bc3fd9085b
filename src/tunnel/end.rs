//! What the two kinds of [`relay::End`](super::relay::End) have in common.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use super::unsent::Unsent;
use crate::runtime::Socket;
use crate::sys::socket;

/// How one end of a tunnel broke.
#[derive(Debug)]
pub(crate) enum EndError {
    /// The connection itself.
    Io(io::Error),
    /// What came over it is not the TLS that was agreed on.
    Tls(rustls::Error),
    /// It ended without close_notify, and the configuration calls that a
    /// break.
    Truncated,
}

impl From<io::Error> for EndError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustls::Error> for EndError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// A connection, and the bytes on their way out of it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    pub(crate) unsent: Unsent,
    /// FIN was sent.
    pub(crate) finished: bool,
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            unsent: Unsent::default(),
            finished: false,
        }
    }

    /// Sends what the kernel takes and keeps the rest, behind what is kept
    /// already.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.unsent.is_empty() {
            self.unsent.keep(bytes);
            return Ok(());
        }
        let sent = match self.socket.poll_send(cx, bytes) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        self.unsent.keep(&bytes[sent..]);
        Ok(())
    }

    /// Sends what is kept, then FIN. Ready once that is done; only once is it
    /// done.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            // The FIN goes in the same segment, where there is room.
            match socket::send_more(self.socket.as_fd(), self.unsent.as_slice()) {
                Ok(sent) => self.unsent.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        ready!(self.flush(cx))?;
        if !self.finished {
            self.finished = true;
            self.socket.shutdown_write()?;
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes that the peer has not taken yet, here and with the kernel.
    pub(crate) fn queued(&self) -> usize {
        let with_kernel = socket::unsent_bytes(self.socket.as_fd()).unwrap_or(0);
        self.unsent.as_slice().len() + with_kernel as usize
    }

    /// Sends what is kept. Ready when nothing is.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match self.socket.poll_send(cx, self.unsent.as_slice()) {
                Poll::Ready(Ok(sent)) => self.unsent.advance(sent),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
