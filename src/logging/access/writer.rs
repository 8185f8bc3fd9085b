//! The thread that writes access lines.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::super::datagram::{Datagram, Undelivered};
use super::super::file::LogFile;
use super::super::journald::Journald;
use super::super::syslog::Syslog;
use super::entry::Entry;
use super::{LOST, Message, format};
use crate::config::{AccessFormat, LogSink, SyslogLevel};
use crate::limits;

/// The end of the queue that entries are taken out of.
pub(super) struct Writer {
    queue: flume::Receiver<Message>,
    target: Target,
    format: AccessFormat,
    reopen: Arc<AtomicBool>,
    /// Lines that are to be written together.
    batch: Vec<u8>,
    /// Lines that were lost and that the log was not told of.
    untold: u64,
    told: Option<Instant>,
    /// Why the last of them was lost.
    why: String,
}

/// Where lines go.
pub(super) enum Target {
    Stderr,
    File(LogFile),
    Syslog(Syslog, Datagram),
    Journald(Journald, Datagram),
}

impl Target {
    /// What a configuration names. The error is a sentence.
    pub(super) fn open(sink: &LogSink) -> Result<Self, String> {
        Ok(match sink {
            LogSink::Stderr => Self::Stderr,
            LogSink::File(path) => Self::File(LogFile::open(path)?),
            LogSink::Syslog(sink) => {
                Self::Syslog(Syslog::new(sink), Datagram::new(sink.socket.clone()))
            }
            LogSink::Journald(sink) => {
                Self::Journald(Journald::new(sink), Datagram::new(sink.socket.clone()))
            }
        })
    }
}

impl Writer {
    pub(super) fn new(
        queue: flume::Receiver<Message>,
        target: Target,
        format: AccessFormat,
        reopen: Arc<AtomicBool>,
    ) -> Self {
        Self {
            queue,
            target,
            format,
            reopen,
            batch: Vec::new(),
            untold: 0,
            told: None,
            why: String::new(),
        }
    }

    /// Writes until told to stop, or until nobody is left who could say
    /// anything.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            if matches!(first, Message::Entry(_)) {
                // While it sleeps, nobody has to wake it.
                thread::sleep(limits::ACCESS_GATHER);
            }
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Entry(entry) => self.write(&entry),
                    Message::Look => {}
                    Message::Stop(done) => {
                        self.flush();
                        // Who asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                }
                // In a flood, too: the queue may never be empty.
                self.look();
                next = self.queue.try_recv().ok();
            }
            self.flush();
            self.tell();
        }
        self.flush();
    }

    /// Opens the file anew, if it was told to.
    fn look(&mut self) {
        if !self.reopen.swap(false, Ordering::Relaxed) {
            return;
        }
        self.flush();
        if let Target::File(file) = &mut self.target {
            match file.reopen() {
                Ok(lost) => self.lose(lost, "the disk was full"),
                Err(trouble) => log::error!("{trouble}; access lines go on to the old one"),
            }
        }
    }

    fn write(&mut self, entry: &Entry) {
        let undelivered = match &mut self.target {
            Target::Stderr | Target::File(_) => {
                let line = format::line(entry, self.format, limits::ACCESS_LINE_MAX - 1);
                self.batch.extend_from_slice(line.as_bytes());
                self.batch.push(b'\n');
                if self.batch.len() >= limits::ACCESS_WRITE_MAX {
                    self.flush();
                }
                return;
            }
            Target::Syslog(syslog, datagram) => {
                // A line that was cut would be no JSON: it is made shorter.
                let header = syslog.packet(entry.time, SyslogLevel::Info, "").len();
                let send = |datagram: &mut Datagram, most: usize| {
                    let line = format::line(entry, self.format, most - header);
                    let packet = syslog.packet(entry.time, SyslogLevel::Info, line);
                    datagram.send(packet.as_bytes(), Syslog::shorter)
                };
                send(datagram, limits::LOG_LINE_MAX)
            }
            Target::Journald(journald, datagram) => {
                let line = format::line(entry, self.format, limits::ACCESS_LINE_MAX);
                let mut fields = journald.begin(SyslogLevel::Info, &line);
                format::journal_fields(entry, |name, value| fields.field(name, value));
                datagram.send(&fields.finish(), |_| None)
            }
        };
        match undelivered {
            Ok(()) => {}
            Err(Undelivered::Jammed(error)) => {
                self.lose(1, &format!("the daemon does not read: {error}"));
            }
            Err(Undelivered::Away(error)) => {
                let (Target::Syslog(_, datagram) | Target::Journald(_, datagram)) = &self.target
                else {
                    return;
                };
                let socket = datagram.path().display();
                let why = format!("no daemon at {socket}: {error}");
                self.lose(1, &why);
            }
        }
    }

    /// Writes the lines that have gathered.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let lost = match &mut self.target {
            Target::File(file) => file.write(&self.batch),
            Target::Stderr => write_lines(&mut io::stderr(), &self.batch),
            Target::Syslog(..) | Target::Journald(..) => 0,
        };
        self.batch.clear();
        let why = match self.target {
            Target::File(_) => "the disk is full, or broken",
            _ => "nobody reads standard error",
        };
        self.lose(lost, why);
    }

    fn lose(&mut self, lines: u64, why: &str) {
        if lines > 0 {
            LOST.fetch_add(lines, Ordering::Relaxed);
            self.untold += lines;
            why.clone_into(&mut self.why);
        }
    }

    /// Tells the log how many lines were lost, now and then.
    fn tell(&mut self) {
        let recently = |at: Instant| at.elapsed() < limits::ACCESS_LOSS_INTERVAL;
        if self.untold > 0 && !self.told.is_some_and(recently) {
            log::warn!("{} access lines were lost: {}", self.untold, self.why);
            self.untold = 0;
            self.told = Some(Instant::now());
        }
    }
}

/// Writes each line in a piece of its own, since others write there as well;
/// gives the number of those that are lost.
fn write_lines(out: &mut impl Write, lines: &[u8]) -> u64 {
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| out.write_all(line).is_err())
        .count() as u64
}
