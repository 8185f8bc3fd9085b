//! TLS, as it was meant: towards clients ([`ServerTls`]) and towards backends
//! ([`ClientTls`]).

use std::path::PathBuf;
use std::time::Duration;

use rustls::{CipherSuite, NamedGroup};
use serde::Deserialize;

use crate::limits;

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// Where certificates and their keys are. At least one; the first
    /// certificate found there serves clients that name no server.
    pub certs: Vec<CertSource>,
    /// What becomes of a client that names a server which no certificate is
    /// for.
    pub sni_nomatch: SniNoMatch,
    /// Protocol versions, cipher suites and groups.
    pub policy: TlsPolicy,
    /// Application protocols (RFC 7301), the most wanted first. Empty: none is
    /// agreed on, whatever the client offers. Else a client that offers some,
    /// and none of these, is refused.
    pub alpn: Vec<String>,
    /// Session tickets.
    pub tickets: Tickets,
    /// Whom clients have to prove to be. `None`: they are not asked.
    pub client_verify: Option<ClientVerify>,
    /// A file to which the secrets of every session are appended, in the
    /// format of `SSLKEYLOGFILE`. Whoever reads it can read all traffic.
    pub key_log: Option<PathBuf>,
}

/// TLS towards backends.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTls {
    /// How the backend's certificate is judged.
    pub verify: ServerVerify,
    /// The name that is asked for (RFC 6066, section 3) and that the
    /// certificate must be for: a DNS name or an IP address. `None`: the host
    /// in the backend's address.
    pub server_name: Option<String>,
    /// The certificate that is shown to backends that ask for one.
    pub identity: Option<CertSource>,
    /// Protocol versions, cipher suites and groups.
    pub policy: TlsPolicy,
    /// Application protocols (RFC 7301), the most wanted first. Empty: none is
    /// offered.
    pub alpn: Vec<String>,
    /// Whether sessions are resumed.
    pub resume: bool,
    /// As [`ServerTls::key_log`].
    pub key_log: Option<PathBuf>,
}

/// Where a certificate chain and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertSource {
    /// A PEM file with the chain, leaf first; or, for a server, a directory of
    /// such files.
    pub cert: PathBuf,
    /// The private key in PEM. `None`: it is in `cert`, or beside it. Always
    /// `None` for a directory.
    pub key: Option<PathBuf>,
    /// An OCSP response in DER (RFC 6960, section 4.2.1) to be stapled.
    /// `None`: one that lies beside `cert`, if one does.
    pub ocsp: Option<PathBuf>,
}

/// What becomes of a client that names a server which no certificate is for.
///
/// A name that cannot be, such as one with a port in it, ends the handshake with
/// the alert illegal_parameter in either case. An IP address is taken for no name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum SniNoMatch {
    /// It is shown the default certificate.
    #[default]
    Default,
    /// It is refused with the alert unrecognized_name (RFC 6066, section 3).
    Abort,
}

/// Protocol versions, cipher suites and groups, all of which the program has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    /// The lowest version that is spoken.
    pub min: TlsVersion,
    /// The highest version that is spoken; not lower than `min`.
    pub max: TlsVersion,
    /// Cipher suites, the most wanted first, of which each version between
    /// `min` and `max` has one at least. `None`: all there are, as the client
    /// prefers.
    pub ciphers: Option<Vec<CipherSuite>>,
    /// Key exchange groups, the most wanted first. `None`: all that are on by
    /// default.
    pub groups: Option<Vec<NamedGroup>>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Session tickets (RFC 5077; RFC 8446, section 4.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// How many are sent after a TLS 1.3 handshake; 0 turns tickets off in
    /// both versions.
    pub count: usize,
    /// How long a session can be resumed, at most
    /// [`limits::TICKET_LIFETIME_MAX`].
    pub lifetime: Duration,
    /// The file of keys. `None`: keys are made, and rotated, in the process.
    pub keys: Option<TicketKeyFile>,
}

/// A file of ticket keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketKeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// Which of its keys seals; all of them open.
    pub seal_with: SealWith,
}

/// Which of several ticket keys seals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum SealWith {
    /// The last: `adit ticket-keys rotate` appends.
    #[default]
    Last,
    /// The first, as nginx has it.
    First,
}

/// Whom clients have to prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientVerify {
    /// Whether a client without a certificate is refused.
    pub required: bool,
    /// The PEM file of certificate authorities that are trusted.
    pub ca: PathBuf,
    /// PEM files of certificate revocation lists (RFC 5280, section 5). Empty:
    /// nothing is looked up.
    pub crls: Vec<PathBuf>,
    /// The subjects that are let in, one of which the certificate has to have.
    /// Empty: all that the authorities vouch for.
    pub allow: Vec<SubjectPattern>,
}

/// A subject of a certificate (RFC 5280, section 4.2.1.6). In each a `*`
/// stands for any number of characters, but in a DNS name for one label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub enum SubjectPattern {
    /// A DNS name among the alternative names.
    Dns(String),
    /// A URI among the alternative names, such as a SPIFFE id.
    Uri(String),
    /// An e-mail address among the alternative names.
    Email(String),
    /// The subject's common name.
    Cn(String),
}

/// How a backend's certificate is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerVerify {
    /// By the authorities that the system trusts.
    #[default]
    System,
    /// By the authorities in this PEM file.
    Ca(PathBuf),
    /// Not at all: anybody can be the backend.
    Off,
}

impl ServerTls {
    /// A certificate and its key, with every default.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::of(vec![CertSource::new(cert, key)])
    }

    /// Certificates and keys, with every default.
    pub fn of(certs: Vec<CertSource>) -> Self {
        Self {
            certs,
            sni_nomatch: SniNoMatch::default(),
            policy: TlsPolicy::default(),
            alpn: Vec::new(),
            tickets: Tickets::default(),
            client_verify: None,
            key_log: None,
        }
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self {
            verify: ServerVerify::default(),
            server_name: None,
            identity: None,
            policy: TlsPolicy::default(),
            alpn: Vec::new(),
            resume: true,
            key_log: None,
        }
    }
}

impl CertSource {
    /// A certificate file and a key file, which may be the same.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (cert, key) = (cert.into(), key.into());
        Self {
            key: (key != cert).then_some(key),
            cert,
            ocsp: None,
        }
    }
}

impl Default for TlsPolicy {
    /// TLS 1.2 and 1.3 with all that is safe: what Mozilla calls
    /// *intermediate*.
    fn default() -> Self {
        Self {
            min: TlsVersion::Tls12,
            max: TlsVersion::Tls13,
            ciphers: None,
            groups: None,
        }
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            count: limits::TICKETS_PER_HANDSHAKE,
            lifetime: limits::TICKET_LIFETIME,
            keys: None,
        }
    }
}
