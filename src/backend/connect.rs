//! Connecting to one of several addresses.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use futures_lite::future::or;

use super::resolve::Addresses;
use crate::limits;
use crate::runtime::{self, Socket};
use crate::sys::socket::{self, Outgoing, Peer};

/// A connection to one of a service's backends.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    /// Which of the service's backends it is.
    pub(crate) backend: usize,
}

/// Why no backend could be connected to: the last of the reasons found.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// A name does not resolve; what the resolver said.
    Unresolved(String),
    /// Nothing listens there.
    Refused(Peer),
    /// It cannot be reached, or does not answer.
    Unreachable(Peer, io::Error),
    /// This process or machine has run out of something.
    Resources(io::Error),
}

/// Tries every address of every backend in turn.
///
/// An address that does not answer gets its share of what is left of
/// `timeout`, so that one that swallows packets does not keep the others from
/// being tried.
pub(super) async fn connect(
    backends: &[Addresses],
    timeout: Duration,
    outgoing: &Outgoing,
) -> Result<Connected, ConnectError> {
    let mut error = ConnectError::Unresolved("the service has no backends".into());
    // Asked for only when something has to be waited for.
    let deadline = Cell::new(None);
    for (index, backend) in backends.iter().enumerate() {
        let peers = match backend.peers().await {
            Ok(peers) => peers,
            Err(text) => {
                error = ConnectError::Unresolved(text);
                continue;
            }
        };
        for (at, peer) in peers.iter().enumerate() {
            let to_try = peers.len() - at + (backends.len() - 1 - index);
            let share = || {
                let now = Instant::now();
                let due = deadline.get().unwrap_or(now + timeout);
                deadline.set(Some(due));
                due.saturating_duration_since(now) / to_try as u32
            };
            match connect_to(peer, outgoing, share).await {
                Ok(socket) => {
                    return Ok(Connected {
                        socket,
                        backend: index,
                    });
                }
                Err(failed) => error = failed,
            }
        }
    }
    Err(error)
}

async fn connect_to(
    peer: &Peer,
    outgoing: &Outgoing,
    share: impl Fn() -> Duration,
) -> Result<Socket, ConnectError> {
    let mut until = None;
    let began = loop {
        match socket::connect_as(peer, outgoing) {
            Ok(began) => break Ok(began),
            // The backlog of a Unix socket is full; nothing tells when it is
            // not.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let now = Instant::now();
                if now >= *until.get_or_insert_with(|| now + share()) {
                    break Err(io::ErrorKind::TimedOut.into());
                }
                runtime::sleep(limits::CONNECT_RETRY).await;
            }
            Err(error) => break Err(error),
        }
    };
    let (fd, connected) = began.map_err(|error| classify(peer, error))?;
    if let Peer::Tcp(_) = peer {
        // A connection without is as good; nothing else can be done.
        let _ = socket::set_nodelay(fd.as_fd());
    }
    let mut socket = Socket::new(fd);
    if !connected {
        let answered = poll_fn(|cx| socket.poll_connected(cx));
        let silent = async {
            runtime::sleep(share()).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        or(answered, silent)
            .await
            .map_err(|error| classify(peer, error))?;
    }
    Ok(socket)
}

fn classify(peer: &Peer, error: io::Error) -> ConnectError {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ENOENT) => ConnectError::Refused(peer.clone()),
        // EADDRNOTAVAIL and, on Unix sockets, EAGAIN: out of local ports.
        Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EADDRNOTAVAIL
            | libc::EAGAIN,
        ) => ConnectError::Resources(error),
        _ => ConnectError::Unreachable(peer.clone(), error),
    }
}
