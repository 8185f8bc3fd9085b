//! A client that tells what it was shown.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion,
    SignatureScheme, SupportedProtocolVersion,
};

use crate::authority::Issued;
use crate::support::PATIENCE;

/// Each version alone.
pub(crate) const EACH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

/// Who comes, and what it can do.
#[derive(Clone)]
pub(crate) struct Visitor<'a> {
    /// Whom it asks for; nobody if `None`.
    pub(crate) name: Option<&'a str>,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    /// The signatures that it takes. Empty: all.
    pub(crate) schemes: Vec<SignatureScheme>,
    /// The cipher suites that it takes. Empty: all.
    pub(crate) suites: Vec<CipherSuite>,
    pub(crate) alpn: Vec<&'a str>,
    /// What it shows, and then its issuers.
    pub(crate) identity: Option<(&'a Issued, Vec<CertificateDer<'static>>)>,
}

/// What it was shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) chain: usize,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) version: ProtocolVersion,
    pub(crate) suite: CipherSuite,
    pub(crate) ocsp: Vec<u8>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(name: Option<&'a str>) -> Self {
        Self {
            name,
            versions: rustls::ALL_VERSIONS,
            schemes: Vec::new(),
            suites: Vec::new(),
            alpn: Vec::new(),
            identity: None,
        }
    }

    pub(crate) fn showing(identity: &'a Issued) -> Self {
        Self {
            identity: Some((identity, Vec::new())),
            ..Self::new(None)
        }
    }

    /// Shakes hands, and has some bytes sent back: in TLS 1.3 a server may
    /// refuse after its last flight.
    pub(crate) fn visit(&self, address: SocketAddr) -> Result<Shown, Error> {
        let ocsp = Arc::new(Mutex::new(Vec::new()));
        let mut tls = ClientConnection::new(self.config(ocsp.clone()), self.server_name())?;
        let mut tcp = TcpStream::connect(address).expect("a connection");
        tcp.set_nodelay(true).expect("a socket");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        let echoed = stream.write_all(b"ping").and_then(|()| {
            let mut back = [0; 4];
            stream.read_exact(&mut back).map(|()| back)
        });
        match echoed {
            Ok(back) => assert_eq!(&back, b"ping"),
            Err(error) => {
                // An alert may lie there though sending has failed.
                loop {
                    match tls.read_tls(&mut tcp) {
                        Ok(0) => break,
                        Ok(_) => {
                            tls.process_new_packets()?;
                        }
                        // With a timeout set it is not begun anew (signal(7)).
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(_) => break,
                    }
                }
                let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
                return Err(inner.cloned().unwrap_or_else(|| panic!("{error}")));
            }
        }
        let chain = tls.peer_certificates().expect("certificates");
        let ocsp = ocsp.lock().expect("no panic").clone();
        Ok(Shown {
            leaf: chain[0].clone().into_owned(),
            chain: chain.len(),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            version: tls.protocol_version().expect("a version"),
            suite: tls.negotiated_cipher_suite().expect("a suite").suite(),
            ocsp,
        })
    }

    fn server_name(&self) -> ServerName<'static> {
        let name = self.name.unwrap_or("127.0.0.1").to_owned();
        name.try_into().expect("a name")
    }

    fn config(&self, ocsp: Arc<Mutex<Vec<u8>>>) -> Arc<ClientConfig> {
        let mut provider = default_provider();
        if !self.suites.is_empty() {
            let all = provider.cipher_suites;
            let wanted = self.suites.iter();
            let find = |suite: &CipherSuite| all.iter().find(|s| s.suite() == *suite).copied();
            provider.cipher_suites = wanted.filter_map(find).collect();
        }
        let provider = Arc::new(provider);
        let seen = Arc::new(Seen {
            provider: provider.clone(),
            schemes: self.schemes.clone(),
            ocsp,
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(seen);
        let mut config = match &self.identity {
            Some((identity, issuers)) => {
                let mut chain = vec![identity.der()];
                chain.extend(issuers.iter().cloned());
                builder
                    .with_client_auth_cert(chain, identity.private())
                    .expect("an identity")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// Takes every certificate, and keeps the OCSP response. Signatures are
/// checked.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    ocsp: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.ocsp.lock().expect("no panic") = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        if self.schemes.is_empty() {
            let algorithms = self.provider.signature_verification_algorithms;
            return algorithms.supported_schemes();
        }
        self.schemes.clone()
    }
}
