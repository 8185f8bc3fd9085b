//! Certificates, session tickets, and what becomes of them: the rustls
//! configuration of one listener on one shard.

mod identity;
mod ticket;

pub use identity::{CertificateInfo, Identity};
pub(crate) use ticket::TicketKeys;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
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
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key())?;
    // A cache would be locked, and would know only one shard's sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = tls.tickets;
    if tls.tickets > 0 {
        config.ticketer = Arc::new(Ticketer::new(keys)?);
    }
    Ok(Arc::new(config))
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
