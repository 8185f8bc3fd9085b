//! Certificates, session tickets, and what becomes of them: the rustls
//! configuration of one listener, or one service, on one shard.

mod client;
mod identity;
mod policy;
mod ticket;

pub(crate) use client::{ClientParts, client_config};
pub use identity::{CertificateInfo, Identity};
pub use policy::{cipher_suites, groups, version_of};
pub use ticket::{Encoding, KeySize, Rotation, TicketFile};
pub(crate) use ticket::{TicketKeys, TicketTerms, Ticketer};

use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::{Error, ServerConfig};

use crate::config::ServerTls;

/// What one listener on one shard accepts with.
///
/// Each shard makes its own, down to the provider and the parsed key, so that
/// no reference count is shared between cores. Without a `ticketer` no tickets
/// are sent.
pub(crate) fn server_config(
    tls: &ServerTls,
    identity: &Identity,
    ticketer: Option<Arc<Ticketer>>,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(policy::provider(&tls.policy)))
        .with_protocol_versions(policy::versions(&tls.policy))?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key())?;
    // A cache would be locked, and would know only one shard's sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if let Some(ticketer) = ticketer {
        config.send_tls13_tickets = tls.tickets.count;
        config.ticketer = ticketer;
    }
    Ok(Arc::new(config))
}

/// Whether a handshake failed because no certificate is for the name that the
/// client asked for. rustls has no word of its own for it.
pub(crate) fn is_unknown_name(error: &Error) -> bool {
    matches!(error, Error::General(text) if text == "no server certificate chain resolved")
}

/// The configuration with other ticket keys and all else the same.
pub(crate) fn with_ticketer(config: &ServerConfig, ticketer: Arc<Ticketer>) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.ticketer = ticketer;
    Arc::new(config)
}
