//! TLS towards backends: the rustls configuration of one service on one shard.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, ExtendedKeyPurpose, RootCertStore, SignatureScheme,
};

use super::anchors::Anchors;

use super::identity::Identity;
use super::key_log::KeyLogFile;
use super::{authorities, policy};
use crate::config::{ClientTls, ServerVerify};
use crate::error::Error;

/// What the files hold that a service's TLS is made of. Shards only read it.
#[derive(Debug)]
pub(crate) struct ClientParts {
    /// Whom to trust; nobody is asked for if this is `None`.
    trusted: Option<Trusted>,
    identity: Option<Identity>,
    key_log: Option<KeyLogFile>,
    /// What an operator should know, in sentences.
    pub(crate) warnings: Vec<String>,
}

impl ClientParts {
    /// Reads and checks the files.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], with a text that names the file and the remedy.
    pub(crate) fn load(tls: &ClientTls, now: SystemTime) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let trusted = match &tls.verify {
            ServerVerify::System => Some(system_roots()?),
            ServerVerify::Ca(path) => {
                let mut certs = Vec::new();
                let roots = authorities::read(path, |cert| certs.push(cert.clone()))?;
                Some(Trusted::new(roots, Anchors::new(&certs, &[])))
            }
            ServerVerify::Off => {
                warnings.push(
                    "backends are spoken to in TLS without verification: anybody on the way can \
                     be the backend; name its authority with ca: \"ca.pem\""
                        .into(),
                );
                None
            }
        };
        let identity = tls
            .identity
            .as_ref()
            .map(|source| Identity::load(source, now))
            .transpose()?;
        if let Some(identity) = &identity {
            warnings.extend(identity.info().warnings.iter().cloned());
        }
        if let Some(path) = &tls.key_log {
            warnings.push(KeyLogFile::warning(path));
        }
        Ok(Self {
            trusted,
            identity,
            key_log: None,
            warnings,
        })
    }

    /// Opens the file of secrets, if the configuration names one. Loading does
    /// not, so that `adit check` leaves no file behind.
    pub(crate) fn open_key_log(&mut self, tls: &ClientTls) -> Result<(), Error> {
        let path = tls.key_log.as_deref();
        self.key_log = path.map(KeyLogFile::open).transpose()?;
        Ok(())
    }
}

/// What one shard connects to a service's backends with. Each makes its own,
/// sessions included, so that nothing is locked by two.
pub(crate) fn client_config(
    tls: &ClientTls,
    parts: &ClientParts,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(policy::provider(&tls.policy));
    let verifier: Arc<dyn ServerCertVerifier> = match &parts.trusted {
        Some(trusted) => Arc::new(trusted.verifier(provider.clone())?),
        None => Arc::new(Anybody(provider.clone())),
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(policy::versions(&tls.policy))?
        // Dangerous is what the configuration asks for with `verify: Off`.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &parts.identity {
        Some(identity) => {
            // Chain and key are known to belong together, also where rustls could
            // not tell.
            let key = provider.key_provider.load_private_key(identity.key())?;
            let shown = CertifiedKey::new(identity.chain().to_vec(), key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into()).collect();
    if let Some(log) = KeyLogFile::another(parts.key_log.as_ref())? {
        config.key_log = Arc::new(log);
    }
    if !tls.resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn system_roots() -> Result<Trusted, Error> {
    let found = rustls_native_certs::load_native_certs();
    let anchors = Anchors::new(&found.certs, &[]);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Error::Identity(format!(
            "the system trusts no certificate authority{why}; install the package \
             ca-certificates, or name an authority with ca: \"ca.pem\""
        )));
    }
    Ok(Trusted::new(roots, anchors))
}

/// Those by whom backends are vouched for.
#[derive(Debug)]
struct Trusted {
    roots: Arc<RootCertStore>,
    anchors: Arc<Anchors>,
}

impl Trusted {
    fn new(roots: RootCertStore, anchors: Anchors) -> Self {
        Self {
            roots: Arc::new(roots),
            anchors: Arc::new(anchors),
        }
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Verifier, rustls::Error> {
        let authorities = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Verifier {
            authorities,
            anchors: self.anchors.clone(),
        })
    }
}

/// Takes whom the authorities vouch for, and themselves.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    anchors: Arc<Anchors>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self
            .authorities
            .verify_server_cert(leaf, intermediates, name, ocsp, now);
        judged.or_else(|refused| {
            let purpose = ExtendedKeyPurpose::ServerAuth;
            self.anchors.look_again(refused, leaf, purpose, now)?;
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
            Ok(ServerCertVerified::assertion())
        })
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

/// Takes every certificate, as long as its holder has the key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
