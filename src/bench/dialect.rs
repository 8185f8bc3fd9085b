//! How a load generator speaks TLS: one version, cipher, group or kind of
//! signature by its name, and the rustls configuration that comes of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS, default_provider};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use super::TlsOptions;
use crate::config::suites::{group_name, group_named, suite_name, suite_named};

/// A TLS version that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A cipher suite that can be asked for, by its name in IANA's registry
/// (`TLS_AES_128_GCM_SHA256`), or by another that is in use
/// (`TLS13_AES_128_GCM_SHA256`, `ECDHE-ECDSA-AES128-GCM-SHA256`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cipher(SupportedCipherSuite);

/// A key exchange group that can be asked for, by its name in IANA's registry.
#[derive(Clone, Copy, Debug)]
pub struct Group(&'static dyn SupportedKxGroup);

/// What a server's certificate is to be signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// On the curves P-256, P-384 and P-521.
    Ecdsa,
    /// With either padding.
    Rsa,
    /// RFC 8032.
    Ed25519,
}

impl Version {
    fn rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err("write 1.2 or 1.3".into()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

impl Cipher {
    /// The one version that it is for.
    pub fn version(self) -> Version {
        match self.0 {
            SupportedCipherSuite::Tls12(_) => Version::Tls12,
            SupportedCipherSuite::Tls13(_) => Version::Tls13,
        }
    }
}

impl FromStr for Cipher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = suite_named(text);
        ALL_CIPHER_SUITES
            .iter()
            .find(|suite| Some(suite.suite()) == wanted)
            .map(|suite| Self(*suite))
            .ok_or_else(|| {
                let names = ALL_CIPHER_SUITES.iter();
                list(names.map(|suite| suite_name(suite.suite())))
            })
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(suite_name(self.0.suite()))
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = group_named(text);
        ALL_KX_GROUPS
            .iter()
            .find(|group| Some(group.name()) == wanted)
            .map(|group| Self(*group))
            .ok_or_else(|| list(ALL_KX_GROUPS.iter().map(|group| group_name(group.name()))))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(group_name(self.0.name()))
    }
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.collect();
    format!("known are {}", names.join(", "))
}

impl Signature {
    fn allows(self, scheme: SignatureScheme) -> bool {
        use SignatureScheme as S;
        match self {
            Self::Ecdsa => matches!(
                scheme,
                S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512
            ),
            Self::Rsa => matches!(
                scheme,
                S::RSA_PSS_SHA256
                    | S::RSA_PSS_SHA384
                    | S::RSA_PSS_SHA512
                    | S::RSA_PKCS1_SHA256
                    | S::RSA_PKCS1_SHA384
                    | S::RSA_PKCS1_SHA512
            ),
            Self::Ed25519 => scheme == S::ED25519,
        }
    }
}

impl FromStr for Signature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ecdsa" => Ok(Self::Ecdsa),
            "rsa" => Ok(Self::Rsa),
            "ed25519" => Ok(Self::Ed25519),
            _ => Err("write ecdsa, rsa or ed25519".into()),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        })
    }
}

/// The TLS of one executor's connections.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    config: ClientConfig,
    pub(super) name: ServerName<'static>,
}

impl Dialect {
    /// Each executor makes its own, so that they share no reference count.
    ///
    /// # Errors
    ///
    /// A sentence: a name that is none, a file that holds no certificate,
    /// things that do not go together.
    pub(super) fn new(options: &TlsOptions) -> Result<Self, String> {
        let provider = Arc::new(provider(options));
        let version = match (options.version, options.cipher) {
            (Some(version), Some(cipher)) if version != cipher.version() => {
                return Err(format!(
                    "the cipher {cipher} is for TLS {}, not for TLS {version}",
                    cipher.version()
                ));
            }
            (Some(version), _) => Some(version),
            (None, cipher) => cipher.map(Cipher::version),
        };
        let versions: &[_] = match version {
            Some(version) => &[version.rustls()],
            None => rustls::ALL_VERSIONS,
        };
        let name = ServerName::try_from(options.server_name.clone())
            .map_err(|_| format!("\"{}\" is no server name", options.server_name))?;
        let verifier = verifier(options, &provider)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { config, name })
    }

    /// Has the calling thread do once what costs it tens of milliseconds the
    /// first time: AWS-LC seeds the random numbers of each thread.
    pub(super) fn warm(&self) {
        // Whatever is wrong with it, the first handshake will tell.
        for group in self.config.crypto_provider().kx_groups.iter().take(1) {
            let _ = group.start();
        }
    }

    /// For connections that each begin anew.
    pub(super) fn forgetful(&self) -> Arc<ClientConfig> {
        Arc::new(self.config.clone())
    }

    /// For one lane's connections, of which each resumes what the one before
    /// was given.
    pub(super) fn resuming(&self) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        // Room for the tickets of one server.
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }
}

fn provider(options: &TlsOptions) -> CryptoProvider {
    let mut provider = default_provider();
    if let Some(Cipher(suite)) = options.cipher {
        provider.cipher_suites = vec![suite];
    }
    if let Some(Group(group)) = options.group {
        provider.kx_groups = vec![group];
    }
    provider
}

fn verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let strict = match &options.ca {
        None => None,
        Some(file) => {
            let wrong = |error: &dyn fmt::Display| format!("{}: {error}", file.display());
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(|error| wrong(&error))?;
            Some(built)
        }
    };
    let schemes = provider
        .signature_verification_algorithms
        .supported_schemes()
        .into_iter()
        .filter(|scheme| options.signature.is_none_or(|s| s.allows(*scheme)))
        .collect();
    Ok(Arc::new(Verifier { strict, schemes }))
}

/// Offers some kinds of signature, and verifies what there are roots for.
#[derive(Debug)]
struct Verifier {
    strict: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.strict {
            Some(strict) => strict.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.strict {
            Some(strict) => strict.verify_tls12_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.strict {
            Some(strict) => strict.verify_tls13_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> TlsOptions {
        TlsOptions {
            server_name: "localhost".into(),
            ca: None,
            version: None,
            cipher: None,
            group: None,
            signature: None,
        }
    }

    #[test]
    fn every_name_is_read_as_it_is_written_and_the_usual_others_too() {
        for suite in ALL_CIPHER_SUITES {
            let (name, rustls) = (suite_name(suite.suite()), format!("{:?}", suite.suite()));
            for name in [name, &rustls, &name.to_lowercase()] {
                assert_eq!(name.parse::<Cipher>().unwrap().0, *suite, "{name}");
            }
        }
        for group in ALL_KX_GROUPS {
            let name = group_name(group.name());
            assert_eq!(name.parse::<Group>().unwrap().to_string(), name);
            assert_eq!(
                name.to_lowercase().parse::<Group>().unwrap().to_string(),
                name
            );
        }
        assert_eq!("P-256".parse::<Group>().unwrap().to_string(), "secp256r1");
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_is_known() {
        let error = "x25520".parse::<Group>().unwrap_err();
        assert!(
            error.contains("x25519") && error.contains("secp256r1"),
            "{error}"
        );
        let error = "RC4".parse::<Cipher>().unwrap_err();
        assert!(error.contains("TLS_AES_128_GCM_SHA256"), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let mut options = options();
        options.cipher = Some("TLS_AES_128_GCM_SHA256".parse().unwrap());
        assert!(Dialect::new(&options).is_ok());
        options.version = Some(Version::Tls12);
        let error = Dialect::new(&options).unwrap_err();
        assert!(error.contains("is for TLS 1.3"), "{error}");
        options.version = None;
        options.server_name = "no name".into();
        assert!(Dialect::new(&options).is_err());
    }
}
