//! What a TLS connection failed of, in the few words that are counted.

use rustls::{CertificateError, Error, OtherError, PeerIncompatible};

use super::Cause;
use crate::tls;

/// The cause for which a TLS connection with either peer fails so, and the words
/// for it.
pub(super) fn of_failure(error: &Error) -> (Cause, Option<String>) {
    let words = match error {
        // rustls wraps up what it has no word of its own for.
        Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
            format!("invalid peer certificate: {why}")
        }
        error => error.to_string(),
    };
    (tls_cause(error), Some(words))
}

fn tls_cause(error: &Error) -> Cause {
    match error {
        Error::PeerIncompatible(why) => lack(why),
        Error::NoApplicationProtocol => Cause::NoProtocol,
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::InvalidCertRevocationList(_)
        | Error::UnsupportedNameType => Cause::BadCertificate,
        Error::AlertReceived(_) => Cause::Alert,
        error if tls::is_unknown_name(error) => Cause::UnknownName,
        _ => Cause::TlsError,
    }
}

/// What there is nothing in common of.
fn lack(why: &PeerIncompatible) -> Cause {
    use PeerIncompatible as Why;
    match why {
        Why::ServerDoesNotSupportTls12Or13
        | Why::ServerTlsVersionIsDisabledByOurConfig
        | Why::SupportedVersionsExtensionRequired
        | Why::Tls12NotOffered
        | Why::Tls12NotOfferedOrEnabled
        | Why::Tls13RequiredForQuic => Cause::NoVersion,
        Why::NoCipherSuitesInCommon
        | Why::NoKxGroupsInCommon
        | Why::NoSignatureSchemesInCommon
        | Why::NoCertificateRequestSignatureSchemesInCommon
        | Why::NoEcPointFormatsInCommon
        | Why::EcPointsExtensionRequired
        | Why::KeyShareExtensionRequired
        | Why::NamedGroupsExtensionRequired
        | Why::SignatureAlgorithmsExtensionRequired
        | Why::UncompressedEcPointsRequired => Cause::NoCipher,
        // Compression, the extended master secret and the like.
        _ => Cause::TlsError,
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage};

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_cause() {
        for (error, cause) in [
            (
                PeerIncompatible::Tls12NotOfferedOrEnabled.into(),
                Cause::NoVersion,
            ),
            (
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into(),
                Cause::NoVersion,
            ),
            (
                PeerIncompatible::NoCipherSuitesInCommon.into(),
                Cause::NoCipher,
            ),
            (PeerIncompatible::NoKxGroupsInCommon.into(), Cause::NoCipher),
            (
                PeerIncompatible::NullCompressionRequired.into(),
                Cause::TlsError,
            ),
            (Error::NoApplicationProtocol, Cause::NoProtocol),
            (Error::NoCertificatesPresented, Cause::BadCertificate),
            (
                Error::InvalidCertificate(CertificateError::Revoked),
                Cause::BadCertificate,
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                Cause::Alert,
            ),
            (
                Error::General("no server certificate chain resolved".into()),
                Cause::UnknownName,
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                Cause::TlsError,
            ),
        ] {
            assert_eq!(tls_cause(&error), cause, "{error:?}");
        }
    }

    #[test]
    fn what_rustls_has_no_word_for_is_said_without_its_wrapping() {
        let why = OtherError(std::sync::Arc::new(std::fmt::Error));
        let (cause, words) = of_failure(&CertificateError::Other(why).into());
        assert_eq!(cause, Cause::BadCertificate);
        let words = words.expect("words");
        assert!(
            words.starts_with("invalid peer certificate: an error"),
            "{words}"
        );
    }
}
