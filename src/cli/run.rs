//! `adit run`: a server, the signals that steer it, and its admin endpoint.
//!
//! The server has the main thread. `adit-signals` turns signals into orders;
//! `adit-reload` reads the configuration again when it is told to, so that a
//! slow reload never keeps a SIGTERM waiting; `adit-watch` does so when a file
//! has changed.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use adit::config::{Admin, LogSink};
use adit::control::admin::{self, Orders};
use adit::control::exporter::{self, Exporter, Sources};
use adit::logging::{self, Guard};
use adit::metrics::Stats;
use adit::sys::signals::unblock;
use adit::{Config, Error, Handle, Outcome, Server, notice};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};

use super::exit::{Exit, Failure};
use super::plan::RunPlan;
use super::privileges::{Confinement, Privileges};
use super::watch::{Watched, Watcher};

pub(crate) fn run(plan: RunPlan) -> Result<Exit, Failure> {
    let mut watched = Watched::default();
    let config = watched.config(&plan)?;
    // While there is one thread.
    let privileges = Privileges::prepare(&config, Some(&plan.source))?;
    let log = Arc::new(logging::install(&config.log)?);
    let syslog = config.log.sink != LogSink::Stderr;
    let done = start(plan, config, watched, privileges, &log);
    if let Err(failure) = &done
        && syslog
    {
        // Standard error gets it in any case.
        log::error!("{}", failure.message);
    }
    done
}

fn start(
    plan: RunPlan,
    config: Config,
    mut watched: Watched,
    privileges: Privileges,
    log: &Arc<Guard>,
) -> Result<Exit, Failure> {
    // Before anything is bound: from here on a signal is an order.
    let signals = Steering::signals()?;
    let admin = config.admin.clone();
    let metrics = exporter::Prepared::new(config.metrics.as_ref())?;
    let server = Server::new(config.clone())?;
    // Before any thread speaks with the network.
    let confinement = privileges.give_up(&config, watched.files())?;
    watched.look_again();
    announce(&server);
    let exporter = Arc::new(exporting(&server.handle()));
    exporter.take_up(metrics)?;
    let first = watched.every();
    let reloader = Arc::new(Reloader {
        plan,
        handle: server.handle(),
        log: Arc::clone(log),
        admin: admin.clone(),
        exporter,
        confinement,
        watched: Mutex::new(watched),
    });
    let _watcher = Watcher::start(
        {
            let reloader = Arc::clone(&reloader);
            move || reloader.look()
        },
        first,
    )?;
    serve(server, &admin, signals, move || reloader.reload())
}

type Figures = Box<dyn Fn() -> Result<Stats, Error> + Send + Sync>;
type Question = Box<dyn Fn() -> bool + Send + Sync>;

/// The metrics endpoint of a server.
pub(crate) type ServerExporter = Exporter<Figures, Question>;

/// The metrics endpoint of that server, which listens nowhere yet.
pub(crate) fn exporting(handle: &Handle) -> ServerExporter {
    let (figures, stopping) = (handle.clone(), handle.clone());
    Exporter::new(Sources {
        stats: Box::new(move || figures.stats()) as Figures,
        is_stopping: Box::new(move || stopping.is_stopping()) as Question,
    })
}

/// Serves until told to stop. What the demonstration shares with `adit run`.
pub(crate) fn serve<R>(
    server: Server,
    admin: &Admin,
    signals: Signals,
    reload: R,
) -> Result<Exit, Failure>
where
    R: Fn() -> Result<(), String> + Send + Sync + 'static,
{
    let handle = server.handle();
    let reload = Arc::new(reload);
    let orders = Orders {
        stats: {
            let handle = handle.clone();
            move || handle.stats()
        },
        reload: {
            let reload = Arc::clone(&reload);
            move || reload()
        },
    };
    let _admin = admin::start(admin, orders)?;
    let _steering = Steering::start(signals, handle, reload)?;
    match server.serve_forever()? {
        Outcome::Drained => {
            notice!("stopped; every tunnel had ended");
            Ok(Exit::Clean)
        }
        Outcome::Cut(tunnels) => {
            log::warn!("stopped; {tunnels} tunnels were cut at the drain deadline");
            Ok(Exit::Failure)
        }
    }
}

/// One line for each listener. That all shards serve is the server's to say.
pub(crate) fn announce(server: &Server) {
    let shards = server.shards();
    let noun = if shards == 1 { "shard" } else { "shards" };
    for listener in server.listeners() {
        notice!(
            "listening on {} → {}, {shards} {noun}",
            listener.address,
            listener.service
        );
    }
}

