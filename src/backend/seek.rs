//! Finding a connection for a tunnel.

use std::borrow::Cow;
use std::future::{pending, poll_fn};
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
    /// How long its TLS handshake may take, if there is one, so that there is
    /// time left for other backends.
    pub(crate) share: Duration,
}

/// A tunnel to a backend, counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    service: &'a Service,
    index: usize,
}

/// A tunnel's search for a backend.
#[derive(Debug)]
pub(crate) struct Seek<'a> {
    service: &'a Service,
    outgoing: Cow<'a, Outgoing>,
    /// The client, as a balancer knows it again.
    key: Option<u64>,
    budget: Budget,
    /// For how long the client has been held.
    held: Duration,
    tried: Tried,
    /// Whether one of these has failed.
    failed: bool,
    last: Option<ConnectError>,
}

impl Lease<'_> {
    /// The backend's number.
    pub(crate) fn backend(&self) -> usize {
        self.index
    }

    /// The backend serves the tunnel, which goes on being counted until
    /// [`Service::give_back`] is told the number that this gives: the backend's.
    pub(crate) fn keep(self) -> usize {
        let index = self.index;
        self.service.succeeded(&self.service.places[index]);
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
    /// Begins to look for a backend. The connects share `timeout` between them.
    /// Time in the queue and time for which the client is held come on top of
    /// it; to bound the whole is the caller's affair. `client` is asked only if the
    /// choice depends on it, or if the connection is to come from the client's
    /// own address.
    pub(crate) fn seek(&self, timeout: Duration, client: impl Fn() -> Option<IpAddr>) -> Seek<'_> {
        let key = if self.balancer.wants_key() {
            client().map(|ip| match ip.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            })
        } else {
            None
        };
        let outgoing = if self.outgoing.transparent {
            Cow::Owned(Outgoing {
                source: client(),
                ..self.outgoing.clone()
            })
        } else {
            Cow::Borrowed(&self.outgoing)
        };
        Seek {
            service: self,
            outgoing,
            key,
            budget: Budget::new(timeout),
            held: Duration::ZERO,
            tried: Tried::default(),
            failed: false,
            last: None,
        }
    }
}

impl<'a> Seek<'a> {
    /// Connects to a backend: the one that the balance chooses, or, if that
    /// fails, another one, none of them twice, until there is none left.
    ///
    /// Where all have failed and clients are to be held, all are tried anew,
    /// every [`limits::HOLD_RETRY`] or when one comes up, and with all the time
    /// that there was at first.
    pub(crate) async fn connect(&mut self) -> Result<Connected<'a>, ConnectError> {
        let service = self.service;
        loop {
            let choice = match service.choose(&self.tried, self.key) {
                // Those who wait already come first.
                Choice::Take(_) if service.limited && service.waits.queue.is_held_up() => {
                    Choice::Full
                }
                choice => choice,
            };
            let lease = match choice {
                Choice::Take(index) => service.lease(index),
                Choice::Full => {
                    let began = Instant::now();
                    let lease = service.queue(&self.tried, self.key).await;
                    self.budget.extend(began.elapsed());
                    match lease {
                        Ok(Some(lease)) => lease,
                        Ok(None) => continue,
                        Err(full) => return Err(self.last.take().unwrap_or(full)),
                    }
                }
                Choice::Exhausted | Choice::Down => {
                    let left = self.hold_left();
                    if left.is_zero() {
                        return Err(self.last.take().unwrap_or(ConnectError::Down));
                    }
                    let began = Instant::now();
                    service.hold(left, choice).await;
                    self.held += began.elapsed();
                    // A backend that was silent may have used it all.
                    self.budget.renew();
                    self.tried = Tried::default();
                    self.failed = false;
                    continue;
                }
            };
            let index = lease.index;
            if self.failed {
                let retries = &service.waits.retries;
                retries.set(retries.get() + 1);
            }
            let others = || service.left(&self.tried, index);
            let addresses = &service.places[index].addresses;
            match connect::connect(addresses, &self.budget, &self.outgoing, others).await {
                Ok(socket) => {
                    let share = match service.tls {
                        Some(_) => self.budget.share(1 + others()),
                        None => Duration::ZERO,
                    };
                    return Ok(Connected {
                        socket,
                        lease,
                        share,
                    });
                }
                // It is not the backend's fault, and no other will do better.
                Err(error @ ConnectError::Resources(_)) => return Err(error),
                // Nor is it here, but another may do.
                Err(error @ ConnectError::Unsuited(_)) => {
                    drop(lease);
                    self.tried.add(index);
                    self.last = Some(error);
                }
                Err(error) => {
                    self.fail(lease);
                    self.last = Some(error);
                }
            }
        }
    }

    /// The backend took the connection, and then would not serve. Whether to
    /// [go on](Self::connect): there is another one to try, or the client is
    /// held.
    pub(crate) fn give_up(&mut self, lease: Lease<'_>) -> bool {
        self.fail(lease);
        // That was before.
        self.last = None;
        match self.service.choose(&self.tried, self.key) {
            Choice::Take(_) | Choice::Full => true,
            Choice::Exhausted | Choice::Down => !self.hold_left().is_zero(),
        }
    }

    /// For how long the client may still be held.
    fn hold_left(&self) -> Duration {
        self.service.hold.saturating_sub(self.held)
    }

    fn fail(&mut self, lease: Lease<'_>) {
        let index = lease.index;
        drop(lease);
        self.service.failed(index);
        self.tried.add(index);
        self.failed = true;
    }
}

