//! The metrics endpoint: what monitoring and load balancers ask a process.
//!
//! It is HTTP in plaintext on an address of its own, with threads of its own:
//! `/metrics` is every figure, `/readyz` says whether clients may be sent here,
//! `/healthz` whether the process and its shards do anything at all. All three
//! rest on figures that are gathered over the mesh, and shared by whoever asks
//! at about the same time ([`limits::METRICS_SHARED_FOR`]), so that no number
//! of clients gives the shards more to do.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config::{Address, Metrics, ReadyBackends};
use crate::error::Error;
use crate::http::{self, Listener, Request, Response, Running, negotiate};
use crate::limits;
use crate::metrics::{self, BackendState, ServiceStats, State, Stats, TextFormat};
use crate::notice;
use crate::sys::process::Process;
use crate::sys::socket::{self, Bound, SocketFile};

/// Where the endpoint has its answers from. Both are called on its own threads
/// and may take their time.
pub struct Sources<S, P> {
    /// The figures of this moment.
    pub stats: S,
    /// Whether the server was told to stop.
    pub is_stopping: P,
}

/// The endpoint, which may be anywhere or nowhere.
pub struct Exporter<S, P> {
    shared: Arc<Shared<S, P>>,
    at: Mutex<Option<At>>,
}

/// What is to be listened on, bound and not yet served.
#[derive(Debug)]
pub struct Prepared {
    metrics: Option<Metrics>,
    /// `None`: what is listened on already.
    bound: Option<Vec<Bound>>,
}

/// What is being listened on.
struct At {
    address: Address,
    /// Each with what it listens on.
    running: Vec<(Address, Running)>,
    /// Removed when this is dropped.
    files: Vec<SocketFile>,
}

struct Shared<S, P> {
    sources: Sources<S, P>,
    ready_backends: Mutex<ReadyBackends>,
    /// The figures gathered last, and when they had been.
    gathered: Mutex<Option<(Instant, Arc<Stats>)>>,
}

impl Prepared {
    /// Binds what the configuration names, unless another process has left these
    /// sockets for it, each with what it is bound to: before the server itself,
    /// so that nothing is served where it cannot be had. `held` is where the
    /// server listens already, for the error's text.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be bound.
    pub fn new(
        metrics: Option<&Metrics>,
        left: Vec<(Address, OwnedFd)>,
        held: &[Address],
    ) -> Result<Self, Error> {
        let bind = |metrics: &Metrics| {
            if !left.is_empty() {
                let left = left
                    .into_iter()
                    .map(|(address, fd)| Bound::left(address, fd));
                return Ok(left.collect());
            }
            let bound = socket::bind_patiently(held, || {
                socket::bind_group(&metrics.address, 1, limits::METRICS_BACKLOG)
            })
            .map_err(|error| Error::System(format!("metrics: {error}")))?;
            for bound in &bound {
                bound
                    .listen()
                    .map_err(|error| Error::System(format!("metrics: {error}")))?;
            }
            Ok(bound)
        };
        Ok(Self {
            metrics: metrics.cloned(),
            bound: metrics.map(bind).transpose()?,
        })
    }
}

