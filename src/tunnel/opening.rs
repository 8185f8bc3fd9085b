//! From the accepted connection to the two ends of a relay.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use super::closing::Farewell;
use super::parting::Parting;
use super::plain::PlainEnd;
use super::tls::{HandshakeError, TlsEnd};
use super::{Cause, CloseReason, Phase, Side, Stop, Tunnel, tls_cause};
use crate::backend::ConnectError;
use crate::runtime::Socket;

type End = (CloseReason, Option<String>);

impl Tunnel<'_> {
    /// Shakes hands with the client and connects to a backend.
    pub(super) async fn open(&self, socket: Socket) -> Result<(TlsEnd, PlainEnd), Parting> {
        let client = self.handshake(socket).await?;
        self.connect(client).await
    }

    async fn handshake(&self, socket: Socket) -> Result<TlsEnd, Parting> {
        let around = self.around;
        let mut client = TlsEnd::new(socket, self.terms.tls.clone(), self.terms.truncation)
            .map_err(|error| {
                let reason = CloseReason::new(Phase::Handshake, Side::Server, Cause::Resources);
                Parting::new((reason, Some(error.to_string())))
            })?;
        let shaking = around.counters.handshakes_in_progress.hold();
        let due = self.alarm.now().after(self.terms.timeouts.handshake);
        let shaken = poll_fn(|cx| {
            let scratch = &mut *around.scratch.borrow_mut();
            match client.poll_handshake(cx, &mut scratch.wire) {
                Poll::Ready(shaken) => Poll::Ready(Ok(shaken)),
                Poll::Pending => self.poll_stop(cx, due).map(Err),
            }
        })
        .await;
        drop(shaking);
        let end = match shaken {
            Ok(Ok(session)) => {
                around.counters.handshakes.add(1);
                if session.resumed {
                    around.counters.handshakes_resumed.add(1);
                }
                return Ok(client);
            }
            Ok(Err(error)) => handshake_end(error),
            Err(Stop::Deadline) => {
                let reason = CloseReason::new(Phase::Handshake, Side::Client, Cause::Timeout);
                (reason, None)
            }
            Err(Stop::Cut) => {
                let reason = CloseReason::new(Phase::Handshake, Side::Server, Cause::Drained);
                (reason, None)
            }
        };
        // The alert, if there is one, must not be overtaken by a reset because
        // of bytes that nobody reads any more.
        let farewell = match end.0.cause {
            Cause::Reset | Cause::Eof => Farewell::Close,
            _ => Farewell::Linger,
        };
        Err(Parting::new(end).client(client.into_link(), farewell))
    }

    async fn connect(&self, client: TlsEnd) -> Result<(TlsEnd, PlainEnd), Parting> {
        let due = self.alarm.now().after(self.terms.timeouts.connect);
        let mut connecting = pin!(self.terms.service.connect(self.terms.timeouts.connect));
        let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(connected) => Poll::Ready(Ok(connected)),
            Poll::Pending => self.poll_stop(cx, due).map(Err),
        })
        .await;
        let end = match connected {
            Ok(Ok(socket)) => return Ok((client, PlainEnd::new(socket))),
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
        // Not an orderly end: the client would take it for an empty answer. It
        // is owed nothing but tickets, so that there is nothing to wait for.
        client.into_link().socket.reset();
        Err(Parting::new(end))
    }
}

fn handshake_end(error: HandshakeError) -> End {
    let (cause, detail) = match error {
        HandshakeError::Eof => (Cause::Eof, None),
        HandshakeError::Io(error) => (Cause::Reset, Some(error.to_string())),
        HandshakeError::NotTls => (Cause::NotTls, None),
        HandshakeError::Tls(error) => (tls_cause(&error), Some(error.to_string())),
    };
    (
        CloseReason::new(Phase::Handshake, Side::Client, cause),
        detail,
    )
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
