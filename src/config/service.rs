//! Services: backends that do the same job, and how one of them is chosen.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::{Address, ClientTls};
use crate::limits;

/// A set of backends that do the same job.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The name in log lines and statistics.
    pub name: String,
    /// At least one.
    pub backends: Vec<Backend>,
    /// TLS towards the backends; `None`: they are spoken to in plaintext.
    pub tls: Option<ClientTls>,
    /// How one of the backends is chosen for a tunnel.
    pub balance: Balance,
    /// How backends are checked. `None`: not, but by the tunnels themselves.
    /// A backend is taken to be up until its first check has ended, which
    /// decides alone.
    pub health: Option<HealthCheck>,
    /// When a backend that refuses tunnels is left alone. The last that is
    /// neither down nor left alone never is; and where nothing else is left,
    /// those that are left alone are tried all the same.
    pub eject: Ejection,
    /// Over how long a backend that has come back gets its full share: it is
    /// passed over for all but a part of the tunnels that grows in a straight
    /// line. Zero: at once.
    pub slow_start: Duration,
    /// How tunnels wait for a backend when each has all that it may have.
    pub queue: Queue,
    /// How long a client is held while no backend is up, or every connect
    /// fails, on top of the connect timeout. Zero: it is closed at once.
    pub hold: Duration,
    /// How often names are resolved anew. `None`: every
    /// [`limits::RESOLVE_TTL`], since the system's resolver does not tell a
    /// name's own time to live.
    pub resolve: Option<Duration>,
    /// What backends are told of the client, before its bytes.
    pub proxy_protocol: Option<ProxyHeader>,
    /// Where connections to backends come from.
    pub source: Source,
    /// What is asked of TCP.
    pub tcp: TcpOptions,
}

/// One place that plaintext is carried to.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Where it is. Never [`Host::Any`](super::Host::Any).
    pub address: Address,
    /// Its share of the tunnels beside those of the others, from 1 to
    /// [`limits::WEIGHT_MAX`].
    pub weight: u32,
    /// It gets tunnels only while none of the others is up, or when all of
    /// them have refused; not because they have all that they may have.
    pub backup: bool,
    /// How many tunnels it may have at once, over all shards, which divide it
    /// evenly and need at least one each. Tunnels that are being connected
    /// count. `None`: any number.
    pub max_connections: Option<NonZeroU32>,
}

/// How one of several backends is chosen for a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Balance {
    /// Of two taken at random, the one with fewer tunnels for its weight.
    #[default]
    TwoChoices,
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest tunnels for its weight.
    LeastTunnels,
    /// By a consistent hash of the client's address: a client keeps its
    /// backend while that is up, and others' choices do not change with it.
    SourceHash,
    /// The first that is up, in the order of the file.
    First,
}

/// How backends are checked, once per process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is done.
    pub kind: CheckKind,
    /// From the end of one check to the next, give or take a tenth.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Checks in a row that have to succeed before a backend is up again.
    pub rise: u32,
    /// Checks in a row that have to fail before a backend is down.
    pub fall: u32,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// It connects.
    Tcp,
    /// It connects and shakes hands, as a tunnel would.
    Tls,
    /// It gets a page, over the service's TLS if there is some.
    Http {
        /// The path, with its query.
        path: String,
        /// The Host field; `None`: the host of the backend's address.
        host: Option<String>,
        /// The statuses that are good, from and to.
        status: (u16, u16),
    },
}

/// When a backend that refuses tunnels is left alone for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Connects in a row that have to fail, on one shard. 0: it never is.
    pub failures: u32,
    /// For how long at first; it doubles with each time in a row, up to
    /// [`limits::EJECTION_MAX`].
    pub pause: Duration,
}

/// How tunnels wait for a backend when each has all that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait, over all shards, which divide it evenly. 0: none,
    /// they are refused.
    pub length: u32,
    /// How long one may wait, on top of the connect timeout.
    pub timeout: Duration,
}

/// What backends are told of the client, before its bytes: a header of the
/// PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// 1 or 2.
    pub version: ProxyVersion,
    /// What version 2 says beside the addresses.
    pub tlvs: Vec<ProxyTlv>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    One,
    /// Binary.
    Two,
}

/// What version 2 can say beside the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ProxyTlv {
    /// The name that the client asked for.
    Authority,
    /// The application protocol agreed on.
    Alpn,
    /// The TLS version and cipher, the common name of the client's certificate
    /// and whether that was verified.
    Ssl,
    /// A name for the connection, unique among all of this process.
    UniqueId,
    /// A checksum of the header.
    Crc32c,
}

/// Where connections to backends come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// From where the kernel likes.
    #[default]
    Kernel,
    /// From this address.
    Fixed(IpAddr),
    /// From the client's own address (`IP_TRANSPARENT`): the backend's answers
    /// must be routed back through this machine.
    Transparent,
}

/// What is asked of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Whether data may go in the SYN (RFC 7413): on a listener, that of its
    /// clients; on a service, ours to backends that have allowed it before. Then
    /// the connection begins with the client's first bytes: that the backend is
    /// not there is found too late for another to be tried, and a backend that
    /// ought to speak first never hears of its client.
    pub fast_open: bool,
    /// The congestion control by its name in the kernel. `None`: the system's
    /// default.
    pub congestion: Option<String>,
}

impl Service {
    /// One backend, with every default.
    pub fn single(name: impl Into<String>, backend: Address, tls: Option<ClientTls>) -> Self {
        Self::new(name, vec![Backend::new(backend)], tls)
    }

    /// Backends, with every default.
    pub fn new(name: impl Into<String>, backends: Vec<Backend>, tls: Option<ClientTls>) -> Self {
        Self {
            name: name.into(),
            backends,
            tls,
            balance: Balance::default(),
            health: None,
            eject: Ejection::default(),
            slow_start: Duration::ZERO,
            queue: Queue::default(),
            hold: Duration::ZERO,
            resolve: None,
            proxy_protocol: None,
            source: Source::default(),
            tcp: TcpOptions::default(),
        }
    }
}

impl Backend {
    /// A backend at this address, with every default.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            weight: 1,
            backup: false,
            max_connections: None,
        }
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            kind: CheckKind::Tcp,
            interval: limits::HEALTH_INTERVAL,
            timeout: limits::HEALTH_TIMEOUT,
            rise: limits::HEALTH_RISE,
            fall: limits::HEALTH_FALL,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: limits::EJECTION_FAILURES,
            pause: limits::EJECTION_PAUSE,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            length: limits::QUEUE_LENGTH,
            timeout: limits::QUEUE_TIMEOUT,
        }
    }
}