impl<S, P> Exporter<S, P>
where
    S: Fn() -> Result<Stats, Error> + Send + Sync + 'static,
    P: Fn() -> bool + Send + Sync + 'static,
{
    /// One that listens nowhere yet.
    pub fn new(sources: Sources<S, P>) -> Self {
        Self {
            shared: Arc::new(Shared {
                sources,
                ready_backends: Mutex::default(),
                gathered: Mutex::default(),
            }),
            at: Mutex::new(None),
        }
    }

    /// Binds what another configuration names, unless that is what is listened
    /// on already. `held` as [`Prepared::new`] has it.
    ///
    /// # Errors
    ///
    /// Those of [`Prepared::new`].
    pub fn prepare(&self, metrics: Option<&Metrics>, held: &[Address]) -> Result<Prepared, Error> {
        let at = lock(&self.at);
        match (metrics, &*at) {
            (Some(metrics), Some(at)) if metrics.address == at.address => Ok(Prepared {
                metrics: Some(metrics.clone()),
                bound: None,
            }),
            _ => Prepared::new(metrics, Vec::new(), held),
        }
    }

    /// Serves what was prepared, and nothing else any more.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread for it.
    pub fn take_up(&self, prepared: Prepared) -> Result<(), Error> {
        let Some(Metrics {
            address,
            ready_backends,
        }) = prepared.metrics
        else {
            *lock(&self.at) = None;
            return Ok(());
        };
        *lock(&self.shared.ready_backends) = ready_backends;
        let Some(group) = prepared.bound else {
            return Ok(());
        };
        let mut running = Vec::with_capacity(group.len());
        let mut files = Vec::new();
        for bound in group {
            let shown = bound.address.to_string();
            files.extend(bound.file);
            for fd in bound.fds {
                let listener: Listener = match bound.address {
                    Address::Unix(_) => UnixListener::from(fd).into(),
                    _ => TcpListener::from(fd).into(),
                };
                let shared = self.shared.clone();
                let served = http::serve(listener, "adit-metrics", move |request| {
                    shared.answer(request)
                });
                let served = served.map_err(|error| {
                    Error::System(format!("metrics cannot be served at {shown}: {error}"))
                })?;
                running.push((bound.address.clone(), served));
            }
            match bound.address {
                Address::Unix(_) => notice!("metrics at {shown}, /metrics"),
                _ => notice!("metrics at http://{shown}/metrics"),
            }
        }
        let new = At {
            address,
            running,
            files,
        };
        // The old one is stopped without the lock, for that takes its time.
        let old = lock(&self.at).replace(new);
        drop(old);
        Ok(())
    }

    /// Where it listens, as configured, and its sockets, duplicated, each with
    /// what it is bound to.
    pub fn sockets(&self) -> Option<(Address, Vec<(Address, OwnedFd)>)> {
        let at = lock(&self.at);
        let At {
            address, running, ..
        } = at.as_ref()?;
        let sockets = running
            .iter()
            .filter_map(|(bound, running)| Some((bound.clone(), running.socket().ok()?)));
        Some((address.clone(), sockets.collect()))
    }

    /// Leaves its sockets to another process that has them too, if it listens
    /// there: nobody is answered here any more.
    pub fn leave(&self, address: &Address) {
        let mut at = lock(&self.at);
        if let Some(at) = at.as_mut().filter(|at| at.address == *address) {
            for (_, running) in &at.running {
                running.leave();
            }
            at.files.drain(..).for_each(SocketFile::leave);
        }
    }

    /// The process before has let go: the files of its Unix sockets are ours to
    /// remove now.
    pub fn own_files(&self) {
        if let Some(at) = lock(&self.at).as_mut() {
            for (bound, _) in &at.running {
                if let Address::Unix(path) = bound
                    && !at.files.iter().any(|file| file.path() == path)
                {
                    at.files.extend(SocketFile::own(path).ok());
                }
            }
        }
    }
}

