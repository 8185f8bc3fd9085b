//! The cryptography alone: what the server's side of a handshake and of a
//! record costs in memory, without a socket, by the thread's own clock. rustls
//! on AWS-LC, as adit has it: TLS 1.3, AES-128-GCM, X25519, two tickets.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConfig,
    ServerConnection, SignatureScheme,
};
use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, Key};

/// Handshakes of one kind that are measured, after a tenth as many that are not.
const HANDSHAKES: usize = 500;
/// Bytes that are sealed, and opened, in each size of record.
const BYTES: usize = 64 << 20;
/// The plaintext of the longest record (RFC 8446, section 5.1).
const LONGEST: usize = 16 << 10;

/// What it costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Crypto {
    pub(crate) handshake_us: f64,
    pub(crate) resumed_us: f64,
    pub(crate) rsa_us: f64,
    /// In records of 16 KiB.
    pub(crate) seal_ns_per_kib: f64,
    pub(crate) open_ns_per_kib: f64,
    /// One record of 1 KiB opened, and one sealed.
    pub(crate) trip_1k_us: f64,
    /// The same with 16 KiB.
    pub(crate) trip_16k_us: f64,
}

/// Measures, and prints it as JSON.
pub(crate) fn run() -> Result<(), String> {
    let measured = measure().map_err(|error| format!("the cryptography failed: {error}"))?;
    let text = serde_json::to_string(&measured).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(())
}

fn measure() -> Result<Crypto, Box<dyn std::error::Error>> {
    let (short_seal, short_open) = records(1 << 10)?;
    let (long_seal, long_open) = records(LONGEST)?;
    let kib = (LONGEST >> 10) as f64;
    Ok(Crypto {
        handshake_us: handshakes(Key::P256, HandshakeKind::Full)?,
        resumed_us: handshakes(Key::P256, HandshakeKind::Resumed)?,
        rsa_us: handshakes(Key::Rsa2048, HandshakeKind::Full)?,
        seal_ns_per_kib: long_seal * 1e3 / kib,
        open_ns_per_kib: long_open * 1e3 / kib,
        trip_1k_us: short_seal + short_open,
        trip_16k_us: long_seal + long_open,
    })
}

/// µs of the server for one handshake.
fn handshakes(key: Key, kind: HandshakeKind) -> Result<f64, Box<dyn std::error::Error>> {
    let certificate = Certificate::make(key)?;
    let provider = Arc::new(provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificate.chain(), certificate.private_key())?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.ticketer = Ticketer::new()?;
    server.send_tls13_tickets = 2;
    let server = Arc::new(server);

    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(
            provider.signature_verification_algorithms,
        )))
        .with_no_client_auth();
    client.resumption = match kind {
        HandshakeKind::Resumed => Resumption::in_memory_sessions(8),
        _ => Resumption::disabled(),
    };
    let client = Arc::new(client);

    let mut seconds = 0.0;
    for round in 0..HANDSHAKES + HANDSHAKES / 10 {
        let (spent, seen) = handshake(&server, &client)?;
        if round < HANDSHAKES / 10 {
            continue;
        }
        if seen != Some(kind) {
            return Err(format!("a handshake was {seen:?}, not {kind:?}").into());
        }
        seconds += spent;
    }
    Ok(seconds * 1e6 / HANDSHAKES as f64)
}

/// Seconds of the server, and the kind of handshake it was.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<(f64, Option<HandshakeKind>), Box<dyn std::error::Error>> {
    let name = ServerName::try_from("localhost")?;
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.write_tls(&mut to_server)?;

    let begin = now();
    let mut server = ServerConnection::new(Arc::clone(server))?;
    server.read_tls(&mut to_server.as_slice())?;
    server.process_new_packets()?;
    while server.wants_write() {
        server.write_tls(&mut to_client)?;
    }
    let first = now() - begin;

    let mut rest = to_client.as_slice();
    while !rest.is_empty() {
        client.read_tls(&mut rest)?;
        client.process_new_packets()?;
    }
    to_server.clear();
    to_client.clear();
    while client.wants_write() {
        client.write_tls(&mut to_server)?;
    }

    let begin = now();
    server.read_tls(&mut to_server.as_slice())?;
    server.process_new_packets()?;
    while server.wants_write() {
        server.write_tls(&mut to_client)?;
    }
    let second = now() - begin;

    // The tickets, for the next one.
    let mut rest = to_client.as_slice();
    while !rest.is_empty() {
        client.read_tls(&mut rest)?;
        client.process_new_packets()?;
    }
    Ok((first + second, server.handshake_kind()))
}

/// µs to seal one record of this size, and to open one.
fn records(size: usize) -> Result<(f64, f64), aws_lc_rs::error::Unspecified> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16])?);
    let nonce = || Nonce::assume_unique_for_key([3; 12]);
    // The header of the record is its associated data (RFC 8446, section 5.2).
    let header = [23, 3, 3, 0, 0];
    let mut record = vec![5; size];
    let count = BYTES / size;
    let (mut sealing, mut opening) = (0.0, 0.0);
    // In batches, so that the clock is read seldom.
    const BATCH: usize = 64;
    let mut sealed: Vec<Vec<u8>> = Vec::with_capacity(BATCH);
    for _ in 0..count / BATCH {
        sealed.clear();
        let mut tags = Vec::with_capacity(BATCH);
        let begin = now();
        for _ in 0..BATCH {
            tags.push(key.seal_in_place_separate_tag(nonce(), Aad::from(header), &mut record)?);
        }
        sealing += now() - begin;
        // All of a batch open with the last one's tag.
        let mut whole = record.clone();
        whole.extend_from_slice(tags.last().map_or(&[], |tag| tag.as_ref()));
        sealed.resize(BATCH, whole);
        let begin = now();
        for record in &mut sealed {
            key.open_in_place(nonce(), Aad::from(header), record)?;
        }
        opening += now() - begin;
    }
    let each = (count / BATCH * BATCH) as f64;
    Ok((sealing * 1e6 / each, opening * 1e6 / each))
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    }
}

/// CPU time of this thread, in seconds.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Takes any certificate: the client's side is not measured.
#[derive(Debug)]
struct Trusting(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
