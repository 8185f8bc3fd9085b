//! What there is to know of a server's certificate.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::asn1_rs::oid;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

use super::chain;
use super::ocsp::OcspInfo;
use super::pem::wrong;
use crate::error::Error;
use crate::limits;

/// The TLS feature extension (RFC 7633, section 6).
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);

/// The TLS feature that asks for a stapled OCSP response: the number of the
/// extension status_request (RFC 7633, section 4.2.3.1), in DER.
const STATUS_REQUEST: [u8; 3] = [2, 1, 5];

/// What there is to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// The file it is from.
    pub file: PathBuf,
    /// The names it is good for: its DNS names and addresses (RFC 5280,
    /// section 4.2.1.6), or its common name if it has none.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// The kind of its public key, such as `ECDSA P-256` or `RSA 2048`.
    pub key_type: String,
    /// The moment it becomes good.
    #[serde(skip)]
    pub not_before: SystemTime,
    /// The moment it ceases to be good.
    #[serde(skip)]
    pub not_after: SystemTime,
    /// Certificates in the chain, the leaf included.
    pub chain_length: usize,
    /// The OCSP response that is there for it. `None`: none.
    pub ocsp: Option<OcspInfo>,
    /// Whether clients are told to refuse it without a stapled OCSP response
    /// (RFC 7633).
    pub must_staple: bool,
    /// Whether its extended key usage, if it has one, is that of a server
    /// (RFC 5280, section 4.2.1.12).
    pub for_servers: bool,
    /// Whether no client is shown it: it has expired, and it came from a
    /// directory, where it is passed over.
    pub left_out: bool,
    /// What an operator should mend soon, in sentences.
    pub warnings: Vec<String>,
}

impl CertificateInfo {
    /// Reads what a certificate says of itself.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`] if it is malformed; the text names `file`.
    pub(super) fn of(
        file: &Path,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Self, Error> {
        let (leaf, issuers) = chain
            .split_first()
            .ok_or_else(|| wrong(file, "holds no certificate"))?;
        let (_, cert) = X509Certificate::from_der(leaf).map_err(|error| {
            wrong(
                file,
                format_args!("the first certificate is malformed: {error}"),
            )
        })?;
        let mut info = Self {
            file: file.to_owned(),
            names: names(&cert),
            issuer: cert.issuer().to_string(),
            key_type: key_type(&cert),
            not_before: moment(cert.validity().not_before.timestamp()),
            not_after: moment(cert.validity().not_after.timestamp()),
            chain_length: chain.len(),
            ocsp: None,
            must_staple: must_staple(&cert),
            for_servers: for_servers(&cert),
            left_out: false,
            warnings: chain::warnings(file, &cert, issuers, now),
        };
        info.judge_version(&cert);
        info.judge_dates(now);
        Ok(info)
    }

    /// Days until it ceases to be good at `not_after`; below 0 if it has.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        const DAY: u64 = 24 * 3600;
        match self.not_after.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs() / DAY).unwrap_or(i64::MAX),
            Err(late) => -i64::try_from(late.duration().as_secs() / DAY + 1).unwrap_or(i64::MAX),
        }
    }

    /// What is to be said of it if it has expired.
    pub(super) fn expired(&self, now: SystemTime) -> Option<String> {
        let ago = self.not_after.duration_since(now).err()?;
        Some(format!(
            "the certificate expired {} ago; every client would refuse it. Renew it",
            days(ago.duration())
        ))
    }

    /// Extensions came with version 3 (RFC 5280, section 4.1.2.1).
    fn judge_version(&mut self, cert: &X509Certificate<'_>) {
        if cert.version() != X509Version::V3 {
            self.warnings.push(format!(
                "{}: the certificate is of X.509 version {}, which browsers and many TLS \
                 libraries refuse; make it anew with extensions, as `openssl req -x509` does",
                self.file.display(),
                cert.version().0 + 1
            ));
        }
    }

    fn judge_dates(&mut self, now: SystemTime) {
        let file = self.file.display();
        if let Ok(left) = self.not_after.duration_since(now)
            && left < limits::CERTIFICATE_EXPIRY_WARNING
        {
            self.warnings
                .push(format!("{file}: the certificate expires in {}", days(left)));
        }
        if let Ok(ahead) = self.not_before.duration_since(now)
            && !ahead.is_zero()
        {
            self.warnings.push(format!(
                "{file}: the certificate is not valid for another {}; is the clock right?",
                days(ahead)
            ));
        }
    }
}

/// A moment in seconds since 1970, or 1970 if it was before.
pub(super) fn moment(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A time as operators count it.
pub(super) fn days(duration: Duration) -> String {
    let hours = duration.as_secs() / 3600;
    match hours {
        0..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let alternative = match cert.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    if !alternative.is_empty() {
        return alternative;
    }
    cert.subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}

fn key_type(cert: &X509Certificate<'_>) -> String {
    use x509_parser::public_key::PublicKey;
    let spki = cert.public_key();
    let curve = spki.algorithm.parameters.as_ref();
    let curve = curve.and_then(|curve| curve.as_oid().ok());
    let id = spki.algorithm.algorithm.to_id_string();
    match (spki.parsed(), id.as_str()) {
        // RFC 4055, section 1.2: a key that is for PSS alone.
        (_, "1.2.840.113549.1.1.10") => "RSA-PSS".into(),
        (Ok(PublicKey::RSA(key)), _) => format!("RSA {}", key.key_size()),
        (Ok(PublicKey::EC(_)), _) => match curve.map(|curve| curve.to_id_string()) {
            Some(curve) => format!("ECDSA {}", curve_name(&curve)),
            None => "ECDSA".into(),
        },
        // RFC 8410, section 3.
        (_, "1.3.101.112") => "Ed25519".into(),
        (_, "1.3.101.113") => "Ed448".into(),
        // RFC 3279, section 2.3.2.
        (_, "1.2.840.10040.4.1") => "DSA".into(),
        _ => id,
    }
}

/// RFC 5480, section 2.1.1.1, and SEC 2.
fn curve_name(id: &str) -> &str {
    match id {
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        other => other,
    }
}

fn for_servers(cert: &X509Certificate<'_>) -> bool {
    match cert.extended_key_usage() {
        Ok(Some(usage)) => usage.value.any || usage.value.server_auth,
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Whether status_request is among the features: a sequence of integers.
fn must_staple(cert: &X509Certificate<'_>) -> bool {
    let Ok(Some(extension)) = cert.get_extension_unique(&TLS_FEATURE) else {
        return false;
    };
    // Tag and length; a list of features never needs a long length.
    let features = extension.value.get(2..).unwrap_or_default();
    features.chunks(3).any(|feature| feature == STATUS_REQUEST)
}
