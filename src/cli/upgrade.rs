//! A server that leaves its work to a new process of its program: `adit
//! upgrade`, SIGUSR2, and what a process does that was started so.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use adit::config::{Address, Admin};
use adit::control::admin;
use adit::control::exporter::Prepared;
use adit::http::Running;
use adit::upgrade::{self, Predecessor, Program};
use adit::{Config, Handle, Inheritance, limits, notice};

use super::endpoint;
use super::exit::{Exit, Failure};
use super::output;
use super::plan::Target;
use super::run::ServerExporter;
use super::service::Service;

/// `adit upgrade`: has a running server do it.
pub(crate) fn run(of: &Target) -> Result<Exit, Failure> {
    let patience = limits::UPGRADE_TIMEOUT + limits::ADMIN_TIMEOUT;
    match endpoint::Endpoint::of(of)?.change("/upgrade", patience)? {
        Ok(text) => {
            output::print(&format!("upgraded: {text}"))?;
            Ok(Exit::Clean)
        }
        Err(why) => Err(Failure::runtime(format!(
            "not upgraded, the old process goes on:\n{why}"
        ))),
    }
}

/// Where a process stands in the row of those that serve one after the other:
/// how it was started, and who was before it.
pub(crate) struct Succession {
    program: Result<Program, String>,
    pub(crate) predecessor: Option<Arc<Predecessor>>,
    /// The admin socket that it has left.
    pub(crate) admin: Option<UnixListener>,
    /// The metrics endpoint, and what it is to serve once the predecessor has
    /// handed over.
    pub(crate) exporter: Option<Arc<ServerExporter>>,
    pub(crate) metrics: Option<Prepared>,
    pub(crate) service: Service,
}

impl Succession {
    /// Finds out who has started this process, and what was left to it. To be
    /// called at the start, before anything is opened.
    pub(crate) fn find() -> Result<(Self, Inheritance), Failure> {
        let program = Program::of_this_process().map_err(|error| error.to_string());
        let found = match Predecessor::find()? {
            Some((predecessor, inheritance)) => (Some(Arc::new(predecessor)), inheritance),
            None => (None, Inheritance::from_systemd()?),
        };
        let (predecessor, inheritance) = found;
        let succession = Self {
            program,
            predecessor,
            admin: None,
            exporter: None,
            metrics: None,
            service: Service::default(),
        };
        Ok((succession, inheritance))
    }

    /// Of a process that nobody can take over from, for this reason.
    pub(crate) fn last(why: &str) -> Self {
        Self {
            program: Err(why.to_owned()),
            predecessor: None,
            admin: None,
            exporter: None,
            metrics: None,
            service: Service::default(),
        }
    }

    /// Tells who was before that this process does not come to serve.
    pub(crate) fn fail(predecessor: Option<&Predecessor>, why: &str) {
        if let Some(predecessor) = predecessor {
            predecessor.fail(why);
        }
    }
}

/// The admin endpoint at work, which moves aside for that of another process.
pub(crate) type Endpoint = Arc<Mutex<Option<Running>>>;

/// Carries out upgrades, one at a time and one in all.
pub(crate) struct Upgrader {
    handle: Handle,
    program: Result<Program, String>,
    service: Service,
    /// Where the admin endpoint is, if it was told where.
    admin: Option<Address>,
    endpoint: Endpoint,
    exporter: Option<Arc<ServerExporter>>,
    /// Who has taken over. Locked for the length of an upgrade.
    successor: Mutex<Option<u32>>,
}

impl Upgrader {
    pub(crate) fn new(
        handle: Handle,
        succession: &Succession,
        admin: &Admin,
        endpoint: Endpoint,
    ) -> Self {
        Self {
            handle,
            program: succession.program.clone(),
            service: succession.service.clone(),
            admin: match admin {
                Admin::Path(path) => Some(Address::Unix(path.clone())),
                Admin::Auto | Admin::Off => None,
            },
            endpoint,
            exporter: succession.exporter.clone(),
            successor: Mutex::default(),
        }
    }

