//! One connection's life.
//!
//! ```text
//!   accepted ─▶ handshake ─▶ connect ─▶ relay ─▶ closing ─▶ one CloseReason
//! ```
//!
//! A tunnel is one task on one shard. It waits in one place at a time, and
//! that place is a poll over both of its connections ([`relay`]), so that it
//! needs no halves, no locks and no buffers of its own while it is idle.
//! `opening` leads up to the relay, `carrying` drives it, and `parting` tells
//! the two peers of its end, which `close` gives a name.

mod alert;
mod announce;
mod arrival;
mod carrying;
mod cause;
mod closing;
mod conversation;
mod end;
mod facts;
pub(crate) mod held;
mod hello;
mod id;
mod opening;
mod parting;
mod plain;
mod rates;
mod record;
pub mod relay;
mod scratch;
mod tls;
mod turns;
mod unsent;

pub use crate::close::{Cause, CloseReason, Phase, Side};
pub(crate) use id::Ids;
pub(crate) use rates::{Counted, Pace, Rates};
pub(crate) use record::{Record, Records, canonical};
pub(crate) use scratch::Scratch;
pub(crate) use turns::Turns;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;

use crate::backend::Service;
use crate::config::{AccessList, Network, Route, Timeouts, Truncation};
use crate::later::Later;
use crate::metrics::Counters;
use crate::runtime::Socket;
use crate::timer::{Alarm, Tick, Timers};

/// What all tunnels of a shard have in common.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) timers: Rc<Timers>,
    pub(crate) counters: Counters,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) later: Later,
    /// How fast networks come in.
    pub(crate) rates: Rates,
    /// Whose turn it is to shake hands.
    pub(crate) turns: Turns,
    /// The order that every tunnel end now.
    pub(crate) cut: Cell<bool>,
    /// The shard is leaving: no tunnel may wait for anything.
    pub(crate) leaving: Cell<bool>,
    /// Names for tunnels.
    pub(crate) ids: Ids,
    /// What is known of each that is open.
    pub(crate) records: Records,
}

/// What all tunnels of a listener have in common. A tunnel keeps what it
/// began with when the configuration changes.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The listener's name.
    pub(crate) listener: Rc<str>,
    /// What clients are spoken to with; `None`: plaintext.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// TLS is passed through, so that the ClientHello is read here, for the
    /// routes.
    pub(crate) hears_hello: bool,
    /// How the service is chosen: by the first that fits.
    pub(crate) ways: Vec<Way>,
    /// Where tunnels lead to for which none fits.
    pub(crate) service: Rc<Service>,
    /// Who may come in.
    pub(crate) access: Rc<AccessList>,
    /// How fast; `None`: as fast as they like.
    pub(crate) pace: Option<Pace>,
    /// Who has to send a header of the PROXY protocol.
    pub(crate) proxy_from: Vec<Network>,
    /// An access line is to tell of its tunnels, so that more of them is kept.
    pub(crate) tells: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) truncation: Truncation,
    pub(crate) buffer_size: usize,
}

/// A route with the service that it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) route: Route,
    pub(crate) service: Rc<Service>,
}

/// How one tunnel ended.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) reason: CloseReason,
    /// The particulars, where there are any.
    pub(crate) detail: Option<String>,
}

/// Carries one connection from its accept to its end.
pub(crate) async fn run(
    around: &Surroundings,
    terms: &Terms,
    record: &Record,
    client: OwnedFd,
) -> Summary {
    let tunnel = Tunnel {
        around,
        terms,
        record,
        alarm: around.timers.alarm(),
        way: Cell::new(None),
    };
    record.is_woken_by(&tunnel.alarm);
    // Each phase lives on the heap while it lasts. In the task itself there
    // would be room for the largest of them, and for what is handed from one
    // to the next, for as long as the tunnel lives.
    let opening = around.counters.tunnels_opening.hold();
    let opened = Box::pin(tunnel.open(Socket::new(client))).await;
    drop(opening);
    let parting = match opened {
        Ok(mut carrying) => {
            let over = poll_fn(|cx| carrying.poll(cx)).await;
            carrying.end(over)
        }
        Err(parting) => parting,
    };
    if parting.takes_time() {
        record.parts();
        Box::pin(tunnel.part(parting)).await
    } else {
        parting.close()
    }
}

/// What one tunnel has at hand in all its phases.
struct Tunnel<'a> {
    around: &'a Surroundings,
    terms: &'a Terms,
    record: &'a Record,
    alarm: Alarm,
    /// Which of the terms' ways it goes; `None`: none of them.
    way: Cell<Option<usize>>,
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        if let Some(backend) = self.record.backend() {
            self.service().give_back(backend);
        }
    }
}

/// Why a phase was broken off from within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Deadline,
    /// Every tunnel was ordered to end.
    Cut,
    /// This one was.
    Closed,
}

impl Stop {
    /// What it is called where time that runs out is a timeout.
    fn cause(self) -> Cause {
        match self {
            Self::Deadline => Cause::Timeout,
            Self::Cut => Cause::Drained,
            Self::Closed => Cause::Closed,
        }
    }
}

impl Terms {
    /// Whether a connection from there has to begin with a header of the PROXY
    /// protocol, which then says who the client is. Whoever may open a Unix
    /// socket, and so has no address, is trusted like this machine itself.
    pub(crate) fn takes_header(&self, peer: Option<IpAddr>) -> bool {
        let peer = peer.unwrap_or(Ipv4Addr::LOCALHOST.into());
        self.proxy_from.iter().any(|net| net.contains(peer))
    }
}

impl Surroundings {
    /// Whether a client may come in, who is counted if so; else why not.
    pub(crate) fn admit(&self, terms: &Terms, client: IpAddr) -> Result<(), Cause> {
        if !terms.access.admits(client) {
            return Err(Cause::Denied);
        }
        self.take(terms, client, Counted::Connection)
    }

    /// Whether a client may have one more of that, which is counted if so.
    fn take(&self, terms: &Terms, client: IpAddr, counted: Counted) -> Result<(), Cause> {
        match &terms.pace {
            Some(pace) if !self.rates.take(pace, client, counted, self.timers.nanos()) => {
                Err(Cause::RateLimited)
            }
            _ => Ok(()),
        }
    }
}

impl Tunnel<'_> {
    /// Where it leads to.
    fn service(&self) -> &Rc<Service> {
        let way = self.way.get().and_then(|way| self.terms.ways.get(way));
        way.map_or(&self.terms.service, |way| &way.service)
    }

    /// So many more plaintext bytes have passed.
    fn carried(&self, up: u64, down: u64) {
        let Record {
            bytes_up,
            bytes_down,
            ..
        } = self.record;
        bytes_up.set(bytes_up.get() + up);
        bytes_down.set(bytes_down.get() + down);
        self.around.counters.bytes_up.add(up);
        self.around.counters.bytes_down.add(down);
    }

    /// Whether somebody wants it to end now.
    fn is_ordered_to_stop(&self) -> Option<Stop> {
        if self.around.cut.get() {
            Some(Stop::Cut)
        } else if self.record.is_ordered_to_close() {
            Some(Stop::Closed)
        } else {
            None
        }
    }

    /// Ready when the tunnel is to stop; else it is polled again by `due`.
    fn poll_stop(&self, cx: &Context<'_>, due: Tick) -> Poll<Stop> {
        if let Some(stop) = self.is_ordered_to_stop() {
            return Poll::Ready(stop);
        }
        if self.alarm.now() >= due {
            return Poll::Ready(Stop::Deadline);
        }
        self.alarm.set(cx, due);
        Poll::Pending
    }
}
