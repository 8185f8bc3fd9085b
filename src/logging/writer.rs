//! The thread that writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log::Level;

use super::console::Console;
use super::daemon::Daemon;
use super::file::LogFile;
use super::line::Line;
use super::logger::{Message, Shared, lock};
use super::stderr;
use crate::config::LogSink;
use crate::limits;

/// The end of the queue that lines are taken out of.
pub(super) struct Writer {
    queue: flume::Receiver<Message>,
    shared: Arc<Shared>,
    sink: Sink,
    console: Console,
    /// How many of the dropped lines a line has told of.
    drops_told: u64,
    /// Lines written since.
    lines_since: usize,
}

/// Where lines go.
pub(super) enum Sink {
    /// The console's standard error.
    Stderr,
    Daemon(Daemon),
    File(LogFile),
}

impl Writer {
    pub(super) fn new(
        queue: flume::Receiver<Message>,
        shared: Arc<Shared>,
        sink: Sink,
        console: Console,
    ) -> Self {
        Self {
            queue,
            shared,
            sink,
            console,
            drops_told: 0,
            lines_since: 0,
        }
    }

    /// Writes until told to stop, or until nobody can log any more.
    pub(super) fn run(mut self) {
        while let Ok(message) = self.queue.recv() {
            self.take_up();
            match message {
                Message::Line(_) if self.shared.abandoned.load(Ordering::Relaxed) => {
                    self.give_up(1);
                    break;
                }
                Message::Line(line) => self.write(&line),
                Message::Look => {}
                Message::Flush(done) => {
                    self.tell_drops();
                    // Who asked may have stopped waiting.
                    let _ = done.send(());
                }
                Message::Stop(done) => {
                    self.tell_drops();
                    let _ = done.send(());
                    break;
                }
            }
        }
        let rest = self.queue.drain();
        let lines = rest
            .filter(|message| matches!(message, Message::Line(_)))
            .count();
        self.give_up(lines as u64);
    }

    /// Goes on with another sink, or with a file opened anew, if it was told to.
    fn take_up(&mut self) {
        let sink = lock(&self.shared.sink).take();
        let trouble = match sink.map(|sink| Sink::open(&sink)) {
            Some(Ok(sink)) => {
                self.sink = sink;
                None
            }
            Some(Err(trouble)) => Some(trouble),
            None => None,
        };
        let anew = self.shared.reopen.swap(false, Ordering::Relaxed);
        let trouble = trouble.or_else(|| match &mut self.sink {
            Sink::File(file) if anew => match file.reopen() {
                Ok(lost) => {
                    self.give_up(lost);
                    None
                }
                Err(trouble) => Some(trouble),
            },
            _ => None,
        });
        if let Some(trouble) = trouble {
            let line = Line::own(
                Level::Error,
                format_args!("{trouble}; log lines go on to where they went"),
            );
            self.write(&line);
        }
    }

    fn write(&mut self, line: &Line) {
        if self.sink.write(line, &mut self.console).is_err() {
            self.give_up(1);
            return;
        }
        self.lines_since += 1;
        // A flood would have every other line tell of drops; so it is told once
        // the flood is over, or has gone on for a queue's length.
        if self.queue.is_empty() || self.lines_since >= limits::LOG_LINES_QUEUED_MAX {
            self.tell_drops();
        }
    }

    /// Writes how many lines were dropped since that was last written.
    fn tell_drops(&mut self) {
        let drops = self.shared.dropped.load(Ordering::Relaxed);
        let news = drops - self.drops_told;
        if news == 0 {
            return;
        }
        let line = Line::own(
            Level::Warn,
            format_args!(
                "{news} log lines were dropped: they came faster than they could be written, or \
                 nothing took them"
            ),
        );
        if self.sink.write(&line, &mut self.console).is_ok() {
            self.drops_told = drops;
            self.lines_since = 0;
        }
    }

    fn give_up(&self, lines: u64) {
        self.shared.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

impl Sink {
    /// What a configuration names. The error is a sentence.
    pub(super) fn open(config: &LogSink) -> Result<Self, String> {
        Ok(match config {
            LogSink::Stderr => Self::Stderr,
            LogSink::Syslog(syslog) => Self::Daemon(Daemon::syslog(syslog)),
            LogSink::Journald(journald) => Self::Daemon(Daemon::journald(journald)),
            LogSink::File(path) => Self::File(LogFile::open(path)?),
        })
    }

    /// Writes a line; an error means that it is lost.
    fn write(&mut self, line: &Line, console: &mut Console) -> io::Result<()> {
        match self {
            Self::Stderr => console.stderr.write(line),
            Self::Daemon(daemon) => daemon.write(line, console),
            Self::File(file) => match file.write(stderr::for_file(line).as_bytes()) {
                0 => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            },
        }
    }
}
