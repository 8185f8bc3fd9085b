//! Certificates, session tickets, and what becomes of them: the rustls
//! configuration of one listener, or one service, on one shard.
//!
//! Off the shards, a [`Loader`] reads a listener's files into [`ServerParts`]:
//! `pem` cuts them into blocks, `identity` pairs a certificate with its key and
//! its OCSP response (`ocsp`), `chain` looks at its issuers, `directory` finds
//! many, `store` keeps them small. Each shard makes its own `resolver` from that,
//! which chooses by name (and leaves that in `heard`), and its own verifier of
//! clients (`client_verify`, by `subject`). `client` is the other side: TLS
//! towards backends.

mod authorities;
mod certificate;
mod chain;
mod client;
mod client_verify;
mod directory;
pub(crate) mod heard;
mod identity;
mod key_log;
mod ocsp;
mod pem;
mod policy;
mod resolver;
mod server;
mod signatures;
mod store;
mod subject;
mod ticket;

pub use certificate::CertificateInfo;
pub(crate) use client::{ClientParts, client_config};
pub(crate) use client_verify::expired;
pub use identity::Identity;
pub use ocsp::OcspInfo;
pub use policy::spoken;
pub use server::{Loader, ServerParts};
pub use subject::Subject;
pub use ticket::{Encoding, KeySize, Rotation, TicketFile};
pub(crate) use ticket::{TicketKeys, TicketTerms, Ticketer};

use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::NoServerSessionStorage;
use rustls::{Error, ServerConfig};

use crate::config::{ClientTls, ServerTls};
use crate::error::Error as LoadError;
use crate::limits;

/// What one listener on one shard accepts with.
///
/// Each shard makes its own, down to the provider and the parsed key, so that
/// no reference count is shared between cores. Without a `ticketer` no tickets
/// are sent.
pub(crate) fn server_config(
    tls: &ServerTls,
    parts: &ServerParts,
    ticketer: Option<Arc<Ticketer>>,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(policy::provider(&tls.policy)))
        .with_protocol_versions(policy::versions(&tls.policy))?
        .with_client_cert_verifier(parts.verifier())
        .with_cert_resolver(parts.resolver(tls));
    config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into()).collect();
    // An order that somebody wrote down is meant.
    config.ignore_client_order = tls.policy.ciphers.is_some();
    // 0-RTT stays off. What a client sends with it can be sent again by anybody
    // who saw it (RFC 8446, section 8), and only the backend, which does not
    // learn of it from plain bytes, could know what may be done twice. To tell
    // first from second would also take memory that all shards share. rustls
    // takes it only for sessions in its storage, and there are none: this is how
    // much of it is passed over.
    config.max_early_data_size = limits::EARLY_DATA_SKIPPED_MAX;
    if let Some(log) = parts.key_log()? {
        config.key_log = Arc::new(log);
    }
    // A cache would be locked, and would know only one shard's sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if let Some(ticketer) = ticketer {
        config.send_tls13_tickets = tls.tickets.count;
        config.ticketer = ticketer;
    }
    Ok(Arc::new(config))
}

/// Reads and checks what a service's TLS towards its backends is made of, and
/// gives what an operator should know, in sentences.
///
/// # Errors
///
/// [`Error::Identity`](crate::Error::Identity), with a text that names the file
/// and the remedy.
pub fn check_client(tls: &ClientTls, now: SystemTime) -> Result<Vec<String>, LoadError> {
    ClientParts::load(tls, now).map(|parts| parts.warnings)
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
