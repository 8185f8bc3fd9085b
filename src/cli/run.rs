//! `adit run`: a server, what its signals do, and its admin endpoint.
//!
//! The server has the main thread. `adit-signals` turns signals into orders
//! (`signals`); `adit-reload` reads the configuration again when it is told to,
//! so that a slow reload never keeps a SIGTERM waiting, and `adit-upgrade` starts
//! a new process; `adit-watch` reloads when a file has changed; `adit-service`
//! tells a service manager how things are.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use adit::config::{Admin, LogSink};
use adit::control::admin::{self, Drained, Draining, Orders};
use adit::control::exporter::{self, Exporter, Sources};
use adit::http::Running;
use adit::logging::{self, Guard};
use adit::metrics::{Stats, TunnelId, TunnelList, TunnelQuery, TunnelStats};
use adit::{Config, Error, Handle, Inheritance, Outcome, Server, limits, notice};

use super::exit::{Exit, Failure};
use super::human;
use super::places;
use super::plan::RunPlan;
use super::privileges::{Confinement, Privileges};
use super::service::Service;
use super::signals::{Steering, Steers, Works};
use super::upgrade::{self, Endpoint, Succession, Upgrader};
use super::watch::{Watched, Watcher};

pub(crate) fn run(plan: RunPlan) -> Result<Exit, Failure> {
    let (succession, inheritance) = Succession::find()?;
    let predecessor = succession.predecessor.clone();
    let done = configure(plan, succession, inheritance);
    if let Err(failure) = &done {
        Succession::fail(predecessor.as_deref(), &failure.message);
    }
    done
}

