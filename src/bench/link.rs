//! One connection of a load generator, in TLS or plain.
//!
//! rustls' unbuffered connection works on what lies in the executor's scratch
//! space: its buffered one would receive 4 KiB at a time, and would keep a
//! buffer for each tunnel that is held. What arrives is counted and thrown
//! away.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, HandshakeKind};

use super::report::Negotiated;
use crate::config::suites::{group_name, suite_name};
use crate::limits::{BENCH_BUFFER, RECORD_PLAIN_MAX, RECORD_SEAL_OVERHEAD_MAX, RECORD_WIRE_MAX};
use crate::runtime::Socket;
use crate::sys::socket::{self, Peer};

/// A connection that was begun.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    out: Outgoing,
    tls: Option<Box<Session>>,
    connected: bool,
    finished: bool,
}

struct Session {
    tls: UnbufferedClientConnection,
    /// Received and not yet consumed: the front of a record, or of a handshake
    /// message in several records.
    carry: Vec<u8>,
    /// `carry` may hold whole records: what came right behind the handshake.
    primed: bool,
    /// Plaintext bytes that were opened and not yet counted.
    opened: usize,
    /// The peer has sent close_notify.
    closed: bool,
    /// It is not to be asked anything more.
    failed: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// How a connection broke.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Tls(rustls::Error),
    /// The server ended it too early.
    Eof,
    /// More came back than was sent.
    Surplus,
}

/// How a server ended a connection that the generator had closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With close_notify, then FIN; plain, with FIN.
    Clean,
    /// With FIN alone.
    Truncated,
    /// With RST.
    Reset,
}

/// The space that all lanes of an executor take turns with.
#[derive(Debug)]
pub(super) struct Scratch {
    /// What is sent.
    plain: Box<[u8]>,
    /// Received, or sealed and to be sent.
    wire: Box<[u8]>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let records = BENCH_BUFFER / RECORD_PLAIN_MAX + 1;
        let sealed = BENCH_BUFFER + records * RECORD_SEAL_OVERHEAD_MAX;
        // Not all the same, so that nothing on the way can make it less.
        let plain = (0..BENCH_BUFFER).map(|i| (i % 251) as u8).collect();
        Self {
            plain,
            wire: vec![0; sealed.max(BENCH_BUFFER + RECORD_WIRE_MAX)].into_boxed_slice(),
        }
    }
}

/// Bytes that the kernel would not take yet.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }
}

impl Link {
    /// Begins to connect.
    pub(super) fn dial(
        peer: &Peer,
        tls: Option<(&Arc<ClientConfig>, &ServerName<'static>)>,
    ) -> Result<Self, Fault> {
        let (fd, connected) = socket::connect_nonblocking(peer).map_err(Fault::Io)?;
        if let Peer::Tcp(_) = peer {
            // Without it a connection is as good; nothing else can be done.
            let _ = socket::set_nodelay(fd.as_fd());
        }
        let tls = match tls {
            None => None,
            Some((config, name)) => Some(Box::new(Session {
                tls: UnbufferedClientConnection::new(config.clone(), name.clone())
                    .map_err(Fault::Tls)?,
                carry: Vec::new(),
                primed: false,
                opened: 0,
                closed: false,
                failed: false,
            })),
        };
        Ok(Self {
            socket: Socket::new(fd),
            out: Outgoing::default(),
            tls,
            connected,
            finished: false,
        })
    }

    /// Whether the connection itself has been made.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Goes on with connecting and the handshake. Ready when both are done.
    pub(super) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Fault>> {
        let wire = &mut scratch.wire;
        let Some(session) = &mut self.tls else {
            if !self.connected {
                ready!(self.socket.poll_connected(cx)).map_err(Fault::Io)?;
                self.connected = true;
            }
            return Poll::Ready(Ok(()));
        };
        loop {
            match session.shake(&mut self.out, wire) {
                Ok(done) => {
                    ready!(flush(&mut self.socket, &mut self.out, cx)).map_err(Fault::Io)?;
                    self.connected = true;
                    if done {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) => {
                    session.keep_alert(&mut self.out, wire);
                    // It need not arrive.
                    let _ = flush(&mut self.socket, &mut self.out, cx);
                    return Poll::Ready(Err(Fault::Tls(error)));
                }
            }
            let received = ready!(self.socket.poll_recv(cx, wire)).map_err(Fault::Io)?;
            if received == 0 {
                return Poll::Ready(Err(Fault::Eof));
            }
            session.carry.extend_from_slice(&wire[..received]);
        }
    }

    /// Whether the handshake resumed a session.
    pub(super) fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|s| s.tls.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// What was agreed on, once the handshake is done.
    pub(super) fn negotiated(&self) -> Option<Negotiated> {
        let tls = &self.tls.as_ref()?.tls;
        let version = match tls.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            other => format!("{other:?}"),
        };
        Some(Negotiated {
            version,
            cipher: suite_name(tls.negotiated_cipher_suite()?.suite()).to_owned(),
            group: tls
                .negotiated_key_exchange_group()
                .map(|group| group_name(group.name()).to_owned()),
        })
    }

    /// Takes up to `bytes` for the server, at least one, once all that was
    /// taken before is with the kernel. Gives how many.
    pub(super) fn poll_push(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: u64,
    ) -> Poll<Result<usize, Fault>> {
        ready!(self.poll_flush(cx))?;
        let length = usize::try_from(bytes).map_or(BENCH_BUFFER, |n| n.min(BENCH_BUFFER));
        let Scratch { plain, wire } = scratch;
        let plain = &plain[..length];
        let outgoing = match &mut self.tls {
            None => plain,
            Some(session) => {
                let sealed = session
                    .seal(plain, &mut self.out, wire)
                    .map_err(Fault::Tls)?;
                if !self.out.is_empty() {
                    // An answer of TLS' own goes first.
                    self.out.keep(&wire[..sealed]);
                    &[]
                } else {
                    &wire[..sealed]
                }
            }
        };
        let sent = if outgoing.is_empty() {
            0
        } else {
            match self.socket.poll_send(cx, outgoing) {
                Poll::Ready(sent) => sent.map_err(Fault::Io)?,
                Poll::Pending => 0,
            }
        };
        if sent < outgoing.len() {
            self.out.keep(&outgoing[sent..]);
        }
        Poll::Ready(Ok(length))
    }

    /// Hands what was taken to the kernel. Ready when it has all.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        flush(&mut self.socket, &mut self.out, cx).map_err(Fault::Io)
    }

