//! A configuration with everything that it names read and checked: what shards
//! are given.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::error::Error;
use crate::limits;
use crate::logging::access::{AccessLog, InUse};
use crate::metrics::{
    CertificateExpiry, CertificateStats, ListenerStats, TicketKeySource, TicketKeyStats,
};
use crate::tls::{CertificateInfo, ClientParts, Loader, ServerParts, TicketTerms};

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
    /// For each of the configuration's listeners, what statistics say of its
    /// certificates, and since when its ticket keys have been what they are if
    /// they are a file's.
    shown: Vec<Option<CertificateStats>>,
    files_written: Vec<Option<u64>>,
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
        let mut shown = Vec::with_capacity(config.listeners.len());
        let mut files_written = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            let Some(tls) = &listener.tls else {
                servers.push(None);
                tickets.push(None);
                shown.push(None);
                files_written.push(None);
                continue;
            };
            let (mut parts, certificates) = loader.load(tls)?;
            parts.open_key_log(tls)?;
            let of_certificates = certificates.iter().flat_map(|info| &info.warnings);
            for warning in parts.warnings().iter().chain(of_certificates) {
                warnings.push(warning.clone());
            }
            shown.push(Some(CertificateStats::of(&certificates)));
            let keys = tls.tickets.keys.as_ref();
            files_written.push(keys.map(|keys| written(&keys.path)));
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
            shown,
            files_written,
        })
    }

    /// What statistics say of the configuration's listeners, in its order, with
    /// what is known here.
    pub(crate) fn tell(&self, mut listeners: Vec<ListenerStats>) -> Vec<ListenerStats> {
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.certificates = self.shown.get(index).cloned().flatten();
            let terms = self.tickets.get(index).and_then(Option::as_ref);
            let written = self.files_written.get(index).copied().flatten();
            listener.ticket_key = terms.map(|terms| TicketKeyStats {
                source: match terms.follow_the_process() {
                    true => TicketKeySource::Process,
                    false => TicketKeySource::File,
                },
                since_unix_seconds: written.unwrap_or(0),
            });
        }
        listeners
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

/// When a file was last written, in seconds of Unix time; 0 if that is unknown.
fn written(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).and_then(|found| found.modified());
    let since = modified
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

impl CertificateStats {
    fn of(certificates: &[CertificateInfo]) -> Self {
        let (left_out, shown): (Vec<_>, Vec<_>) =
            certificates.iter().partition(|info| info.left_out);
        let mut soonest = shown.clone();
        soonest.sort_by_key(|info| info.not_after);
        soonest.truncate(limits::CERTIFICATES_WATCHED_MAX);
        Self {
            count: shown.len(),
            left_out: left_out.len(),
            soonest: soonest.into_iter().map(CertificateExpiry::of).collect(),
        }
    }
}

impl CertificateExpiry {
    fn of(info: &CertificateInfo) -> Self {
        let expires = info.not_after.duration_since(UNIX_EPOCH);
        Self {
            file: info.file.display().to_string(),
            name: info.names.first().cloned().unwrap_or_default(),
            expires_unix_seconds: expires.map_or(0, |since| since.as_secs()),
        }
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
