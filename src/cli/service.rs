//! What a service manager is told of a server (sd_notify(3)): that it is ready,
//! reloads, stops, or has left its work to another process; how much it has to
//! do; and, for its watchdog, that every shard answers.

use std::fmt::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use adit::metrics::{State, Stats};
use adit::sys::notify::{self, Manager};
use adit::{Handle, limits};

use super::exit::Failure;

/// The service that this process is, if it is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    manager: Manager,
    /// Not longer than this may it stay silent.
    watchdog: Option<Duration>,
    stage: Mutex<Stage>,
}

/// What has been said last. Nothing of an earlier stage is said in a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Starting,
    Serving,
    Stopping,
    /// Another process speaks for the service.
    Left,
}

impl Service {
    /// The one that the environment tells of. What is wrong with that is logged:
    /// a server serves without a manager as well.
    pub(crate) fn from_environment() -> Self {
        let manager = match Manager::from_environment() {
            Ok(manager) => manager,
            Err(why) => {
                log::warn!("the service manager is not told anything: {why}");
                None
            }
        };
        let watchdog = notify::watchdog().unwrap_or_else(|why| {
            log::warn!("the service manager's watchdog is not fed: {why}");
            None
        });
        Self(manager.map(|manager| {
            Arc::new(Inner {
                manager,
                watchdog,
                stage: Mutex::new(Stage::Starting),
            })
        }))
    }

    /// Whether there is a manager to tell anything.
    pub(crate) fn is_one(&self) -> bool {
        self.0.is_some()
    }

    /// Every shard serves.
    pub(crate) fn ready(&self) {
        self.say_from(&[Stage::Starting], Stage::Serving, || {
            format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id())
        });
    }

    /// The configuration is being read again.
    pub(crate) fn reloading(&self) {
        self.say_from(&[Stage::Serving], Stage::Serving, || {
            let now = notify::monotonic_micros();
            format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading")
        });
    }

    /// It was, or was refused.
    pub(crate) fn reloaded(&self, outcome: &Result<(), String>) {
        self.say_from(&[Stage::Serving], Stage::Serving, || match outcome {
            Ok(()) => "READY=1\nSTATUS=serving, reloaded".into(),
            Err(why) => {
                let first = why.lines().next().unwrap_or_default();
                format!("READY=1\nSTATUS=serving, not reloaded: {first}")
            }
        });
    }

    /// It was told to stop.
    pub(crate) fn stopping(&self) {
        let before = [Stage::Starting, Stage::Serving];
        self.say_from(&before, Stage::Stopping, || {
            "STOPPING=1\nSTATUS=stopping".into()
        });
    }

    /// From now on that process is the service. Returns once the manager has
    /// read so, if it does within [`limits::SERVICE_BARRIER_TIMEOUT`]: it takes
    /// the new process's word only after that.
    pub(crate) fn left_to(&self, pid: u32) {
        self.say_from(&[Stage::Serving], Stage::Left, || {
            format!("MAINPID={pid}\nSTATUS=upgraded: process {pid} serves")
        });
        if let Some(inner) = &self.0
            && let Err(error) = inner.manager.barrier(limits::SERVICE_BARRIER_TIMEOUT)
        {
            log::debug!("the service manager: {error}");
        }
    }

    /// That process is not, after all.
    pub(crate) fn taken_back(&self) {
        self.say_from(&[Stage::Left], Stage::Serving, || {
            format!("MAINPID={}\nSTATUS=serving", std::process::id())
        });
    }

    /// Says something if that is in order, and is at that stage then.
    fn say_from(&self, stages: &[Stage], then: Stage, text: impl FnOnce() -> String) {
        if let Some(inner) = &self.0 {
            let mut stage = inner.stage();
            if stages.contains(&stage) {
                *stage = then;
                inner.say(&text());
            }
        }
    }

    /// Looks after the status and the watchdog until what it gives is dropped.
    pub(crate) fn attend(&self, handle: Handle) -> Result<Option<Attendance>, Failure> {
        let Some(inner) = self.0.clone() else {
            return Ok(None);
        };
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("adit-service".into())
            .spawn(move || {
                let ask = || handle.stats().ok();
                let pause = |time| stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
                attend(&inner, ask, pause);
            })
            .map_err(|error| {
                Failure::runtime(format!("no thread for the service manager: {error}"))
            })?;
        Ok(Some(Attendance {
            stop: Some(stop),
            thread: Some(thread),
        }))
    }
}

impl Inner {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, text: &str) {
        if let Err(error) = self.manager.send(text) {
            log::debug!("the service manager was not told {text:?}: {error}");
        }
    }
}

/// The thread `adit-service`. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Attendance {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks for figures again and again: the watchdog is fed at half its interval,
/// and with figures of that moment from every shard alone. `pause` says whether
/// to go on.
fn attend(inner: &Inner, ask: impl Fn() -> Option<Stats>, pause: impl Fn(Duration) -> bool) {
    let feeding = inner.watchdog.map(|interval| interval / 2);
    let step = feeding.map_or(limits::SERVICE_STATUS_INTERVAL, |feeding| {
        feeding.min(limits::SERVICE_STATUS_INTERVAL)
    });
    let mut fed = Instant::now();
    let mut said = String::new();
    while pause(step) {
        let stats = ask();
        let mut stage = inner.stage();
        if *stage == Stage::Left || *stage == Stage::Starting {
            continue;
        }
        let serves = |stats: &Stats| stats.state == State::Serving;
        if *stage == Stage::Serving && !stats.as_ref().is_none_or(serves) {
            // It was told so in another way than by a signal.
            *stage = Stage::Stopping;
            inner.say("STOPPING=1");
        }
        let now = Instant::now();
        // The step before the next one would be too late.
        let is_due = feeding.is_some_and(|feeding| now + step > fed + feeding);
        if is_due && stats.as_ref().is_some_and(all_answer) {
            inner.say("WATCHDOG=1");
            fed = now;
        }
        let status = stats
            .as_ref()
            .map_or_else(|| "the main shard does not answer".to_owned(), status);
        if status != said {
            inner.say(&format!("STATUS={status}"));
            said = status;
        }
    }
}

/// Whether each shard has answered.
fn all_answer(stats: &Stats) -> bool {
    stats.silent_shards.is_empty() && !stats.shards.is_empty()
}

/// One short line.
fn status(stats: &Stats) -> String {
    let state = match stats.state {
        State::Serving => "serving",
        State::Stopping => "stopping",
        State::Draining => "draining",
    };
    let count = |number: u64, noun: &str| match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    };
    let shards = stats.shards.len() + stats.silent_shards.len();
    let mut text = format!(
        "{state}: {}, {}",
        count(stats.total.tunnels_open, "tunnel"),
        count(shards as u64, "shard")
    );
    if !stats.silent_shards.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, "; silent: {:?}", stats.silent_shards);
    }
    text
}
