//! A certificate chain with its private key, as PEM files hold them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use zeroize::Zeroizing;

use super::certificate::CertificateInfo;
use super::ocsp::Staple;
use super::pem::{self, PemFile, wrong};
use super::signatures::schemes_of;
use crate::config::CertSource;
use crate::error::Error;
use crate::limits;

/// A certificate chain and its private key, found to belong together.
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Zeroizing<PrivateKeyDer<'static>>,
    /// What the key can sign with; empty for a kind that has no list here.
    pub(super) schemes: &'static [SignatureScheme],
    pub(super) staple: Option<Staple>,
    pub(super) info: CertificateInfo,
}

impl Identity {
    /// Reads the files, checks that the key is the certificate's and that the
    /// certificate has not expired at `now`. An OCSP response that is no good
    /// is warned of and not used.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], with a text that names the file and the remedy.
    pub fn load(source: &CertSource, now: SystemTime) -> Result<Self, Error> {
        let identity = Self::read(source, now)?;
        match identity.info.expired(now) {
            Some(expired) => Err(wrong(&source.cert, expired)),
            None => Ok(identity),
        }
    }

    /// What there is to know of the certificate.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// As [`load`](Self::load), but for a certificate that may have expired.
    pub(super) fn read(source: &CertSource, now: SystemTime) -> Result<Self, Error> {
        let file = PemFile::read(&source.cert)?;
        let chain = read_chain(&source.cert, &file)?;
        let mut info = CertificateInfo::of(&source.cert, &chain, now)?;
        let (key_path, key, permissions) = read_key(source, &file)?;
        drop(file);
        if permissions & 0o077 != 0 {
            info.warnings.push(format!(
                "{}: the private key's file can be read by others than its owner \
                 (mode {permissions:03o}); run `chmod 600` on it",
                key_path.display(),
            ));
        }
        let schemes = check_match(&info, &key_path, &chain[0], &key)?;
        let staple = read_staple(source, &chain, &mut info, now)?;
        Ok(Self {
            chain,
            key,
            schemes,
            staple,
            info,
        })
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

/// The files that may lie beside a certificate `X.pem` under this ending:
/// `X.ENDING` and `X.pem.ENDING`.
pub(super) fn beside(cert: &Path, ending: &str) -> [PathBuf; 2] {
    let mut appended = cert.as_os_str().to_owned();
    appended.push(".");
    appended.push(ending);
    [cert.with_extension(ending), appended.into()]
}

/// At least one certificate, the server's own first.
fn read_chain(path: &Path, file: &PemFile) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = file.certificates()?;
    if let Some((line, _)) = found.get(limits::CHAIN_LENGTH_MAX) {
        return Err(file.wrong_at(
            *line,
            format_args!(
                "a chain has at most {} certificates, the server's own first; this is one too \
                 many",
                limits::CHAIN_LENGTH_MAX
            ),
        ));
    }
    if found.is_empty() && file.is_der() {
        return Err(wrong(
            path,
            "is no PEM file, but in DER or PKCS #12; `openssl x509 -inform DER -in OLD -out NEW` \
             makes PEM of a certificate, `openssl pkcs12 -nodes -in OLD -out NEW` of a file with \
             certificate and key",
        ));
    }
    if found.is_empty() {
        return Err(wrong(
            path,
            "holds no certificate; a PEM file has a block that begins with \
             -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(found.into_iter().map(|(_, der)| der).collect())
}

type Key = Zeroizing<PrivateKeyDer<'static>>;

/// The key, where it was, and that file's permissions.
fn read_key(source: &CertSource, cert: &PemFile) -> Result<(PathBuf, Key, u32), Error> {
    if let Some(path) = &source.key {
        return match read_key_of(path)? {
            Some((key, permissions)) => Ok((path.clone(), key, permissions)),
            None => Err(wrong(
                path,
                "holds no private key; a PEM file has a block that begins with \
                 -----BEGIN PRIVATE KEY-----, and `openssl pkey -inform DER -in OLD -out NEW` \
                 makes one of DER",
            )),
        };
    }
    if let Some(key) = cert.key()? {
        return Ok((source.cert.clone(), key, cert.permissions()));
    }
    let places = beside(&source.cert, "key");
    for path in &places {
        // The certificate may itself be called `X.key`.
        if *path != source.cert
            && path.exists()
            && let Some((key, permissions)) = read_key_of(path)?
        {
            return Ok((path.clone(), key, permissions));
        }
    }
    Err(wrong(
        &source.cert,
        format_args!(
            "holds no private key, and there is none beside it; put the key into this file or \
             into {}, or name its file with key: \"...\"",
            places[0].display()
        ),
    ))
}

fn read_key_of(path: &Path) -> Result<Option<(Key, u32)>, Error> {
    let file = PemFile::read(path)?;
    Ok(file.key()?.map(|key| (key, file.permissions())))
}

/// Gives what the key can sign with. The key made ready is not kept: it takes
/// more room than all else.
fn check_match(
    cert: &CertificateInfo,
    key_path: &Path,
    leaf: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> Result<&'static [SignatureScheme], Error> {
    // rustls tells no more than that.
    let signing = any_supported_type(key).map_err(|_| {
        wrong(
            key_path,
            format_args!(
                "the private key is damaged, or of a kind that cannot be used; the certificate in \
                 {} has {}. Get one for a key of ECDSA on P-256, P-384 or P-521, of Ed25519, or \
                 of RSA with 2048 to 8192 bits",
                cert.file.display(),
                cert.key_type
            ),
        )
    })?;
    match belongs(leaf, &signing) {
        Ok(true) => Ok(schemes_of(&*signing)),
        Ok(false) => Err(wrong(
            key_path,
            format_args!(
                "the private key does not belong to the certificate in {}; the chain must begin \
                 with the server's own certificate",
                cert.file.display()
            ),
        )),
        Err(error) => Err(wrong(
            &cert.file,
            format_args!("the first certificate cannot be used: {error}"),
        )),
    }
}

/// Whether the key is this certificate's. A kind of key that does not tell its
/// public half is trusted to be.
fn belongs(
    leaf: &CertificateDer<'static>,
    signing: &Arc<dyn SigningKey>,
) -> Result<bool, rustls::Error> {
    // webpki reads no certificate of an older version.
    if let Ok((_, cert)) = X509Certificate::from_der(leaf)
        && cert.version() != X509Version::V3
    {
        let public = signing.public_key();
        return Ok(public.is_none_or(|public| *public == *cert.public_key().raw));
    }
    match CertifiedKey::new(vec![leaf.clone()], signing.clone()).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(true)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_staple(
    source: &CertSource,
    chain: &[CertificateDer<'static>],
    info: &mut CertificateInfo,
    now: SystemTime,
) -> Result<Option<Staple>, Error> {
    let path = source.ocsp.clone().or_else(|| {
        let mut places = beside(&source.cert, "ocsp").into_iter();
        places.find(|path| path.exists())
    });
    let mut staple = None;
    if let Some(path) = path {
        let (bytes, _) = pem::read(&path)?;
        let (good, about) = Staple::judge(&path, &bytes, chain, now);
        if let Some(fault) = &about.fault {
            info.warnings.push(format!(
                "{}: the OCSP response is not stapled: {fault}",
                path.display()
            ));
        }
        info.ocsp = Some(about);
        staple = good;
    }
    if info.must_staple && staple.is_none() {
        info.warnings.push(format!(
            "{}: the certificate tells clients to refuse it without a stapled OCSP response \
             (must-staple), and there is none that is good; put one into {}",
            source.cert.display(),
            beside(&source.cert, "ocsp")[0].display()
        ));
    }
    Ok(staple)
}
