//! A server of this process in front of an echo.

use std::net::SocketAddr;
use std::path::Path;

use adit::config::{CertSource, ServerTls};
use adit::metrics::Stats;
use adit::{Config, Handle, Running, Server};

use crate::support::backend::{self, Backend};
use crate::support::wait_for;

/// A server. Dropping it ends it.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    handle: Handle,
    _running: Running,
    _backend: Backend<()>,
}

impl Place {
    pub(crate) fn start(tls: ServerTls) -> Self {
        Self::with_shards(tls, 1)
    }

    pub(crate) fn with_shards(tls: ServerTls, shards: usize) -> Self {
        Self::before(backend::echo(), tls, shards)
    }

    pub(crate) fn before(backend: Backend<()>, tls: ServerTls, shards: usize) -> Self {
        let to = backend.address().to_string().parse().expect("an address");
        let mut config = Config::single("127.0.0.1:0".parse().expect("an address"), tls, to);
        config.shards.count = Some(shards.try_into().expect("not zero"));
        let server = Server::new(config).expect("a server");
        let address = server.listeners()[0].address.parse().expect("an address");
        let handle = server.handle();
        Self {
            address,
            handle,
            _running: server.start().expect("shards"),
            _backend: backend,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle.stats().expect("statistics")
    }

    /// Waits for the end of so many tunnels, and gives how often each reason
    /// was the one.
    pub(crate) fn reasons(&self, count: u64) -> Vec<(String, u64)> {
        let closed = wait_for("the ends of tunnels", || {
            let closed = self.stats().total.closed;
            (closed.iter().map(|close| close.count).sum::<u64>() >= count).then_some(closed)
        });
        closed
            .iter()
            .map(|close| (close.reason.to_string(), close.count))
            .collect()
    }
}

/// Files or directories, with what belongs to them beside or in them.
pub(crate) fn from(paths: &[&Path]) -> ServerTls {
    let sources = paths.iter().map(|path| CertSource {
        cert: path.to_path_buf(),
        key: None,
        ocsp: None,
    });
    ServerTls::of(sources.collect())
}
