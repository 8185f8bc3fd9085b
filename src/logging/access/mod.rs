//! The access log: a line for each tunnel that has ended.
//!
//! A shard hands an [`Entry`] to a bounded queue, and never waits; whether one
//! is handed over at all, its [`Sampling`] says. One thread, `adit-access`,
//! makes lines of entries (`format`) and writes them (`writer`). What finds no
//! room in the queue is counted by the shard, what no sink takes is counted
//! here ([`lost`]).

mod entry;
mod format;
mod sampling;
mod writer;

pub(crate) use entry::Entry;
pub(crate) use sampling::Sampling;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::logger::lock;
use crate::config;
use crate::error::Error;
use crate::limits;
use writer::{Target, Writer};

/// Lines that no sink took, since the start of the process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Access lines that were to be written and that no sink took, since the start
/// of the process: the disk was full, the daemon away or not reading. For any
/// thread.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// A hold on the access log, for any thread. When the last one is dropped, what
/// is queued is written, and the thread ends.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: flume::Sender<Message>,
    config: config::AccessLog,
    reopen: Arc<AtomicBool>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What waits in the queue.
#[derive(Debug)]
enum Message {
    /// To be written.
    Entry(Box<Entry>),
    /// To look whether there is anything else to do.
    Look,
    /// The last one; answered when all before it is written.
    Stop(flume::Sender<()>),
}

/// Where the access log that is in use is kept: for whoever has it opened anew,
/// or writes what is left at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct InUse(Arc<Mutex<Option<AccessLog>>>);

impl AccessLog {
    /// Opens what the configuration names, and starts the thread that writes
    /// there.
    ///
    /// # Errors
    ///
    /// [`Error::Demand`] when a file cannot be opened, [`Error::System`] when the
    /// thread cannot be started. That nothing answers at a daemon's socket is no error: lines
    /// are lost, and counted, until something does.
    pub(crate) fn start(config: &config::AccessLog) -> Result<Self, Error> {
        let target = Target::open(&config.sink).map_err(Error::Demand)?;
        let (queue, waiting) = flume::bounded(limits::ACCESS_LINES_QUEUED_MAX);
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(waiting, target, config.format, reopen.clone());
        let writer = thread::Builder::new()
            .name("adit-access".into())
            .spawn(move || writer.run())
            .map_err(|error| {
                Error::System(format!(
                    "the access log's thread cannot be started ({error}): raise the limit of \
                     processes (ulimit -u, pids.max of the cgroup)"
                ))
            })?;
        Ok(Self {
            inner: Arc::new(Inner {
                queue,
                config: config.clone(),
                reopen,
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// How it is configured.
    pub(crate) fn config(&self) -> &config::AccessLog {
        &self.inner.config
    }

    /// Hands an entry over, without waiting; false: there is no room for it.
    pub(crate) fn write(&self, entry: Entry) -> bool {
        let message = Message::Entry(Box::new(entry));
        self.inner.queue.try_send(message).is_ok()
    }

    /// Has its file opened anew, if it goes to one, without waiting for it.
    pub(crate) fn reopen(&self) {
        self.inner.reopen.store(true, Ordering::Relaxed);
        // If the queue is full, the thread looks in any case.
        let _ = self.inner.queue.try_send(Message::Look);
    }

    /// Writes what is queued, within this time.
    fn stop(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let (done, answer) = flume::bounded(1);
        let asked = self
            .inner
            .queue
            .send_deadline(Message::Stop(done), deadline);
        if asked.is_ok()
            && answer.recv_deadline(deadline).is_ok()
            && let Some(writer) = lock(&self.inner.writer).take()
        {
            // A panic in the thread has been reported by the panic hook.
            let _ = writer.join();
        }
    }
}

impl InUse {
    /// The access log for this configuration: the one in use, its file opened
    /// anew, if nothing about it has changed.
    ///
    /// # Errors
    ///
    /// As [`AccessLog::start`].
    pub(crate) fn prepare(
        &self,
        config: Option<&config::AccessLog>,
    ) -> Result<Option<AccessLog>, Error> {
        let present = lock(&self.0);
        match (config, &*present) {
            (Some(config), Some(log)) if log.config() == config => {
                log.reopen();
                Ok(Some(log.clone()))
            }
            (Some(config), _) => AccessLog::start(config).map(Some),
            (None, _) => Ok(None),
        }
    }

    /// This one is in use from now on.
    pub(crate) fn take_up(&self, log: Option<AccessLog>) {
        *lock(&self.0) = log;
    }

    /// Has its file opened anew.
    pub(crate) fn reopen(&self) {
        if let Some(log) = &*lock(&self.0) {
            log.reopen();
        }
    }

    /// Writes what is queued, within [`limits::LOG_FLUSH_TIMEOUT`]: nobody has
    /// anything more to say.
    pub(crate) fn stop(&self) {
        let log = lock(&self.0).take();
        if let Some(log) = log {
            log.stop(limits::LOG_FLUSH_TIMEOUT);
        }
    }
}