    /// Takes what has arrived, and gives how many bytes it was in plain. 0 is
    /// the end.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<usize, Fault>> {
        let wire = &mut scratch.wire;
        let Some(session) = &mut self.tls else {
            return self.socket.poll_recv(cx, wire).map_err(Fault::Io);
        };
        loop {
            session
                .look_behind(&mut self.out, wire)
                .map_err(Fault::Tls)?;
            if session.opened > 0 {
                return Poll::Ready(Ok(std::mem::take(&mut session.opened)));
            }
            if session.closed {
                return Poll::Ready(Ok(0));
            }
            let carried = session.carry.len();
            if carried >= wire.len() {
                let error = rustls::Error::General("a message is longer than the buffer".into());
                return Poll::Ready(Err(Fault::Tls(error)));
            }
            let room = &mut wire[carried..];
            let received = ready!(self.socket.poll_recv(cx, room)).map_err(Fault::Io)?;
            if received == 0 {
                return Poll::Ready(Ok(0));
            }
            wire[..carried].copy_from_slice(&session.carry);
            let filled = carried + received;
            if let Err(error) = session.open(&mut self.out, &mut wire[..filled]) {
                session.keep_alert(&mut self.out, wire);
                let _ = flush(&mut self.socket, &mut self.out, cx);
                return Poll::Ready(Err(Fault::Tls(error)));
            }
        }
    }

    /// Sends what was taken, close_notify (RFC 8446, section 6.1) and FIN.
    /// Ready once that is done.
    pub(super) fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Fault>> {
        if !std::mem::replace(&mut self.finished, true)
            && let Some(session) = &mut self.tls
        {
            session.keep_close_notify(&mut self.out, &mut scratch.wire);
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.socket.shutdown_write().map_err(Fault::Io))
    }

    /// Reads on to the end of the TCP stream. Gives how many bytes still came,
    /// and how it ended.
    pub(super) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &mut u64,
    ) -> Poll<Result<Ending, Fault>> {
        loop {
            let over = self.tls.as_ref().is_none_or(|s| s.closed || s.failed);
            let received = if over {
                ready!(self.socket.poll_recv(cx, &mut scratch.wire)).map_err(Fault::Io)
            } else {
                ready!(self.poll_recv(cx, scratch))
            };
            match received {
                // In TLS this may be close_notify: FIN comes behind it.
                Ok(0) if !over && self.tls.as_ref().is_some_and(|s| s.closed) => {}
                Ok(0) if over => return Poll::Ready(Ok(Ending::Clean)),
                Ok(0) => return Poll::Ready(Ok(Ending::Truncated)),
                Ok(n) if self.tls.is_none() || !over => *bytes += n as u64,
                Ok(_) => {}
                Err(Fault::Io(error)) if is_gone(&error) => {
                    return Poll::Ready(Ok(Ending::Reset));
                }
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }

    /// Breaks it off.
    pub(super) fn reset(self) {
        self.socket.reset();
    }
}

/// Whether the peer has broken the connection off.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Whether there is no connection any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    is_reset(error) || error.kind() == io::ErrorKind::NotConnected
}

