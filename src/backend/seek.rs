//! Finding a connection for a tunnel.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::future::or;

use super::Service;
use super::chance::hash;
use super::choice::{Choice, Tried};
use super::connect::{self, Budget, ConnectError};
use super::place::Place;
use super::waiting::Line;
use crate::limits;
use crate::runtime::{self, Socket};
use crate::sys::socket::Outgoing;

/// A connection to one of a service's backends.
#[derive(Debug)]
pub(crate) struct Connected<'a> {
    pub(crate) socket: Socket,
    /// The tunnel as its backend counts it.
    pub(crate) lease: Lease<'a>,
    /// For how long the tunnel waited for something else than a connect.
    pub(crate) waited: Duration,
}

/// A tunnel to a backend, counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    service: &'a Service,
    index: usize,
}

impl Lease<'_> {
    /// Goes on counting until [`Service::give_back`] is told the number that
    /// this gives: the backend's.
    pub(crate) fn keep(self) -> usize {
        let index = self.index;
        std::mem::forget(self);
        index
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.service.give_back(self.index);
    }
}

impl Service {
    /// Connects to a backend: the one that its balance chooses, or, if that
    /// fails, another one, none of them twice, until there is none left.
    ///
    /// The connects share `timeout` between them; to hold it is the caller's
    /// affair. Time in the queue and time for which the client is held come on
    /// top of it. `client` is asked only if the choice depends on it, or if
    /// the connection is to come from the client's own address.
    ///
    /// Where all have failed and clients are to be held, all are tried anew,
    /// every [`limits::HOLD_RETRY`] or when one comes up.
    pub(crate) async fn connect(
        &self,
        timeout: Duration,
        client: impl Fn() -> Option<IpAddr>,
    ) -> Result<Connected<'_>, ConnectError> {
        let key = if self.balancer.wants_key() {
            client().map(|ip| match ip.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            })
        } else {
            None
        };
        let outgoing = self.outgoing(&client);
        let budget = Budget::new(timeout);
        let mut waited = Duration::ZERO;
        let mut held = Duration::ZERO;
        let mut tried = Tried::default();
        let mut last = None;
        loop {
            let choice = match self.choose(&tried, key) {
                // Those who wait already come first.
                Choice::Take(_) if self.limited && self.waits.queue.is_held_up() => Choice::Full,
                choice => choice,
            };
            let lease = match choice {
                Choice::Take(index) => self.lease(index),
                Choice::Full => {
                    let began = Instant::now();
                    let lease = self.queue(&tried, key).await;
                    let took = began.elapsed();
                    waited += took;
                    budget.extend(took);
                    match lease {
                        Ok(Some(lease)) => lease,
                        Ok(None) => continue,
                        Err(full) => return Err(last.unwrap_or(full)),
                    }
                }
                Choice::Exhausted | Choice::Down => {
                    let left = self.hold.saturating_sub(held);
                    if left.is_zero() {
                        return Err(last.unwrap_or(ConnectError::Down));
                    }
                    let began = Instant::now();
                    self.hold(left, choice).await;
                    let took = began.elapsed();
                    (waited, held) = (waited + took, held + took);
                    budget.extend(took);
                    tried = Tried::default();
                    continue;
                }
            };
            let index = lease.index;
            if !tried.is_empty() {
                let retries = &self.waits.retries;
                retries.set(retries.get() + 1);
            }
            let others = || self.left(&tried, index);
            match connect::connect(&self.places[index].addresses, &budget, &outgoing, others).await
            {
                Ok(socket) => {
                    self.succeeded(&self.places[index]);
                    return Ok(Connected {
                        socket,
                        lease,
                        waited,
                    });
                }
                // It is not the backend's fault, and no other will do better.
                Err(error @ ConnectError::Resources(_)) => return Err(error),
                Err(error) => {
                    drop(lease);
                    self.failed(index);
                    tried.add(index);
                    last = Some(error);
                }
            }
        }
    }

    /// How connections for that client are made.
    fn outgoing(&self, client: impl Fn() -> Option<IpAddr>) -> Cow<'_, Outgoing> {
        if !self.outgoing.transparent {
            return Cow::Borrowed(&self.outgoing);
        }
        Cow::Owned(Outgoing {
            source: client(),
            ..self.outgoing.clone()
        })
    }

    fn lease(&self, index: usize) -> Lease<'_> {
        self.places[index].load.begin();
        Lease {
            service: self,
            index,
        }
    }

    /// Waits for room. `Ok(None)`: there is something else to do than to wait.
    async fn queue(
        &self,
        tried: &Tried,
        key: Option<u64>,
    ) -> Result<Option<Lease<'_>>, ConnectError> {
        let refused = || {
            let refused = &self.waits.queue_refused;
            refused.set(refused.get() + 1);
            ConnectError::Full
        };
        let queue = &self.waits.queue;
        if queue.len() >= self.queue_length {
            return Err(refused());
        }
        let queued = &self.waits.queued_total;
        queued.set(queued.get() + 1);
        let turn = queue.join(!tried.is_empty());
        let room = poll_fn(|cx| {
            if !turn.is_next(cx.waker()) {
                return Poll::Pending;
            }
            match self.choose(tried, key) {
                Choice::Full => Poll::Pending,
                Choice::Take(index) => Poll::Ready(Ok(Some(self.lease(index)))),
                Choice::Exhausted | Choice::Down => Poll::Ready(Ok(None)),
            }
        });
        let late = async {
            runtime::sleep(self.queue_timeout).await;
            Err(refused())
        };
        or(room, late).await
    }

    /// Holds a client until something has changed, or it is worth another try,
    /// but no longer than `left`.
    async fn hold(&self, left: Duration, why: Choice) {
        let line: &Line = &self.waits.held;
        let turn = line.join(true);
        let mut waits = false;
        let changed = poll_fn(|cx| {
            if waits && turn.was_woken() {
                return Poll::Ready(());
            }
            waits = true;
            turn.is_next(cx.waker());
            Poll::Pending
        });
        let wait = match why {
            // Nothing but a check will change that.
            Choice::Down => left,
            _ => left.min(limits::HOLD_RETRY),
        };
        or(changed, runtime::sleep(wait)).await;
    }

    fn succeeded(&self, place: &Place) {
        place.load.connected();
        if place.standing.succeeded(Instant::now, self.slow_start) {
            log::warn!(
                "shard {}: {}: {} takes tunnels again",
                self.shard,
                self.name,
                place.address()
            );
            self.changed();
        }
    }

    fn failed(&self, index: usize) {
        let place = &self.places[index];
        place.load.failed();
        let spare = self.has_spare(index);
        if let Some(pause) = place.standing.failed(Instant::now, self.eject, spare) {
            log::warn!(
                "shard {}: {}: {} is left alone for {}, since its connects fail",
                self.shard,
                self.name,
                place.address(),
                humantime::format_duration(pause)
            );
        }
    }
}
