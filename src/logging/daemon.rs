//! Lines to a daemon, and to the console while there is none.

use std::io;

use log::Level;

use super::console::Console;
use super::datagram::{Datagram, Undelivered};
use super::journald::Journald;
use super::line::Line;
use super::syslog::Syslog;
use crate::config::{JournaldSink, SyslogLevel, SyslogSink};

/// A daemon that the log goes to.
pub(super) struct Daemon {
    language: Language,
    datagram: Datagram,
    /// The least severe line that it is sent.
    up_to: SyslogLevel,
    /// Lines written to the console since the daemon went away.
    on_console: u64,
}

/// What a daemon is spoken to in.
enum Language {
    Syslog(Syslog),
    Journald(Journald),
}

impl Daemon {
    pub(super) fn syslog(config: &SyslogSink) -> Self {
        Self {
            language: Language::Syslog(Syslog::new(config)),
            datagram: Datagram::new(config.socket.clone()),
            up_to: config.up_to,
            on_console: 0,
        }
    }

    pub(super) fn journald(config: &JournaldSink) -> Self {
        Self {
            language: Language::Journald(Journald::new(config)),
            datagram: Datagram::new(config.socket.clone()),
            up_to: SyslogLevel::Debug,
            on_console: 0,
        }
    }

    /// Sends a line that the mask lets through, or writes it to the console if
    /// there is no daemon; an error means that it is lost.
    pub(super) fn write(&mut self, line: &Line, console: &mut Console) -> io::Result<()> {
        if line.severity() > self.up_to {
            return Ok(());
        }
        match self.send(line) {
            Ok(()) => {
                self.tell_absence();
                Ok(())
            }
            Err(Undelivered::Jammed(error)) => Err(error),
            Err(Undelivered::Away(error)) => {
                if self.on_console == 0 {
                    let socket = self.datagram.path().display();
                    let name = self.name();
                    let why = Line::own(
                        Level::Warn,
                        format_args!("no {name} at {socket} ({error}): log lines go here"),
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
        let name = self.name();
        let notice = Line::own(
            Level::Info,
            format_args!("there was no {name}: {lines} log lines went to the console"),
        );
        if self.send(&notice.noticed()).is_ok() {
            self.on_console = 0;
        }
    }

    fn send(&mut self, line: &Line) -> Result<(), Undelivered> {
        match &self.language {
            Language::Syslog(syslog) => {
                let packet = syslog.packet(line.at, line.severity(), line);
                self.datagram.send(packet.as_bytes(), Syslog::shorter)
            }
            // No line is as long as any socket's send buffer.
            Language::Journald(journald) => self.datagram.send(&journald.entry(line), |_| None),
        }
    }

    fn name(&self) -> &'static str {
        match self.language {
            Language::Syslog(_) => "syslog daemon",
            Language::Journald(_) => "journald",
        }
    }
}
