//! Certificates, session tickets, and what becomes of them: the rustls
//! configuration of one listener, or one service, on one shard.

mod client;
mod identity;
mod names;
mod policy;
mod ticket;

pub(crate) use client::{ClientParts, client_config};
pub use identity::{CertificateInfo, Identity};
pub use names::{group_name, group_named, suite_name, suite_named, version_name};
pub use policy::{cipher_suites, groups, version_of};
pub(crate) use ticket::TicketKeys;

/// PROVISIONAL
pub(crate) struct Subject {
    pub(crate) cn: Option<String>,
}
impl Subject {
    pub(crate) fn of(_: &rustls::pki_types::CertificateDer<'_>) -> Result<Self, ()> {
        Err(())
    }
    pub(crate) fn fits(&self, _: &crate::config::SubjectPattern) -> bool {
        false
    }
}

use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::{Error, ServerConfig};

use crate::config::ServerTls;
use ticket::Ticketer;

/// What one listener on one shard accepts with.
///
/// Each shard makes its own, down to the provider and the parsed key, so that
/// no reference count is shared between cores.
pub(crate) fn server_config(
    tls: &ServerTls,
    identity: &Identity,
    keys: &TicketKeys,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(policy::provider(&tls.policy)))
        .with_protocol_versions(policy::versions(&tls.policy))?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key())?;
    // A cache would be locked, and would know only one shard's sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = tls.tickets.count;
    if tls.tickets.count > 0 {
        config.ticketer = Arc::new(Ticketer::new(keys)?);
    }
    Ok(Arc::new(config))
}

/// Whether a handshake failed because no certificate is for the name that the
/// client asked for. rustls has no word of its own for it.
pub(crate) fn is_unknown_name(error: &Error) -> bool {
    matches!(error, Error::General(text) if text == "no server certificate chain resolved")
}

/// The configuration with other ticket keys and all else the same.
pub(crate) fn with_ticket_keys(
    config: &ServerConfig,
    keys: &TicketKeys,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = config.clone();
    if config.ticketer.enabled() {
        config.ticketer = Arc::new(Ticketer::new(keys)?);
    }
    Ok(Arc::new(config))
}
