//! From the accepted connection to the two ends of a relay.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use rustls::ServerConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use super::announce;
use super::arrival::{Arrival, Hello, Origin};
use super::carrying::{Carry, Carrying};
use super::cause::tls_cause;
use super::closing::Farewell;
use super::conversation::Conversation;
use super::end::{Link, Party};
use super::facts::Facts;
use super::held::Kept;
use super::parting::Parting;
use super::plain::PlainEnd;
use super::tls::{HandshakeError, Session, TlsEnd};
use super::turns::Inside;
use super::{Cause, CloseReason, Counted, Phase, Side, Tunnel};
use crate::backend::{ConnectError, Connected, Lease, Seek};
use crate::limits;
use crate::runtime::Socket;
use crate::sys::socket;
use crate::timer::Tick;
use crate::tls::heard;

type End = (CloseReason, Option<String>);

/// A tunnel that can begin to carry, or what is left to say to its peers.
type Opened<'a> = Result<Box<dyn Carry + 'a>, Box<Parting>>;

/// What was heard of a client ahead of its own bytes.
struct Told {
    origin: Origin,
    hello: Hello,
}

impl Tunnel<'_> {
    /// Shakes hands with the client, connects to a backend and shakes hands
    /// with that: each if the terms have it so.
    pub(super) async fn open<'a>(&'a self, socket: Socket) -> Opened<'a> {
        let terms = self.terms;
        let due = self.alarm.now().after(terms.timeouts.handshake);
        let mut arrival = Arrival::new(socket);
        if !terms.proxy_from.is_empty() {
            arrival = Box::pin(self.hear_proxy(arrival, due)).await?;
        }
        let mut hello = Hello::default();
        if terms.hears_hello {
            (arrival, hello) = Box::pin(self.hear_hello(arrival, due)).await?;
        }
        let told = Told {
            origin: arrival.origin,
            hello,
        };
        match &terms.tls {
            Some(tls) => {
                let client = self.shake_with_client(arrival, tls.clone(), due).await?;
                self.open_to_backend(client, told, Kept::default()).await
            }
            None => {
                let client = PlainEnd::new(Link::new(arrival.socket));
                self.open_to_backend(client, told, arrival.early).await
            }
        }
    }

    /// Finds where a connection leads to. The facts are asked for only where
    /// there is a choice.
    fn choose<'f>(&self, facts: impl FnOnce() -> Facts<'f>) {
        let ways = &self.terms.ways;
        if !ways.is_empty() {
            let facts = facts();
            self.way
                .set(ways.iter().position(|way| facts.fit(&way.route)));
        }
    }

    /// `early`: what the client sent before it was known where to.
    async fn open_to_backend<'a, C: Party + 'a>(
        &'a self,
        client: C,
        told: Told,
        early: Kept,
    ) -> Opened<'a> {
        self.choose(|| told.hello.facts(self.record, &client));
        let service = self.service();
        self.record.seeks(service);
        if let (Some(_), Some(time)) = (&self.terms.tls, self.record.handshake_time()) {
            self.around.counters.handshake_times.count(time);
        }
        // Where this fails, the client is reset: it would take an orderly end
        // for an empty answer. It is owed nothing but tickets, so that there is
        // nothing to wait for.
        let began = self.alarm.now();
        let timeout = self.terms.timeouts.connect;
        let in_all = began.after(timeout.saturating_add(service.patience()));
        let who = || told.origin.client(&client.link().socket);
        let mut seek = service.seek(timeout, who);
        loop {
            let socket = client.link().socket.as_fd();
            let connected = match self.connect(&mut seek, socket, in_all).await {
                Ok(connected) => connected,
                Err(end) => {
                    client.into_link().socket.reset();
                    return Err(Box::new(Parting::new(end)));
                }
            };
            let Connected {
                socket,
                lease,
                share,
            } = connected;
            let mut link = Link::new(socket);
            if let Some(wanted) = service.proxy_protocol() {
                let ends = told.origin.ends(&client.link().socket);
                let id = self.around.ids.next();
                let header =
                    announce::header(wanted, ends, &told.hello.facts(self.record, &client), &id);
                link.unsent.keep(&header);
            }
            let Some(upstream) = service.tls() else {
                self.keep(lease);
                let carrying = Carrying::new(self, client, PlainEnd::new(link));
                return Ok(Box::new(carrying.after(early)));
            };
            let truncation = self.terms.truncation;
            let name = upstream.name(lease.backend());
            let end = match TlsEnd::client(link, upstream.config(), name, truncation) {
                Ok(end) => end,
                Err(error) => {
                    client.into_link().socket.reset();
                    return Err(unmade(Phase::Connect, &error));
                }
            };
            // No time at all would be time without end.
            let due = self.alarm.now().after(share.max(limits::TICK)).min(in_all);
            match self.shake_with_backend(end, due).await {
                Ok(backend) => {
                    self.keep(lease);
                    let carrying = Carrying::new(self, client, backend);
                    return Ok(Box::new(carrying.after(early)));
                }
                // The client has seen nothing of it.
                Err(parting) if parting.side() == Side::Backend && seek.give_up(lease) => {
                    log::debug!("{parting}; the search for a backend goes on");
                    parting.close_at_once().await;
                }
                Err(parting) => {
                    client.into_link().socket.reset();
                    return Err(parting);
                }
            }
        }
    }

    /// The tunnel has its backend, and is counted as one of its from now on.
    fn keep(&self, lease: Lease<'_>) {
        // There are no more than limits::BACKENDS_MAX.
        self.record.carries(lease.keep() as u32);
        if let Some(time) = self.record.connect_time() {
            self.service().connected_in(time);
        }
    }

    async fn shake_with_client(
        &self,
        arrival: Arrival,
        tls: Arc<ServerConfig>,
        due: Tick,
    ) -> Result<TlsEnd<UnbufferedServerConnection>, Box<Parting>> {
        let around = self.around;
        let (arrival, inside) = self.begin_handshake(arrival, due).await?;
        let (arrival, taken) = self.take_handshake(arrival)?;
        let mut client = TlsEnd::server(
            Link::new(arrival.socket),
            arrival.early,
            tls,
            self.terms.truncation,
        )
        .map_err(|error| unmade(Phase::Handshake, &error))?;
        let shaking = around.counters.handshakes_in_progress.hold();
        let shaken = self.shake(&mut client, due).await;
        drop((shaking, inside));
        let (cause, detail) = match shaken {
            Ok(session) => {
                around.counters.handshake(session.negotiated);
                self.record.agree(session.negotiated);
                if self.terms.tells {
                    self.record.note(&client.facts());
                }
                if session.negotiated.resumed {
                    self.give_handshake_back(taken);
                }
                return Ok(client);
            }
            Err(unshaken) => unshaken,
        };
        let reason = CloseReason::new(Phase::Handshake, cause.doer(Side::Client), cause);
        let farewell = Farewell::after(cause);
        let parting = Parting::new((reason, detail)).client(client.into_link(), farewell);
        Err(Box::new(parting))
    }

    /// Waits until one more handshake may be in progress.
    async fn begin_handshake(
        &self,
        arrival: Arrival,
        due: Tick,
    ) -> Result<(Arrival, Inside<'_>), Box<Parting>> {
        let turns = &self.around.turns;
        let mut place = turns.at_the_door();
        let begun = poll_fn(|cx| match turns.poll_begin(cx, &mut place) {
            Poll::Ready(inside) => Poll::Ready(Ok(inside)),
            Poll::Pending => self.poll_stop(cx, due).map(Err),
        });
        match begun.await {
            Ok(inside) => Ok((arrival, inside)),
            Err(stop) => Err(arrival.refused((stop.cause(), None))),
        }
    }

    /// Counts a full handshake of the client's network; only afterwards is it
    /// known whether it was one. The answer is who is to get it back if not.
    fn take_handshake(&self, arrival: Arrival) -> Result<(Arrival, Option<IpAddr>), Box<Parting>> {
        let pace = self.terms.pace.as_ref();
        if !pace.is_some_and(|pace| pace.limits(Counted::Handshake)) {
            return Ok((arrival, None));
        }
        let Some(client) = arrival.origin.client(&arrival.socket) else {
            return Ok((arrival, None));
        };
        match self.around.take(self.terms, client, Counted::Handshake) {
            Ok(()) => Ok((arrival, Some(client))),
            Err(cause) => Err(arrival.turned_away(cause)),
        }
    }

    fn give_handshake_back(&self, taken: Option<IpAddr>) {
        if let (Some(pace), Some(client)) = (&self.terms.pace, taken) {
            let now = self.around.timers.nanos();
            let rates = &self.around.rates;
            rates.give_back(pace, client, Counted::Handshake, now);
        }
    }

    async fn shake_with_backend(
        &self,
        mut backend: TlsEnd<UnbufferedClientConnection>,
        due: Tick,
    ) -> Result<TlsEnd<UnbufferedClientConnection>, Box<Parting>> {
        let counters = &self.around.counters;
        let (cause, detail) = match self.shake(&mut backend, due).await {
            Ok(session) => {
                counters.backend_handshake(session.negotiated);
                return Ok(backend);
            }
            Err(unshaken) => unshaken,
        };
        counters.backend_handshake_failed(cause);
        let reason = CloseReason::new(Phase::Connect, cause.doer(Side::Backend), cause);
        let farewell = Farewell::after(cause);
        let parting = Parting::new((reason, detail)).backend(backend.into_link(), farewell);
        Err(Box::new(parting))
    }

    /// Goes through the handshake, which has to be done by `due`.
    async fn shake<C: Conversation>(
        &self,
        end: &mut TlsEnd<C>,
        due: Tick,
    ) -> Result<Session, (Cause, Option<String>)> {
        let turns = &self.around.turns;
        let mut place = turns.among_steps();
        let shaken = poll_fn(|cx| {
            let began = Instant::now();
            if turns.poll_step(cx, &mut place, began).is_pending() {
                return self.poll_stop(cx, due).map(Err);
            }
            let scratch = &mut *self.around.scratch.borrow_mut();
            let (step, name) = heard::during(|| end.poll_handshake(cx, &mut scratch.wire));
            if let Some(name) = name {
                self.record.hear(name);
            }
            turns.spend(began, Instant::now());
            match step {
                Poll::Ready(shaken) => Poll::Ready(Ok(shaken)),
                Poll::Pending => self.poll_stop(cx, due).map(Err),
            }
        })
        .await;
        match shaken {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(unshaken(error)),
            Err(stop) => Err((stop.cause(), None)),
        }
    }

    /// Connects to a backend, for as long as the client is there: one that has
    /// ended its stream may be waiting for an answer, one that has reset its
    /// connection is gone.
    async fn connect<'s>(
        &self,
        seek: &mut Seek<'s>,
        client: BorrowedFd<'_>,
        due: Tick,
    ) -> Result<Connected<'s>, End> {
        let mut connecting = pin!(seek.connect());
        let mut looks = self.alarm.now().after(limits::GONE_INTERVAL);
        let connected = poll_fn(|cx| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(Ok(connected.map_err(connect_end)));
            }
            let now = self.alarm.now();
            if now >= looks {
                looks = now.after(limits::GONE_INTERVAL);
                if let Ok(Some(error)) = socket::take_error(client) {
                    let reason = CloseReason::new(Phase::Connect, Side::Client, Cause::Reset);
                    return Poll::Ready(Ok(Err((reason, Some(error.to_string())))));
                }
            }
            self.alarm.set(cx, looks);
            self.poll_stop(cx, due).map(Err)
        })
        .await;
        let end = match connected {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(end)) => end,
            Err(stop) => {
                let cause = stop.cause();
                (
                    CloseReason::new(Phase::Connect, cause.doer(Side::Backend), cause),
                    None,
                )
            }
        };
        Err(end)
    }
}