impl<S, P> Shared<S, P>
where
    S: Fn() -> Result<Stats, Error>,
    P: Fn() -> bool,
{
    fn answer(&self, request: &Request) -> Response {
        let answer = match request.path.as_str() {
            "/metrics" => Self::metrics,
            "/readyz" => Self::readyz,
            "/healthz" => Self::healthz,
            _ => return Response::not_found(),
        };
        if !request.is_read() {
            return Response::method_not_allowed("GET, HEAD");
        }
        answer(self, request)
    }

    fn metrics(&self, request: &Request) -> Response {
        let stats = match self.gather() {
            Ok(stats) => stats,
            Err(error) => return Response::text(503, format!("{error}\n")),
        };
        let format = format_for(&request.accept);
        let ready = self.obstacles(&stats).is_empty();
        let text = metrics::expose(&stats, &Process::now(), ready, format);
        let body = http::Body::Bytes(text.into_bytes().into());
        Response::new(200, format.media_type(), body).with("Vary", "Accept")
    }

    fn readyz(&self, _: &Request) -> Response {
        if (self.sources.is_stopping)() {
            return Response::text(503, "not ready: told to stop\n");
        }
        match self.gather() {
            Ok(stats) => verdict("ready", &self.obstacles(&stats)),
            Err(error) => Response::text(503, format!("not ready: {error}\n")),
        }
    }

    fn healthz(&self, _: &Request) -> Response {
        match self.gather() {
            Ok(stats) => verdict("healthy", &silent(&stats).into_iter().collect::<Vec<_>>()),
            Err(error) => Response::text(503, format!("not healthy: {error}\n")),
        }
    }

    /// Why no client should be sent here.
    fn obstacles(&self, stats: &Stats) -> Vec<String> {
        let mut found = Vec::new();
        if (self.sources.is_stopping)() || stats.state != State::Serving {
            found.push("told to stop".into());
        }
        found.extend(silent(stats));
        let down: Vec<&str> = stats
            .services
            .iter()
            .filter(|service| !has_backend(service))
            .map(|service| service.name.as_str())
            .collect();
        let wanting = match *lock(&self.ready_backends) {
            ReadyBackends::Any => down.len() == stats.services.len(),
            ReadyBackends::Every => true,
            ReadyBackends::Ignore => false,
        };
        if wanting && !down.is_empty() {
            found.push(format!("no backend is up of {}", down.join(", ")));
        }
        found
    }

    /// The figures of this moment, or of one so short a time ago that it makes
    /// no difference. Whoever comes while they are gathered waits for them.
    fn gather(&self) -> Result<Arc<Stats>, Error> {
        let mut gathered = lock(&self.gathered);
        if let Some((when, stats)) = &*gathered
            && when.elapsed() < limits::METRICS_SHARED_FOR
        {
            return Ok(stats.clone());
        }
        let stats = Arc::new((self.sources.stats)()?);
        *gathered = Some((Instant::now(), stats.clone()));
        Ok(stats)
    }
}

fn silent(stats: &Stats) -> Option<String> {
    let silent = &stats.silent_shards;
    (!silent.is_empty()).then(|| format!("shards {silent:?} do not answer"))
}

fn has_backend(service: &ServiceStats) -> bool {
    let mut backends = service.backends.iter();
    backends.any(|backend| !matches!(backend.state, BackendState::Down | BackendState::Disabled))
}

/// What a probe is told.
fn verdict(word: &str, obstacles: &[String]) -> Response {
    match obstacles {
        [] => Response::text(200, format!("{word}\n")),
        found => Response::text(503, format!("not {word}: {}\n", found.join("; "))),
    }
}

