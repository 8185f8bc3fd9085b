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

/// Why no backend could be connected to: the last of the reasons found.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// A name does not resolve; what the resolver said.
    Unresolved(String),
    /// The resolver is silent.
    Unanswered,
    /// Nothing listens there.
    Refused(Peer),
    /// It cannot be reached, or does not answer.
    Unreachable(Peer, io::Error),
    /// Every local port has a connection there already, or is held by somebody
    /// else. There may be some for connections to elsewhere.
    NoPort(Peer, io::Error),
    /// The client's own address is of the other family, and connections are to
    /// come from it. It may be had for another client.
    Unsuited(Peer),
    /// This process or machine has run out of something.
    Resources(io::Error),
    /// The checks say that every backend is down.
    Down,
    /// Every backend has all the tunnels that it may have, and there was no
    /// room in the queue, or not in time.
    Full,
}

/// The time that one tunnel's connects share.
#[derive(Debug)]
pub(super) struct Budget {
    timeout: Duration,
    /// Looked for only when something has to be waited for.
    due: Cell<Option<Instant>>,
}

impl Budget {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            due: Cell::new(None),
        }
    }

    /// One share of what is left, if that is to do for `shares`.
    pub(super) fn share(&self, shares: usize) -> Duration {
        let now = Instant::now();
        let due = self.due.get().unwrap_or(now + self.timeout);
        self.due.set(Some(due));
        due.saturating_duration_since(now) / shares.max(1) as u32
    }

    /// All begins anew.
    pub(super) fn renew(&self) {
        self.due.set(None);
    }

    /// Time was spent on something else.
    pub(super) fn extend(&self, by: Duration) {
        self.due.set(self.due.get().map(|due| due + by));
    }
}

/// Tries every address of a backend in turn.
///
/// An address that does not answer gets its share of what is left, so that one
/// that swallows packets does not keep the others, of which there are
/// `others()` beyond this backend, from being tried. So does a resolver, while
/// it has yet to answer for the first time.
pub(super) async fn connect(
    addresses: &Addresses,
    budget: &Budget,
    outgoing: &Outgoing,
    others: impl Fn() -> usize,
) -> Result<Socket, ConnectError> {
    let peers = async { addresses.peers().await.map_err(ConnectError::Unresolved) };
    let silent = async {
        runtime::sleep(budget.share(1 + others())).await;
        Err(ConnectError::Unanswered)
    };
    let peers = or(peers, silent).await?;
    let mut error = ConnectError::Unresolved("the backend has no addresses".into());
    let mut unsuited = None;
    let mut tried = false;
    for (at, index) in addresses.order(&peers).into_iter().enumerate() {
        let peer = &peers[index];
        if outgoing.transparent && !outgoing.suits(peer) {
            unsuited = Some(peer);
            continue;
        }
        tried = true;
        let share = || budget.share(peers.len() - at + others());
        match connect_to(peer, outgoing, share).await {
            Ok(socket) => {
                addresses.answered(peer);
                return Ok(socket);
            }
            Err(failed @ ConnectError::Resources(_)) => return Err(failed),
            Err(failed) => {
                addresses.failed(peer);
                error = failed;
            }
        }
    }
    match unsuited {
        Some(peer) if !tried => Err(ConnectError::Unsuited(peer.clone())),
        _ => Err(error),
    }
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
        Some(libc::EADDRNOTAVAIL) => ConnectError::NoPort(peer.clone(), error),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => {
            ConnectError::Resources(error)
        }
        _ => ConnectError::Unreachable(peer.clone(), error),
    }
}
