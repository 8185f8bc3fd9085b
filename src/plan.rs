//! A configuration with everything that it names read and checked: what shards
//! are given.

use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::error::Error;
use crate::limits;
use crate::tls::{ClientParts, Identity, TicketTerms};

/// A configuration with everything that it names read and checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// For each of the configuration's listeners that speaks TLS, what it
    /// speaks it with.
    pub(crate) identities: Vec<Option<Identity>>,
    /// For each of the configuration's listeners that sends session tickets,
    /// how it makes them.
    pub(crate) tickets: Vec<Option<TicketTerms>>,
    /// For each of the configuration's services whose backends speak TLS, what
    /// they are spoken to with.
    pub(crate) clients: Vec<Option<ClientParts>>,
}

impl Plan {
    /// Reads and checks the certificates and keys. It may take its time, and
    /// is done on no shard.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let now = SystemTime::now();
        let identities = config
            .listeners
            .iter()
            .map(|listener| {
                let source = listener.tls.as_ref().and_then(|tls| tls.certs.first());
                source.map(|source| Identity::load(source, now)).transpose()
            })
            .collect::<Result<Vec<_>, _>>()?;
        let clients = config
            .services
            .iter()
            .map(|service| {
                let tls = service.tls.as_ref();
                tls.map(|tls| ClientParts::load(tls, now)).transpose()
            })
            .collect::<Result<Vec<_>, _>>()?;
        let tickets = config
            .listeners
            .iter()
            .map(|listener| {
                let Some(tls) = &listener.tls else {
                    return Ok(None);
                };
                let loaded = TicketTerms::load(&tls.tickets, &[])?;
                Ok(loaded.map(|(terms, warnings)| {
                    for warning in warnings {
                        log::warn!("{warning}");
                    }
                    terms
                }))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for warning in clients.iter().flatten().flat_map(|parts| &parts.warnings) {
            log::warn!("{warning}");
        }
        for identity in identities.iter().flatten() {
            for warning in &identity.info().warnings {
                log::warn!("{warning}");
            }
        }
        Ok(Self {
            config,
            identities,
            tickets,
            clients,
        })
    }

    /// How long the process's own ticket keys are needed for: the longest
    /// lifetime of any ticket that they seal.
    pub(crate) fn ticket_lifetime(&self) -> Duration {
        let following = self.tickets.iter().flatten();
        following
            .filter(|terms| terms.follow_the_process())
            .map(TicketTerms::lifetime)
            .max()
            .unwrap_or(limits::TICKET_LIFETIME)
    }
}
