//! One connection's life.
//!
//! ```text
//!   accepted ─▶ handshake ─▶ connect ─▶ relay ─▶ closing ─▶ one CloseReason
//! ```
//!
//! A tunnel is one task on one shard. It waits in one place at a time, and
//! that place is a poll over both of its connections ([`relay`]), so that it
//! needs no halves, no locks and no buffers of its own while it is idle.
//! `close` says how it ended, `closing` how the two peers are told.

mod close;
mod closing;
mod end;
mod plain;
pub mod relay;
mod scratch;
mod tls;
mod unsent;

pub use close::{Cause, CloseReason, Phase, Side};
pub(crate) use scratch::Scratch;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;

use crate::backend::{ConnectError, Service};
use crate::config::{Timeouts, Truncation};
use crate::later::Later;
use crate::limits;
use crate::metrics::Counters;
use crate::runtime::Socket;
use crate::timer::{Alarm, Tick, Timers};
use closing::Farewell;
use end::{EndError, Link};
use plain::PlainEnd;
use relay::{Outcome, Relay, Who};
use tls::{HandshakeError, TlsEnd};

/// What all tunnels of a shard have in common.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) timers: Rc<Timers>,
    pub(crate) counters: Counters,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) later: Later,
    /// The order that every tunnel end now.
    pub(crate) cut: Cell<bool>,
    /// The shard is leaving: no tunnel may wait for anything.
    pub(crate) leaving: Cell<bool>,
}

/// What all tunnels of a listener have in common. A tunnel keeps what it
/// began with when the configuration changes.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) service: Rc<Service>,
    pub(crate) timeouts: Timeouts,
    pub(crate) truncation: Truncation,
    pub(crate) buffer_size: usize,
}

/// What one tunnel carried, and how it ended.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) reason: CloseReason,
    /// The particulars, where there are any.
    pub(crate) detail: Option<String>,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

/// Carries one connection from its accept to its end.
pub(crate) async fn run(around: &Surroundings, terms: &Terms, client: OwnedFd) -> Summary {
    let mut tunnel = Tunnel {
        around,
        terms,
        alarm: around.timers.alarm(),
        bytes_up: 0,
        bytes_down: 0,
    };
    let (reason, detail) = tunnel.run(Socket::new(client)).await;
    Summary {
        reason,
        detail,
        bytes_up: tunnel.bytes_up,
        bytes_down: tunnel.bytes_down,
    }
}

type End = (CloseReason, Option<String>);

/// Why a phase was broken off from within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Deadline,
    Cut,
}

struct Tunnel<'a> {
    around: &'a Surroundings,
    terms: &'a Terms,
    alarm: Alarm,
    bytes_up: u64,
    bytes_down: u64,
}