/// What the client likes better; the Prometheus format if it does not say. One
/// that would have neither gets that as well, for it is better than nothing.
fn format_for(accept: &str) -> TextFormat {
    let open = negotiate::weight(accept, "application", "openmetrics-text", "1.0.0");
    let plain = negotiate::weight(accept, "text", "plain", "0.0.4");
    if open > plain {
        TextFormat::OpenMetrics
    } else {
        TextFormat::Prometheus
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that runs under the locks leaves anything half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::http::message::Parsed;
    use crate::metrics::{BackendStats, TimeCounts};

    fn service(name: &str, states: &[BackendState]) -> ServiceStats {
        let backend = |state: &BackendState| BackendStats {
            address: "127.0.0.1:1".into(),
            state: *state,
            backup: false,
            ejected_on_shards: 0,
            tunnels_open: 0,
            tunnels_total: 0,
            connect_failures: 0,
            max_connections: None,
            last_check: None,
        };
        ServiceStats {
            name: name.into(),
            waiting: 0,
            held: 0,
            queued_total: 0,
            queue_refused: 0,
            retries: 0,
            queue_length: 0,
            connect_times: TimeCounts::default(),
            backends: states.iter().map(backend).collect(),
        }
    }

    fn stats(services: Vec<ServiceStats>, silent_shards: Vec<usize>) -> Stats {
        Stats {
            state: State::Serving,
            services,
            silent_shards,
            ..Stats::default()
        }
    }

    fn shared<S, P>(stats: S, is_stopping: P) -> Shared<S, P>
    where
        S: Fn() -> Result<Stats, Error>,
        P: Fn() -> bool,
    {
        Shared {
            sources: Sources { stats, is_stopping },
            ready_backends: Mutex::default(),
            gathered: Mutex::default(),
        }
    }

    fn ask<S, P>(shared: &Shared<S, P>, path: &str) -> (u16, String)
    where
        S: Fn() -> Result<Stats, Error>,
        P: Fn() -> bool,
    {
        let bytes = format!("GET {path} HTTP/1.0\r\n\r\n");
        let Ok(Parsed::Whole(request, _)) = Request::parse(bytes.as_bytes()) else {
            panic!("no request");
        };
        let answer = shared.answer(&request);
        let status = answer.status();
        match answer.into_body() {
            http::Body::Bytes(bytes) => (status, String::from_utf8_lossy(&bytes).into_owned()),
            http::Body::Stream { .. } => panic!("a stream"),
        }
    }

    #[test]
    fn a_silent_shard_is_neither_ready_nor_healthy_and_is_named() {
        let shared = shared(|| Ok(stats(Vec::new(), vec![3])), || false);
        for path in ["/readyz", "/healthz"] {
            let (status, text) = ask(&shared, path);
            assert_eq!(status, 503, "{text}");
            assert!(text.contains("[3] do not answer"), "{text}");
        }
        // It can be scraped all the same, and that says so.
        let (status, text) = ask(&shared, "/metrics");
        assert_eq!(status, 200);
        for line in ["adit_shard_up{shard=\"3\"} 0\n", "adit_ready 0\n"] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }

    #[test]
    fn a_server_that_is_gone_is_an_error_of_its_own() {
        let shared = shared(|| Err(Error::Stopped), || false);
        for path in ["/metrics", "/readyz", "/healthz"] {
            let (status, text) = ask(&shared, path);
            assert_eq!(status, 503, "{path}");
            assert!(text.contains("not running"), "{text}");
        }
    }

    /// Before anybody is asked, who may be slow to answer.
    #[test]
    fn who_stops_is_not_ready_at_once() {
        let stopping = AtomicBool::new(false);
        let shared = shared(
            || Ok(stats(Vec::new(), Vec::new())),
            || stopping.load(Ordering::Relaxed),
        );
        *lock(&shared.ready_backends) = ReadyBackends::Ignore;
        assert_eq!(ask(&shared, "/readyz"), (200, "ready\n".into()));
        stopping.store(true, Ordering::Relaxed);
        assert_eq!(ask(&shared, "/readyz").0, 503);
        assert_eq!(ask(&shared, "/healthz").0, 200);
        assert!(ask(&shared, "/metrics").1.contains("adit_ready 0\n"));
    }

    #[test]
    fn backends_count_as_the_policy_has_it() {
        use BackendState::{Down, Ejected, Up};
        for (states, policy, ready) in [
            ([&[Up][..], &[Up]], ReadyBackends::Every, true),
            ([&[Up], &[Down]], ReadyBackends::Every, false),
            ([&[Up], &[Down]], ReadyBackends::Any, true),
            ([&[Down, Ejected], &[Down]], ReadyBackends::Any, true),
            ([&[Down, Down], &[Down]], ReadyBackends::Any, false),
            ([&[Down, Down], &[Down]], ReadyBackends::Ignore, true),
        ] {
            let services = || vec![service("a", states[0]), service("b", states[1])];
            let shared = shared(|| Ok(stats(services(), Vec::new())), || false);
            *lock(&shared.ready_backends) = policy;
            let (status, text) = ask(&shared, "/readyz");
            assert_eq!(status == 200, ready, "{states:?} {policy:?}: {text}");
            assert_eq!(ask(&shared, "/healthz").0, 200);
        }
    }

    #[test]
    fn whoever_asks_at_the_same_time_shares_the_answer() {
        let gathered = AtomicUsize::new(0);
        let shared = shared(
            || {
                gathered.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
                Ok(stats(Vec::new(), Vec::new()))
            },
            || false,
        );
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| assert_eq!(ask(&shared, "/metrics").0, 200));
            }
        });
        let spans = began.elapsed().as_millis() / limits::METRICS_SHARED_FOR.as_millis();
        let most = usize::try_from(spans).expect("few") + 1;
        let first = gathered.load(Ordering::Relaxed);
        assert!(first <= most, "{first}, not {most}");
        // What is old is no answer.
        thread::sleep(limits::METRICS_SHARED_FOR);
        ask(&shared, "/metrics");
        assert_eq!(gathered.load(Ordering::Relaxed), first + 1);
    }
}
