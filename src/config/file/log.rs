//! Timeouts and logging, as typed.

use std::path::Path;

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{Deadline, FilePath, Grace, Patience, ReadyGrace};
use super::super::{Log, Timeouts};
use super::sinks::{FileJournald, FileSinks, FileSyslog};

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
    file: Option<FilePath>,
    syslog: Option<FileSyslog>,
    journald: Option<FileJournald>,
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
        let sinks = FileSinks {
            file: self.file,
            syslog: self.syslog,
            journald: self.journald,
        };
        Ok(Log {
            level: self.level.map_or(Log::default().level, FileLevel::meant),
            sink: sinks.meant(root.field("log"), base)?,
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
