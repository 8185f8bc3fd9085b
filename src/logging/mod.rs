//! Where log lines go.
//!
//! A line's text is made where it is logged: [`Logger`] formats it, escapes it,
//! cuts it to length and puts it in a bounded queue. It never waits: a line that
//! finds the queue full is dropped and counted. One thread, `adit-log`, takes
//! lines out of the queue and writes them to the sink of the configuration:
//! standard error, a file, the syslog daemon or the journal. Only it ever waits
//! for I/O.
//!
//! | logged with         | standard error | syslog severity |
//! |---------------------|----------------|-----------------|
//! | `log::error!`       | `ERROR`        | err             |
//! | `log::warn!`        | `WARN`         | warning         |
//! | [`notice!`]         | `NOTE`         | notice          |
//! | `log::info!`        | `INFO`         | info            |
//! | `log::debug!`       | `DEBUG`        | debug           |
//! | `log::trace!`       | `TRACE`        | debug           |
//!
//! `log` has no level for what is no fault and yet must be seen under syslog's
//! usual mask: that the server started, stops, or took up a new configuration.
//! Such a line is logged at `Info` with the target [`NOTICE`], which [`notice!`]
//! does.
//!
//! The access log (`access`) has a queue and a thread of its own, so that
//! neither log waits for the other.
//!
//! No line can be made to look like two, or to move a terminal's cursor: control
//! characters of any line are escaped. Text from the network goes through
//! [`escaped`] besides, which bounds its length and leaves plain ASCII only.
//!
//! [`notice!`]: crate::notice

pub(crate) mod access;
mod console;
mod daemon;
mod datagram;
mod escape;
mod file;
mod journald;
mod line;
mod logger;
mod stderr;
mod syslog;
mod writer;

use std::sync::OnceLock;

pub use access::lost as access_lines_lost;
pub use escape::{Escaped, escaped};
pub use line::NOTICE;
pub use logger::Logger;

use crate::config;
use crate::error::Error;
use crate::limits;

/// Logs a line that an operator must see by default, though it is no fault:
/// a start, a stop, a reload. Takes what `log::info!` takes.
#[macro_export]
macro_rules! notice {
    ($($arg:tt)+) => {
        ::log::info!(target: $crate::logging::NOTICE, $($arg)+)
    };
}

/// The logger of the process, once there is one.
static INSTALLED: OnceLock<Logger> = OnceLock::new();

/// Makes a [`Logger`] the process's logger, and starts its thread.
///
/// The logger works until the guard is dropped. Threads do not outlive a
/// `fork`, so a process that goes into the background does so before.
///
/// # Errors
///
/// [`Error::System`] when the process has a logger already, or the thread cannot
/// be started; [`Error::Demand`] when the log file cannot be opened. That nothing
/// answers at the syslog daemon's socket is no error: lines go to the console
/// until something does.
pub fn install(config: &config::Log) -> Result<Guard, Error> {
    let taken = || Error::System("the process has a logger already: install one only".into());
    INSTALLED.set(Logger::start(config)?).map_err(|_| taken())?;
    let logger = INSTALLED.get().expect("it was set above");
    log::set_logger(logger).map_err(|_| {
        logger.stop(limits::LOG_FLUSH_TIMEOUT);
        taken()
    })?;
    log::set_max_level(logger.max_level());
    Ok(Guard { logger })
}

/// Lines of the process's logger that were given up, since the start of the
/// process; 0 if [`install`] was never called. For any thread.
pub fn dropped() -> u64 {
    INSTALLED.get().map_or(0, Logger::dropped)
}

/// Has the file of the process's logger opened anew, if it goes to one, without
/// waiting for it: whoever rotates it has renamed the old one. For any thread.
pub fn reopen() {
    if let Some(logger) = INSTALLED.get() {
        logger.reopen();
    }
}

/// Looks whether lines could be written to where a configuration has them,
/// and changes nothing. That nothing answers at a daemon's socket is no error.
///
/// # Errors
///
/// [`Error::Demand`], with a text that names the file and the remedy.
pub fn check(sink: &config::LogSink) -> Result<(), Error> {
    match sink {
        config::LogSink::File(path) => file::check(path).map_err(Error::Demand),
        _ => Ok(()),
    }
}

/// Keeps the process's logger at work. Dropping it writes what is queued,
/// within [`limits::LOG_FLUSH_TIMEOUT`], and ends the thread; lines logged
/// later are dropped and counted.
///
/// `std::process::exit` drops nothing: call `log::logger().flush()` before it.
#[derive(Debug)]
pub struct Guard {
    logger: &'static Logger,
}

impl Guard {
    /// Takes up another configuration, without waiting for anything. Lines that
    /// are still queued go to the new sink.
    pub fn reconfigure(&self, config: &config::Log) {
        self.logger.reconfigure(config);
        log::set_max_level(self.logger.max_level());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.logger.stop(limits::LOG_FLUSH_TIMEOUT);
    }
}
