//! The thread that writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log::Level;

use super::console::Console;
use super::line::Line;
use super::logger::{Message, Shared, lock};
use super::syslog::Syslog;
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

enum Sink {
    /// The console's standard error.
    Stderr,
    Syslog(Syslog),
}

impl Writer {
    pub(super) fn new(
        queue: flume::Receiver<Message>,
        shared: Arc<Shared>,
        sink: &LogSink,
        console: Console,
    ) -> Self {
        Self {
            queue,
            shared,
            sink: Sink::of(sink),
            console,
            drops_told: 0,
            lines_since: 0,
        }
    }

    /// Writes until told to stop, or until nobody can log any more.
    pub(super) fn run(mut self) {
        while let Ok(message) = self.queue.recv() {
            if let Some(sink) = lock(&self.shared.sink).take() {
                self.sink = Sink::of(&sink);
            }
            match message {
                Message::Line(_) if self.shared.abandoned.load(Ordering::Relaxed) => {
                    self.give_up(1);
                    break;
                }
                Message::Line(line) => self.write(&line),
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
                "{news} log lines were dropped: they came faster than they could be written"
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
    fn of(config: &LogSink) -> Self {
        match config {
            LogSink::Stderr => Self::Stderr,
            LogSink::Syslog(syslog) => Self::Syslog(Syslog::new(syslog.clone())),
        }
    }

    /// Writes a line; an error means that it is lost.
    fn write(&mut self, line: &Line, console: &mut Console) -> io::Result<()> {
        match self {
            Self::Stderr => console.stderr.write(line),
            Self::Syslog(syslog) => syslog.write(line, console),
        }
    }
}
