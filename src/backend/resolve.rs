//! The addresses of one backend, as one shard remembers them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Resolver;
use crate::config::{Address, Host};
use crate::limits;
use crate::runtime::Queues;
use crate::sys::socket::Peer;

/// The addresses of one backend.
///
/// Those of a name are remembered for the interval of its service, or
/// [`limits::RESOLVE_TTL`]. After that the old ones serve until the resolver has
/// answered, and go on serving if it fails. A tunnel that is open keeps the
/// address that it was connected to.
///
/// The system's resolver tells no time to live, and knows no SRV records. A
/// resolver that does (hickory) brings an asynchronous runtime of its own, and
/// does without what else the system is told to ask (nsswitch.conf): so there
/// is an interval, and no SRV.
#[derive(Debug)]
pub(super) enum Addresses {
    /// It was given as an address.
    Fixed(Rc<[Peer]>),
    /// It was given as a name.
    Named(Rc<Named>),
}

#[derive(Debug)]
pub(super) struct Named {
    host: String,
    port: u16,
    /// How long an answer is trusted.
    interval: Cell<Duration>,
    /// The address that the next tunnel begins with.
    next: Cell<usize>,
    /// Addresses that failed, and until when each is tried after the others.
    avoided: RefCell<Vec<(Peer, Instant)>>,
    resolver: Resolver,
    queues: Queues,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    peers: Option<Rc<[Peer]>>,
    /// What the resolver said last, if that was an error.
    error: Option<String>,
    /// When to ask again.
    expires: Option<Instant>,
    asking: bool,
    waiting: Vec<Waker>,
}

impl Addresses {
    pub(super) fn new(
        address: &Address,
        interval: Option<Duration>,
        resolver: Resolver,
        queues: Queues,
    ) -> Self {
        match address {
            Address::Unix(path) => Self::Fixed(Rc::new([Peer::Unix(path.clone())])),
            // No backend has such an address; there is nothing to connect to.
            Address::Systemd(_) => Self::Fixed(Rc::new([])),
            Address::Tcp {
                host: Host::Ip(ip),
                port,
            } => Self::Fixed(Rc::new([Peer::Tcp((*ip, *port).into())])),
            Address::Tcp { host, port } => Self::Named(Rc::new(Named {
                host: match host {
                    Host::Name(name) => name.clone(),
                    // No backend is configured so.
                    Host::Any | Host::Ip(_) => "localhost".into(),
                },
                port: *port,
                interval: Cell::new(interval.unwrap_or(limits::RESOLVE_TTL)),
                next: Cell::new(0),
                avoided: RefCell::default(),
                resolver,
                queues,
                state: RefCell::default(),
            })),
        }
    }

    /// The same, and what is known of them, for a configuration that asks for
    /// this interval; `None` where nothing is worth keeping.
    pub(super) fn with_interval(&self, interval: Option<Duration>) -> Option<Self> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(named) => {
                named.interval.set(interval.unwrap_or(limits::RESOLVE_TTL));
                Some(Self::Named(named.clone()))
            }
        }
    }

    /// Asks the resolver if what is known is old; when to look again.
    pub(super) fn refresh(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(named) => {
                named.ask_if_old(now);
                let expires = named.state.borrow().expires;
                Some(expires.map_or(now, |expires| expires.max(now)))
            }
        }
    }

    /// In which order a tunnel tries the addresses. Each tunnel begins with
    /// another one, so that each address is a place of the backend; those that
    /// failed of late come last, so that one that swallows packets does not
    /// keep every other tunnel waiting.
    pub(super) fn order(&self, peers: &[Peer]) -> Vec<usize> {
        let Self::Named(named) = self else {
            return (0..peers.len()).collect();
        };
        let next = named.next.get();
        named.next.set(next.wrapping_add(1));
        let count = peers.len();
        let rotated = (0..count).map(|at| (next % count + at) % count);
        let mut order: Vec<usize> = rotated.collect();
        let mut avoided = named.avoided.borrow_mut();
        if !avoided.is_empty() {
            let now = Instant::now();
            avoided.retain(|(_, until)| now < *until);
            order.sort_by_key(|index| avoided.iter().any(|(peer, _)| *peer == peers[*index]));
        }
        order
    }

    /// A connect to that address has failed.
    pub(super) fn failed(&self, peer: &Peer) {
        if let Self::Named(named) = self {
            self.answered(peer);
            let until = Instant::now() + limits::ADDRESS_PAUSE;
            named.avoided.borrow_mut().push((peer.clone(), until));
        }
    }

    /// A connect to that address has not failed.
    pub(super) fn answered(&self, peer: &Peer) {
        if let Self::Named(named) = self {
            let mut avoided = named.avoided.borrow_mut();
            avoided.retain(|(other, _)| other != peer);
        }
    }

    /// Where it is now, or why that is not known. Never empty.
    pub(super) async fn peers(&self) -> Result<Rc<[Peer]>, String> {
        match self {
            Self::Fixed(peers) => Ok(peers.clone()),
            Self::Named(named) => named.peers().await,
        }
    }
}