    /// Leaves the work to a new process, and says which; else why not, for the
    /// operator. Both are logged.
    pub(crate) fn upgrade(&self) -> Result<String, String> {
        let outcome = self.try_upgrade();
        match &outcome {
            Ok(text) => notice!("upgraded: {text}"),
            Err(why) => {
                log::error!("not upgraded, this process goes on:");
                for line in why.lines() {
                    log::error!("{line}");
                }
            }
        }
        outcome
    }

    fn try_upgrade(&self) -> Result<String, String> {
        let program = self.program.as_ref()?;
        let mut successor = match self.successor.try_lock() {
            Ok(successor) => successor,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err("an upgrade is under way already".into()),
        };
        if let Some(pid) = *successor {
            return Err(format!(
                "process {pid} has taken over already; ask that one"
            ));
        }
        let mut told = false;
        let done = upgrade::start(&self.handle, program, |pid| {
            told = true;
            self.service.left_to(pid);
        });
        let new = done.map_err(|error| {
            if told {
                self.service.taken_back();
            }
            error.to_string()
        })?;
        *successor = Some(new.pid());
        self.step_aside(|lent| new.took(lent));
        let text = format!(
            "process {} (adit {}) serves, process {} drains",
            new.pid(),
            new.version(),
            std::process::id()
        );
        new.hand_over();
        Ok(text)
    }

    /// Whoever looks for the server is to find the new process.
    fn step_aside(&self, took: impl Fn(&Address) -> bool) {
        if let Some(exporter) = &self.exporter
            && let Some((address, _)) = exporter.sockets()
            && took(&address)
        {
            exporter.leave(&address);
        }
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*endpoint, &self.admin) {
            (Some(running), None) => admin::step_aside(running),
            (Some(running), Some(address)) if took(address) => running.leave(),
            // The new one has its own elsewhere, or none.
            _ => {}
        }
    }
}

/// The admin socket of the operator's choice that the process before has left.
pub(crate) fn admin_left(admin: &Admin, inheritance: &mut Inheritance) -> Option<UnixListener> {
    let Admin::Path(path) = admin else {
        return None;
    };
    let left = inheritance.take(&Address::Unix(path.clone())).ok()?;
    left.into_iter().next().map(|(_, fd)| fd.into())
}

/// The metrics endpoint's sockets that the process before has left.
pub(crate) fn metrics_left(
    config: &Config,
    inheritance: &mut Inheritance,
) -> Vec<(Address, OwnedFd)> {
    let address = config.metrics.as_ref().map(|metrics| &metrics.address);
    let left = address.map(|address| inheritance.take(address));
    left.and_then(Result::ok).unwrap_or_default()
}

/// Leaves the metrics endpoint's sockets to the process after, in place of those
/// that it had at that address before.
pub(crate) fn lend_metrics(exporter: &ServerExporter, before: Option<Address>, handle: &Handle) {
    let now = exporter.sockets();
    if let Some(before) = before {
        handle.lend(&before, Vec::new());
    }
    if let Some((address, sockets)) = now {
        handle.lend(&address, sockets);
    }
}

/// Leaves the admin socket to the process after.
pub(crate) fn lend_admin(admin: &Admin, endpoint: Option<&Running>, handle: &Handle) {
    if let (Admin::Path(path), Some(running)) = (admin, endpoint)
        && let Ok(socket) = running.socket()
    {
        let address = Address::Unix(path.clone());
        handle.lend(&address, vec![(address.clone(), socket)]);
    }
}

/// What is told of the predecessor at the start.
pub(crate) fn announce(predecessor: Option<&Predecessor>, inheritance: &Inheritance) {
    match predecessor {
        Some(predecessor) => notice!(
            "taking over from process {} (adit {}): {inheritance}",
            predecessor.pid(),
            predecessor.version()
        ),
        None if !inheritance.is_empty() => notice!("systemd has passed {inheritance}"),
        None => {}
    }
}
