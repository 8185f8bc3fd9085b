//! The phase in which bytes flow.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use super::cause::of_failure;
use super::closing::Farewell;
use super::end::{EndError, Link, Party};
use super::held::Kept;
use super::parting::Parting;
use super::relay::{End as _, Outcome, Relay, Who};
use super::scratch::Scratch;
use super::{Cause, CloseReason, Phase, Side, Stop, Tunnel};
use crate::limits;
use crate::sys::socket;
use crate::timer::Tick;

/// A tunnel that carries, whatever its ends speak.
pub(super) trait Carry {
    /// Goes on until there is nothing more to do now, or others are waiting.
    /// Ready with how it came to an end, or why it is broken off.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome<EndError>, Stop>>;

    /// What the peers are to be told, and the tunnel's close reason.
    fn end(self: Box<Self>, over: Result<Outcome<EndError>, Stop>) -> Box<Parting>;
}

/// A relay with its two ends and its timeouts.
pub(super) struct Carrying<'a, C, B> {
    tunnel: &'a Tunnel<'a>,
    client: C,
    backend: B,
    relay: Relay<EndError>,
    /// When anything moved last.
    active: Tick,
    /// What the peers had not taken some time after anything had moved last.
    untaken: Option<(usize, usize)>,
    /// When it is a tunnel that lasts, until it is.
    settles: Option<Tick>,
    /// When to look whether a peer is gone that is not read.
    looks: Tick,
    /// What the client sent before there was a backend.
    early: Kept,
    bulk: Bulk,
}

/// In which direction there was as much to take as a turn takes, so that the
/// next one may take more.
#[derive(Clone, Copy, Default)]
struct Bulk {
    up: bool,
    down: bool,
}

impl<'a, C: Party, B: Party> Carrying<'a, C, B> {
    pub(super) fn new(tunnel: &'a Tunnel<'a>, client: C, backend: B) -> Self {
        let now = tunnel.alarm.now();
        Self {
            tunnel,
            client,
            backend,
            relay: Relay::default(),
            active: now,
            untaken: None,
            settles: Some(now.after(limits::SETTLING)),
            looks: Tick::NEVER,
            early: Kept::default(),
            bulk: Bulk::default(),
        }
    }

    /// What the next turn takes from the client, and from the backend: more
    /// than `take` where there is much, and the other side has room for it. So
    /// fewer calls of the kernel carry it, and fewer wake-ups of those who get
    /// it; and nothing more waits here when they do not keep pace.
    fn takes(&self, take: usize) -> (usize, usize) {
        let bulk = Scratch::in_bulk(take);
        let most = |is_much: bool, has_room: &dyn Fn(usize) -> bool| {
            if is_much && has_room(bulk) {
                bulk
            } else {
                take
            }
        };
        (
            most(self.bulk.up, &|bytes| self.backend.has_room(bytes)),
            most(self.bulk.down, &|bytes| self.client.has_room(bytes)),
        )
    }

    /// The same with bytes of the client's in front.
    pub(super) fn after(mut self, early: Kept) -> Self {
        self.early = early;
        self
    }

    /// How the connection of a peer broke that is not read, if it did: of one
    /// whose stream has ended, or of the client while the backend takes nothing.
    /// Nothing else would tell, and the tunnel would be kept for as long as an
    /// idle one.
    fn look_after_peers(&mut self, cx: &Context<'_>, now: Tick) -> Option<Outcome<EndError>> {
        let ended = |who| self.relay.has_ended(who);
        let (client, backend) = (ended(Who::Client), ended(Who::Backend));
        if !client && !backend && !self.backend.is_stalled() {
            return None;
        }
        if now >= self.looks {
            let error = |link: &Link| socket::take_error(link.socket.as_fd()).ok().flatten();
            if (client || self.backend.is_stalled())
                && let Some(error) = error(self.client.link())
            {
                let (who, error) = (Who::Client, EndError::Io(error));
                return Some(match client {
                    true => Outcome::Unheard { who, error },
                    false => Outcome::Broke { who, error },
                });
            }
            if backend && let Some(error) = error(self.backend.link()) {
                let (who, error) = (Who::Backend, EndError::Io(error));
                return Some(Outcome::Unheard { who, error });
            }
        }
        if now >= self.looks || self.looks == Tick::NEVER {
            self.looks = now.after(limits::GONE_INTERVAL);
        }
        self.tunnel.alarm.set(cx, self.looks);
        None
    }

