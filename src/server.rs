//! The public face of a running front door.

use std::time::Duration;

use crate::config::Config;
use crate::error::Error;
use crate::metrics::{ListenerStats, Stats};

/// A front door: checked and bound, not yet serving.
#[derive(Debug)]
pub struct Server {}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every tunnel ended of itself.
    Drained,
    /// That many tunnels were still open when the drain time ran out, and were
    /// cut.
    Cut(u64),
}

/// A hold on a running server, for any thread.
#[derive(Clone, Debug)]
pub struct Handle {}

impl Server {
    /// Checks everything and binds every listener.
    pub fn new(_config: Config) -> Result<Self, Error> {
        todo!()
    }

    /// What is bound, with the ports that the kernel chose.
    pub fn listeners(&self) -> &[ListenerStats] {
        todo!()
    }

    /// A hold on this server, for any thread.
    pub fn handle(&self) -> Handle {
        todo!()
    }

    /// Serves until told to stop and drained.
    pub fn serve_forever(self) -> Result<Outcome, Error> {
        todo!()
    }
}

impl Handle {
    /// Stop accepting, let open tunnels end within the drain time. Called a
    /// second time it has no effect.
    pub fn shutdown(&self) {
        todo!()
    }

    /// Take up another configuration. Nothing changes unless all of it can.
    pub fn reload(&self, _config: Config) -> Result<(), Error> {
        todo!()
    }

    /// The figures of this moment, from every shard that answers in
    /// [`limits::SNAPSHOT_TIMEOUT`](crate::limits::SNAPSHOT_TIMEOUT).
    pub fn stats(&self) -> Result<Stats, Error> {
        let _ = Duration::ZERO;
        todo!()
    }
}
