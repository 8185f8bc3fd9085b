//! The access log, as typed.

use std::path::Path;

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{Count, FilePath};
use super::super::{AccessFormat, AccessLog};
use super::refuse_key;
use super::sinks::{FileJournald, FileSinks, FileSyslog};

#[derive(Debug, Deserialize)]
#[serde(rename = "access_log", deny_unknown_fields)]
pub(super) struct FileAccessLog {
    format: Option<AccessFormat>,
    file: Option<FilePath>,
    syslog: Option<FileSyslog>,
    journald: Option<FileJournald>,
    sample: Option<Count>,
    per_second: Option<Count>,
}

impl FileAccessLog {
    /// What it means. `node` is where it was read from, for places.
    pub(super) fn meant(
        self,
        node: Option<&Node<'_>>,
        base: &Path,
    ) -> Result<AccessLog, SyntaxError> {
        if self.syslog.as_ref().is_some_and(|s| s.level.is_some()) {
            return Err(refuse_key(
                node.and_then(|node| node.field("syslog")),
                "level",
                "access lines all have the priority Info; remove this".into(),
            ));
        }
        let default = AccessLog::default();
        let sinks = FileSinks {
            file: self.file,
            syslog: self.syslog,
            journald: self.journald,
        };
        Ok(AccessLog {
            format: self.format.unwrap_or(default.format),
            sink: sinks.meant(node, base)?,
            sample: self.sample.map_or(default.sample, |count| count.0),
            per_second: self.per_second.map(|count| count.0),
        })
    }
}
