//! What an operator asks of single tunnels and backends, through a [`Handle`].

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use flume::RecvTimeoutError;

use super::Handle;
use crate::config::Address;
use crate::error::Error;
use crate::limits;
use crate::mesh::{Command, Listing, Message, Switch};
use crate::metrics::{TunnelId, TunnelList, TunnelQuery, TunnelStats};

impl Handle {
    /// The open tunnels that a query asks for. Shards look at
    /// [`limits::TUNNELS_PER_TURN`] of them in a turn, so that those that carry
    /// bytes are not kept waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the server is not running.
    pub fn tunnels(&self, query: TunnelQuery) -> Result<TunnelList, Error> {
        let shards = self.shards();
        let query = Arc::new(query);
        let (reply, replied) = flume::bounded(shards);
        let listing = Listing {
            query: query.clone(),
            asked: Instant::now(),
            reply,
        };
        self.command(Command::List(listing))?;
        let due = Instant::now() + limits::ERRAND_TIMEOUT;
        let mut list = TunnelList {
            tunnels: Vec::new(),
            matching: 0,
            open: 0,
            silent_shards: (0..shards).collect(),
        };
        // At its end every shard has answered, or will not.
        while let Ok(listed) = replied.recv_deadline(due) {
            list.silent_shards.retain(|shard| *shard != listed.shard);
            list.matching += listed.matching;
            list.open += listed.open;
            query.join(&mut list.tunnels, listed.tunnels);
        }
        if shards > 0 && list.silent_shards.len() == shards && self.has_stopped() {
            return Err(Error::Stopped);
        }
        Ok(list)
    }

    /// Ends an open tunnel: its peers are told as they are when the drain time
    /// is over. Gives what it was when it was told; `None` if there is no such
    /// tunnel, or no longer.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if its shard does not answer, [`Error::Stopped`] if the
    /// server is not running.
    pub fn close(&self, id: TunnelId) -> Result<Option<TunnelStats>, Error> {
        if id.shard >= self.shards() {
            return Ok(None);
        }
        let (reply, replied) = flume::bounded(1);
        self.command(Command::Close { id, reply })?;
        replied
            .recv_timeout(limits::ERRAND_TIMEOUT)
            .map_err(|error| match error {
                RecvTimeoutError::Disconnected if self.has_stopped() => Error::Stopped,
                _ => Error::System(format!("shard {} does not answer; try again", id.shard)),
            })
    }

    /// Has a backend get tunnels, or no more of them, on every shard. Tunnels
    /// that are open are left alone. It stays so through reloads and upgrades,
    /// until it is said otherwise, or a configuration is taken up that has no such
    /// backend.
    ///
    /// A disabled backend gets no tunnel in any case, even if no other is up.
    /// Its health checks go on; enabled, it is what they say, and begins slowly
    /// as one that has come up (`slow_start`).
    ///
    /// Gives the shards that have not said yet that it is so; they get to it
    /// when they can.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] if there is no such service or backend,
    /// [`Error::Stopped`] if the server is not running.
    pub fn enable_backend(
        &self,
        service: &str,
        backend: &str,
        enabled: bool,
    ) -> Result<Vec<usize>, Error> {
        // Held until every shard has it, so that no reload comes in between:
        // what it prepares has what the present configuration has.
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let address = live.backend(service, backend)?;
        let named = (service.to_owned(), address.clone());
        let (reply, replied) = flume::bounded(live.shards.len());
        let switch = Switch {
            service: service.into(),
            address: Arc::new(address),
            enabled,
            reply,
        };
        self.command(Command::Enable(switch))?;
        live.disabled.retain(|out| *out != named);
        if !enabled {
            live.disabled.push(named);
        }
        let due = Instant::now() + limits::ERRAND_TIMEOUT;
        let mut silent: Vec<usize> = (0..live.shards.len()).collect();
        while let Ok(shard) = replied.recv_deadline(due) {
            silent.retain(|waiting| *waiting != shard);
        }
        if silent.len() == live.shards.len() && self.has_stopped() {
            return Err(Error::Stopped);
        }
        Ok(silent)
    }

    /// How long open tunnels may go on once the server is told to stop.
    pub fn drain_timeout(&self) -> Duration {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.config.timeouts.drain
    }

    /// For how long connections are still accepted before that, while load
    /// balancers hear that the server is not ready any more.
    pub fn ready_grace(&self) -> Duration {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.config.timeouts.ready_grace
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        let sent = self.commands.send(Message::Command(command));
        sent.map_err(|_| Error::Stopped)
    }

    fn has_stopped(&self) -> bool {
        self.commands.is_disconnected()
    }
}

impl super::handle::Live {
    /// The address of the backend that is called so.
    fn backend(&self, service: &str, backend: &str) -> Result<Address, Error> {
        let services = &self.config.services;
        let Some(found) = services.iter().find(|known| known.name == service) else {
            let names = services.iter().map(|known| known.name.clone());
            return Err(Error::Unknown(format!(
                "there is no service \"{}\"; there is {}",
                service.escape_debug(),
                some_of(names.collect())
            )));
        };
        let mut addresses = found.backends.iter().map(|known| &known.address);
        let found_address = addresses.find(|address| address.to_string() == backend);
        found_address.cloned().ok_or_else(|| {
            let names = found.backends.iter().map(|known| known.address.to_string());
            Error::Unknown(format!(
                "the service \"{service}\" has no backend \"{}\"; it has {}",
                backend.escape_debug(),
                some_of(names.collect())
            ))
        })
    }
}

/// The first few of what there is.
fn some_of(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(limits::NAMES_SHOWN_MAX);
    names.truncate(limits::NAMES_SHOWN_MAX);
    match more {
        0 => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}
