//! The configuration: what was meant.
//!
//! [`Config::from_file`] reads it from RON: `scan` cuts the text into values
//! that know their places (`position`), `reader` gives those to serde, `file`
//! holds what was typed, with the scalars of `units`, and turns it into the
//! types of this page, none of which can hold an invalid value. Whatever is
//! wrong is a [`ConfigError`] at the very key or value. The command line builds
//! the same types from its flags, and [`convert`] prints RON from other
//! programs' files. Nothing here touches a socket; files named by the
//! configuration (certificates, keys) are read elsewhere.

mod access;
mod access_log;
mod address;
pub mod convert;
mod cpu_list;
mod error;
mod file;
mod files;
mod network_set;
mod placement;
mod position;
mod privileges;
mod reader;
mod route;
mod scan;
mod service;
mod suggest;
pub mod suites;
mod tls;
mod units;

pub use access::{Access, Network, Rate, RateLimits};
pub use access_log::{AccessFormat, AccessLog};
pub use address::{Address, AddressError, Host};
pub use cpu_list::{format_cpu_list, parse_cpu_list, parse_number_list};
pub use error::ConfigError;
pub use network_set::{AccessList, NetworkSet};
pub use placement::{Placement, Shards};
pub use privileges::Privileges;
pub use route::Route;
pub use service::{
    Backend, Balance, CheckKind, Ejection, HealthCheck, ProxyHeader, ProxyTlv, ProxyVersion, Queue,
    Service, Source, TcpOptions,
};
pub use tls::{
    CertSource, ClientTls, ClientVerify, SealWith, ServerTls, ServerVerify, SniNoMatch,
    SubjectPattern, TicketKeyFile, Tickets, TlsPolicy, TlsVersion,
};

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::limits;

/// Everything that a [`Server`](crate::Server) is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients come in. At least one, with addresses that differ.
    pub listeners: Vec<Listener>,
    /// What listeners lead to. [`Listener::service`] is an index into it.
    pub services: Vec<Service>,
    /// How many shards there are, and where they run.
    pub shards: Shards,
    /// Bytes taken from one side of a tunnel in one turn, within
    /// [`limits::BUFFER_SIZE_MIN`] and [`limits::BUFFER_SIZE_MAX`].
    pub buffer_size: usize,
    /// How long each phase of a tunnel may take.
    pub timeouts: Timeouts,
    /// How many tunnels may be open, over all listeners and shards, as
    /// [`Listener::max_connections`] has it. `None`: as many as there are
    /// descriptors for.
    pub max_connections: Option<NonZeroUsize>,
    /// TLS handshakes with clients that each shard may have in progress; the
    /// others wait for their turn, in order, within their handshake time.
    pub max_handshakes: NonZeroUsize,
    /// How many connections may come in in a second, over all listeners and
    /// shards, each of which may have its equal part. Who comes faster waits in
    /// the kernel's queue. `None`: any number.
    pub connection_rate: Option<Rate>,
    /// How many bytes of memory tunnels may hold, over all shards, each of
    /// which may have its equal part: at least [`limits::MEMORY_PART_MIN`].
    /// Accepting pauses before one more tunnel could pass it; none that is open
    /// is ended for it. What counts, `tunnel::held` tells. `None`: any number.
    pub memory_budget: Option<usize>,
    /// What the backend sees when a client ends its TCP stream without a TLS
    /// close_notify.
    pub truncation: Truncation,
    /// Where log lines go.
    pub log: Log,
    /// A line for each tunnel at its end. `None`: there are none.
    pub access_log: Option<AccessLog>,
    /// Where `adit stats` finds the process.
    pub admin: Admin,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<Metrics>,
    /// How often `adit run` looks whether a file that the configuration names,
    /// or its own, has changed, and then reloads: at least
    /// [`limits::WATCH_INTERVAL_MIN`]. `None`: never. A
    /// [`Server`](crate::Server) on its own watches nothing.
    pub watch: Option<Duration>,
    /// As whom the program acts, and what it forbids itself.
    pub privileges: Privileges,
}

