//! What was typed.
//!
//! These types mirror the file, key for key; serde derives their reading. Each
//! `rename` is how messages speak of the thing. [`FileConfig::meant`] checks
//! what no single value shows (names that refer to each other, addresses that
//! conflict) and gives the types of [`config`](super).

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ron::extensions::Extensions;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::error::clip;
use super::position::{Kind, Node, Place, Span, SyntaxError};
use super::reader::{read, sentence};
use super::scan::scan;
use super::suggest::nearest;
use super::units::{
    AdminSocket, BackendAddress, Backlog, BufferSize, CpuList, Deadline, FilePath, Grace,
    ListenAddress, Name, Patience, ShardCount, Tickets,
};
use super::{
    Admin, Backend, CertSource, Config, ConfigError, Listener, Log, LogSink, ServerTls, Service,
    Shards, SyslogFacility, SyslogLevel, SyslogSink, Timeouts, Truncation,
};
use crate::limits;

/// The longest path of a Unix socket, in bytes: `sun_path` holds 108 with its
/// terminating zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to its
    /// directory. It may be up to [`limits::FILE_SIZE_MAX`] bytes long.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(limits::FILE_SIZE_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| ConfigError::unreadable(path, error))?;
        if bytes.len() as u64 > limits::FILE_SIZE_MAX {
            return Err(ConfigError::too_large(path));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| ConfigError::not_utf8(path, &bytes, error))?;
        from_text(text, path)
    }

    /// Reads a configuration from memory. `name` is the file name in errors;
    /// relative paths are relative to its directory.
    pub fn from_ron(text: &str, name: &str) -> Result<Self, ConfigError> {
        if text.len() as u64 > limits::FILE_SIZE_MAX {
            return Err(ConfigError::too_large(Path::new(name)));
        }
        from_text(text, Path::new(name))
    }
}

fn from_text(text: &str, file: &Path) -> Result<Config, ConfigError> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let base = file.parent().unwrap_or(Path::new(""));
    parse(text, base).map_err(|error| ConfigError::at(file, text, error.span, &error.message))
}

fn parse(text: &str, base: &Path) -> Result<Config, SyntaxError> {
    let root = scan(text)?;
    check_ron(text, &root)?;
    read::<FileConfig>(&root)?.meant(&root, base)
}

/// The scan is tolerant: whether the text is RON in every detail is for the
/// `ron` crate to say.
fn check_ron(text: &str, root: &Node<'_>) -> Result<(), SyntaxError> {
    let options = ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_recursion_limit(4 * limits::CONFIG_DEPTH_MAX);
    options
        .from_str::<IgnoredAny>(text)
        .map(drop)
        .map_err(|error| {
            let place = Place {
                line: error.span.start.line,
                column: error.span.start.col,
            };
            let node = root.innermost(place.offset(text));
            SyntaxError {
                span: if node.text.contains('\n') {
                    node.span.head()
                } else {
                    node.span
                },
                message: match node.kind {
                    Kind::Number => {
                        format!("`{}` is no number; write one, such as 4", clip(node.text))
                    }
                    _ => format!("this is no RON: {}", sentence(&error.code)),
                },
            }
        })
}

#[derive(Debug, Deserialize)]
#[serde(rename = "the configuration", deny_unknown_fields)]
struct FileConfig {
    listeners: Vec<FileListener>,
    services: Option<FileServices>,
    shards: Option<ShardCount>,
    cpus: Option<CpuList>,
    buffer_size: Option<BufferSize>,
    timeouts: Option<FileTimeouts>,
    truncation: Option<Truncation>,
    log: Option<FileLog>,
    admin: Option<AdminSocket>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "a listener", deny_unknown_fields)]
struct FileListener {
    name: Option<Name>,
    address: ListenAddress,
    backlog: Option<Backlog>,
    tls: FileTls,
    service: Option<Name>,
    backend: Option<FileBackend>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "tls", deny_unknown_fields)]
struct FileTls {
    cert: FilePath,
    key: Option<FilePath>,
    tickets: Option<Tickets>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "a service", deny_unknown_fields)]
struct FileService {
    backends: Vec<FileBackend>,
}

/// An address alone may stand for it; see the reader's shorthands.
#[derive(Debug, Deserialize)]
#[serde(rename = "a backend", deny_unknown_fields)]
struct FileBackend {
    address: BackendAddress,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "timeouts", deny_unknown_fields)]
struct FileTimeouts {
    handshake: Option<Deadline>,
    connect: Option<Deadline>,
    idle: Option<Patience>,
    half_close: Option<Patience>,
    drain: Option<Grace>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "log", deny_unknown_fields)]
struct FileLog {
    level: Option<FileLevel>,
    syslog: Option<FileSyslog>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "syslog", deny_unknown_fields)]
