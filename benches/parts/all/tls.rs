//! A TLS connection in memory: the server as a listener of adit has it, and a
//! client to go with it.

use std::sync::Arc;

use adit::bench_parts;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

/// A listener's configuration, and a client's that trusts it.
pub(crate) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let folder = tempfile::tempdir().expect("a folder");
    // No length in it turns on chance, as those of ECDSA's signatures do, so
    // that all that is allocated later lies in the same places in every run.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.serial_number = Some(1.into());
    let cert = params.self_signed(&key).expect("a certificate");
    let file = folder.path().join("site.pem");
    let pem = cert.pem() + &key.serialize_pem();
    std::fs::write(&file, &pem).expect("a file");
    let server = bench_parts::server_config(&file, &file).expect("a configuration");
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, Arc::new(client))
}

/// A server and a client that have shaken hands: TLS 1.3, AES-128-GCM.
pub(crate) fn pair(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> (UnbufferedServerConnection, ClientConnection) {
    let mut server = UnbufferedServerConnection::new(server).expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client, name).expect("a connection");
    let mut to_server = Vec::new();
    let mut room = vec![0; 32 * 1024];
    while client.is_handshaking() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut to_server).expect("written");
        }
        let mut to_client = Vec::new();
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state, .. } =
                server.process_tls_records(&mut to_server[used..]);
            used += discard;
            match state.expect("TLS") {
                ConnectionState::EncodeTlsData(mut data) => {
                    let encoded = data.encode(&mut room).expect("room");
                    to_client.extend_from_slice(&room[..encoded]);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => break,
            }
        }
        to_server.drain(..used);
        let mut to_client = &to_client[..];
        while !to_client.is_empty() {
            client.read_tls(&mut to_client).expect("read");
            client.process_new_packets().expect("TLS");
        }
    }
    (server, client)
}
