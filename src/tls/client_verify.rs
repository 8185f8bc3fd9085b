//! Whom clients have to prove to be (RFC 8446, section 4.3.2).

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{self, SHA256};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ExtendedKeyPurpose, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::anchors::{self, Anchors};
use super::authorities;
use super::certificate::{days, moment};
use super::pem::PemFile;
use super::subject::Subject;
use crate::config::{ClientVerify, SubjectPattern};
use crate::error::Error;
use crate::limits;

/// What the files hold that clients' certificates are judged by. Shards only
/// read it.
#[derive(Debug)]
pub(super) struct ClientPolicy {
    /// It takes no lock and counts nothing, so that shards may share it: that
    /// of a long revocation list would else be there once for each.
    authorities: Arc<dyn ClientCertVerifier>,
    anchors: Arc<Anchors>,
    allow: Vec<SubjectPattern>,
    binding: [u8; digest::SHA256_OUTPUT_LEN],
    /// What an operator should know, in sentences.
    pub(super) warnings: Vec<String>,
}

impl ClientPolicy {
    /// Reads and checks the files.
    ///
    /// A revocation list that is out of date is warned of here, and later
    /// refuses all clients whose issuer it is from: whom it does not name may
    /// have been revoked since.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], with a text that names the file and the remedy.
    pub(super) fn load(verify: &ClientVerify, now: SystemTime) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let mut binding = Binding::new(verify);
        let mut certs = Vec::new();
        let roots = authorities::read(&verify.ca, |authority| {
            binding.add(authority);
            certs.push(authority.clone());
        })?;
        let roots = Arc::new(roots);
        let mut crls = Vec::new();
        for path in &verify.crls {
            let found = read_crls(path, now, &mut warnings)?;
            // rustls does not say which one it refuses.
            build(verify, &roots, found.clone()).map_err(|error| {
                super::pem::wrong(path, format_args!("cannot be used: {error}"))
            })?;
            found.iter().for_each(|crl| binding.add(crl));
            crls.extend(found);
        }
        let anchors = Anchors::new(&certs, &crls);
        let authorities = build(verify, &roots, crls).map_err(|error| {
            super::pem::wrong(&verify.ca, format_args!("cannot be used: {error}"))
        })?;
        Ok(Self {
            authorities,
            anchors: Arc::new(anchors),
            allow: verify.allow.clone(),
            binding: binding.finish(),
            warnings,
        })
    }

    /// A digest of all that decides on who is let in, so that a session made
    /// under another policy can be told.
    pub(super) fn binding(&self) -> &[u8] {
        &self.binding
    }

    /// One shard's verifier.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Verifier {
            authorities: self.authorities.clone(),
            anchors: self.anchors.clone(),
            allow: self.allow.clone(),
        })
    }
}

/// Those that the authorities vouch for, and themselves, if they are on the list.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<dyn ClientCertVerifier>,
    anchors: Arc<Anchors>,
    allow: Vec<SubjectPattern>,
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.authorities.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.authorities.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let judged = self
            .authorities
            .verify_client_cert(leaf, intermediates, now);
        let verified = judged.or_else(|refused| {
            let purpose = ExtendedKeyPurpose::ClientAuth;
            self.anchors.look_again(refused, leaf, purpose, now)?;
            Ok::<_, rustls::Error>(ClientCertVerified::assertion())
        })?;
        if self.allow.is_empty() {
            return Ok(verified);
        }
        let subject = Subject::of(leaf).ok_or(CertificateError::BadEncoding)?;
        if self.allow.iter().any(|pattern| subject.matches(pattern)) {
            Ok(verified)
        } else {
            // The alert is access_denied.
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities
            .verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities
            .verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// What a client is refused for whose session has this certificate in it, which
/// was good when the session was made, but has expired since. One that cannot be
/// read says nothing of its end.
pub(crate) fn expired(leaf: &CertificateDer<'_>, now: UnixTime) -> Option<rustls::Error> {
    let (_, cert) = X509Certificate::from_der(leaf).ok()?;
    let not_after = anchors::moment(cert.validity().not_after.timestamp());
    (now > not_after).then(|| {
        let time = now;
        CertificateError::ExpiredContext { time, not_after }.into()
    })
}

/// Revocation is looked up for each certificate of a chain; one that no list
/// covers is taken for good.
fn build(
    verify: &ClientVerify,
    roots: &Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::client::VerifierBuilderError> {
    let provider = Arc::new(default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider)
        .with_crls(crls)
        .allow_unknown_revocation_status()
        .enforce_revocation_expiration();
    if !verify.required {
        builder = builder.allow_unauthenticated();
    }
    let named: usize = roots
        .subjects()
        .iter()
        .map(|name| name.as_ref().len())
        .sum();
    if named > limits::AUTHORITY_NAMES_MAX {
        builder = builder.clear_root_hint_subjects();
    }
    builder.build()
}

fn read_crls(
    path: &Path,
    now: SystemTime,
    warnings: &mut Vec<String>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let file = PemFile::read(path)?;
    let found = file.crls()?;
    if found.is_empty() {
        return Err(file.wrong(
            "holds no revocation list; a PEM file has a block that begins with \
             -----BEGIN X509 CRL-----, and `openssl crl -inform DER -in OLD -out NEW` makes one \
             of DER",
        ));
    }
    for (line, crl) in &found {
        let (_, list) = CertificateRevocationList::from_der(crl).map_err(|error| {
            file.wrong_at(
                *line,
                format_args!("the revocation list is malformed: {error}"),
            )
        })?;
        let next = list.next_update().map(|next| moment(next.timestamp()));
        if let Some(Ok(late)) = next.map(|next| now.duration_since(next)) {
            warnings.push(format!(
                "{}:{line}: the revocation list of {} is out of date since {}; until there is a \
                 new one, all clients with certificates of this issuer are refused",
                path.display(),
                list.issuer(),
                days(late)
            ));
        }
    }
    Ok(found.into_iter().map(|(_, crl)| crl).collect())
}

/// A digest in the making.
struct Binding(digest::Context);

impl Binding {
    fn new(verify: &ClientVerify) -> Self {
        let mut binding = Self(digest::Context::new(&SHA256));
        binding.add(b"adit client verification 1");
        binding.add(&[u8::from(verify.required)]);
        binding.add(&(verify.allow.len() as u64).to_be_bytes());
        for pattern in &verify.allow {
            let (kind, text) = match pattern {
                SubjectPattern::Dns(text) => (b"dns", text),
                SubjectPattern::Uri(text) => (b"uri", text),
                SubjectPattern::Email(text) => (b"eml", text),
                SubjectPattern::Cn(text) => (b"cn ", text),
            };
            binding.add(kind);
            binding.add(text.as_bytes());
        }
        binding
    }

    /// Each with its length, so that no two lists look alike.
    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; digest::SHA256_OUTPUT_LEN] {
        let mut out = [0; digest::SHA256_OUTPUT_LEN];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}
