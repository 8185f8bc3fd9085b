//! Trust anchors that are shown as a peer's own certificate.
//!
//! What `openssl req -x509` makes is an authority's by default (CA:TRUE, RFC
//! 5280, section 4.2.1.9). webpki takes such a certificate for that of an issuer
//! alone, and refuses it as a peer's own. Whoever lists it as trusted means the
//! holder of its key, so that here it is taken for what it is: byte for byte one
//! of the trusted ones, and good in all else that a chain is judged by.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::{CertificateError, Error, ExtendedKeyPurpose, OtherError};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// The trusted certificates of one file, or of the system. No more is kept of
/// each than tells it from others.
#[derive(Debug)]
pub(super) struct Anchors(Vec<Anchor>);

#[derive(Debug)]
struct Anchor {
    digest: [u8; digest::SHA256_OUTPUT_LEN],
    /// A list of its issuer names it.
    revoked: bool,
    /// When the first list of its issuer is out of date.
    lists_until: Option<UnixTime>,
}

impl Anchors {
    /// Those certificates, as far as these lists have not revoked them. Lists
    /// are believed without a look at their signature: they are the operator's.
    pub(super) fn new(
        certs: &[CertificateDer<'_>],
        crls: &[CertificateRevocationListDer<'_>],
    ) -> Self {
        let crls: Vec<_> = crls
            .iter()
            .filter_map(|crl| Some(CertificateRevocationList::from_der(crl).ok()?.1))
            .collect();
        Self(certs.iter().map(|cert| Anchor::new(cert, &crls)).collect())
    }

    /// Looks once more at a certificate that was refused with this error. It is
    /// good if that was only because it is an authority's, and it is trusted
    /// itself. The name that a server must have is not looked at.
    ///
    /// # Errors
    ///
    /// The same error, or what else there is against it.
    pub(super) fn look_again(
        &self,
        refused: Error,
        leaf: &CertificateDer<'_>,
        purpose: ExtendedKeyPurpose,
        now: UnixTime,
    ) -> Result<(), Error> {
        if !is_of_authority(&refused) {
            return Err(refused);
        }
        let digest = digest_of(leaf);
        let Some(anchor) = self.0.iter().find(|anchor| anchor.digest == digest) else {
            return Err(CertificateError::Other(OtherError(Arc::new(OfAuthority))).into());
        };
        let (_, cert) =
            X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        check_dates(&cert, now)?;
        check_purpose(&cert, purpose)?;
        anchor.check_lists(now)?;
        Ok(())
    }
}

impl Anchor {
    fn new(der: &CertificateDer<'_>, crls: &[CertificateRevocationList<'_>]) -> Self {
        let mut anchor = Self {
            digest: digest_of(der),
            revoked: false,
            lists_until: None,
        };
        if crls.is_empty() {
            return anchor;
        }
        // One that cannot be read is refused when it is shown.
        let Ok((_, cert)) = X509Certificate::from_der(der) else {
            return anchor;
        };
        let issuer = cert.issuer().as_raw();
        for crl in crls.iter().filter(|crl| crl.issuer().as_raw() == issuer) {
            let mut revoked = crl.iter_revoked_certificates();
            anchor.revoked |= revoked.any(|entry| entry.raw_serial() == cert.raw_serial());
            let until = crl.next_update().map(|next| moment(next.timestamp()));
            anchor.lists_until = [anchor.lists_until, until].into_iter().flatten().min();
        }
        anchor
    }

    /// As webpki does it: who is not on a list that is out of date may have been
    /// revoked since.
    fn check_lists(&self, time: UnixTime) -> Result<(), CertificateError> {
        if self.revoked {
            return Err(CertificateError::Revoked);
        }
        match self.lists_until {
            Some(next_update) if time >= next_update => {
                Err(CertificateError::ExpiredRevocationListContext { time, next_update })
            }
            _ => Ok(()),
        }
    }
}

/// A moment in seconds since 1970, or 1970 if it was before.
pub(super) fn moment(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

/// RFC 5280, section 4.1.2.5.
fn check_dates(cert: &X509Certificate<'_>, time: UnixTime) -> Result<(), CertificateError> {
    let not_before = moment(cert.validity().not_before.timestamp());
    let not_after = moment(cert.validity().not_after.timestamp());
    if time < not_before {
        return Err(CertificateError::NotValidYetContext { time, not_before });
    }
    if time > not_after {
        return Err(CertificateError::ExpiredContext { time, not_after });
    }
    Ok(())
}

/// The extended key usage, if there is one, names the purpose (RFC 5280, section
/// 4.2.1.12). Any purpose is not enough for webpki either.
fn check_purpose(
    cert: &X509Certificate<'_>,
    purpose: ExtendedKeyPurpose,
) -> Result<(), CertificateError> {
    let usage = cert.extended_key_usage();
    let Some(usage) = usage.map_err(|_| CertificateError::BadEncoding)? else {
        return Ok(());
    };
    let named = match purpose {
        ExtendedKeyPurpose::ServerAuth => usage.value.server_auth,
        ExtendedKeyPurpose::ClientAuth => usage.value.client_auth,
        _ => false,
    };
    if named {
        Ok(())
    } else {
        Err(CertificateError::InvalidPurpose)
    }
}

fn digest_of(der: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut out = [0; digest::SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest::digest(&SHA256, der).as_ref());
    out
}

/// Whether a certificate was refused because it is an authority's. rustls has no
/// word of its own for it, and passes on webpki's.
fn is_of_authority(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string() == "CaUsedAsEndEntity"
    )
}

/// Why a peer's certificate is refused that is an authority's.
struct OfAuthority;

impl fmt::Display for OfAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it is an authority's own (CA:TRUE), and not one of those that are trusted; add it to \
             the file of authorities, or have one made that is not an authority's (CA:FALSE)",
        )
    }
}

impl fmt::Debug for OfAuthority {
    /// The same: rustls shows errors that are not its own in this form alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for OfAuthority {}