    /// Passes on what came in front.
    fn push_early(&mut self, cx: &Context<'_>, scratch: &mut Scratch) -> Result<(), EndError> {
        let early = std::mem::take(&mut self.early);
        let take = self.tunnel.terms.buffer_size;
        self.tunnel.carried(early.len() as u64, 0);
        let wire = &mut scratch.backend_wire;
        let mut backend = self.backend.wired(cx.waker(), wire, take);
        // It is no more than there is room to seal.
        early.chunks(take).try_for_each(|part| backend.push(part))
    }
}

impl<C: Party, B: Party> Carry for Carrying<'_, C, B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome<EndError>, Stop>> {
        let tunnel = self.tunnel;
        let around = tunnel.around;
        let now = tunnel.alarm.now();
        let scratch = &mut *around.scratch.borrow_mut();
        if self.settles.take_if(|settles| now >= *settles).is_some() {
            self.client.release();
            self.backend.keep_alive();
        }
        let take = tunnel.terms.buffer_size;
        let mut moved = false;
        let mut more = true;
        if !self.early.is_empty()
            && let Err(error) = self.push_early(cx, scratch)
        {
            let who = Who::Backend;
            return Poll::Ready(Ok(Outcome::Broke { who, error }));
        }
        let mut taken = 0;
        while taken < limits::TURNS_PER_POLL {
            let (from_client, from_backend) = self.takes(take);
            taken += from_client.max(from_backend).div_ceil(take);
            let (progress, over) = self.relay.turn(
                &mut self
                    .client
                    .wired(cx.waker(), &mut scratch.wire, from_client),
                &mut self
                    .backend
                    .wired(cx.waker(), &mut scratch.backend_wire, from_backend),
                &mut scratch.plain,
            );
            tunnel.carried(progress.up as u64, progress.down as u64);
            self.bulk = Bulk {
                up: progress.up >= take,
                down: progress.down >= take,
            };
            moved |= progress.live;
            if let Poll::Ready(outcome) = over {
                return Poll::Ready(Ok(outcome));
            }
            more = progress.any;
            if !more {
                break;
            }
        }
        if moved {
            self.active = now;
            self.untaken = None;
            self.looks = Tick::NEVER;
        }
        let timeout = if self.relay.is_half_closed() {
            tunnel.terms.timeouts.half_close
        } else {
            tunnel.terms.timeouts.idle
        };
        // Not as the stall begins: in a bulk transfer there is one after the other.
        let stalls = self.untaken.is_none() && self.is_stalled();
        let noted = if stalls {
            self.active.after(timeout.min(limits::STALL_NOTED))
        } else {
            self.active.after(timeout)
        };
        if now >= noted {
            // The kernel holds megabytes, which a slow peer may be taking
            // all the while that nothing moves here.
            let queued = (self.client.queued(), self.backend.queued());
            if queued != (0, 0) && self.untaken.replace(queued) != Some(queued) {
                self.active = now;
            }
        }
        let due = self.active.after(timeout);
        if !more {
            if let Some(settles) = self.settles {
                tunnel.alarm.set(cx, settles);
            }
            if stalls {
                tunnel.alarm.set(cx, noted);
            }
            if let Some(outcome) = self.look_after_peers(cx, now) {
                return Poll::Ready(Ok(outcome));
            }
            return tunnel.poll_stop(cx, due).map(Err);
        }
        // There may be more to do, but others are waiting. Where all there
        // is to do is to throw bytes away, that has its end, too.
        if let Some(stop) = tunnel.is_ordered_to_stop() {
            return Poll::Ready(Err(stop));
        }
        if now >= due {
            return Poll::Ready(Err(Stop::Deadline));
        }
        around.later.give_way(cx);
        Poll::Pending
    }

    fn end(self: Box<Self>, over: Result<Outcome<EndError>, Stop>) -> Box<Parting> {
        Box::new(match over {
            Ok(outcome) => self.ended(outcome),
            Err(stop) => self.stopped(stop),
        })
    }
}

