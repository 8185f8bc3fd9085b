//! The language of syslog daemons.

use std::fmt;

use syslog::{Facility, Formatter3164, LogFormat, Severity};
use time::OffsetDateTime;
use time::macros::format_description;

use super::escape;
use crate::config::{SyslogFacility, SyslogLevel, SyslogSink};
use crate::limits;
use crate::sys::local_time;

/// Makes packets for a syslog daemon in the format of RFC 3164, as openlog(3)
/// does with `LOG_PID`.
pub(super) struct Syslog {
    formatter: Formatter3164,
}

impl Syslog {
    pub(super) fn new(config: &SyslogSink) -> Self {
        Self {
            formatter: Formatter3164 {
                facility: facility(config.facility),
                // A daemon takes lines from its own machine without a name.
                hostname: None,
                process: config.ident.clone(),
                pid: std::process::id(),
            },
        }
    }

    /// The text in the format of RFC 3164, section 4.1, at most
    /// [`limits::LOG_LINE_MAX`] bytes.
    pub(super) fn packet(
        &self,
        at: OffsetDateTime,
        level: SyslogLevel,
        text: impl fmt::Display,
    ) -> String {
        let mut packet = Vec::with_capacity(512);
        self.formatter
            .format(&mut packet, severity(level), text)
            .expect("writing to memory cannot fail");
        let mut packet = String::from_utf8(packet).expect("made of strings only");
        set_timestamp(&mut packet, at);
        escape::cut(&mut packet, limits::LOG_LINE_MAX);
        packet
    }

    /// A packet that every daemon takes.
    pub(super) fn shorter(packet: &[u8]) -> Option<Vec<u8>> {
        let mut packet = String::from_utf8(packet.to_vec()).ok()?;
        escape::cut(&mut packet, limits::SYSLOG_PACKET_SAFE);
        Some(packet.into_bytes())
    }
}

/// Puts the right time in a packet. The formatter writes the UTC time of
/// writing, and the day with a leading zero; RFC 3164, section 4.1.2, wants
/// local time and a leading space, and syslog-ng, busybox and a relaying rsyslog
/// take it at its word. Either way it is 15 characters after the priority.
fn set_timestamp(packet: &mut String, at: OffsetDateTime) {
    let local = at.to_offset(local_time::local_offset(at));
    let stamp = local.format(format_description!(
        "[month repr:short] [day padding:space] [hour]:[minute]:[second]"
    ));
    if let (Ok(stamp), Some(priority_end)) = (stamp, packet.find('>')) {
        let start = priority_end + 1;
        packet.replace_range(start..start + stamp.len(), &stamp);
    }
}

fn facility(facility: SyslogFacility) -> Facility {
    match facility {
        SyslogFacility::User => Facility::LOG_USER,
        SyslogFacility::Daemon => Facility::LOG_DAEMON,
        SyslogFacility::Auth => Facility::LOG_AUTH,
        SyslogFacility::AuthPriv => Facility::LOG_AUTHPRIV,
        SyslogFacility::Local0 => Facility::LOG_LOCAL0,
        SyslogFacility::Local1 => Facility::LOG_LOCAL1,
        SyslogFacility::Local2 => Facility::LOG_LOCAL2,
        SyslogFacility::Local3 => Facility::LOG_LOCAL3,
        SyslogFacility::Local4 => Facility::LOG_LOCAL4,
        SyslogFacility::Local5 => Facility::LOG_LOCAL5,
        SyslogFacility::Local6 => Facility::LOG_LOCAL6,
        SyslogFacility::Local7 => Facility::LOG_LOCAL7,
    }
}

fn severity(level: SyslogLevel) -> Severity {
    match level {
        SyslogLevel::Emerg => Severity::LOG_EMERG,
        SyslogLevel::Alert => Severity::LOG_ALERT,
        SyslogLevel::Crit => Severity::LOG_CRIT,
        SyslogLevel::Err => Severity::LOG_ERR,
        SyslogLevel::Warning => Severity::LOG_WARNING,
        SyslogLevel::Notice => Severity::LOG_NOTICE,
        SyslogLevel::Info => Severity::LOG_INFO,
        SyslogLevel::Debug => Severity::LOG_DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_below_ten_gets_a_space_and_the_rest_stays() {
        let at = time::macros::datetime!(2026-11-03 12:21:35 UTC);
        let mut packet = "<141>Jan 01 00:00:00 adit[7]: a > b".to_owned();
        set_timestamp(&mut packet, at);
        assert_eq!(&packet[..11], "<141>Nov  3");
        assert!(packet.ends_with(":35 adit[7]: a > b"), "{packet}");
    }

    #[test]
    fn what_every_daemon_takes_ends_in_an_ellipsis() {
        let packet = Syslog::shorter("x".repeat(10_000).as_bytes()).expect("text");
        assert_eq!(packet.len(), limits::SYSLOG_PACKET_SAFE);
        assert!(packet.ends_with("…".as_bytes()));
    }
}