/// What a reload does: the same command line, read again. One at a time.
struct Reloader {
    plan: RunPlan,
    handle: Handle,
    log: Arc<Guard>,
    /// Where the admin endpoint is, which a reload does not move.
    admin: Admin,
    exporter: Arc<ServerExporter>,
    confinement: Confinement,
    watched: Mutex<Watched>,
}

impl Reloader {
    fn reload(&self) -> Result<(), String> {
        self.reload_watched(&mut self.watched())
    }

    /// Reloads if a file has changed. Gives how soon to look again.
    fn look(&self) -> Option<Duration> {
        let mut watched = self.watched();
        // A server that stops takes nothing up.
        if watched.every().is_some()
            && !self.handle.is_stopping()
            && let Some(file) = watched.change()
        {
            notice!("{} has changed: reloading", file.display());
            // Success and failure were both logged.
            let _ = self.reload_watched(&mut watched);
        }
        watched.every()
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload_watched(&self, watched: &mut Watched) -> Result<(), String> {
        let outcome = watched
            .config(&self.plan)
            .inspect_err(|_| self.handle.reload_refused())
            .and_then(|config| {
                // What the log could not take up is refused with all the rest.
                logging::check(&config.log.sink).inspect_err(|_| self.handle.reload_refused())?;
                let (log, admin) = (config.log.clone(), config.admin.clone());
                self.confinement
                    .check(&config)
                    .inspect_err(|_| self.handle.reload_refused())?;
                let metrics = self
                    .exporter
                    .prepare(config.metrics.as_ref())
                    .inspect_err(|_| self.handle.reload_refused())?;
                self.handle.reload(config)?;
                Ok((log, admin, metrics))
            })
            .map_err(|failure| failure.message);
        match outcome {
            Ok((lines, admin, metrics)) => {
                self.log.reconfigure(&lines);
                notice!("reloaded: the new configuration is in use");
                if let Err(error) = self.exporter.take_up(metrics) {
                    log::error!("{error}");
                }
                if admin != self.admin {
                    log::warn!("the admin endpoint stays where it is until adit is restarted");
                }
                Ok(())
            }
            Err(why) => {
                log::error!("not reloaded, the old configuration stays in use:");
                for line in why.lines() {
                    log::error!("{line}");
                }
                Err(why)
            }
        }
    }
}

/// The signals of a server at work. Dropping it ends its threads.
pub(crate) struct Steering {
    signals: SignalsHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Steering {
    /// Takes the signals over; they wait until [`start`](Self::start).
    pub(crate) fn signals() -> Result<Signals, Failure> {
        const OURS: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1];
        Signals::new(OURS)
            // Only now that they end nothing any more.
            .and_then(|signals| unblock(&OURS).map(|()| signals))
            .map_err(|error| Failure::runtime(format!("signals cannot be handled: {error}")))
    }

    fn start<R>(mut signals: Signals, handle: Handle, reload: Arc<R>) -> Result<Self, Failure>
    where
        R: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        let closer = signals.handle();
        // One waiting order is enough: it reads what is there when its turn
        // comes.
        let (orders, waiting) = sync_channel::<()>(1);
        let no_thread = |error| Failure::runtime(format!("no thread for signals: {error}"));
        let reloading = thread::Builder::new()
            .name("adit-reload".into())
            .spawn(move || {
                while waiting.recv().is_ok() {
                    // Success and failure were both logged.
                    let _ = reload();
                }
            })
            .map_err(no_thread)?;
        let thread = thread::Builder::new()
            .name("adit-signals".into())
            .spawn(move || {
                obey(&mut signals, &handle, &orders);
                drop(orders);
                let _ = reloading.join();
            })
            .map_err(no_thread)?;
        Ok(Self {
            signals: closer,
            thread: Some(thread),
        })
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

fn obey(signals: &mut Signals, handle: &Handle, reloads: &SyncSender<()>) {
    let mut stopping = false;
    for signal in signals.forever() {
        match signal {
            SIGHUP => match reloads.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => {
                    log::error!("SIGHUP: cannot reload any more")
                }
            },
            SIGUSR1 => {
                logging::reopen();
                handle.reopen_logs();
            }
            _ if !stopping => {
                stopping = true;
                notice!(
                    "{} received; a second one stops at once",
                    if signal == SIGINT {
                        "SIGINT"
                    } else {
                        "SIGTERM"
                    }
                );
                handle.shutdown();
            }
            _ => {
                log::warn!("told to stop once more: open tunnels are cut");
                log::logger().flush();
                std::process::exit(i32::from(Exit::Failure as u8));
            }
        }
    }
}
