//! A certificate chain with its private key, as PEM files hold them.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Serialize;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::config::CertSource;
use crate::error::Error;
use crate::limits;

/// A certificate chain and its private key, found to belong together.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    info: CertificateInfo,
}

/// What there is to know of an identity's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
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
    /// What an operator should mend soon, in sentences.
    pub warnings: Vec<String>,
}

impl Identity {
    /// Reads the files, checks that the key is the certificate's and that the
    /// certificate has not expired at `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], with a text that names the file and the remedy.
    pub fn load(source: &CertSource, now: SystemTime) -> Result<Self, Error> {
        let chain = read_chain(&source.cert)?;
        let key_path = source.key.as_ref().unwrap_or(&source.cert);
        let (key, key_warning) = read_key(key_path)?;
        // Bounded: read_chain gives at least one.
        let leaf = chain.first().ok_or_else(|| no_certificate(&source.cert))?;
        let mut info = describe(&source.cert, leaf, chain.len())?;
        info.warnings.extend(key_warning);
        check_match(&source.cert, key_path, &chain, &key)?;
        check_dates(&source.cert, &mut info, now)?;
        Ok(Self { chain, key, info })
    }

    /// What there is to know of the certificate.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl fmt::Debug for Identity {
    /// The certificate, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

fn wrong(path: &Path, what: impl fmt::Display) -> Error {
    Error::Identity(format!("{}: {what}", path.display()))
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), Error> {
    let mut file =
        File::open(path).map_err(|e| wrong(path, format_args!("cannot be read: {e}")))?;
    let meta = file
        .metadata()
        .map_err(|e| wrong(path, format_args!("cannot be read: {e}")))?;
    if meta.is_dir() {
        return Err(wrong(path, "is a directory; name a PEM file"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.by_ref()
        .take(limits::FILE_SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(path, format_args!("cannot be read: {e}")))?;
    if bytes.len() as u64 > limits::FILE_SIZE_MAX {
        return Err(wrong(
            path,
            format_args!("is larger than {} bytes", limits::FILE_SIZE_MAX),
        ));
    }
    Ok((bytes, meta.mode()))
}

fn no_certificate(path: &Path) -> Error {
    wrong(
        path,
        "holds no certificate; a PEM file has a block that begins with -----BEGIN CERTIFICATE-----",
    )
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let (bytes, _) = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong(path, pem_fault(&e)))?;
    if chain.is_empty() {
        return Err(no_certificate(path));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<(PrivateKeyDer<'static>, Option<String>), Error> {
    let (bytes, mode) = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| match e {
        pem::Error::NoItemsFound if contains(&bytes, b"ENCRYPTED") => wrong(
            path,
            "the private key is encrypted, and adit asks for no passphrase; write it out in the \
             clear with `openssl pkey -in OLD -out NEW` and make NEW readable by its owner only",
        ),
        pem::Error::NoItemsFound => wrong(
            path,
            "holds no private key; a PEM file has a block that begins with \
             -----BEGIN PRIVATE KEY-----",
        ),
        other => wrong(path, pem_fault(&other)),
    })?;
    let readable = mode & 0o077 != 0;
    let warning = readable.then(|| {
        format!(
            "{}: the private key's file can be read by others than its owner (mode {:03o}); \
             run `chmod 600` on it",
            path.display(),
            mode & 0o777
        )
    });
    Ok((key, warning))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn pem_fault(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a PEM block does not end; is the file cut short?".into()
        }
        pem::Error::Base64Decode(_) => {
            "a PEM block is not valid base64; is the file damaged?".into()
        }
        other => format!("is no valid PEM: {other:?}"),
    }
}

fn check_match(
    cert_path: &Path,
    key_path: &Path,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), Error> {
    match CertifiedKey::from_der(
        chain.to_vec(),
        key.clone_key(),
        &Arc::new(default_provider()),
    ) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(wrong(
            key_path,
            format_args!(
                "the private key does not belong to the certificate in {}; the chain must begin \
                 with the server's own certificate",
                cert_path.display()
            ),
        )),
        Err(error) => Err(wrong(key_path, format_args!("cannot be used: {error}"))),
    }
}

fn check_dates(path: &Path, info: &mut CertificateInfo, now: SystemTime) -> Result<(), Error> {
    match info.not_after.duration_since(now) {
        Err(ago) => {
            return Err(wrong(
                path,
                format_args!(
                    "the certificate expired {} ago; every client would refuse it. Renew it",
                    days(ago.duration())
                ),
            ));
        }
        Ok(left) if left < limits::CERTIFICATE_EXPIRY_WARNING => info.warnings.push(format!(
            "{}: the certificate expires in {}",
            path.display(),
            days(left)
        )),
        Ok(_) => {}
    }
    if let Ok(ahead) = info.not_before.duration_since(now)
        && !ahead.is_zero()
    {
        info.warnings.push(format!(
            "{}: the certificate is not valid for another {}; is the clock right?",
            path.display(),
            days(ahead)
        ));
    }
    Ok(())
}

fn days(duration: Duration) -> String {
    let hours = duration.as_secs() / 3600;
    match hours {
        0..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

fn describe(
    path: &Path,
    leaf: &CertificateDer<'_>,
    chain_length: usize,
) -> Result<CertificateInfo, Error> {
    let (_, cert) = X509Certificate::from_der(leaf).map_err(|e| {
        wrong(
            path,
            format_args!("the first certificate is malformed: {e}"),
        )
    })?;
    let time = |seconds: i64| {
        if seconds >= 0 {
            UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
        } else {
            UNIX_EPOCH
        }
    };
    Ok(CertificateInfo {
        names: names(&cert),
        issuer: cert.issuer().to_string(),
        key_type: key_type(&cert),
        not_before: time(cert.validity().not_before.timestamp()),
        not_after: time(cert.validity().not_after.timestamp()),
        chain_length,
        warnings: Vec::new(),
    })
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
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            // 521 bits lie in 66 bytes.
            528 => "ECDSA P-521".into(),
            bits => format!("ECDSA P-{bits}"),
        },
        // RFC 8410, section 3.
        _ if spki.algorithm.algorithm.to_id_string() == "1.3.101.112" => "Ed25519".into(),
        _ => spki.algorithm.algorithm.to_id_string(),
    }
}
