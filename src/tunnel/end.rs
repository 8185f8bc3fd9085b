//! What a tunnel knows of either of its ends, whatever that speaks.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker, ready};

use super::facts::Facts;
use super::relay;
use super::scratch::Wire;
use super::unsent::Unsent;
use crate::limits;
use crate::runtime::Socket;
use crate::sys::socket;

/// One end of a tunnel.
pub(crate) trait Party: Sized {
    /// The end with what it needs in order to make progress.
    type Wired<'a>: relay::End<Error = EndError>
    where
        Self: 'a;

    /// This end for the length of one turn, in which it takes at most `take`
    /// bytes; in TLS, beside a record that was begun before.
    fn wired<'a>(
        &'a mut self,
        waker: &'a Waker,
        wire: &'a mut Wire,
        take: usize,
    ) -> Self::Wired<'a>;

    /// Whether bytes wait for the peer to take them.
    fn is_stalled(&self) -> bool;

    /// Whether the peer ended its TCP stream without the end of its TLS stream.
    fn was_truncated(&self) -> bool;

    /// Its connection.
    fn link(&self) -> &Link;

    /// Its connection, all else being done with.
    fn into_link(self) -> Link;

    /// What is known of it that routes go by.
    fn facts(&self) -> Facts<'_> {
        Facts::default()
    }

    /// Sends with the next flush what was held back to go with the first bytes.
    fn release(&mut self);

    /// Puts behind what is on its way whatever announces its end.
    fn take_leave(&mut self, wire: &mut Wire);

    /// Bytes that the peer has not taken yet.
    fn queued(&self) -> usize {
        self.link().queued()
    }

    /// Whether the kernel takes so many bytes to be sent, and those that sealing
    /// adds, if they are handed to it now.
    fn has_room(&self, bytes: usize) -> bool {
        // It counts what it needs to keep them as well.
        let needed = bytes + bytes / 4;
        let room = socket::send_room(self.link().socket.as_fd());
        room.is_ok_and(|room| room >= needed)
    }

    /// Has the kernel find out when the peer is no longer there.
    fn keep_alive(&self) {
        // A connection without is as good, and a Unix socket needs none.
        let _ = socket::set_keepalive(
            self.link().socket.as_fd(),
            limits::KEEPALIVE_IDLE,
            limits::KEEPALIVE_INTERVAL,
            limits::KEEPALIVE_PROBES,
        );
    }
}

/// How one end of a tunnel broke.
#[derive(Debug)]
pub(crate) enum EndError {
    /// The connection itself.
    Io(io::Error),
    /// What came over it is not the TLS that was agreed on. Boxed, since every
    /// tunnel has room for three of these.
    Tls(Box<rustls::Error>),
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
        Self::Tls(Box::new(error))
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
