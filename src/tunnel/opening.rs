//! From the accepted connection to the two ends of a relay.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::ServerConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use super::carrying::{Carry, Carrying};
use super::cause::tls_cause;
use super::closing::Farewell;
use super::conversation::Conversation;
use super::end::Party;
use super::parting::Parting;
use super::plain::PlainEnd;
use super::tls::{HandshakeError, Session, TlsEnd};
use super::{Cause, CloseReason, Phase, Side, Stop, Tunnel};
use crate::backend::{ConnectError, Connected};
use crate::runtime::Socket;
use crate::timer::Tick;

type End = (CloseReason, Option<String>);

/// A tunnel that can begin to carry, or what is left to say to its peers.
type Opened<'a> = Result<Box<dyn Carry + 'a>, Box<Parting>>;

impl Tunnel<'_> {
    /// Shakes hands with the client, connects to a backend and shakes hands
    /// with that: each if the terms have it so.
    pub(super) async fn open<'a>(&'a self, socket: Socket) -> Opened<'a> {
        match &self.terms.tls {
            Some(tls) => {
                let client = self.shake_with_client(socket, tls.clone()).await?;
                self.open_to_backend(client).await
            }
            None => self.open_to_backend(PlainEnd::new(socket)).await,
        }
    }

    async fn open_to_backend<'a, C: Party + 'a>(&'a self, client: C) -> Opened<'a> {
        // Where this fails, the client is reset: it would take an orderly end
        // for an empty answer. It is owed nothing but tickets, so that there is
        // nothing to wait for.
        let due = self.alarm.now().after(self.terms.timeouts.connect);
        let Connected { socket, backend } = match self.connect(due).await {
            Ok(connected) => connected,
            Err(end) => {
                client.into_link().socket.reset();
                return Err(Box::new(Parting::new(end)));
            }
        };
        let Some(upstream) = self.terms.service.tls() else {
            return Ok(Box::new(Carrying::new(self, client, PlainEnd::new(socket))));
        };
        let truncation = self.terms.truncation;
        let name = upstream.name(backend);
        let end = match TlsEnd::client(socket, upstream.config(), name, truncation) {
            Ok(end) => end,
            Err(error) => {
                client.into_link().socket.reset();
                return Err(unmade(Phase::Connect, &error));
            }
        };
        match self.shake_with_backend(end, due).await {
            Ok(backend) => Ok(Box::new(Carrying::new(self, client, backend))),
            Err(parting) => {
                client.into_link().socket.reset();
                Err(parting)
            }
        }
    }

    async fn shake_with_client(
        &self,
        socket: Socket,
        tls: Arc<ServerConfig>,
    ) -> Result<TlsEnd<UnbufferedServerConnection>, Box<Parting>> {
        let around = self.around;
        let mut client = TlsEnd::server(socket, tls, self.terms.truncation)
            .map_err(|error| unmade(Phase::Handshake, &error))?;
        let shaking = around.counters.handshakes_in_progress.hold();
        let due = self.alarm.now().after(self.terms.timeouts.handshake);
        let shaken = self.shake(&mut client, due).await;
        drop(shaking);
        let (cause, detail) = match shaken {
            Ok(session) => {
                around.counters.handshake(session.negotiated);
                return Ok(client);
            }
            Err(unshaken) => unshaken,
        };
        let side = match cause {
            Cause::Drained => Side::Server,
            _ => Side::Client,
        };
        let reason = CloseReason::new(Phase::Handshake, side, cause);
        let farewell = farewell(cause);
        let parting = Parting::new((reason, detail)).client(client.into_link(), farewell);
        Err(Box::new(parting))
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
        let side = match cause {
            Cause::Drained => Side::Server,
            _ => Side::Backend,
        };
        let reason = CloseReason::new(Phase::Connect, side, cause);
        let farewell = farewell(cause);
        let parting = Parting::new((reason, detail)).backend(backend.into_link(), farewell);
        Err(Box::new(parting))
    }

    /// Goes through the handshake, which has to be done by `due`.
    async fn shake<C: Conversation>(
        &self,
        end: &mut TlsEnd<C>,
        due: Tick,
    ) -> Result<Session, (Cause, Option<String>)> {
        let shaken = poll_fn(|cx| {
            let scratch = &mut *self.around.scratch.borrow_mut();
            match end.poll_handshake(cx, &mut scratch.wire) {
                Poll::Ready(shaken) => Poll::Ready(Ok(shaken)),
                Poll::Pending => self.poll_stop(cx, due).map(Err),
            }
        })
        .await;
        match shaken {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(unshaken(error)),
            Err(Stop::Deadline) => Err((Cause::Timeout, None)),
            Err(Stop::Cut) => Err((Cause::Drained, None)),
        }
    }

    async fn connect(&self, due: Tick) -> Result<Connected, End> {
        let mut connecting = pin!(self.terms.service.connect(self.terms.timeouts.connect));
        let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(connected) => Poll::Ready(Ok(connected)),
            Poll::Pending => self.poll_stop(cx, due).map(Err),
        })
        .await;
        let end = match connected {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => connect_end(error),
            Err(Stop::Deadline) => {
                let reason = CloseReason::new(Phase::Connect, Side::Backend, Cause::Timeout);
                (reason, None)
            }
            Err(Stop::Cut) => {
                let reason = CloseReason::new(Phase::Connect, Side::Server, Cause::Drained);
                (reason, None)
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

/// The alert, if there is one, must not be overtaken by a reset because of
/// bytes that nobody reads any more.
fn farewell(cause: Cause) -> Farewell {
    match cause {
        Cause::Reset | Cause::Eof => Farewell::Close,
        _ => Farewell::Linger,
    }
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
        ConnectError::Resources(error) => (Side::Server, Cause::Resources, error.to_string()),
    };
    (CloseReason::new(Phase::Connect, side, cause), Some(detail))
}
