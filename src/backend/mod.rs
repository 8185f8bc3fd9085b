//! Where plaintext is carried to: services, their backends' addresses, and
//! connecting to them. All of it belongs to one shard, but for the threads
//! that resolve names ([`Resolver`]), which serve them all.

mod connect;
mod resolve;
mod resolver;
mod upstream;

pub(crate) use connect::{ConnectError, Connected};
pub(crate) use resolver::Resolver;
pub(crate) use upstream::Upstream;

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{self, Source};
use crate::runtime::Queues;
use crate::sys::socket::Outgoing;
use resolve::Addresses;

/// A service as one shard knows it.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    backends: Vec<Addresses>,
    tls: Option<Upstream>,
    proxy_protocol: Option<config::ProxyHeader>,
    source: Source,
    outgoing: Outgoing,
}

impl Service {
    /// `tls`: what its backends are spoken to with, if that is TLS.
    pub(crate) fn new(
        service: &config::Service,
        tls: Option<Upstream>,
        resolver: &Resolver,
        queues: Queues,
    ) -> Self {
        Self {
            name: service.name.clone(),
            backends: service
                .backends
                .iter()
                .map(|backend| Addresses::new(&backend.address, resolver.clone(), queues))
                .collect(),
            tls,
            proxy_protocol: service.proxy_protocol.clone(),
            source: service.source,
            outgoing: Outgoing {
                source: match service.source {
                    Source::Fixed(source) => Some(source),
                    Source::Kernel | Source::Transparent => None,
                },
                transparent: service.source == Source::Transparent,
                fast_open: service.tcp.fast_open,
                congestion: service.tcp.congestion.clone(),
            },
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

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Connects to the first backend, in the order of the configuration, that
    /// accepts at one of its addresses. They share `timeout` between them; to
    /// hold it is the caller's affair.
    ///
    /// `client`: where the connection is to come from, if it is to come from
    /// the client's own address.
    pub(crate) async fn connect(
        &self,
        timeout: Duration,
        client: Option<IpAddr>,
    ) -> Result<Connected, ConnectError> {
        if client.is_none() {
            return connect::connect(&self.backends, timeout, &self.outgoing).await;
        }
        let outgoing = Outgoing {
            source: client,
            ..self.outgoing.clone()
        };
        connect::connect(&self.backends, timeout, &outgoing).await
    }

    /// Whether backends see the client's own address.
    pub(crate) fn is_transparent(&self) -> bool {
        self.source == Source::Transparent
    }
}