fn flush(socket: &mut Socket, out: &mut Outgoing, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !out.is_empty() {
        out.sent += ready!(socket.poll_send(cx, &out.bytes[out.sent..]))?;
    }
    Poll::Ready(Ok(()))
}

impl Session {
    /// Feeds the connection what has arrived. True once the handshake is done.
    fn shake(&mut self, out: &mut Outgoing, wire: &mut [u8]) -> Result<bool, rustls::Error> {
        let mut used = 0;
        let result = loop {
            let UnbufferedStatus { discard, state, .. } =
                self.tls.process_tls_records(&mut self.carry[used..]);
            used += discard;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(wire) {
                    Ok(n) => out.keep(&wire[..n]),
                    Err(error) => break Err(general(&error)),
                },
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(_)) => {
                    self.primed = true;
                    break Ok(());
                }
                Ok(ConnectionState::PeerClosed) => self.closed = true,
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.carry.drain(..used);
        result?;
        if self.tls.is_handshaking() {
            return Ok(false);
        }
        self.primed |= !self.carry.is_empty();
        if self.carry.is_empty() {
            // Of thousands of tunnels, none needs to keep it.
            self.carry = Vec::new();
        }
        Ok(true)
    }

    /// Opens what came right behind the handshake.
    fn look_behind(&mut self, out: &mut Outgoing, wire: &mut [u8]) -> Result<(), rustls::Error> {
        if !std::mem::take(&mut self.primed) {
            return Ok(());
        }
        let carried = self.carry.len();
        wire[..carried].copy_from_slice(&self.carry);
        self.open(out, &mut wire[..carried])
    }

    /// Opens the records in `wire`, and keeps what is left over.
    fn open(&mut self, out: &mut Outgoing, wire: &mut [u8]) -> Result<(), rustls::Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.tls.process_tls_records(&mut wire[used..]);
            let mut over = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        self.opened += record.payload.len();
                        discard += record.discard;
                    }
                }
                // An answer to something other than data: an alert, a key
                // update.
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let mut answer = vec![0; RECORD_WIRE_MAX];
                    let n = data.encode(&mut answer).map_err(|error| general(&error))?;
                    out.keep(&answer[..n]);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => {
                    self.closed = true;
                    over = true;
                }
                Ok(_) => over = true,
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
            used += discard;
            if over {
                break;
            }
        }
        self.carry.clear();
        self.carry.extend_from_slice(&wire[used..]);
        Ok(())
    }

    /// Seals `plain` into `wire` and gives its length there.
    fn seal(
        &mut self,
        plain: &[u8],
        out: &mut Outgoing,
        wire: &mut [u8],
    ) -> Result<usize, rustls::Error> {
        self.look_behind(out, wire)?;
        loop {
            match self.tls.process_tls_records(&mut self.carry).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return traffic
                        .encrypt(plain, wire)
                        .map_err(|error| general(&error));
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let n = data.encode(wire).map_err(|error| general(&error))?;
                    out.keep(&wire[..n]);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.closed = true,
                _ => return Err(rustls::Error::HandshakeNotComplete),
            }
        }
    }

    fn keep_close_notify(&mut self, out: &mut Outgoing, wire: &mut [u8]) {
        if self.failed || self.look_behind(out, wire).is_err() {
            return;
        }
        // Bounded: nothing but what was queued before can come between.
        for _ in 0..8 {
            match self.tls.process_tls_records(&mut self.carry).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Ok(n) = traffic.queue_close_notify(wire) {
                        out.keep(&wire[..n]);
                    }
                    return;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(wire) {
                    Ok(n) => out.keep(&wire[..n]),
                    Err(_) => return,
                },
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.closed = true,
                _ => return,
            }
        }
    }

    /// Fetches the alert that a failed connection has for its peer, if any.
    fn keep_alert(&mut self, out: &mut Outgoing, wire: &mut [u8]) {
        self.failed = true;
        while self.tls.wants_write() {
            match self.tls.process_tls_records(&mut self.carry).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(wire) {
                    Ok(n) => out.keep(&wire[..n]),
                    Err(_) => return,
                },
                _ => return,
            }
        }
    }
}

fn general(error: &dyn fmt::Display) -> rustls::Error {
    rustls::Error::General(error.to_string())
}
