//! Where plaintext is carried to: services, how one of their backends is
//! chosen, and connecting to it. All of it belongs to one shard, but for the
//! threads that resolve names ([`Resolver`]), which serve them all.
//!
//! A [`Service`] has a place for each backend (`place`), which knows how many
//! tunnels it has, and whether it is worth another one (`standing`). `choice`
//! says which places come into question for a tunnel, `balance` takes one of
//! them, `connect` connects to it, and `seek` does so again and again until
//! there is a connection, or none to be had.

mod balance;
mod chance;
mod choice;
mod connect;
mod place;
mod resolve;
mod resolver;
mod seek;
mod standing;
mod upstream;
mod waiting;

pub(crate) use chance::Chance;
pub(crate) use connect::ConnectError;
pub(crate) use resolver::Resolver;
pub(crate) use seek::{Connected, Lease, Seek};
pub(crate) use upstream::Upstream;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::{self, Address, Source};
use crate::metrics::{ServiceStats, TimeCells};
use crate::runtime::Queues;
use crate::sys::socket::Outgoing;
use balance::Balancer;
use place::{Place, share};
use waiting::Line;

/// A service as one shard knows it.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    places: Vec<Place>,
    tls: Option<Upstream>,
    proxy_protocol: Option<config::ProxyHeader>,
    outgoing: Outgoing,
    balancer: Balancer,
    health: Option<config::HealthCheck>,
    eject: config::Ejection,
    slow_start: Duration,
    hold: Duration,
    queue_length: usize,
    queue_timeout: Duration,
    /// Some backend may have only so many tunnels.
    limited: bool,
    shard: usize,
    waits: Rc<Waits>,
}

/// Who waits for a service on one shard, and how many have. It outlives a
/// configuration, as the tunnels do whose end is waited for.
#[derive(Debug, Default)]
struct Waits {
    /// For room.
    queue: Line,
    /// For a backend to come up.
    held: Line,
    queued_total: Cell<u64>,
    queue_refused: Cell<u64>,
    retries: Cell<u64>,
    connect_times: TimeCells,
}

/// What a service is made of beside its configuration.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    /// What its backends are spoken to with, if that is TLS.
    pub(crate) tls: Option<Upstream>,
    pub(crate) resolver: &'a Resolver,
    pub(crate) queues: Queues,
    /// The shard that it is made on, and how many there are.
    pub(crate) shard: usize,
    pub(crate) shards: usize,
    /// The service of that name before a reload.
    pub(crate) former: Option<&'a Service>,
}

impl Service {
    /// What `max_connections` and the queue's length allow is divided among the
    /// shards, as evenly as can be: each shard sees to its own part, and the
    /// bounds hold without one shard asking another.
    pub(crate) fn new(service: &config::Service, making: Making<'_>) -> Self {
        let Making {
            tls,
            resolver,
            queues,
            shard,
            shards,
            former,
        } = making;
        let mut places = Vec::with_capacity(service.backends.len());
        for backend in &service.backends {
            let most = backend.max_connections;
            // It has been seen to that there is one for each.
            let room = most.map_or(u32::MAX, |most| share(most.get(), shard, shards).max(1));
            let same = |place: &&Place| place.address() == &backend.address;
            let known = former.and_then(|former| former.places.iter().find(same));
            let keeps_standing = former.is_some_and(|former| former.health == service.health);
            places.push(Place::new(
                backend,
                service,
                room,
                known,
                keeps_standing,
                resolver,
                queues,
            ));
        }
        let weights: Vec<u32> = places.iter().map(|place| place.weight).collect();
        Self {
            name: service.name.clone(),
            tls,
            proxy_protocol: service.proxy_protocol.clone(),
            outgoing: outgoing(service),
            balancer: Balancer::new(service.balance, &weights, shard, Chance::new(shard)),
            health: service.health.clone(),
            eject: service.eject,
            slow_start: service.slow_start,
            hold: service.hold,
            queue_length: share(service.queue.length, shard, shards) as usize,
            queue_timeout: service.queue.timeout,
            limited: places.iter().any(Place::is_limited),
            shard,
            waits: former.map_or_else(Rc::default, |former| former.waits.clone()),
            places,
        }
    }

