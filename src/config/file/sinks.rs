//! Where lines go, as typed: what the log and the access log have in common.

use std::path::Path;

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{FilePath, Name};
use super::super::{JournaldSink, LogSink, SyslogFacility, SyslogLevel, SyslogSink};
use super::{refuse_key, socket};

#[derive(Debug, Deserialize)]
#[serde(rename = "syslog", deny_unknown_fields)]
pub(super) struct FileSyslog {
    socket: Option<FilePath>,
    ident: Option<Name>,
    facility: Option<SyslogFacility>,
    pub(super) level: Option<SyslogLevel>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "journald", deny_unknown_fields)]
pub(super) struct FileJournald {
    socket: Option<FilePath>,
    ident: Option<Name>,
}

/// What is said of the place; no more than one of them may be.
pub(super) struct FileSinks {
    pub(super) file: Option<FilePath>,
    pub(super) syslog: Option<FileSyslog>,
    pub(super) journald: Option<FileJournald>,
}

impl FileSinks {
    /// What it means. `node` is where the keys were read from, for places.
    pub(super) fn meant(
        self,
        node: Option<&Node<'_>>,
        base: &Path,
    ) -> Result<LogSink, SyntaxError> {
        let there = [
            ("file", self.file.is_some()),
            ("syslog", self.syslog.is_some()),
            ("journald", self.journald.is_some()),
        ];
        let mut there = there.iter().filter(|(_, there)| *there);
        if let (Some((first, _)), Some((second, _))) = (there.next(), there.next()) {
            return Err(refuse_key(
                node,
                second,
                format!("lines go to one place, and {first} is given too; remove one of the two"),
            ));
        }
        let at = |key| node.and_then(|node| node.field(key));
        Ok(match (self.file, self.syslog, self.journald) {
            (Some(FilePath(path)), ..) => LogSink::File(base.join(path)),
            (_, Some(syslog), _) => LogSink::Syslog(syslog.meant(at("syslog"), base)?),
            (.., Some(journald)) => LogSink::Journald(journald.meant(at("journald"), base)?),
            (None, None, None) => LogSink::Stderr,
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

impl FileJournald {
    fn meant(self, node: Option<&Node<'_>>, base: &Path) -> Result<JournaldSink, SyntaxError> {
        let default = JournaldSink::default();
        Ok(JournaldSink {
            socket: match self.socket {
                None => default.socket,
                Some(FilePath(path)) => {
                    socket(base, &path, node.and_then(|node| node.field("socket")))?
                }
            },
            ident: self.ident.map_or(default.ident, |ident| ident.0),
        })
    }
}
