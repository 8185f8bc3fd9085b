//! The phase in which bytes flow.

use std::io;
use std::task::{Context, Poll};

use super::closing::Farewell;
use super::end::EndError;
use super::parting::Parting;
use super::plain::PlainEnd;
use super::relay::{Outcome, Relay, Who};
use super::tls::TlsEnd;
use super::{Cause, CloseReason, Phase, Side, Stop, Tunnel, tls_cause};
use crate::limits;
use crate::timer::Tick;

/// A relay with its two ends and its timeouts.
pub(super) struct Carrying<'a> {
    tunnel: &'a Tunnel<'a>,
    client: TlsEnd,
    backend: PlainEnd,
    relay: Relay<EndError>,
    /// When anything moved last.
    active: Tick,
    /// What the peers had not taken when nothing had moved for a time.
    untaken: Option<(usize, usize)>,
    /// When it is a tunnel that lasts, until it is.
    settles: Option<Tick>,
    bytes_up: u64,
    bytes_down: u64,
}

impl<'a> Carrying<'a> {
    pub(super) fn new(tunnel: &'a Tunnel<'a>, client: TlsEnd, backend: PlainEnd) -> Self {
        let now = tunnel.alarm.now();
        Self {
            tunnel,
            client,
            backend,
            relay: Relay::default(),
            active: now,
            untaken: None,
            settles: Some(now.after(limits::SETTLING)),
            bytes_up: 0,
            bytes_down: 0,
        }
    }

    /// Goes on until there is nothing more to do now, or others are waiting.
    /// Ready with how it came to an end, or why it is broken off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome<EndError>, Stop>> {
        let tunnel = self.tunnel;
        let around = tunnel.around;
        let now = tunnel.alarm.now();
        let scratch = &mut *around.scratch.borrow_mut();
        if self.settles.take_if(|settles| now >= *settles).is_some() {
            self.client.release_tickets();
            self.backend.keep_alive();
        }
        let mut moved = false;
        let mut more = true;
        for _ in 0..limits::TURNS_PER_POLL {
            let (progress, over) = self.relay.turn(
                &mut self.client.wired(cx.waker(), &mut scratch.wire),
                &mut self.backend.wired(cx.waker(), tunnel.terms.buffer_size),
                &mut scratch.plain,
            );
            let (up, down) = (progress.up as u64, progress.down as u64);
            self.bytes_up += up;
            self.bytes_down += down;
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
        if moved {
            self.active = now;
            self.untaken = None;
        }
        let timeout = if self.relay.is_half_closed() {
            tunnel.terms.timeouts.half_close
        } else {
            tunnel.terms.timeouts.idle
        };
        if now >= self.active.after(timeout) {
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
            return tunnel.poll_stop(cx, due).map(Err);
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
    }

    /// What the peers are to be told, and the tunnel's close reason.
    pub(super) fn end(self: Box<Self>, over: Result<Outcome<EndError>, Stop>) -> Box<Parting> {
        let (bytes_up, bytes_down) = (self.bytes_up, self.bytes_down);
        let parting = match over {
            Ok(outcome) => self.ended(outcome),
            Err(stop) => self.stopped(stop),
        };
        Box::new(parting.carried(bytes_up, bytes_down))
    }

    /// The relay came to an end of itself.
    fn ended(self, outcome: Outcome<EndError>) -> Parting {
        let truncated = self.client.was_truncated();
        let (client, backend) = (self.client.into_link(), self.backend.into_link());
        let reason = |side, cause| CloseReason::new(Phase::Relay, side, cause);
        match outcome {
            Outcome::Ended { .. } if truncated => {
                Parting::new((reason(Side::Client, Cause::Truncated), None))
            }
            Outcome::Ended { last } => Parting::new((reason(side(last), Cause::Eof), None)),
            Outcome::Broke { who, error } => {
                let (cause, detail) = relay_cause(error);
                let parting = Parting::new((reason(side(who), cause), detail));
                match who {
                    Who::Client => {
                        let farewell = match cause {
                            Cause::TlsError | Cause::Alert => Farewell::Linger,
                            _ => Farewell::Close,
                        };
                        parting
                            .client(client, farewell)
                            .backend(backend, Farewell::Reset)
                    }
                    Who::Backend => parting.client(client, Farewell::Reset),
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

    /// The relay was broken off by us.
    fn stopped(mut self, stop: Stop) -> Parting {
        let half_closed = self.relay.is_half_closed();
        let cause = match stop {
            Stop::Cut => Cause::Drained,
            Stop::Deadline if half_closed => Cause::HalfClose,
            Stop::Deadline => Cause::Idle,
        };
        let stalled = self.client.is_stalled() || self.backend.is_stalled();
        let (to_client, to_backend) = match stop {
            Stop::Cut => (Farewell::Linger, Farewell::Reset),
            // Nothing is under way in either direction: an orderly end, as of
            // any idle connection.
            Stop::Deadline if !half_closed && !stalled => (Farewell::Linger, Farewell::Close),
            // Somebody is still owed bytes.
            Stop::Deadline => (Farewell::Reset, Farewell::Reset),
        };
        if to_client == Farewell::Linger {
            let scratch = &mut *self.tunnel.around.scratch.borrow_mut();
            self.client.keep_close_notify(&mut scratch.wire);
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
        EndError::Tls(error) => (tls_cause(&error), Some(error.to_string())),
        EndError::Truncated => (Cause::Truncated, None),
    }
}
