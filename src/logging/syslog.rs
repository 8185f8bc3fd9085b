//! Lines to the system's syslog daemon.

use std::io;
use std::os::unix::net::UnixDatagram;

use log::Level;
use syslog::{Facility, Formatter3164, LogFormat, Severity};
use time::OffsetDateTime;
use time::macros::format_description;

use super::console::Console;
use super::escape;
use super::line::Line;
use crate::config::{SyslogFacility, SyslogLevel, SyslogSink};
use crate::limits;
use crate::sys::local_time;

/// Sends lines to a daemon's datagram socket, in the format of RFC 3164, with
/// the behaviour of openlog(3) with `LOG_PID | LOG_CONS` and of setlogmask(3).
///
/// A daemon may go away and come back at any time. Every line tries to reach
/// it anew while it is away: that costs two system calls on a thread which has
/// nothing better to do, and so the first line that can get through does.
pub(super) struct Syslog {
    config: SyslogSink,
    formatter: Formatter3164,
    socket: Option<UnixDatagram>,
    /// Lines written to the console since the daemon went away.
    on_console: u64,
}

/// Why a line did not reach the daemon.
enum Undelivered {
    /// There is one, and it does not read.
    Jammed(io::Error),
    /// There is none.
    Away(io::Error),
}

impl Syslog {
    pub(super) fn new(config: SyslogSink) -> Self {
        Self {
            formatter: Formatter3164 {
                facility: facility(config.facility),
                // A daemon takes lines from its own machine without a name.
                hostname: None,
                process: config.ident.clone(),
                pid: std::process::id(),
            },
            config,
            socket: None,
            on_console: 0,
        }
    }

    /// Sends a line that the mask lets through, or writes it to the console if
    /// there is no daemon; an error means that it is lost.
    pub(super) fn write(&mut self, line: &Line, console: &mut Console) -> io::Result<()> {
        if line.severity() > self.config.up_to {
            return Ok(());
        }
        match self.send(&self.packet(line)) {
            Ok(()) => {
                self.tell_absence();
                Ok(())
            }
            Err(Undelivered::Jammed(error)) => Err(error),
            Err(Undelivered::Away(error)) => {
                if self.on_console == 0 {
                    let socket = self.config.socket.display();
                    let why = Line::own(
                        Level::Warn,
                        format_args!("no syslog daemon at {socket} ({error}): log lines go here"),
                    );
                    // If this cannot be written, neither can the line below.
                    let _ = console.write(&why);
                }
                console.write(line)?;
                self.on_console += 1;
                Ok(())
            }
        }
    }

    /// Tells a daemon that is back how many lines it missed. A notice that does
    /// not get through is sent after the next line.
    fn tell_absence(&mut self) {
        let lines = self.on_console;
        if lines == 0 {
            return;
        }
        let notice = Line::own(
            Level::Info,
            format_args!("there was no syslog daemon: {lines} log lines went to the console"),
        );
        if self.send(&self.packet(&notice.noticed())).is_ok() {
            self.on_console = 0;
        }
    }

    /// Sends a packet over the socket there is, or over a new one if that one
    /// leads nowhere any more. Only a socket that works is kept: a daemon that
    /// hangs may have been replaced by the time of the next line.
    fn send(&mut self, packet: &str) -> Result<(), Undelivered> {
        if let Some(socket) = self.socket.take() {
            match send_fitting(&socket, packet) {
                Ok(()) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                Err(jammed @ Undelivered::Jammed(_)) => return Err(jammed),
                Err(Undelivered::Away(_)) => {}
            }
        }
        let socket = self.connect().map_err(Undelivered::Away)?;
        send_fitting(&socket, packet)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// A socket that leads to the daemon. It blocks, with a time limit that the
    /// kernel keeps: a short wait for a daemon that is behind with its reading.
    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(limits::SYSLOG_WAIT))?;
        socket.connect(&self.config.socket)?;
        Ok(socket)
    }

    /// The line in the format of RFC 3164, section 4.1, at most
    /// [`limits::LOG_LINE_MAX`] bytes.
    fn packet(&self, line: &Line) -> String {
        let mut packet = Vec::with_capacity(128 + line.text().len());
        self.formatter
            .format(&mut packet, severity(line.severity()), line)
            .expect("writing to memory cannot fail");
        let mut packet = String::from_utf8(packet).expect("made of strings only");
        set_timestamp(&mut packet, line.at);
        escape::cut(&mut packet, limits::LOG_LINE_MAX);
        packet
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

/// Sends a packet, and again cut short if the socket finds it too long.
fn send_fitting(socket: &UnixDatagram, packet: &str) -> Result<(), Undelivered> {
    let outcome = match socket.send(packet.as_bytes()) {
        Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
            let mut packet = packet.to_owned();
            escape::cut(&mut packet, limits::SYSLOG_PACKET_SAFE);
            socket.send(packet.as_bytes())
        }
        outcome => outcome,
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.raw_os_error() {
            // After the time limit of a blocking socket, too, it is EAGAIN.
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EMSGSIZE | libc::EINTR) => {
                Undelivered::Jammed(error)
            }
            _ => Undelivered::Away(error),
        }),
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
    fn a_packet_that_the_socket_finds_too_long_is_cut() {
        let (ours, daemons) = UnixDatagram::pair().expect("a pair");
        // Longer than any send buffer takes in one message.
        let packet = "x".repeat(64 * 1024 * 1024);
        assert!(send_fitting(&ours, &packet).is_ok());
        let mut received = [0; 4096];
        let length = daemons.recv(&mut received).expect("a packet");
        assert_eq!(length, limits::SYSLOG_PACKET_SAFE);
        assert!(received[..length].ends_with("…".as_bytes()));
    }
}