/// One address that accepts clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The name in log lines and statistics; the address if none was given.
    pub name: String,
    /// What is bound, once per shard.
    pub address: Address,
    /// Connections that the kernel may hold for each shard's socket.
    pub backlog: u32,
    /// TLS towards the client; `None`: it is spoken to in plaintext, or
    /// whatever it speaks is passed through.
    pub tls: Option<ServerTls>,
    /// TLS is passed through, unopened: [`routes`](Self::routes) go by what the
    /// ClientHello says. Then `tls` is `None`.
    pub passthrough: bool,
    /// How the service is chosen: by the first of these that fits.
    pub routes: Vec<Route>,
    /// The service that tunnels lead to for which no route fits: an index into
    /// [`Config::services`].
    pub service: usize,
    /// From whom a header of the PROXY protocol is taken, and then demanded;
    /// others' connections begin with their bytes. Empty: from nobody.
    pub proxy_from: Vec<Network>,
    /// Who may come in. Where a PROXY header is taken from the peer, the client
    /// that the header names is meant. Who may not is reset at once. Clients of
    /// a Unix socket have no address, and whoever may open it may come in.
    pub access: Access,
    /// How fast clients may come in.
    pub rates: RateLimits,
    /// How many connections may come in here in a second, from all clients
    /// together, as [`Config::connection_rate`] has it.
    pub connection_rate: Option<Rate>,
    /// How many tunnels it may have open, over all shards, each of which may
    /// have its equal part: no fewer than there are shards. Who comes when a
    /// shard has its part waits in the kernel's queue. `None`: any number.
    pub max_connections: Option<NonZeroUsize>,
    /// Whether a connection stays on the shard that the kernel gave it to.
    pub accept: Accept,
    /// How long each phase of a tunnel may take; `None`: what
    /// [`Config::timeouts`] says. What follows the order to stop is the
    /// process's in any case.
    pub timeouts: Option<Timeouts>,
    /// What is asked of TCP.
    pub tcp: TcpOptions,
}

/// Which shard carries a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Accept {
    /// The one that the kernel gave it to.
    #[default]
    Spread,
    /// The least loaded one: a shard that has many more tunnels than another
    /// hands new connections over before their handshake.
    Balanced,
    /// The one on the CPU that received it: on which the kernel worked on its
    /// first packet. Connections that come in on CPUs without a shard are
    /// spread. Each shard must be pinned to a CPU; not for Unix sockets.
    /// [`sys::socket::Steering`](crate::sys::socket::Steering) tells how, and
    /// what a machine needs for it to be of use.
    SameCpu,
}

/// How long each phase of a tunnel may take. A zero means no limit where the
/// field says so, and cannot occur elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the end of the handshake to a connected backend, over name
    /// resolution and every address.
    pub connect: Duration,
    /// Without a byte in either direction. Zero: none.
    pub idle: Duration,
    /// Without a byte once one direction has ended. Zero: none.
    pub half_close: Duration,
    /// For open tunnels after the order to stop. Zero: cut at once.
    pub drain: Duration,
    /// From the order to stop, with which the server says that it is not ready
    /// any more, to the moment at which it ceases to accept: time for a load
    /// balancer to hear of it. Zero: none.
    pub ready_grace: Duration,
}

/// What becomes of a TCP FIN that no close_notify announced: a client's, or that
/// of a backend which is spoken to in TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Truncation {
    /// It is passed on as an orderly end: many clients never send close_notify.
    #[default]
    Fin,
    /// It is passed on as a reset, so that the other side cannot take a cut
    /// stream for a whole one.
    Reset,
}

/// Where log lines go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: log::LevelFilter,
    /// Where to.
    pub sink: LogSink,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq)]
pub enum LogSink {
    /// Standard error.
    Stderr,
    /// The system's syslog daemon.
    Syslog(SyslogSink),
    /// The file at this path, which is made if it is not there, with mode 0640,
    /// and opened anew when [`reopen`](crate::Handle::reopen_logs) says so.
    File(PathBuf),
    /// The journal of systemd.
    Journald(JournaldSink),
}

/// How the journal is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct JournaldSink {
    /// The datagram socket of its native protocol.
    pub socket: PathBuf,
    /// SYSLOG_IDENTIFIER of its entries.
    pub ident: String,
}

impl Default for JournaldSink {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/systemd/journal/socket"),
            ident: "adit".into(),
        }
    }
}