impl<C: Party, B: Party> Carrying<'_, C, B> {
    /// The relay came to an end of itself.
    fn ended(self, outcome: Outcome<EndError>) -> Parting {
        let truncated = match (self.client.was_truncated(), self.backend.was_truncated()) {
            (true, _) => Some(Side::Client),
            (false, true) => Some(Side::Backend),
            (false, false) => None,
        };
        let (client, backend) = (self.client.into_link(), self.backend.into_link());
        let reason = |side, cause| CloseReason::new(Phase::Relay, side, cause);
        match outcome {
            Outcome::Ended { last } => Parting::new(match truncated {
                Some(side) => (reason(side, Cause::Truncated), None),
                None => (reason(side(last), Cause::Eof), None),
            }),
            Outcome::Broke { who, error } => {
                let (cause, detail) = relay_cause(error);
                let parting = Parting::new((reason(side(who), cause), detail));
                // The alert, if there is one, is to arrive.
                let farewell = match cause {
                    Cause::TlsError | Cause::Alert => Farewell::Linger,
                    _ => Farewell::Close,
                };
                match who {
                    Who::Client => parting
                        .client(client, farewell)
                        .backend(backend, Farewell::Reset),
                    Who::Backend => parting
                        .client(client, Farewell::Reset)
                        .backend(backend, farewell),
                }
            }
            Outcome::Unheard { who, error } => {
                let (cause, detail) = relay_cause(error);
                let parting = Parting::new((reason(side(who), cause), detail));
                match who {
                    Who::Client => parting.backend(backend, Farewell::Reset),
                    Who::Backend => parting.client(client, Farewell::Linger),
                }
            }
        }
    }

    /// Whether somebody takes nothing.
    fn is_stalled(&self) -> bool {
        self.client.is_stalled() || self.backend.is_stalled()
    }

    /// Whether bytes moved of late, or the client has still to take some.
    fn is_under_way(&self) -> bool {
        let idle = self.active.after(limits::UNDER_WAY);
        self.tunnel.alarm.now() < idle || self.client.queued() > 0
    }

    /// The relay was broken off by us.
    fn stopped(mut self, stop: Stop) -> Parting {
        let half_closed = self.relay.is_half_closed();
        let cause = match stop {
            Stop::Deadline if half_closed => Cause::HalfClose,
            Stop::Deadline => Cause::Idle,
            Stop::Cut | Stop::Closed => stop.cause(),
        };
        let owed = half_closed || self.is_stalled();
        let (to_client, mut to_backend) = match stop {
            // In the midst of something, as far as can be told: with an orderly
            // end the client would take a part for the whole.
            Stop::Cut | Stop::Closed if owed || self.is_under_way() => {
                (Farewell::Reset, Farewell::Reset)
            }
            Stop::Cut | Stop::Closed => (Farewell::Linger, Farewell::Reset),
            // Nothing is under way in either direction: an orderly end, as of
            // any idle connection.
            Stop::Deadline if !owed => (Farewell::Linger, Farewell::Close),
            // Somebody is still owed bytes.
            Stop::Deadline => (Farewell::Reset, Farewell::Reset),
        };
        let scratch = &mut *self.tunnel.around.scratch.borrow_mut();
        if to_client == Farewell::Linger {
            self.client.take_leave(&mut scratch.wire);
        }
        if to_backend == Farewell::Close {
            self.backend.take_leave(&mut scratch.wire);
            if self.backend.is_stalled() {
                to_backend = Farewell::Linger;
            }
        }
        Parting::new((CloseReason::new(Phase::Relay, Side::Server, cause), None))
            .client(self.client.into_link(), to_client)
            .backend(self.backend.into_link(), to_backend)
    }
}

fn side(who: Who) -> Side {
    match who {
        Who::Client => Side::Client,
        Who::Backend => Side::Backend,
    }
}

fn relay_cause(error: EndError) -> (Cause, Option<String>) {
    match error {
        EndError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            (Cause::TlsError, Some(error.to_string()))
        }
        EndError::Io(error) => (Cause::Reset, Some(error.to_string())),
        EndError::Tls(error) => of_failure(&error),
        EndError::Truncated => (Cause::Truncated, None),
    }
}
