//! The end of the queue that lines are put in.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use super::console::Console;
use super::line::{self, Line};
use super::writer::{Sink, Writer};
use crate::config::{self, LogSink, SyslogLevel};
use crate::error::Error;
use crate::limits;

/// Takes log records from any thread, and never makes it wait.
///
/// [`install`](super::install) makes one the process's logger; a test can have
/// as many as it likes. Dropping it writes what is queued, within
/// [`limits::LOG_FLUSH_TIMEOUT`], and ends its thread.
#[derive(Debug)]
pub struct Logger {
    queue: flume::Sender<Message>,
    shared: Arc<Shared>,
    /// A `LevelFilter`, as a number.
    level: AtomicUsize,
    /// The least severe `SyslogLevel` that the sink takes, as a number.
    up_to: AtomicU8,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Message {
    /// To be written.
    Line(Line),
    /// To look whether there is anything else to do.
    Look,
    /// To be answered when all before it is written.
    Flush(flume::Sender<()>),
    /// The last one; the thread ends. Answered like a flush.
    Stop(flume::Sender<()>),
}

/// What the logger and its thread both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Lines given up, for want of room in the queue or of a sink.
    pub(super) dropped: AtomicU64,
    /// A sink to be used from the next line on.
    pub(super) sink: Mutex<Option<LogSink>>,
    /// A file is to be opened anew before the next line.
    pub(super) reopen: AtomicBool,
    /// Whether the thread must end though lines are still queued.
    pub(super) abandoned: AtomicBool,
}

impl Logger {
    /// Starts the thread that writes to this configuration's sink.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the thread cannot be started, [`Error::Demand`] when
    /// a file cannot be opened.
    pub fn start(config: &config::Log) -> Result<Self, Error> {
        Self::with(config, Console::standard())
    }

    /// The same, with another console: what stands for standard error, as sink
    /// and as the place of lines that no syslog daemon takes.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn with_console(
        config: &config::Log,
        console: Box<dyn Write + Send>,
    ) -> Result<Self, Error> {
        Self::with(config, Console::given(console))
    }

    fn with(config: &config::Log, console: Console) -> Result<Self, Error> {
        let sink = Sink::open(&config.sink).map_err(Error::Demand)?;
        let (queue, waiting) = flume::bounded(limits::LOG_LINES_QUEUED_MAX);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(waiting, Arc::clone(&shared), sink, console);
        let writer = thread::Builder::new()
            .name("adit-log".into())
            .spawn(move || writer.run())
            .map_err(|error| {
                Error::System(format!(
                    "the log's thread cannot be started ({error}): raise the limit of \
                     processes (ulimit -u, pids.max of the cgroup)"
                ))
            })?;
        let logger = Self {
            queue,
            shared,
            level: AtomicUsize::default(),
            up_to: AtomicU8::default(),
            writer: Mutex::new(Some(writer)),
        };
        logger.set_threshold(config);
        Ok(logger)
    }

    /// Takes up another configuration, without waiting for anything. Lines that
    /// are still queued go to the new sink. A file that cannot be opened is told
    /// of on the old one, which then stays.
    pub fn reconfigure(&self, config: &config::Log) {
        *lock(&self.shared.sink) = Some(config.sink.clone());
        self.set_threshold(config);
        self.look();
    }

    /// Opens the file that lines go to anew, if they go to one, without waiting
    /// for it: whoever rotates it has renamed the old one.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
        self.look();
    }

    /// Has the thread look what there is to do. If the queue is full, it does so
    /// in any case.
    fn look(&self) {
        let _ = self.queue.try_send(Message::Look);
    }

    /// Waits until every line logged before is written or given up: whether
    /// that was so within this time.
    pub fn flush_within(&self, timeout: Duration) -> bool {
        self.ask(Message::Flush, timeout)
    }

    /// Lines given up since the start: the queue was full, the syslog daemon
    /// did not read, or the sink was broken.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The most verbose level of which any line could be written: what
    /// `log::set_max_level` should be told.
    pub fn max_level(&self) -> LevelFilter {
        Level::iter()
            .filter(|&level| {
                // A notice is the most severe of its level.
                let metadata = log::Metadata::builder()
                    .level(level)
                    .target(line::NOTICE)
                    .build();
                log::Log::enabled(self, &metadata)
            })
            .max()
            .map_or(LevelFilter::Off, |level| level.to_level_filter())
    }

    /// Writes what is queued, within this time, and ends the thread. Lines
    /// logged later are dropped and counted.
    pub(super) fn stop(&self, timeout: Duration) {
        let Some(writer) = lock(&self.writer).take() else {
            return;
        };
        if self.ask(Message::Stop, timeout) || writer.is_finished() {
            // A panic in the thread has been reported by the panic hook.
            let _ = writer.join();
        } else {
            // The thread waits for a sink that takes nothing. It ends as soon
            // as that lets it go; the process need not wait for it.
            self.shared.abandoned.store(true, Ordering::Relaxed);
        }
    }

    /// Puts a question at the end of the queue and waits for its answer.
    fn ask(&self, question: fn(flume::Sender<()>) -> Message, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (done, answer) = flume::bounded(1);
        self.queue.send_deadline(question(done), deadline).is_ok()
            && answer.recv_deadline(deadline).is_ok()
    }

    fn set_threshold(&self, config: &config::Log) {
        let up_to = match &config.sink {
            LogSink::Stderr | LogSink::File(_) | LogSink::Journald(_) => SyslogLevel::Debug,
            LogSink::Syslog(syslog) => syslog.up_to,
        };
        self.level.store(config.level as usize, Ordering::Relaxed);
        self.up_to.store(up_to as u8, Ordering::Relaxed);
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() as usize <= self.level.load(Ordering::Relaxed)
            && line::severity_of(metadata) as u8 <= self.up_to.load(Ordering::Relaxed)
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata())
            && self
                .queue
                .try_send(Message::Line(Line::of(record)))
                .is_err()
        {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until every line logged before is written, for
    /// [`limits::LOG_FLUSH_TIMEOUT`] at most.
    fn flush(&self) {
        self.flush_within(limits::LOG_FLUSH_TIMEOUT);
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.stop(limits::LOG_FLUSH_TIMEOUT);
    }
}

/// What these locks hold is whole at every moment, whoever panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
