//! Servers of this process, and TLS backends for them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use adit::config::{ClientTls, ServerTls, ServerVerify};
use adit::metrics::Stats;
use adit::{Config, Handle, Running, Server};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::backend::Backend;
use super::certificate::Certificate;
use super::{PATIENCE, turn, wait_for};

/// A server in this process. Dropping it ends it.
pub struct Place {
    pub address: SocketAddr,
    handle: Handle,
    _running: Running,
}

impl Place {
    /// Plaintext in, TLS out to this backend, whose certificate is trusted.
    pub fn client(backend: SocketAddr, trusted: &Certificate) -> Self {
        Self::client_with(backend, trusting(trusted))
    }

    /// Plaintext in, TLS out to this backend.
    pub fn client_with(backend: SocketAddr, tls: ClientTls) -> Self {
        Self::start(Config::client(anywhere(), tls, at(backend)))
    }

    /// TLS in, plaintext out.
    pub fn server(backend: SocketAddr, certificate: &Certificate) -> Self {
        let tls = ServerTls::new(&certificate.cert, &certificate.key);
        Self::start(Config::single(anywhere(), tls, at(backend)))
    }

    /// TLS in, TLS out.
    pub fn both(backend: SocketAddr, shown: &Certificate, trusted: &Certificate) -> Self {
        let tls = ServerTls::new(&shown.cert, &shown.key);
        let mut config = Config::single(anywhere(), tls, at(backend));
        config.services[0].tls = Some(trusting(trusted));
        Self::start(config)
    }

    pub fn start(mut config: Config) -> Self {
        config.shards.count = Some(1.try_into().expect("not zero"));
        turn::take();
        let server = Server::new(config).expect("a server");
        let address = server.listeners()[0].address.parse().expect("an address");
        let handle = server.handle();
        Self {
            address,
            handle,
            _running: server.start().expect("a shard"),
        }
    }

    pub fn stats(&self) -> Stats {
        self.handle.stats().expect("statistics")
    }

    /// Takes up another configuration.
    pub fn reload(&self, mut config: Config) {
        config.shards.count = Some(1.try_into().expect("not zero"));
        self.handle.reload(config).expect("taken up");
    }

    /// Waits for the end of one tunnel, and gives its reason.
    pub fn reason(&self) -> String {
        let stats = wait_for("the end of a tunnel", || {
            let stats = self.stats();
            (!stats.total.closed.is_empty()).then_some(stats)
        });
        let closed = &stats.total.closed;
        assert_eq!((closed.len(), closed[0].count), (1, 1), "{closed:?}");
        closed[0].reason.to_string()
    }

    /// A plaintext client.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends these bytes and takes them back.
    pub fn echo(&self, bytes: &[u8]) {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("sent");
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).expect("an echo");
        assert_eq!(back, bytes);
    }
}

/// Trust in this certificate, and it is for `localhost`.
pub fn trusting(certificate: &Certificate) -> ClientTls {
    ClientTls {
        verify: ServerVerify::Ca(certificate.cert.clone()),
        server_name: Some("localhost".into()),
        ..ClientTls::default()
    }
}

/// A free port of this machine.
pub fn anywhere() -> adit::config::Address {
    "127.0.0.1:0".parse().expect("an address")
}

/// That address, as a configuration has it.
pub fn at(address: SocketAddr) -> adit::config::Address {
    address.to_string().parse().expect("an address")
}

/// A TLS connection as its backend has it.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// What a TLS backend accepts with.
pub fn accepting(
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(&certificate.cert)
        .expect("a file")
        .collect::<Result<_, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("an identity")
}

/// A backend that speaks TLS, and runs the script for each connection.
pub fn tls_backend<T: Send + 'static>(
    config: ServerConfig,
    script: impl Fn(TlsStream) -> T + Send + Sync + 'static,
) -> Backend<T> {
    let config = Arc::new(config);
    Backend::start(move |stream| {
        let tls = ServerConnection::new(config.clone()).expect("a connection");
        script(StreamOwned::new(tls, stream))
    })
}

/// Sends back what it receives, to the end, and then says its own end.
pub fn echo(mut stream: TlsStream) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                if stream.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
        }
    }
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