/// How the syslog daemon is spoken to, in the terms of syslog(3).
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogSink {
    /// The datagram socket of the daemon.
    pub socket: PathBuf,
    /// The word in front of the PID.
    pub ident: String,
    /// The facility.
    pub facility: SyslogFacility,
    /// The least severe priority that is sent (`setlogmask(LOG_UPTO(…))`).
    pub up_to: SyslogLevel,
}

/// Syslog facilities (RFC 3164, section 4.1.1).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SyslogFacility {
    User,
    Daemon,
    Auth,
    AuthPriv,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// Syslog severities (RFC 3164, section 4.1.1), most severe first.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum SyslogLevel {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Where `adit stats` finds the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Admin {
    /// A Unix socket named after the process id in the user's runtime
    /// directory.
    #[default]
    Auto,
    /// A Unix socket at this path.
    Path(PathBuf),
    /// None.
    Off,
}

/// Where metrics are served, and when the server calls itself ready there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// What is listened on: HTTP, in plaintext, for whoever reaches it.
    pub address: Address,
    /// What backends have to do with being ready.
    pub ready_backends: ReadyBackends,
}

/// What backends have to do with a server's being ready. One is up unless its
/// health checks say that it is down: one that is not checked is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ReadyBackends {
    /// Some service has a backend that is up: the server can do something.
    #[default]
    Any,
    /// Every service has a backend that is up.
    Every,
    /// Nothing.
    Ignore,
}

impl Metrics {
    /// Metrics there, with every default.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            ready_backends: ReadyBackends::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: limits::HANDSHAKE_TIMEOUT,
            connect: limits::CONNECT_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            half_close: limits::HALF_CLOSE_TIMEOUT,
            drain: limits::DRAIN_TIMEOUT,
            ready_grace: limits::READY_GRACE,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: log::LevelFilter::Info,
            sink: LogSink::Stderr,
        }
    }
}

impl Default for SyslogSink {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/dev/log"),
            ident: "adit".into(),
            facility: SyslogFacility::Local1,
            up_to: SyslogLevel::Notice,
        }
    }
}

impl Config {
    /// The configuration of one listener that leads to one backend, with every
    /// default.
    pub fn single(listen: Address, tls: ServerTls, backend: Address) -> Self {
        Self::from_to(listen, Some(tls), backend, None)
    }

    /// The other way round: plaintext from clients, TLS to one backend.
    pub fn client(listen: Address, tls: ClientTls, backend: Address) -> Self {
        Self::from_to(listen, None, backend, Some(tls))
    }

    /// Whether a service of that name has a backend at that address.
    pub(crate) fn has_backend(&self, service: &str, backend: &Address) -> bool {
        let mut services = self.services.iter();
        services
            .find(|known| known.name == service)
            .is_some_and(|known| known.backends.iter().any(|known| known.address == *backend))
    }

    fn from_to(
        listen: Address,
        client_side: Option<ServerTls>,
        backend: Address,
        backend_side: Option<ClientTls>,
    ) -> Self {
        Self {
            listeners: vec![Listener::new(listen, client_side, 0)],
            services: vec![Service::single(backend.to_string(), backend, backend_side)],
            shards: Shards::default(),
            buffer_size: limits::BUFFER_SIZE_DEFAULT,
            timeouts: Timeouts::default(),
            max_connections: None,
            max_handshakes: limits::HANDSHAKES_PER_SHARD,
            connection_rate: None,
            memory_budget: None,
            truncation: Truncation::default(),
            log: Log::default(),
            access_log: None,
            admin: Admin::default(),
            metrics: None,
            watch: Some(limits::WATCH_INTERVAL),
            privileges: Privileges::default(),
        }
    }
}

impl Listener {
    /// A listener that leads to the service with that index, with every
    /// default.
    pub fn new(address: Address, tls: Option<ServerTls>, service: usize) -> Self {
        Self {
            name: address.to_string(),
            address,
            backlog: limits::BACKLOG_DEFAULT,
            tls,
            passthrough: false,
            routes: Vec::new(),
            service,
            proxy_from: Vec::new(),
            access: Access::default(),
            rates: RateLimits::default(),
            connection_rate: None,
            max_connections: None,
            accept: Accept::default(),
            timeouts: None,
            tcp: TcpOptions::default(),
        }
    }
}
