//! Timeouts and logging, as typed.

use std::path::Path;

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{Deadline, FilePath, Grace, Name, Patience, ReadyGrace};
use super::super::{Log, LogSink, SyslogFacility, SyslogLevel, SyslogSink, Timeouts};
use super::socket;

#[derive(Debug, Deserialize)]
#[serde(rename = "timeouts", deny_unknown_fields)]
pub(super) struct FileTimeouts {
    handshake: Option<Deadline>,
    connect: Option<Deadline>,
    idle: Option<Patience>,
    half_close: Option<Patience>,
    pub(super) drain: Option<Grace>,
    pub(super) ready_grace: Option<ReadyGrace>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "log", deny_unknown_fields)]
pub(super) struct FileLog {
    level: Option<FileLevel>,
    syslog: Option<FileSyslog>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "syslog", deny_unknown_fields)]
pub(super) struct FileSyslog {
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

impl FileTimeouts {
    /// What it means, where `default` is what is not said.
    pub(super) fn meant(self, default: &Timeouts) -> Timeouts {
        Timeouts {
            handshake: self.handshake.map_or(default.handshake, |time| time.0),
            connect: self.connect.map_or(default.connect, |time| time.0),
            idle: self.idle.map_or(default.idle, |time| time.0),
            half_close: self.half_close.map_or(default.half_close, |time| time.0),
            drain: self.drain.map_or(default.drain, |time| time.0),
            ready_grace: self.ready_grace.map_or(default.ready_grace, |time| time.0),
        }
    }
}

impl FileLog {
    pub(super) fn meant(self, root: &Node<'_>, base: &Path) -> Result<Log, SyntaxError> {
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
    pub(super) fn meant(
        self,
        node: Option<&Node<'_>>,
        base: &Path,
    ) -> Result<SyslogSink, SyntaxError> {
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
    pub(super) fn meant(self) -> ::log::LevelFilter {
        match self {
            Self::Off => ::log::LevelFilter::Off,
            Self::Error => ::log::LevelFilter::Error,
            Self::Warn => ::log::LevelFilter::Warn,
            Self::Info => ::log::LevelFilter::Info,
            Self::Debug => ::log::LevelFilter::Debug,
            Self::Trace => ::log::LevelFilter::Trace,
        }
    }
}
