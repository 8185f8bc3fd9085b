//! Taking leave of one peer.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use super::Cause;
use super::end::Link;
use crate::later::Later;
use crate::sys::socket;

/// How a peer is told that the tunnel is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Nothing more is owed to it.
    Close,
    /// It gets what is on its way, then FIN; and what it still sends is read
    /// and thrown away until it ends, since bytes that nobody read would turn
    /// the close into a reset, and a reset can destroy what it has not read.
    Linger,
    /// It gets what is on its way, then a reset.
    Reset,
}

impl Farewell {
    /// That of a peer who has not come so far that bytes flow. The alert that
    /// most causes have must not be overtaken by a reset because of bytes that
    /// nobody reads any more; the others have none to wait for.
    pub(super) fn after(cause: Cause) -> Self {
        match cause {
            Cause::Reset | Cause::Eof | Cause::Timeout | Cause::Drained | Cause::Closed => {
                Self::Close
            }
            _ => Self::Linger,
        }
    }
}

/// Goes on taking leave. Ready when nothing is left to wait for.
pub(super) fn poll(
    peer: &mut Option<(Link, Farewell)>,
    cx: &mut Context<'_>,
    scratch: &mut [u8],
    later: &Later,
) -> Poll<()> {
    let Some((link, farewell)) = peer else {
        return Poll::Ready(());
    };
    match farewell {
        Farewell::Close => Poll::Ready(()),
        Farewell::Linger => {
            if link.flush(cx).is_ready() && !link.finished {
                link.finished = true;
                // Broken or not, there is nothing more to say.
                let _ = link.socket.shutdown_write();
            }
            poll_drained(link, cx, scratch, later)
        }
        Farewell::Reset => match link.flush(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) => match socket::unsent_bytes(link.socket.as_fd()) {
                Ok(0) | Err(_) => Poll::Ready(()),
                Ok(_) => Poll::Pending,
            },
        },
    }
}

/// Bytes that are on their way to a peer who is to get them.
pub(super) fn owed(peer: &Option<(Link, Farewell)>) -> usize {
    match peer {
        Some((link, Farewell::Reset | Farewell::Linger)) => link.queued(),
        _ => 0,
    }
}

/// Closes the connection, all that could be waited for having been waited for.
pub(super) fn close(link: Link, farewell: Farewell) {
    match farewell {
        Farewell::Close | Farewell::Linger => drop(link),
        Farewell::Reset => link.socket.reset(),
    }
}

/// Reads what the peer still sends and throws it away. Ready at its end.
fn poll_drained(
    link: &mut Link,
    cx: &mut Context<'_>,
    scratch: &mut [u8],
    later: &Later,
) -> Poll<()> {
    // Bounded, so that a peer that never stops does not hold the shard.
    for _ in 0..16 {
        match link.socket.poll_recv(cx, scratch) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => return Poll::Ready(()),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
        }
    }
    later.give_way(cx);
    Poll::Pending
}
