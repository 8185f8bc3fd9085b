//! A TLS client with its hands on everything: records, half-closes, FIN and
//! RST, on a blocking socket. All methods take `&self`, so that one thread can
//! send while another receives.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup,
    ProtocolVersion, SignatureScheme, SupportedProtocolVersion,
};
use socket2::SockRef;

use super::adit::Adit;
use super::backend::Ended;
use super::pattern::{self, Check};
use super::{PATIENCE, certificate::Certificate};

/// How the server's stream ended.
#[derive(Debug, PartialEq, Clone)]
pub enum End {
    /// With close_notify: all that was to come has come.
    CloseNotify,
    /// With FIN and no close_notify.
    Fin,
    /// With RST.
    Reset,
    /// With an error of the TLS protocol, such as a fatal alert.
    Tls(rustls::Error),
    /// Not at all, within the time allowed.
    Not,
}

impl End {
    fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Not,
            _ => Self::Reset,
        }
    }
}

/// A client's configuration that trusts this certificate.
pub fn config(
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(certificate.roots())
        .with_no_client_auth()
}

/// A client whose handshake is done.
pub struct Client {
    tcp: TcpStream,
    tls: Mutex<ClientConnection>,
    /// Held over sealing and sending, so that records leave in their order.
    sending: Mutex<()>,
    /// Opened and not yet asked for.
    opened: Mutex<VecDeque<u8>>,
}

impl Client {
    /// Connects with every default, and shakes hands.
    #[track_caller]
    pub fn connect(adit: &Adit) -> Self {
        let config = config(adit.certificate(), rustls::ALL_VERSIONS);
        Self::connect_with(adit, &Arc::new(config)).expect("a handshake")
    }

    /// Connects, and shakes hands.
    pub fn connect_with(adit: &Adit, config: &Arc<ClientConfig>) -> Result<Self, End> {
        Self::shake(tcp(adit.address()), config)
    }

    /// Shakes hands on this connection.
    pub fn shake(tcp: TcpStream, config: &Arc<ClientConfig>) -> Result<Self, End> {
        let client = Self::begin(tcp, config);
        client.finish_handshake()?;
        Ok(client)
    }

    /// Goes on with the handshake until it is done.
    pub fn finish_handshake(&self) -> Result<(), End> {
        while self.is_handshaking() {
            self.send_sealed()?;
            if self.is_handshaking() {
                self.take_in()?;
            }
        }
        self.send_sealed()
    }

    /// A client that has sent nothing yet. [`sealed`](Self::sealed) gives its
    /// ClientHello.
    pub fn begin(tcp: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(config.clone(), name).expect("a connection");
        tls.set_buffer_limit(None);
        Self {
            tcp,
            tls: Mutex::new(tls),
            sending: Mutex::new(()),
            opened: Mutex::default(),
        }
    }

    /// The TCP connection, for what is done to it past TLS.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether the handshake is still to be done.
    pub fn is_handshaking(&self) -> bool {
        self.with(|tls| tls.is_handshaking())
    }

