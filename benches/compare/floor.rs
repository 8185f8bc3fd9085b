//! The floor: a TCP proxy without TLS, with as little around it as we know to
//! leave out. What it costs, no TLS proxy over sockets can undercut by much.
//!
//! One thread, epoll(7) with edges, each socket registered once, one buffer
//! for all, no timeouts, no log. It carries half-closes on, and closes both
//! sides at the first error.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, Result};
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, connect,
    recv, send, shutdown, socket_with,
};

/// What is read at once, as adit's own buffer is.
const BUFFER_SIZE: usize = 64 * 1024;
/// Reads from one side before the others get their turn.
const READS_PER_TURN: usize = 16;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// The event of the listener; the others are twice the pair's place, and one
/// more for the backend's side.
const LISTENER: u64 = u64::MAX;

/// Serves for ever: `LISTEN BACKEND`.
pub(crate) fn run(args: &[OsString]) -> std::result::Result<(), String> {
    let [listen, backend] = args else {
        return Err("the floor needs an address to listen at, and its backend's".into());
    };
    let address = |text: &OsString| -> std::result::Result<SocketAddr, String> {
        let text = text.to_string_lossy();
        text.parse().map_err(|_| format!("{text} is no address"))
    };
    let (listen, backend) = (address(listen)?, address(backend)?);
    let listener =
        TcpListener::bind(listen).map_err(|error| format!("{listen} cannot be bound: {error}"))?;
    serve(&listener, backend).map_err(|error| format!("the floor gave way: {error}"))
}

fn serve(listener: &TcpListener, backend: SocketAddr) -> Result<()> {
    let ring = epoll::create(CreateFlags::CLOEXEC)?;
    // Accepted sockets take it over.
    set_tcp_nodelay(listener, true)?;
    epoll::add(
        &ring,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut pairs = Pairs::default();
    let mut scratch = vec![0; BUFFER_SIZE];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    // Who has more to read than one turn allows, and who is gone.
    let (mut waiting, mut gone) = (Vec::new(), Vec::new());
    loop {
        let at_once = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let patience = (!waiting.is_empty()).then_some(&at_once);
        match epoll::wait(&ring, spare_capacity(&mut events), patience) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let turns: Vec<(u64, EventFlags)> = std::mem::take(&mut waiting);
        let news = events.drain(..).map(|event| {
            let (data, flags) = (event.data, event.flags);
            (data.u64(), flags)
        });
        for (token, flags) in turns.into_iter().chain(news) {
            if token == LISTENER {
                pairs.open(&ring, listener, backend)?;
                continue;
            }
            let at = token as usize / 2;
            let Some(pair) = pairs.list[at].as_mut().filter(|pair| !pair.over()) else {
                continue;
            };
            match pair.turn(token % 2 == 1, flags, &mut scratch) {
                Ok(true) => waiting.push((token, flags & !EventFlags::OUT)),
                Ok(false) => {}
                Err(_) => pair.give_up(),
            }
            if pair.over() {
                gone.push(at);
            }
        }
        // Not before: later events of this batch may be about them.
        waiting.retain(|(token, _)| !gone.contains(&(*token as usize / 2)));
        for at in gone.drain(..) {
            pairs.list[at] = None;
            pairs.free.push(at);
        }
    }
}

/// All pairs, each in a place that its events name.
#[derive(Default)]
struct Pairs {
    list: Vec<Option<Pair>>,
    free: Vec<usize>,
}

impl Pairs {
    fn open(&mut self, ring: &OwnedFd, listener: &TcpListener, to: SocketAddr) -> Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let client = match accept_with(listener, flags) {
            Ok(client) => client,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error),
        };
        let family = match to {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let backend = socket_with(family, SocketType::STREAM, flags, None)?;
        set_tcp_nodelay(&backend, true)?;
        match connect(&backend, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            // Both are closed with what is dropped here.
            Err(_) => return Ok(()),
        }
        let at = self.free.pop().unwrap_or(self.list.len());
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (side, fd) in [(0, &client), (1, &backend)] {
            epoll::add(ring, fd, EventData::new_u64(at as u64 * 2 + side), wanted)?;
        }
        let pair = Pair {
            client,
            backend,
            up: Half::default(),
            down: Half::default(),
        };
        if at == self.list.len() {
            self.list.push(Some(pair));
        } else {
            self.list[at] = Some(pair);
        }
        Ok(())
    }
}

/// A client and its backend.
struct Pair {
    client: OwnedFd,
    backend: OwnedFd,
    up: Half,
    down: Half,
}

impl Pair {
    /// What an event of one side asks for; true if there is more to read.
    fn turn(&mut self, of_backend: bool, flags: EventFlags, scratch: &mut [u8]) -> Result<bool> {
        let (side, other) = match of_backend {
            false => (
                (&self.client, &mut self.up),
                (&self.backend, &mut self.down),
            ),
            true => (
                (&self.backend, &mut self.down),
                (&self.client, &mut self.up),
            ),
        };
        let ((fd, from), (peer, to)) = (side, other);
        // What waits for this side goes first. Its own sender is read on from
        // there, since that edge is past.
        if flags.contains(EventFlags::OUT) && to.is_held() {
            to.pump(peer, fd, true, scratch)?;
        }
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(EventFlags::IN | ended) {
            return from.pump(fd, peer, flags.intersects(ended), scratch);
        }
        Ok(false)
    }

    fn over(&self) -> bool {
        self.up.passed && self.down.passed
    }

    fn give_up(&mut self) {
        (self.up.passed, self.down.passed) = (true, true);
    }
}

/// One direction.
#[derive(Default)]
struct Half {
    /// What the receiver did not take, from `sent` on.
    held: Vec<u8>,
    sent: usize,
    /// The sender's end was read.
    ended: bool,
    /// And was passed on.
    passed: bool,
}

impl Half {
    fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Carries what there is; true if there may be more than a turn allows. A
    /// short read is the last, unless the sender may have ended.
    fn pump(
        &mut self,
        from: impl AsFd,
        to: impl AsFd,
        may_end: bool,
        scratch: &mut [u8],
    ) -> Result<bool> {
        for _ in 0..READS_PER_TURN {
            while self.is_held() {
                match send(&to, &self.held[self.sent..], SendFlags::NOSIGNAL) {
                    Ok(n) => self.sent += n,
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(error) => return Err(error),
                }
                if self.sent == self.held.len() {
                    (self.held, self.sent) = (Vec::new(), 0);
                }
            }
            if self.ended {
                if !self.passed {
                    self.passed = true;
                    shutdown(&to, Shutdown::Write)?;
                }
                return Ok(false);
            }
            let n = match recv(&from, &mut *scratch, RecvFlags::empty()) {
                Ok((n, _)) => n,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            };
            self.ended = n == 0;
            let mut sent = 0;
            while sent < n {
                match send(&to, &scratch[sent..n], SendFlags::NOSIGNAL) {
                    Ok(more) => sent += more,
                    Err(Errno::AGAIN) => {
                        self.held = scratch[sent..n].to_vec();
                        return Ok(false);
                    }
                    Err(error) => return Err(error),
                }
            }
            if n > 0 && n < scratch.len() && !may_end {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