struct FileSyslog {
    socket: Option<FilePath>,
    ident: Option<Name>,
    facility: Option<SyslogFacility>,
    level: Option<SyslogLevel>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum FileLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// In the order of the file.
#[derive(Debug)]
struct FileServices(Vec<(Name, FileService)>);

impl<'de> Deserialize<'de> for FileServices {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = FileServices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("services, { \"name\": (backends: [ … ]), … }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileServices, A::Error> {
                let mut services = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    services.push(entry);
                }
                Ok(FileServices(services))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl FileConfig {
    /// What it means. `root` is the tree that it was read from, for places.
    fn meant(self, root: &Node<'_>, base: &Path) -> Result<Config, SyntaxError> {
        let listeners_at = |index| root.field("listeners").and_then(|list| list.item(index));
        let mut services = self
            .services
            .map_or(Ok(Vec::new()), |services| services.meant(root))?;
        check_count(
            self.listeners.len(),
            limits::LISTENERS_MAX,
            "listeners",
            root.field("listeners"),
        )?;
        if self.listeners.is_empty() {
            return Err(refuse(
                root.field("listeners"),
                "there is no listener; write one, such as (address: \"*:443\", tls: (cert: \"site.pem\"), backend: \"127.0.0.1:8080\")",
            ));
        }
        let named: HashMap<String, usize> = services
            .iter()
            .enumerate()
            .map(|(index, service)| (service.name.clone(), index))
            .collect();
        // Services that listeners hold themselves, by their backend.
        let mut own = HashMap::new();
        let mut listeners: Vec<Listener> = Vec::new();
        for (index, typed) in self.listeners.into_iter().enumerate() {
            let Some(node) = listeners_at(index) else {
                return Err(refuse(Some(root), "the listeners cannot be told apart"));
            };
            let service = match (typed.service, typed.backend) {
                (Some(Name(name)), None) => *named
                    .get(&name)
                    .ok_or_else(|| unknown_service(node, &name, &services))?,
                (None, Some(FileBackend { address })) => {
                    let name = address.0.to_string();
                    if named.contains_key(&name) {
                        return Err(refuse(
                            node.field("backend"),
                            &format!(
                                "a service has this very name; write service: \"{name}\", or rename that service"
                            ),
                        ));
                    }
                    *own.entry(name.clone()).or_insert_with(|| {
                        services.push(Service::single(name, address.0, None));
                        services.len() - 1
                    })
                }
                (Some(_), Some(_)) => {
                    return Err(SyntaxError {
                        span: node.key("backend").unwrap_or(node.span),
                        message: "a listener leads to a service or to a backend, not to both; remove one of the two".into(),
                    });
                }
                (None, None) => {
                    return Err(SyntaxError {
                        span: node.span.head(),
                        message: "this listener leads nowhere; add backend: \"127.0.0.1:8080\", or service: and a name of services".into(),
                    });
                }
            };
            let address = typed.address.0;
            let clash = listeners
                .iter()
                .position(|other| other.address.conflicts_with(&address));
            if let Some(other) = clash {
                return Err(refuse(
                    node.field("address"),
                    &format!(
                        "\"{address}\" conflicts with \"{}\" of listener {}; give one of the two another port or host",
                        listeners[other].address,
                        other + 1
                    ),
                ));
            }
            let name = match typed.name {
                Some(Name(name)) if listeners.iter().any(|other| other.name == name) => {
                    return Err(refuse(
                        node.field("name"),
                        &format!(
                            "another listener has the name \"{}\"; give each a name of its own",
                            clip(&name)
                        ),
                    ));
                }
                Some(Name(name)) => name,
                None => address.to_string(),
            };
            let mut listener = Listener::new(address, Some(typed.tls.meant(base)), service);
            listener.name = name;
            if let Some(backlog) = typed.backlog {
                listener.backlog = backlog.0;
            }
            listeners.push(listener);
        }
        Ok(Config {
            listeners,
            services,
            shards: Shards {
                count: self
                    .shards
                    .and_then(|count| count.0)
                    .and_then(NonZeroUsize::new),
                cpus: self.cpus.map(|cpus| cpus.0),
            },
            buffer_size: self
                .buffer_size
                .map_or(limits::BUFFER_SIZE_DEFAULT, |size| size.0),
            timeouts: self
                .timeouts
                .map_or_else(Timeouts::default, FileTimeouts::meant),
            max_connections: None,
            max_handshakes: limits::HANDSHAKES_PER_SHARD,
            truncation: self.truncation.unwrap_or_default(),
            log: match self.log {
                Some(log) => log.meant(root, base)?,
                None => Log::default(),
            },
            admin: match self.admin {
                None | Some(AdminSocket::Auto) => Admin::Auto,
                Some(AdminSocket::Off) => Admin::Off,
                Some(AdminSocket::Path(path)) => {
                    Admin::Path(socket(base, &path, root.field("admin"))?)
                }
            },
        })
    }
}

impl FileServices {
    fn meant(self, root: &Node<'_>) -> Result<Vec<Service>, SyntaxError> {
        let node = root.field("services");
        check_count(self.0.len(), limits::LISTENERS_MAX, "services", node)?;
        let mut services = Vec::new();
        for (index, (name, service)) in self.0.into_iter().enumerate() {
            let backends = node
                .and_then(|node| node.item(index))
                .and_then(|service| service.field("backends"));
            check_count(
                service.backends.len(),
                limits::BACKENDS_MAX,
                "backends",
                backends,
            )?;
            if service.backends.is_empty() {
                return Err(refuse(
                    backends,
                    &format!(
                        "the service \"{}\" has no backend; write one, such as [\"127.0.0.1:8080\"]",
                        clip(&name.0)
                    ),
                ));
            }
            let backends = service
                .backends
                .into_iter()
                .map(|backend| Backend::new(backend.address.0))
                .collect();
            services.push(Service::new(name.0, backends, None));
        }
        Ok(services)
    }
}

impl FileTls {
    fn meant(self, base: &Path) -> ServerTls {
        let mut tls = ServerTls::of(vec![CertSource {
            cert: base.join(self.cert.0),
            key: self.key.map(|key| base.join(key.0)),
            ocsp: None,
        }]);
        if let Some(tickets) = self.tickets {
            tls.tickets.count = tickets.0;
        }
        tls
    }
}

impl FileTimeouts {
    fn meant(self) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            handshake: self.handshake.map_or(default.handshake, |time| time.0),
            connect: self.connect.map_or(default.connect, |time| time.0),
            idle: self.idle.map_or(default.idle, |time| time.0),
            half_close: self.half_close.map_or(default.half_close, |time| time.0),
            drain: self.drain.map_or(default.drain, |time| time.0),
        }
    }
}