impl Tunnel<'_> {
    async fn run(&mut self, socket: Socket) -> End {
        let client = match self.handshake(socket).await {
            Ok(client) => client,
            Err(end) => return end,
        };
        let (client, backend) = match self.connect(client).await {
            Ok(ends) => ends,
            Err(end) => return end,
        };
        self.relay(client, backend).await
    }

    async fn handshake(&mut self, socket: Socket) -> Result<TlsEnd, End> {
        let around = self.around;
        let mut client = TlsEnd::new(socket, self.terms.tls.clone(), self.terms.truncation)
            .map_err(|error| {
                let reason = CloseReason::new(Phase::Handshake, Side::Server, Cause::Resources);
                (reason, Some(error.to_string()))
            })?;
        let shaking = around.counters.handshakes_in_progress.hold();
        let due = self.alarm.now().after(self.terms.timeouts.handshake);
        let shaken = poll_fn(|cx| {
            let scratch = &mut *around.scratch.borrow_mut();
            match client.poll_handshake(cx, &mut scratch.wire) {
                Poll::Ready(shaken) => Poll::Ready(Ok(shaken)),
                Poll::Pending => self.poll_stop(cx, due).map(Err),
            }
        })
        .await;
        drop(shaking);
        let end = match shaken {
            Ok(Ok(session)) => {
                around.counters.handshakes.add(1);
                if session.resumed {
                    around.counters.handshakes_resumed.add(1);
                }
                return Ok(client);
            }
            Ok(Err(error)) => handshake_end(error),
            Err(Stop::Deadline) => {
                let reason = CloseReason::new(Phase::Handshake, Side::Client, Cause::Timeout);
                (reason, None)
            }
            Err(Stop::Cut) => {
                let reason = CloseReason::new(Phase::Handshake, Side::Server, Cause::Drained);
                (reason, None)
            }
        };
        // The alert, if there is one, must not be overtaken by a reset because
        // of bytes that nobody reads any more.
        let farewell = match end.0.cause {
            Cause::Reset | Cause::Eof => Farewell::Close,
            _ => Farewell::Linger,
        };
        self.part(Some((client.into_link(), farewell)), None).await;
        Err(end)
    }

    async fn connect(&mut self, client: TlsEnd) -> Result<(TlsEnd, PlainEnd), End> {
        let due = self.alarm.now().after(self.terms.timeouts.connect);
        let connected = {
            // On the heap, since it is over long before the tunnel is.
            let mut connecting = Box::pin(self.terms.service.connect(self.terms.timeouts.connect));
            poll_fn(|cx| match connecting.as_mut().poll(cx) {
                Poll::Ready(connected) => Poll::Ready(Ok(connected)),
                Poll::Pending => self.poll_stop(cx, due).map(Err),
            })
            .await
        };
        let end = match connected {
            Ok(Ok(socket)) => return Ok((client, PlainEnd::new(socket))),
            Ok(Err(error)) => connect_end(error),
            Err(Stop::Deadline) => {
                let reason = CloseReason::new(Phase::Connect, Side::Backend, Cause::Timeout);
                (reason, None)
            }
            Err(Stop::Cut) => {
                let reason = CloseReason::new(Phase::Connect, Side::Server, Cause::Drained);
                (reason, None)
            }
        };
        // Not an orderly end: the client would take it for an empty answer. It
        // is owed nothing but tickets, so that there is nothing to wait for.
        client.into_link().socket.reset();
        Err(end)
    }

    async fn relay(&mut self, mut client: TlsEnd, mut backend: PlainEnd) -> End {
        let around = self.around;
        let take = self.terms.buffer_size;
        let mut relay = Relay::default();
        let mut active = self.alarm.now();
        // What the peers had not taken when nothing had moved for a time.
        let mut untaken = None;
        let mut carried = (0, 0);
        let tickets_due = active.after(limits::TICKETS_HELD);
        let over = poll_fn(|cx| {
            let scratch = &mut *around.scratch.borrow_mut();
            if client.holds_tickets() && self.alarm.now() >= tickets_due {
                client.release_tickets();
            }
            let mut moved = false;
            let mut more = true;
            for _ in 0..limits::TURNS_PER_POLL {
                let (progress, over) = relay.turn(
                    &mut client.wired(cx.waker(), &mut scratch.wire),
                    &mut backend.wired(cx.waker(), take),
                    &mut scratch.plain,
                );
                let (up, down) = (progress.up as u64, progress.down as u64);
                carried.0 += up;
                carried.1 += down;
                around.counters.bytes_up.add(up);
                around.counters.bytes_down.add(down);
                moved |= progress.live;
                if let Poll::Ready(outcome) = over {
                    return Poll::Ready(Ok(outcome));
                }
                more = progress.any;
                if !more {
                    break;
                }
            }
            let now = self.alarm.now();
            if moved {
                active = now;
                untaken = None;
            }
            let timeout = if relay.is_half_closed() {
                self.terms.timeouts.half_close
            } else {
                self.terms.timeouts.idle
            };
            if now >= active.after(timeout) {
                // The kernel holds megabytes, which a slow peer may be taking
                // all the while that nothing moves here.
                let queued = (client.queued(), backend.queued());
                if queued != (0, 0) && untaken.replace(queued) != Some(queued) {
                    active = now;
                }
            }
            let due = active.after(timeout);
            if !more {
                if client.holds_tickets() {
                    self.alarm.set(cx, tickets_due);
                }
                return self.poll_stop(cx, due).map(Err);
            }
            // There may be more to do, but others are waiting. Where all there
            // is to do is to throw bytes away, that has its end, too.
            if around.cut.get() {
                return Poll::Ready(Err(Stop::Cut));
            }
            if now >= due {
                return Poll::Ready(Err(Stop::Deadline));
            }
            around.later.give_way(cx);
            Poll::Pending
        })
        .await;
        (self.bytes_up, self.bytes_down) = carried;
        let half_closed = relay.is_half_closed();
        match over {
            Ok(outcome) => self.end_relay(outcome, client, backend).await,
            Err(stop) => self.stop_relay(stop, half_closed, client, backend).await,
        }
    }

    /// The relay came to an end of itself.
    async fn end_relay(
        &mut self,
        outcome: Outcome<EndError>,
        client: TlsEnd,
        backend: PlainEnd,
    ) -> End {
        let truncated = client.was_truncated();
        let (client, backend) = (client.into_link(), backend.into_link());
        let reason = |side, cause| CloseReason::new(Phase::Relay, side, cause);
        match outcome {
            Outcome::Ended { .. } if truncated => {
                drop((client, backend));
                (reason(Side::Client, Cause::Truncated), None)
            }
            Outcome::Ended { last } => {
                drop((client, backend));
                (reason(side(last), Cause::Eof), None)
            }
            Outcome::Broke { who, error } => {
                let (cause, detail) = relay_cause(error);
                match who {
                    Who::Client => {
                        let farewell = match cause {
                            Cause::TlsError | Cause::Alert => Farewell::Linger,
                            _ => Farewell::Close,
                        };
                        self.part(Some((client, farewell)), Some((backend, Farewell::Reset)))
                            .await;
                    }
                    Who::Backend => {
                        drop(backend);
                        self.part(Some((client, Farewell::Reset)), None).await;
                    }
                }
                (reason(side(who), cause), detail)
            }
            Outcome::Unheard { who, error } => {
                let (cause, detail) = relay_cause(error);
                match who {
                    Who::Client => {
                        drop(client);
                        self.part(None, Some((backend, Farewell::Reset))).await;
                    }
                    Who::Backend => {
                        drop(backend);
                        self.part(Some((client, Farewell::Linger)), None).await;
                    }
                }
                (reason(side(who), cause), detail)
            }
        }
    }

    /// The relay was broken off by us.
    async fn stop_relay(
        &mut self,
        stop: Stop,
        half_closed: bool,
        mut client: TlsEnd,
        backend: PlainEnd,
    ) -> End {
        let (side, cause) = match stop {
            Stop::Cut => (Side::Server, Cause::Drained),
            Stop::Deadline if half_closed => (Side::Server, Cause::HalfClose),
            Stop::Deadline => (Side::Server, Cause::Idle),
        };
        let stalled = client.is_stalled() || backend.is_stalled();
        let (to_client, to_backend) = match stop {
            Stop::Cut => (Farewell::Linger, Farewell::Reset),
            // Nothing is under way in either direction: an orderly end, as of
            // any idle connection.
            Stop::Deadline if !half_closed && !stalled => (Farewell::Linger, Farewell::Close),
            // Somebody is still owed bytes.
            Stop::Deadline => (Farewell::Reset, Farewell::Reset),
        };
        if to_client == Farewell::Linger {
            client.keep_close_notify(&mut self.around.scratch.borrow_mut().wire);
        }
        self.part(
            Some((client.into_link(), to_client)),
            Some((backend.into_link(), to_backend)),
        )
        .await;
        (CloseReason::new(Phase::Relay, side, cause), None)
    }

    /// Takes leave of the peers, within [`limits::LINGER_TIMEOUT`] of the last
    /// byte that one of them took, and the half-close time in all.
    async fn part(
        &self,
        mut client: Option<(Link, Farewell)>,
        mut backend: Option<(Link, Farewell)>,
    ) {
        let began = self.alarm.now();
        let mut due = began.after(limits::LINGER_TIMEOUT);
        let mut untaken = usize::MAX;
        poll_fn(|cx| {
            let scratch = &mut *self.around.scratch.borrow_mut();
            let later = &self.around.later;
            let told = [
                closing::poll(&mut client, cx, &mut scratch.plain, later),
                closing::poll(&mut backend, cx, &mut scratch.plain, later),
            ];
            let now = self.alarm.now();
            let in_all = began.after(self.terms.timeouts.half_close);
            if now >= due && now < in_all && !self.around.cut.get() {
                let queued = closing::owed(&client) + closing::owed(&backend);
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
        for (link, farewell) in [client, backend].into_iter().flatten() {
            closing::close(link, farewell);
        }
    }

    /// Ready when the tunnel is to stop; else it is polled again by `due`.
    fn poll_stop(&self, cx: &Context<'_>, due: Tick) -> Poll<Stop> {
        if self.around.cut.get() {
            return Poll::Ready(Stop::Cut);
        }
        if self.alarm.now() >= due {
            return Poll::Ready(Stop::Deadline);
        }
        self.alarm.set(cx, due);
        Poll::Pending
    }
}

fn side(who: Who) -> Side {
    match who {
        Who::Client => Side::Client,
        Who::Backend => Side::Backend,
    }
}

fn handshake_end(error: HandshakeError) -> End {
    let (cause, detail) = match error {
        HandshakeError::Eof => (Cause::Eof, None),
        HandshakeError::Io(error) => (Cause::Reset, Some(error.to_string())),
        HandshakeError::NotTls => (Cause::NotTls, None),
        HandshakeError::Tls(error) => (tls_cause(&error), Some(error.to_string())),
    };
    (
        CloseReason::new(Phase::Handshake, Side::Client, cause),
        detail,
    )
}

fn connect_end(error: ConnectError) -> End {
    let (side, cause, detail) = match error {
        ConnectError::Unresolved(text) => (Side::Backend, Cause::Unresolved, text),
        ConnectError::Refused(peer) => (
            Side::Backend,
            Cause::Refused,
            format!("nothing listens at {peer}"),
        ),
        ConnectError::Unreachable(peer, error) if error.kind() == io::ErrorKind::TimedOut => (
            Side::Backend,
            Cause::Timeout,
            format!("{peer} does not answer"),
        ),
        ConnectError::Unreachable(peer, error) => (
            Side::Backend,
            Cause::Unreachable,
            format!("{peer} cannot be reached: {error}"),
        ),
        ConnectError::Resources(error) => (Side::Server, Cause::Resources, error.to_string()),
    };
    (CloseReason::new(Phase::Connect, side, cause), Some(detail))
}

fn relay_cause(error: EndError) -> (Cause, Option<String>) {
    match error {
        EndError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            (Cause::TlsError, Some(error.to_string()))
        }
        EndError::Io(error) => (Cause::Reset, Some(error.to_string())),
        EndError::Tls(error) => (tls_cause(&error), Some(error.to_string())),
        EndError::Truncated => (Cause::Truncated, None),
    }
}

fn tls_cause(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
            Cause::NoOverlap
        }
        rustls::Error::AlertReceived(_) => Cause::Alert,
        _ => Cause::TlsError,
    }
}