    /// The version agreed on.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.with(|tls| tls.protocol_version())
    }

    /// Whether the handshake resumed a session.
    pub fn resumed(&self) -> bool {
        self.with(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// The group of the key exchange.
    pub fn group(&self) -> Option<NamedGroup> {
        self.with(|tls| {
            tls.negotiated_key_exchange_group()
                .map(|group| group.name())
        })
    }

    /// Asks the connection itself.
    pub fn with<T>(&self, ask: impl FnOnce(&mut ClientConnection) -> T) -> T {
        ask(&mut self.tls.lock().expect("no panic"))
    }

    /// What waits to be sent, taken out: the test sends it as it likes.
    pub fn sealed(&self) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.with(|tls| {
            while tls.wants_write() {
                tls.write_tls(&mut sealed).expect("memory takes all");
            }
        });
        sealed
    }

    /// These bytes, sealed and not yet sent.
    pub fn seal(&self, bytes: &[u8]) -> Vec<u8> {
        self.with(|tls| tls.writer().write_all(bytes).expect("memory takes all"));
        self.sealed()
    }

    /// Sends bytes as they are, past TLS.
    pub fn send_raw(&self, bytes: &[u8]) -> Result<(), End> {
        (&self.tcp)
            .write_all(bytes)
            .map_err(|error| End::from_error(&error))
    }

    /// Sends what waits to be sent.
    pub fn send_sealed(&self) -> Result<(), End> {
        let _sending = self.sending.lock().expect("no panic");
        let sealed = self.sealed();
        self.send_raw(&sealed)
    }

    /// Sends.
    pub fn send(&self, bytes: &[u8]) -> Result<(), End> {
        for part in bytes.chunks(128 * 1024) {
            let _sending = self.sending.lock().expect("no panic");
            let sealed = self.seal(part);
            self.send_raw(&sealed)?;
        }
        Ok(())
    }

    /// Sends in records of that many bytes each, all at once.
    pub fn send_in_records(&self, bytes: &[u8], size: usize) -> Result<(), End> {
        let _sending = self.sending.lock().expect("no panic");
        let sealed: Vec<u8> = bytes.chunks(size).flat_map(|one| self.seal(one)).collect();
        self.send_raw(&sealed)
    }

    /// Sends the pattern's first bytes.
    pub fn send_pattern(&self, length: u64) -> Result<(), End> {
        let mut sent = 0;
        while sent < length {
            let next = pattern::at(sent, (length - sent).min(128 * 1024));
            self.send(next)?;
            sent += next.len() as u64;
        }
        Ok(())
    }

    /// Says close_notify, and goes on receiving. No FIN.
    pub fn close_notify(&self) {
        self.with(|tls| tls.send_close_notify());
        let _ = self.send_sealed();
    }

    /// Sends FIN, and goes on receiving.
    pub fn fin(&self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Closes the connection with RST.
    pub fn reset(self) {
        SockRef::from(&self.tcp)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
    }

    /// Receives some bytes.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize, End> {
        loop {
            // Before the end: what was opened before it.
            let n = self.opened.lock().expect("no panic").read(buffer);
            if let Ok(n @ 1..) = n {
                return Ok(n);
            }
            if let Ok(0) = self.with(|tls| tls.reader().read(buffer)) {
                return Err(End::CloseNotify);
            }
            self.take_in()?;
        }
    }

    /// Receives so many bytes.
    #[track_caller]
    pub fn receive_exact(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.receive(&mut bytes[filled..]) {
                Ok(n) => filled += n,
                Err(end) => panic!("ended ({end:?}) after {filled} of {length} bytes"),
            }
        }
        bytes
    }

    /// Receives to the end.
    pub fn receive_all(&self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let end = self.receive_each(|bytes| all.extend_from_slice(bytes));
        (all, end)
    }

    /// Receives to the end, and checks that it is the pattern from its
    /// beginning.
    #[track_caller]
    pub fn receive_pattern(&self) -> (u64, End) {
        let mut check = Check::default();
        let end = self.receive_each(|bytes| check.feed(bytes));
        (check.seen, end)
    }

    fn receive_each(&self, mut each: impl FnMut(&[u8])) -> End {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match self.receive(&mut buffer) {
                Ok(n) => each(&buffer[..n]),
                Err(end) => return end,
            }
        }
    }

    /// How the TCP stream ends, after close_notify. Bytes before its end are
    /// passed over.
    pub fn tcp_end(&self) -> Ended {
        let mut buffer = [0; 4096];
        loop {
            match (&self.tcp).read(&mut buffer) {
                Ok(0) => return Ended::Eof,
                Ok(_) => {}
                Err(error) => {
                    return match End::from_error(&error) {
                        End::Not => Ended::Not,
                        _ => Ended::Reset,
                    };
                }
            }
        }
    }

    /// Waits for bytes of the connection and opens them.
    pub fn take_in(&self) -> Result<(), End> {
        let mut buffer = [0; 64 * 1024];
        let n = loop {
            match (&self.tcp).read(&mut buffer) {
                Ok(0) => return Err(End::Fin),
                Ok(n) => break n,
                // With a timeout set it is not begun anew (signal(7)), and a
                // server in the same process may bring it about.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::from_error(&error)),
            }
        };
        let mut bytes = &buffer[..n];
        let mut plain = [0; 16 * 1024];
        self.with(|tls| {
            while !bytes.is_empty() {
                if tls.read_tls(&mut bytes).expect("room, if all is taken") == 0 {
                    // After close_notify nothing is taken any more.
                    return Ok(());
                }
                tls.process_new_packets().map_err(End::Tls)?;
                let mut opened = self.opened.lock().expect("no panic");
                // What the connection itself keeps has a limit.
                while let Ok(n @ 1..) = tls.reader().read(&mut plain) {
                    opened.extend(&plain[..n]);
                }
            }
            Ok(())
        })
    }
}

/// A TCP connection to there, that waits for nothing longer than
/// [`PATIENCE`].
#[track_caller]
pub fn tcp(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).expect("a connection");
    tcp.set_nodelay(true).expect("a socket");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    tcp.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    tcp
}

/// The ClientHello of a client whose newest version is 3.`minor`, below that of
/// TLS 1.2: without extensions, as it may be (RFC 2246, section 7.4.1.2).
pub fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![22, 3, minor, 0, 45, 1, 0, 0, 41, 3, minor];
    hello.extend([7; 32]);
    // No session; one cipher suite; one compression, which is none.
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    hello
}

/// Takes every certificate for every name.
pub fn anybody() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anybody)
}

#[derive(Debug)]
struct Anybody;

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