impl Named {
    async fn peers(self: &Rc<Self>) -> Result<Rc<[Peer]>, String> {
        let fresh = self.ask_if_old(Instant::now());
        poll_fn(|cx| self.poll_known(cx, fresh)).await
    }

    /// Whether what is known is fresh. If it is not, the resolver is asked.
    fn ask_if_old(self: &Rc<Self>, now: Instant) -> bool {
        let mut state = self.state.borrow_mut();
        let fresh = state.expires.is_some_and(|expires| now < expires);
        if !fresh && !state.asking {
            state.asking = true;
            let named = self.clone();
            self.queues.spawn_control(async move { named.ask().await });
        }
        fresh
    }

    /// Ready with an answer that may be old, or with the error of one that is
    /// not.
    fn poll_known(&self, cx: &Context<'_>, fresh: bool) -> Poll<Result<Rc<[Peer]>, String>> {
        let mut state = self.state.borrow_mut();
        if let Some(peers) = &state.peers {
            return Poll::Ready(Ok(peers.clone()));
        }
        if (fresh || !state.asking)
            && let Some(error) = &state.error
        {
            return Poll::Ready(Err(error.clone()));
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    async fn ask(&self) {
        let answer = self.resolver.resolve(&self.host, self.port).await;
        let mut state = self.state.borrow_mut();
        state.asking = false;
        let known_for = match answer {
            Ok(addresses) => {
                state.peers = Some(addresses.into_iter().map(Peer::Tcp).collect());
                state.error = None;
                self.interval.get()
            }
            Err(error) => {
                match (&state.peers, &state.error) {
                    // Said once, and not at each try.
                    (Some(_), None) => log::warn!("{error}; its last good addresses stay in use"),
                    _ => log::debug!("{error}"),
                }
                state.error = Some(error);
                limits::RESOLVE_RETRY
            }
        };
        state.expires = Some(Instant::now() + known_for);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::resolver::Answer;
    use super::*;
    use crate::runtime;

    /// What the resolver says next; the last goes on being said.
    static ANSWERS: Mutex<Vec<Answer>> = Mutex::new(Vec::new());

    fn lookup(_: &str, _: u16) -> Answer {
        let mut answers = ANSWERS.lock().unwrap();
        match answers.len() {
            0 | 1 => answers.first().cloned().unwrap_or(Err("nothing".into())),
            _ => answers.remove(0),
        }
    }

    fn found(hosts: &[u8]) -> Answer {
        Ok(hosts.iter().map(|n| ([127, 0, 0, *n], 80).into()).collect())
    }

    fn peers(hosts: &[u8]) -> Vec<Peer> {
        found(hosts).unwrap().into_iter().map(Peer::Tcp).collect()
    }

    /// Refreshes until the addresses are these.
    async fn become_these(addresses: &Addresses, hosts: &[u8]) {
        let due = Instant::now() + Duration::from_secs(30);
        while *addresses.peers().await.unwrap() != *peers(hosts) {
            assert!(Instant::now() < due, "still the old addresses");
            addresses.refresh(Instant::now());
            runtime::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn addresses_come_and_go_and_a_failure_changes_nothing() {
        let failure = || Err("the servers are silent".into());
        *ANSWERS.lock().unwrap() = vec![found(&[1, 2]), failure(), found(&[2, 3]), failure()];
        runtime::executor(None).unwrap().run(async {
            let address: Address = "app.example:80".parse().unwrap();
            let interval = Some(Duration::from_millis(20));
            let queues = Queues::new();
            let resolver = Resolver::with(lookup);
            let addresses = Addresses::new(&address, interval, resolver, queues);
            assert_eq!(*addresses.peers().await.unwrap(), *peers(&[1, 2]));
            // Each of the two is begun with in turn.
            let both = peers(&[1, 2]);
            let orders = [(); 4].map(|()| addresses.order(&both));
            assert_eq!(orders, [[0, 1], [1, 0], [0, 1], [1, 0]]);
            // One that has failed comes last, until it answers.
            addresses.failed(&both[0]);
            let orders = [(); 2].map(|()| addresses.order(&both));
            assert_eq!(orders, [[1, 0], [1, 0]]);
            addresses.answered(&both[0]);
            let orders = [(); 2].map(|()| addresses.order(&both));
            assert_eq!(orders, [[0, 1], [1, 0]]);
            runtime::sleep(Duration::from_millis(30)).await;
            addresses.refresh(Instant::now());
            // That fails.
            while ANSWERS.lock().unwrap().len() > 2 {
                runtime::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(*addresses.peers().await.unwrap(), *peers(&[1, 2]));
            become_these(&addresses, &[2, 3]).await;
            let kept = addresses.with_interval(None).unwrap();
            assert_eq!(*kept.peers().await.unwrap(), *peers(&[2, 3]));
        });
    }
}