fn configure(
    plan: RunPlan,
    succession: Succession,
    inheritance: Inheritance,
) -> Result<Exit, Failure> {
    let mut watched = Watched::default();
    let config = watched.config(&plan)?;
    // A successor is in the chroot already, and has what its predecessor left.
    if succession.predecessor.is_none()
        && let Some(unfit) = places::unfit(&config)
    {
        return Err(Failure::usage(unfit));
    }
    // While there is one thread.
    let privileges = Privileges::prepare(&config, Some(&plan.source))?;
    let log = Arc::new(logging::install(&config.log)?);
    let syslog = config.log.sink != LogSink::Stderr;
    let done = start(
        plan,
        config,
        watched,
        privileges,
        &log,
        succession,
        inheritance,
    );
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
    mut succession: Succession,
    mut inheritance: Inheritance,
) -> Result<Exit, Failure> {
    upgrade::announce(succession.predecessor.as_deref(), &inheritance);
    succession.service = Service::from_environment();
    // Before anything is bound: from here on a signal is an order.
    let signals = Steering::signals()?;
    let admin = config.admin.clone();
    succession.admin = upgrade::admin_left(&admin, &mut inheritance);
    let left = upgrade::metrics_left(&config, &mut inheritance);
    let metrics = exporter::Prepared::new(config.metrics.as_ref(), left, &inheritance.held())?;
    let server = Server::inheriting(config.clone(), inheritance)?;
    // Before any thread speaks with the network.
    let confinement = privileges.give_up(&config, watched.files())?;
    watched.look_again();
    announce(&server);
    let exporter = Arc::new(exporting(&server.handle()));
    succession.exporter = Some(exporter.clone());
    if succession.predecessor.is_none() {
        exporter.take_up(metrics)?;
        upgrade::lend_metrics(&exporter, None, &server.handle());
    } else {
        // Its own is there until it has handed over.
        succession.metrics = Some(metrics);
    }
    let first = watched.every();
    let reloader = Arc::new(Reloader {
        plan,
        handle: server.handle(),
        log: Arc::clone(log),
        admin: admin.clone(),
        service: succession.service.clone(),
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
    serve(server, &admin, &signals, succession, move || {
        reloader.reload()
    })
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
    signals: &Steering,
    mut succession: Succession,
    reload: R,
) -> Result<Exit, Failure>
where
    R: Fn() -> Result<(), String> + Send + Sync + 'static,
{
    let handle = server.handle();
    let reload = Arc::new(reload);
    let service = succession.service.clone();
    let endpoint = Endpoint::default();
    let upgrader = Upgrader::new(handle.clone(), &succession, admin, endpoint.clone());
    let upgrader = Arc::new(upgrader);
    let desk = Desk {
        handle: handle.clone(),
        reload: Arc::clone(&reload),
        upgrade: {
            let upgrader = Arc::clone(&upgrader);
            move || upgrader.upgrade()
        },
        end: Arc::default(),
    };
    let end = Arc::clone(&desk.end);
    let (left, metrics) = (succession.admin.take(), succession.metrics.take());
    let predecessor = succession.predecessor.as_deref();
    let place = |running: Option<Running>| {
        upgrade::lend_admin(admin, running.as_ref(), &handle);
        *endpoint.lock().unwrap_or_else(PoisonError::into_inner) = running;
    };
    // The predecessor's own endpoint is there until it has handed over. A socket
    // that is elsewhere is had at once, or this process does not serve.
    let is_elsewhere = matches!((admin, &left), (Admin::Path(_), None));
    let waiting = if predecessor.is_none() || is_elsewhere {
        place(admin::start(admin, desk)?);
        None
    } else {
        Some(desk)
    };
    // Success and failure are both logged where they come about.
    let _steered = signals.start(Steers {
        handle: handle.clone(),
        service: service.clone(),
        reloads: Works::start("adit-reload", move || {
            let _ = reload();
        })?,
        upgrades: Works::start("adit-upgrade", move || {
            let _ = upgrader.upgrade();
        })?,
    });
    let running = server.start()?;
    if let Some(predecessor) = predecessor {
        predecessor.relieve(&handle)?;
        if let (Some(exporter), Some(metrics)) = (&succession.exporter, metrics) {
            match exporter.take_up(metrics) {
                Ok(()) => exporter.own_files(),
                Err(error) => log::error!("{error}"),
            }
            upgrade::lend_metrics(exporter, None, &handle);
        }
    }
    if let Some(desk) = waiting {
        match admin::start_at(left, admin, desk) {
            Ok(running) => place(running),
            // It serves; there is no way back.
            Err(error) => log::error!("no admin endpoint: {error}"),
        }
    }
    if service.is_one() {
        match handle.await_serving() {
            Ok(()) => service.ready(),
            // It was told to stop meanwhile.
            Err(Error::Stopped) => {}
            Err(error) => log::error!("the service manager is not told ready: {error}"),
        }
    }
    let _attendance = service.attend(handle.clone())?;
    let ended = running.wait();
    end_soon(match ended {
        Ok(Outcome::Drained) => Exit::Clean,
        Ok(Outcome::Cut(_)) | Err(_) => Exit::Failure,
    });
    service.stopping();
    // Before the endpoint goes, which gives the answers that it owes.
    end.tell(&ended);
    let admin = endpoint
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(admin) = &admin {
        admin.finish();
    }
    match ended? {
        Outcome::Drained => {
            notice!("stopped; every tunnel had ended");
            Ok(Exit::Clean)
        }
        Outcome::Cut(tunnels) => {
            let cut = human::tunnels_cut(tunnels);
            log::warn!("stopped; {cut} at the drain deadline");
            Ok(Exit::Failure)
        }
    }
}

/// What the admin endpoint has done.
struct Desk<R, U> {
    handle: Handle,
    reload: Arc<R>,
    upgrade: U,
    end: Arc<End>,
}

/// How the server ended, for those who wait for it.
#[derive(Default)]
struct End {
    outcome: Mutex<Option<Result<Outcome, String>>>,
    told: Condvar,
}

impl End {
    fn tell(&self, ended: &Result<Outcome, Error>) {
        let outcome = ended.as_ref().copied().map_err(ToString::to_string);
        let mut known = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(outcome);
        self.told.notify_all();
    }

    fn wait(&self) -> Result<Outcome, String> {
        let mut known = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*known {
                return outcome.clone();
            }
            known = self
                .told
                .wait(known)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<R, U> Orders for Desk<R, U>
where
    R: Fn() -> Result<(), String> + Send + Sync + 'static,
    U: Fn() -> Result<String, String> + Send + Sync + 'static,
{
    fn stats(&self) -> Result<Stats, Error> {
        self.handle.stats()
    }

    fn tunnels(&self, query: TunnelQuery) -> Result<TunnelList, Error> {
        self.handle.tunnels(query)
    }

    fn close(&self, id: TunnelId) -> Result<Option<TunnelStats>, Error> {
        self.handle.close(id)
    }

    fn drain(&self) -> Result<Draining, Error> {
        // Afterwards it may be gone before it can tell.
        let stats = self.handle.stats()?;
        // A reload that is under way is given up for it.
        self.handle.shutdown();
        Ok(Draining {
            tunnels_open: stats.total.tunnels_open,
            drain_timeout_seconds: self.handle.drain_timeout().as_secs_f64(),
            ready_grace_seconds: self.handle.ready_grace().as_secs_f64(),
        })
    }

    fn drained(&self) -> Result<Option<Drained>, Error> {
        if !self.handle.is_stopping() {
            return Ok(None);
        }
        let outcome = self.end.wait().map_err(Error::System)?;
        Ok(Some(Drained {
            tunnels_cut: match outcome {
                Outcome::Drained => 0,
                Outcome::Cut(tunnels) => tunnels,
            },
        }))
    }

    fn enable_backend(
        &self,
        service: &str,
        backend: &str,
        enabled: bool,
    ) -> Result<Vec<usize>, Error> {
        self.handle.enable_backend(service, backend, enabled)
    }

    fn reload(&self) -> Result<(), String> {
        (self.reload)()
    }

    fn upgrade(&self) -> Result<String, String> {
        (self.upgrade)()
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
    service: Service,
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
        self.service.reloading();
        let outcome = self.take_up(watched);
        self.service.reloaded(&outcome);
        outcome
    }

    fn take_up(&self, watched: &mut Watched) -> Result<(), String> {
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
                    .prepare(config.metrics.as_ref(), &self.handle.held())
                    .inspect_err(|_| self.handle.reload_refused())?;
                self.handle.reload(config)?;
                Ok((log, admin, metrics))
            })
            .map_err(|failure| failure.message);
        match outcome {
            Ok((lines, admin, metrics)) => {
                self.log.reconfigure(&lines);
                notice!("reloaded: the new configuration is in use");
                let before = self.exporter.sockets().map(|(address, _)| address);
                if let Err(error) = self.exporter.take_up(metrics) {
                    log::error!("{error}");
                }
                upgrade::lend_metrics(&self.exporter, before, &self.handle);
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

/// Sees to it that the process ends, though a thread that is waited for may
/// not: one that reads a file on a disk that is gone, say.
fn end_soon(exit: Exit) {
    // Without the thread it ends when all do.
    let _ = thread::Builder::new()
        .name("adit-end".into())
        .spawn(move || {
            thread::sleep(limits::EXIT_TIMEOUT);
            log::warn!(
                "ending at once: something is not done, perhaps with a file that cannot be read"
            );
            log::logger().flush();
            std::process::exit(i32::from(exit as u8));
        });
}