/// A TLS connection that rustls does not even begin.
fn unmade(phase: Phase, error: &rustls::Error) -> Box<Parting> {
    let reason = CloseReason::new(phase, Side::Server, Cause::Resources);
    Box::new(Parting::new((reason, Some(error.to_string()))))
}

fn unshaken(error: HandshakeError) -> (Cause, Option<String>) {
    match error {
        HandshakeError::Eof => (Cause::Eof, None),
        HandshakeError::Io(error) => (Cause::Reset, Some(error.to_string())),
        HandshakeError::NotTls => (Cause::NotTls, None),
        HandshakeError::Tls(error) => (tls_cause(&error), Some(error.to_string())),
    }
}

fn connect_end(error: ConnectError) -> End {
    let (side, cause, detail) = match error {
        ConnectError::Unresolved(text) => (Side::Backend, Cause::Unresolved, text),
        ConnectError::Unanswered => (
            Side::Backend,
            Cause::Timeout,
            "the resolver does not answer".into(),
        ),
        ConnectError::Refused(peer) => (
            Side::Backend,
            Cause::Refused,
            format!("nothing listens at {peer}"),
        ),
        ConnectError::Unreachable(peer, error) if error.kind() == io::ErrorKind::TimedOut => (
            Side::Backend,
            Cause::Timeout,
            format!("{peer} does not answer"),
        ),
        ConnectError::Unreachable(peer, error) => (
            Side::Backend,
            Cause::Unreachable,
            format!("{peer} cannot be reached: {error}"),
        ),
        ConnectError::Unsuited(peer) => (
            Side::Backend,
            Cause::Unreachable,
            format!("{peer} cannot be reached from the client's address, of the other family"),
        ),
        ConnectError::NoPort(peer, error) => (
            Side::Server,
            Cause::Resources,
            format!("no local port is free for {peer}: {error}"),
        ),
        ConnectError::Resources(error) => (Side::Server, Cause::Resources, error.to_string()),
        ConnectError::Down => (
            Side::Backend,
            Cause::NoBackend,
            "the health checks say that every backend is down, or an operator has disabled it"
                .into(),
        ),
        ConnectError::Full => (
            Side::Backend,
            Cause::Full,
            "every backend has all the tunnels that it may have".into(),
        ),
    };
    (CloseReason::new(Phase::Connect, side, cause), Some(detail))
}
