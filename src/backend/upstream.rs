//! TLS towards a service's backends.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::{self, Address, Host};

/// What a service's backends are spoken to with.
#[derive(Debug)]
pub(crate) struct Upstream {
    config: Arc<ClientConfig>,
    /// The name that each backend has to have.
    names: Vec<ServerName<'static>>,
}

impl Upstream {
    /// # Errors
    ///
    /// A sentence about a backend whose name is not known, or no name.
    pub(crate) fn new(
        service: &config::Service,
        server_name: Option<&str>,
        config: Arc<ClientConfig>,
    ) -> Result<Self, String> {
        let names = service
            .backends
            .iter()
            .map(|backend| name(&backend.address, server_name))
            .collect::<Result<_, _>>()?;
        Ok(Self { config, names })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The name that the backend with that number has to have.
    pub(crate) fn name(&self, backend: usize) -> ServerName<'static> {
        // One for each backend of the service.
        self.names[backend].clone()
    }
}

fn name(address: &Address, server_name: Option<&str>) -> Result<ServerName<'static>, String> {
    let name = match (server_name, address) {
        (Some(name), _) => name.to_owned(),
        (
            None,
            Address::Tcp {
                host: Host::Name(name),
                ..
            },
        ) => name.clone(),
        (
            None,
            Address::Tcp {
                host: Host::Ip(ip), ..
            },
        ) => return Ok(ServerName::from(*ip)),
        (None, _) => {
            return Err(format!(
                "the backend {address} has no name that its certificate could be for; give it a \
                 server_name"
            ));
        }
    };
    ServerName::try_from(name.as_str())
        .map(|name| name.to_owned())
        .map_err(|_| format!("\"{name}\" is no name that a certificate can be for"))
}