impl FileLog {
    fn meant(self, root: &Node<'_>, base: &Path) -> Result<Log, SyntaxError> {
        let default = Log::default();
        Ok(Log {
            level: self.level.map_or(default.level, FileLevel::meant),
            sink: match self.syslog {
                None => default.sink,
                Some(syslog) => {
                    let node = root.field("log").and_then(|log| log.field("syslog"));
                    LogSink::Syslog(syslog.meant(node, base)?)
                }
            },
        })
    }
}

impl FileSyslog {
    fn meant(self, node: Option<&Node<'_>>, base: &Path) -> Result<SyslogSink, SyntaxError> {
        let default = SyslogSink::default();
        Ok(SyslogSink {
            socket: match self.socket {
                None => default.socket,
                Some(FilePath(path)) => {
                    socket(base, &path, node.and_then(|node| node.field("socket")))?
                }
            },
            ident: self.ident.map_or(default.ident, |ident| ident.0),
            facility: self.facility.unwrap_or(default.facility),
            up_to: self.level.unwrap_or(default.up_to),
        })
    }
}

impl FileLevel {
    fn meant(self) -> log::LevelFilter {
        match self {
            Self::Off => log::LevelFilter::Off,
            Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Trace,
        }
    }
}

/// A Unix socket's path, made whole.
fn socket(base: &Path, path: &Path, node: Option<&Node<'_>>) -> Result<PathBuf, SyntaxError> {
    let path = base.join(path);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        return Err(refuse(
            node,
            &format!(
                "this socket's path is {length} bytes long with its directory; write one of at most {SOCKET_PATH_MAX}"
            ),
        ));
    }
    Ok(path)
}

fn unknown_service(listener: &Node<'_>, name: &str, services: &[Service]) -> SyntaxError {
    let names = services.iter().map(|service| service.name.as_str());
    let hint = match nearest(name, names.clone()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if services.is_empty() => {
            "there are no services; add services: { … }, or write backend: and an address".into()
        }
        None => format!(
            "the services are {}",
            clip(&names.collect::<Vec<_>>().join(", "))
        ),
    };
    refuse(
        listener.field("service"),
        &format!("unknown service \"{}\"; {hint}", clip(name)),
    )
}

fn check_count(
    count: usize,
    max: usize,
    what: &str,
    node: Option<&Node<'_>>,
) -> Result<(), SyntaxError> {
    if count > max {
        let span = node.and_then(|node| node.item(max));
        return Err(refuse(
            span,
            &format!("these are {count} {what}; write at most {max}"),
        ));
    }
    Ok(())
}

fn refuse(node: Option<&Node<'_>>, message: &str) -> SyntaxError {
    SyntaxError {
        span: node.map_or(Span::new(0, 0), |node| node.span),
        message: message.to_owned(),
    }
}