    /// What its backends are told of a client.
    pub(crate) fn proxy_protocol(&self) -> Option<&config::ProxyHeader> {
        self.proxy_protocol.as_ref()
    }

    /// What its backends are spoken to with, if that is TLS.
    pub(crate) fn tls(&self) -> Option<&Upstream> {
        self.tls.as_ref()
    }

    /// The address of the backend with that number, as it was configured.
    pub(crate) fn address(&self, backend: usize) -> Option<&Address> {
        self.places.get(backend).map(Place::address)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The address of the backend with that number, as it was configured.
    pub(crate) fn address_of(&self, backend: usize) -> Option<&str> {
        self.places.get(backend).map(|place| place.shown())
    }

    /// How long a tunnel may have to wait beside the time that its connects
    /// take.
    pub(crate) fn patience(&self) -> Duration {
        let queue = if self.limited {
            self.queue_timeout
        } else {
            Duration::ZERO
        };
        queue.saturating_add(self.hold)
    }

    /// A tunnel to the backend with that number, which was
    /// [kept](seek::Lease::keep), has ended.
    pub(crate) fn give_back(&self, backend: usize) {
        if let Some(place) = self.places.get(backend) {
            place.load.end();
            if place.is_limited() {
                self.waits.queue.wake();
            }
        }
    }

    /// A tunnel has got a backend, and that took so long.
    pub(crate) fn connected_in(&self, time: Duration) {
        self.waits.connect_times.count(time);
    }

    /// What the checks have found of the backend at this address. Tunnels that
    /// are open are left alone.
    pub(crate) fn judge(&self, address: &Address, up: bool) {
        let mut news = false;
        for place in &self.places {
            if place.address() == address {
                news |= place.standing.judge(up, Instant::now(), self.slow_start);
            }
        }
        if news {
            self.changed();
        }
    }

    /// An operator wants the backend at this address to get no more tunnels, or
    /// to get them again. Tunnels that are open are left alone.
    pub(crate) fn enable(&self, address: &Address, enabled: bool) {
        let mut news = false;
        for place in &self.places {
            if place.address() == address && place.load.enable(enabled) {
                news = true;
                if enabled {
                    place.standing.welcome(Instant::now(), self.slow_start);
                }
            }
        }
        if news {
            self.changed();
        }
    }

    /// Asks the resolver for names whose addresses are old. Gives the time at
    /// which to look again; `None`: there are no names.
    pub(crate) fn refresh(&self, now: Instant) -> Option<Instant> {
        let due = self.places.iter().map(|place| place.addresses.refresh(now));
        due.flatten().min()
    }

    pub(crate) fn stats(&self) -> ServiceStats {
        self.settle();
        ServiceStats {
            name: self.name.clone(),
            waiting: self.waits.queue.len() as u64,
            held: self.waits.held.len() as u64,
            queued_total: self.waits.queued_total.get(),
            queue_refused: self.waits.queue_refused.get(),
            retries: self.waits.retries.get(),
            queue_length: self.queue_length as u64,
            connect_times: self.waits.connect_times.counts(),
            backends: self.places.iter().map(Place::stats).collect(),
        }
    }

    /// Other backends can be chosen than before.
    fn changed(&self) {
        self.waits.held.wake_all();
        self.waits.queue.wake_all();
    }
}

/// How connections to a service's backends are made.
fn outgoing(service: &config::Service) -> Outgoing {
    Outgoing {
        source: match service.source {
            Source::Fixed(source) => Some(source),
            // That of each client is found when it comes.
            Source::Kernel | Source::Transparent => None,
        },
        transparent: service.source == Source::Transparent,
        fast_open: service.tcp.fast_open,
        congestion: service.tcp.congestion.clone(),
    }
}
