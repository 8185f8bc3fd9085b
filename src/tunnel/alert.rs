//! Alerts that rustls leaves out, or has another one for than the RFCs.
//!
//! Each is a record of its own in the clear, so that it can be sent only while
//! nothing is sealed.

use rustls::{
    AlertDescription, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved, ProtocolVersion,
};

use super::hello;
use crate::tls::{self, heard};

/// A fatal alert, in a record (RFC 8446, sections 5.1 and 6).
pub(super) fn record(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert.into()]
}

/// What a peer is to be told instead of what rustls has for it, when what we say
/// is `sealed` or not. All others than the first come before anything is, in the
/// version that they are for.
pub(super) fn instead(
    error: &Error,
    version: Option<ProtocolVersion>,
    sealed: bool,
) -> Option<AlertDescription> {
    match error {
        // A record longer than any (RFC 8446, sections 5.1 and 5.2).
        Error::InvalidMessage(InvalidMessage::MessageTooLarge) if !sealed => {
            Some(AlertDescription::RecordOverflow)
        }
        // RFC 6066, section 3.
        error if tls::is_unknown_name(error) => Some(AlertDescription::UnrecognisedName),
        // certificate_required came with TLS 1.3. Before it, this was a
        // handshake_failure (RFC 5246, section 7.4.6).
        Error::NoCertificatesPresented if version == Some(ProtocolVersion::TLSv1_2) => {
            Some(AlertDescription::HandshakeFailure)
        }
        // A server's word for it (RFC 7507, section 3). A client says
        // illegal_parameter, and its flight counts as sealed.
        Error::PeerMisbehaved(PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported)
            if !sealed =>
        {
            Some(AlertDescription::InappropriateFallback)
        }
        // RFC 8446, section 6.2.
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered) => {
            Some(AlertDescription::ProtocolVersion)
        }
        // RFC 8446, section 9.2.
        Error::PeerIncompatible(
            PeerIncompatible::KeyShareExtensionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => Some(AlertDescription::MissingExtension),
        _ => None,
    }
}

/// What a client with this ClientHello, as it came in, is refused for in the step
/// that has just been taken. rustls has no word for one that has fallen back, and
/// misses its signatures, which came with TLS 1.2, before it looks at its
/// version.
///
/// It has to name them where it offers TLS 1.3 and does not resume (RFC 8446,
/// section 9.2). Where it does not, SHA-1 is meant (RFC 5246, section 7.4.1.4.1),
/// which nobody has in common with us.
pub(super) fn understood(error: Error, hello: &[u8]) -> Error {
    if tls::is_unknown_name(&error) && heard::fell_back() {
        return PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported.into();
    }
    let missed = PeerIncompatible::SignatureAlgorithmsExtensionRequired;
    if error != missed.into() {
        return error;
    }
    match hello {
        // The headers of record and message, and the newest version, unless an
        // extension has newer ones, behind which TLS 1.2 stands here (RFC 8446,
        // section 4.1.2).
        [22, 3, _, _, _, 1, _, _, _, 3, 0..3, ..] => PeerIncompatible::Tls12NotOffered.into(),
        _ => match hello::read(hello) {
            Some(spoken) if !spoken.tls13 || spoken.resumes => {
                PeerIncompatible::NoSignatureSchemesInCommon.into()
            }
            _ => error,
        },
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
