//! The addresses of one backend, as one shard remembers them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::Resolver;
use crate::config::{Address, Host};
use crate::limits;
use crate::runtime::Queues;
use crate::sys::socket::Peer;

/// The addresses of one backend.
///
/// Those of a name are remembered for [`limits::RESOLVE_TTL`]. After that the
/// old ones serve until the resolver has answered, and go on serving if it
/// fails.
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
    pub(super) fn new(address: &Address, resolver: Resolver, queues: Queues) -> Self {
        match address {
            Address::Unix(path) => Self::Fixed(Rc::new([Peer::Unix(path.clone())])),
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
                resolver,
                queues,
                state: RefCell::default(),
            })),
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
                limits::RESOLVE_TTL
            }
            Err(error) => {
                match &state.peers {
                    Some(_) => log::warn!("{error}; its last good addresses stay in use"),
                    None => log::debug!("{error}"),
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
