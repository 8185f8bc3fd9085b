//! A door for the benchmarks under `benches/` to what is no part of the public
//! interface. It is there with the feature `bench-parts` only, and promises
//! nothing to anybody else.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;

use crate::config::{CertSource, ServerTls};
use crate::tls::{self, ServerParts, TicketKeys, TicketTerms};
use crate::{Error, timer};

/// What a listener with this certificate accepts with, tickets and all.
///
/// # Errors
///
/// Those of [`ServerParts::load`], and [`Error::System`] where rustls refuses.
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let source = CertSource::new(cert, key);
    let tls = ServerTls::of(vec![source]);
    let (parts, _) = ServerParts::load(&tls, SystemTime::now())?;
    let refused = |error: rustls::Error| Error::System(error.to_string());
    let keys = TicketKeys::fresh().map_err(refused)?;
    let terms = TicketTerms::load(&tls.tickets, parts.binding())?;
    let ticketer = terms.map(|(terms, _)| terms.ticketer(&keys)).transpose();
    tls::server_config(&tls, &parts, ticketer.map_err(refused)?).map_err(refused)
}

/// A shard's timer wheel.
#[derive(Debug)]
pub struct Timers(Rc<timer::Timers>);

/// A tunnel's claim to be woken by it.
#[derive(Debug)]
pub struct Alarm(timer::Alarm);

impl Timers {
    /// A wheel that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self(Rc::new(timer::Timers::new(now)))
    }

    /// A new alarm, set to nothing.
    pub fn alarm(&self) -> Alarm {
        Alarm(self.0.alarm())
    }

    /// Moves on to `now` and wakes whoever asked for it.
    pub fn advance(&self, now: Instant) {
        self.0.advance(now);
    }
}

impl Alarm {
    /// Asks to be woken once `wait` has passed, as a tunnel does in each poll
    /// that ends in waiting.
    pub fn set(&self, cx: &Context<'_>, wait: Duration) {
        self.0.set(cx, self.0.now().after(wait));
    }
}
