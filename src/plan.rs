//! A configuration with everything that it names read and checked: what shards
//! are given.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::error::Error;
use crate::limits;
use crate::logging::access::{AccessLog, InUse};
use crate::tls::{ClientParts, Loader, ServerParts, TicketTerms};

/// A configuration with everything that it names read and checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// For each of the configuration's listeners that speaks TLS, what it
    /// speaks it with.
    pub(crate) servers: Vec<Option<ServerParts>>,
    /// For each of the configuration's listeners that sends session tickets,
    /// how it makes them.
    pub(crate) tickets: Vec<Option<TicketTerms>>,
    /// For each of the configuration's services whose backends speak TLS, what
    /// they are spoken to with.
    pub(crate) clients: Vec<Option<ClientParts>>,
    /// Where a line is written for each tunnel that ends, if it is.
    pub(crate) access: Option<AccessLog>,
}

impl Plan {
    /// Reads and checks the certificates and keys. It may take its time, and
    /// is done on no shard.
    ///
    /// `access`: the access log that is in use, if one is.
    pub(crate) fn new(config: Config, access: &InUse) -> Result<Self, Error> {
        let now = SystemTime::now();
        let mut loader = Loader::new(now);
        let mut warnings = Vec::new();
        let mut servers = Vec::with_capacity(config.listeners.len());
        let mut tickets = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            let Some(tls) = &listener.tls else {
                servers.push(None);
                tickets.push(None);
                continue;
            };
            let (mut parts, certificates) = loader.load(tls)?;
            parts.open_key_log(tls)?;
            let of_certificates = certificates.iter().flat_map(|info| &info.warnings);
            for warning in parts.warnings().iter().chain(of_certificates) {
                warnings.push(warning.clone());
            }
            let terms = TicketTerms::load(&tls.tickets, parts.binding())?;
            tickets.push(terms.map(|(terms, of_keys)| {
                warnings.extend(of_keys);
                terms
            }));
            servers.push(Some(parts));
        }
        let clients = config
            .services
            .iter()
            .map(|service| {
                let tls = service.tls.as_ref();
                tls.map(|tls| {
                    let mut parts = ClientParts::load(tls, now)?;
                    parts.open_key_log(tls)?;
                    Ok(parts)
                })
                .transpose()
            })
            .collect::<Result<Vec<_>, _>>()?;
        for warning in clients.iter().flatten().flat_map(|parts| &parts.warnings) {
            warnings.push(warning.clone());
        }
        // Last, so that nothing is made for what is refused anyway.
        let access = access.prepare(config.access_log.as_ref())?;
        warn(warnings);
        Ok(Self {
            access,
            config,
            servers,
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

/// Logs each warning once: listeners may share what they are of.
fn warn(warnings: Vec<String>) {
    let mut said = HashSet::new();
    let mut left = 0;
    for warning in &warnings {
        if !said.insert(warning) {
            continue;
        }
        if said.len() <= limits::LOAD_WARNINGS_MAX {
            log::warn!("{warning}");
        } else {
            left += 1;
        }
    }
    if left > 0 {
        log::warn!("and {left} more warnings; `adit check` shows them all");
    }
}
