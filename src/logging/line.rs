//! One line of the log, as it waits to be written.

use std::fmt;

use log::Level;
use time::OffsetDateTime;

use super::escape::LineText;
use crate::config::SyslogLevel;

/// The target that makes an `Info` record a NOTICE.
pub const NOTICE: &str = "adit::notice";

/// One line: when, how severe, whose, and a text that is safe to show.
#[derive(Debug)]
pub(super) struct Line {
    /// When it was logged, in UTC.
    pub(super) at: OffsetDateTime,
    level: Level,
    notice: bool,
    /// The crate that logged it, if that is not adit.
    origin: Option<String>,
    /// Escaped, and at most [`limits::LOG_LINE_MAX`](crate::limits::LOG_LINE_MAX)
    /// bytes.
    text: String,
}

impl Line {
    /// A record, logged now.
    pub(super) fn of(record: &log::Record<'_>) -> Self {
        let target = record.target();
        let origin = target.split_once("::").map_or(target, |(root, _)| root);
        Self {
            notice: is_notice(record.metadata()),
            origin: (origin != OURS).then(|| LineText::of(format_args!("{origin}"))),
            ..Self::own(record.level(), *record.args())
        }
    }

    /// What the log has to say about itself.
    pub(super) fn own(level: Level, text: fmt::Arguments<'_>) -> Self {
        Self {
            at: OffsetDateTime::now_utc(),
            level,
            notice: false,
            origin: None,
            text: LineText::of(text),
        }
    }

    /// The same line as a NOTICE.
    pub(super) fn noticed(self) -> Self {
        Self {
            notice: true,
            ..self
        }
    }

    /// The level, for the choice of a colour.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// The level as a word of at most five letters.
    pub(super) fn word(&self) -> &'static str {
        if self.notice {
            "NOTE"
        } else {
            self.level.as_str()
        }
    }

    /// The syslog severity.
    pub(super) fn severity(&self) -> SyslogLevel {
        severity(self.level, self.notice)
    }

    /// The crate that logged it.
    pub(super) fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or(OURS)
    }

    /// The crate that logged it, if that is not adit.
    pub(super) fn foreign_origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The text alone.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Line {
    /// The text, with the crate in front of it if that is not adit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// The first part of our own targets.
const OURS: &str = "adit";

/// The syslog severity that a record with this metadata has.
pub(super) fn severity_of(metadata: &log::Metadata<'_>) -> SyslogLevel {
    severity(metadata.level(), is_notice(metadata))
}

fn is_notice(metadata: &log::Metadata<'_>) -> bool {
    metadata.level() == Level::Info && metadata.target() == NOTICE
}

fn severity(level: Level, notice: bool) -> SyslogLevel {
    match level {
        Level::Error => SyslogLevel::Err,
        Level::Warn => SyslogLevel::Warning,
        Level::Info if notice => SyslogLevel::Notice,
        Level::Info => SyslogLevel::Info,
        Level::Debug | Level::Trace => SyslogLevel::Debug,
    }
}
