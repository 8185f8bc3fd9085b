//! Alerts that rustls leaves out, or has another one for than the RFCs.
//!
//! Each is a record of its own in the clear, so that it can be sent only while
//! nothing is sealed.

use rustls::{AlertDescription, Error, PeerIncompatible, ProtocolVersion};

use crate::tls;

/// A fatal alert, in a record (RFC 8446, sections 5.1 and 6).
pub(super) fn record(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert.into()]
}

/// What a peer is to be told instead of what rustls has for it. All of these
/// come before anything is sealed, in the version that they are for.
pub(super) fn instead(error: &Error, version: Option<ProtocolVersion>) -> Option<AlertDescription> {
    match error {
        // RFC 6066, section 3.
        error if tls::is_unknown_name(error) => Some(AlertDescription::UnrecognisedName),
        // certificate_required came with TLS 1.3. Before it, this was a
        // handshake_failure (RFC 5246, section 7.4.6).
        Error::NoCertificatesPresented if version == Some(ProtocolVersion::TLSv1_2) => {
            Some(AlertDescription::HandshakeFailure)
        }
        // RFC 8446, section 9.2.
        Error::PeerIncompatible(PeerIncompatible::KeyShareExtensionRequired) => {
            Some(AlertDescription::MissingExtension)
        }
        _ => None,
    }
}

/// What to say where rustls has nothing to say.
pub(super) fn otherwise(error: &Error) -> AlertDescription {
    match error {
        // Warnings without end; a message amid another.
        Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        // A message of a length that cannot be.
        _ => AlertDescription::DecodeError,
    }
}
