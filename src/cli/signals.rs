//! The signals that steer a server: what each of them comes to.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use adit::sys::signals::unblock;
use adit::{Handle, logging, notice};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};

use super::exit::{Exit, Failure};
use super::service::Service;

/// The signals of the process, on a thread of their own from the start.
pub(super) struct Steering {
    signals: SignalsHandle,
    thread: Option<thread::JoinHandle<()>>,
    rudder: Arc<Mutex<Rudder>>,
}

/// That signals steer a server at work, until this is dropped.
pub(super) struct Steered<'a>(&'a Steering);

/// What signals come to.
#[derive(Default)]
struct Rudder {
    /// The server at work, once there is one.
    steers: Option<Steers>,
    /// What came before there was.
    waiting: Vec<i32>,
    /// It was told to stop.
    stopping: bool,
}

impl Steering {
    /// Takes the signals over. They wait until [`start`](Self::start); but a
    /// second one to stop ends the process in any case, however long it takes to
    /// start.
    pub(super) fn signals() -> Result<Self, Failure> {
        const OURS: [i32; 5] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];
        let mut signals = Signals::new(OURS)
            // Only now that they end nothing any more.
            .and_then(|signals| unblock(&OURS).map(|()| signals))
            .map_err(|error| Failure::runtime(format!("signals cannot be handled: {error}")))?;
        let closer = signals.handle();
        let rudder = Arc::<Mutex<Rudder>>::default();
        let thread = thread::Builder::new()
            .name("adit-signals".into())
            .spawn({
                let rudder = Arc::clone(&rudder);
                move || {
                    for signal in signals.forever() {
                        lock(&rudder).take(signal);
                    }
                }
            })
            .map_err(no_thread)?;
        Ok(Self {
            signals: closer,
            thread: Some(thread),
            rudder,
        })
    }

    /// From now on signals steer this server, those that came before first.
    pub(super) fn start(&self, steers: Steers) -> Steered<'_> {
        let mut rudder = lock(&self.rudder);
        rudder.steers = Some(steers);
        for signal in std::mem::take(&mut rudder.waiting) {
            rudder.obey(signal);
        }
        Steered(self)
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Steered<'_> {
    fn drop(&mut self) {
        // Not under the lock: it waits for work that is under way.
        let steers = lock(&self.0.rudder).steers.take();
        drop(steers);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What signals steer.
pub(super) struct Steers {
    pub(super) handle: Handle,
    pub(super) service: Service,
    pub(super) reloads: Works,
    pub(super) upgrades: Works,
}

/// Work that takes its time, on a thread of its own. Dropping it ends the
/// thread, once the work that is under way is done.
pub(super) struct Works {
    orders: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Works {
    pub(super) fn start(name: &str, work: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        // One waiting order is enough: it reads what is there when its turn
        // comes.
        let (orders, waiting) = sync_channel::<()>(1);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while waiting.recv().is_ok() {
                    work();
                }
            })
            .map_err(no_thread)?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Whether the order will be carried out, or one that waits already.
    fn order(&self) -> bool {
        let sent = self.orders.as_ref().map(|orders| orders.try_send(()));
        matches!(sent, Some(Ok(()) | Err(TrySendError::Full(()))))
    }
}

impl Drop for Works {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::runtime(format!("no thread for signals: {error}"))
}

impl Rudder {
    fn take(&mut self, signal: i32) {
        let stops = matches!(signal, SIGTERM | SIGINT);
        if stops && std::mem::replace(&mut self.stopping, true) {
            log::warn!("told to stop once more: open tunnels are cut");
            if let Some(steers) = &self.steers {
                steers.handle.flush_access_log();
            }
            log::logger().flush();
            std::process::exit(i32::from(Exit::Failure as u8));
        }
        if stops {
            let name = if signal == SIGINT {
                "SIGINT"
            } else {
                "SIGTERM"
            };
            notice!("{name} received; a second one stops at once");
        }
        self.obey(signal);
    }

    fn obey(&mut self, signal: i32) {
        let Some(steers) = &self.steers else {
            // Many of a kind are one.
            if !self.waiting.contains(&signal) {
                self.waiting.push(signal);
            }
            return;
        };
        match signal {
            SIGHUP => {
                if !steers.reloads.order() {
                    log::error!("SIGHUP: cannot reload any more");
                }
            }
            SIGUSR1 => {
                logging::reopen();
                steers.handle.reopen_logs();
            }
            SIGUSR2 => {
                if !steers.upgrades.order() {
                    log::error!("SIGUSR2: cannot upgrade any more");
                }
            }
            _ => {
                steers.service.stopping();
                steers.handle.shutdown();
            }
        }
    }
}
