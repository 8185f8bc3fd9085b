//! What was typed.
//!
//! These types mirror the file, key for key; serde derives their reading. Each
//! `rename` is how messages speak of the thing. Each has a `meant`, which checks
//! what no single value shows (names that refer to each other, addresses that
//! conflict, keys that need one another) and gives the types of
//! [`config`](super).

mod access;
mod access_log;
mod client_tls;
mod destinations;
mod health;
mod listener;
mod log;
mod metrics;
mod policy;
mod server_tls;
mod service;
mod sinks;

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ron::extensions::Extensions;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::clip;
use super::position::{Kind, Node, Place, Span, SyntaxError};
use super::reader::{read, sentence};
use super::scan::scan;
use super::units::{
    AccountName, AdminSocket, BufferSize, CacheList, Count, CpuList, FilePath, MemorySize,
    NodeList, ShardCount, Switch, WatchInterval,
};
use super::{Admin, Config, ConfigError, Log, Placement, Privileges, Shards, Timeouts, Truncation};
use crate::limits;
use access::FileRate;
use access_log::FileAccessLog;
use listener::{FileListener, listeners};
use log::{FileLog, FileTimeouts};
use metrics::FileMetrics;
use service::FileServices;

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
    nodes: Option<NodeList>,
    caches: Option<CacheList>,
    placement: Option<Placement>,
    buffer_size: Option<BufferSize>,
    timeouts: Option<FileTimeouts>,
    max_connections: Option<Count>,
    max_handshakes: Option<Count>,
    connection_rate: Option<FileRate>,
    memory_budget: Option<MemorySize>,
    truncation: Option<Truncation>,
    log: Option<FileLog>,
    access_log: Option<FileAccessLog>,
    admin: Option<AdminSocket>,
    metrics: Option<FileMetrics>,
    watch: Option<WatchInterval>,
    user: Option<AccountName>,
    group: Option<AccountName>,
    chroot: Option<FilePath>,
    core_dumps: Option<Switch>,
    landlock: Option<Switch>,
}

impl FileConfig {
    /// What it means. `root` is the tree that it was read from, for places.
    fn meant(self, root: &Node<'_>, base: &Path) -> Result<Config, SyntaxError> {
        let mut services = self
            .services
            .map_or(Ok(Vec::new()), |services| services.meant(root, base))?;
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
        let timeouts = self
            .timeouts
            .map_or_else(Timeouts::default, |own| own.meant(&Timeouts::default()));
        let listeners = listeners(self.listeners, &mut services, &timeouts, root, base)?;
        let metrics = self
            .metrics
            .map(|metrics| metrics.meant(&listeners, root))
            .transpose()?;
        Ok(Config {
            listeners,
            services,
            shards: Shards {
                count: self
                    .shards
                    .and_then(|count| count.0)
                    .and_then(NonZeroUsize::new),
                cpus: self.cpus.map(|cpus| cpus.0),
                nodes: self.nodes.map(|nodes| nodes.0),
                caches: self.caches.map(|caches| caches.0),
                placement: self.placement.unwrap_or_default(),
            },
            buffer_size: self
                .buffer_size
                .map_or(limits::BUFFER_SIZE_DEFAULT, |size| size.0),
            timeouts,
            max_connections: self.max_connections.map(Count::get),
            max_handshakes: self
                .max_handshakes
                .map_or(limits::HANDSHAKES_PER_SHARD, Count::get),
            connection_rate: self.connection_rate.map(FileRate::meant),
            memory_budget: self.memory_budget.map(|size| size.0),
            truncation: self.truncation.unwrap_or_default(),
            log: match self.log {
                Some(log) => log.meant(root, base)?,
                None => Log::default(),
            },
            access_log: self
                .access_log
                .map(|log| log.meant(root.field("access_log"), base))
                .transpose()?,
            admin: match self.admin {
                None | Some(AdminSocket::Auto) => Admin::Auto,
                Some(AdminSocket::Off) => Admin::Off,
                Some(AdminSocket::Path(path)) => {
                    Admin::Path(socket(base, &path, root.field("admin"))?)
                }
            },
            metrics,
            watch: self
                .watch
                .map_or(Some(limits::WATCH_INTERVAL), |interval| interval.0),
            privileges: Privileges {
                user: self.user.map(|user| user.0),
                group: self.group.map(|group| group.0),
                chroot: self.chroot.map(|folder| base.join(folder.0)),
                core_dumps: self.core_dumps.is_some_and(|dumps| dumps.0),
                landlock: self.landlock.is_none_or(|lock| lock.0),
            },
        })
    }
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

/// A fault of that key, or of the whole where it is not there.
fn refuse_key(node: Option<&Node<'_>>, key: &str, message: String) -> SyntaxError {
    let span = node
        .and_then(|node| node.key(key))
        .or(node.map(|node| node.span.head()))
        .unwrap_or(Span::new(0, 0));
    SyntaxError { span, message }
}

fn refuse(node: Option<&Node<'_>>, message: &str) -> SyntaxError {
    SyntaxError {
        span: node.map_or(Span::new(0, 0), |node| node.span),
        message: message.to_owned(),
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