impl Service {
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
        let room = async {
            // When there is more to choose from, though nothing else happens.
            let mut back = None;
            loop {
                let chosen = poll_fn(|cx| {
                    if !turn.is_next(cx.waker()) {
                        return Poll::Pending;
                    }
                    match self.choose(tried, key) {
                        Choice::Full => {
                            let next = self.next_return(tried);
                            if next == back {
                                return Poll::Pending;
                            }
                            Poll::Ready(Err(next))
                        }
                        Choice::Take(index) => Poll::Ready(Ok(Some(self.lease(index)))),
                        Choice::Exhausted | Choice::Down => Poll::Ready(Ok(None)),
                    }
                });
                let passed = async {
                    let Some(back) = back else {
                        return pending().await;
                    };
                    let left = back.saturating_duration_since(Instant::now());
                    runtime::sleep(left).await;
                    Err(Some(back))
                };
                match or(chosen, passed).await {
                    Ok(chosen) => return Ok(chosen),
                    Err(next) => back = next,
                }
            }
        };
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
        let turn = line.stand_by();
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
            // Those behind it may come into question now, or it itself later.
            self.waits.queue.wake_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Making, Resolver};
    use super::*;
    use crate::config;
    use crate::runtime::Queues;

    fn never(_: &str, _: u16) -> Result<Vec<std::net::SocketAddr>, String> {
        loop {
            std::thread::park();
        }
    }

    /// A name whose servers are silent has its share of the time, and no more;
    /// and it counts as a backend that fails.
    #[test]
    fn a_resolver_that_is_silent_leaves_time_for_another_backend() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap().to_string();
        let backends = ["silent.example:80", &good]
            .map(|address| config::Backend::new(address.parse().unwrap()));
        let service = config::Service {
            balance: config::Balance::First,
            ..config::Service::new("app", backends.to_vec(), None)
        };
        runtime::executor(None).unwrap().run(async {
            let making = Making {
                tls: None,
                resolver: &Resolver::with(never),
                queues: Queues::new(),
                shard: 0,
                shards: 1,
                former: None,
            };
            let service = Service::new(&service, making);
            let timeout = Duration::from_millis(400);
            for _ in 0..3 {
                let began = Instant::now();
                let mut seek = service.seek(timeout, || None);
                let connected = seek.connect().await.unwrap();
                assert_eq!(connected.lease.backend(), 1);
                assert!(began.elapsed() >= timeout / 2);
            }
            let ejected = service.stats().backends[0].ejected_on_shards;
            assert_eq!(ejected, 1);
            let mut seek = service.seek(timeout, || None);
            assert_eq!(seek.connect().await.unwrap().lease.backend(), 1);
            assert!(seek.last.is_none(), "the silent one was asked again");
        });
    }
}
