//! The end of a tunnel that speaks TLS.
//!
//! rustls' unbuffered connection is handed the bytes as they lie in the
//! shard's scratch space. All that is kept between two polls is the front part
//! of a record that has not arrived whole, and sealed bytes that the kernel
//! would not take.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};

use super::alert;
use super::conversation::Conversation;
use super::end::{EndError, Link, Party};
use super::facts::{Facts, TlsFacts};
use super::held::Kept;
use super::relay::{End, Pulled};
use super::scratch::Wire;
use crate::config::{Truncation, suites};
use crate::limits;
use crate::metrics::Negotiated;
use crate::sys::socket;
use crate::tls;

/// A peer that is spoken to in TLS, we being the server or the client.
pub(crate) struct TlsEnd<C> {
    link: Link,
    tls: Box<C>,
    /// Received and not yet consumed: the front of a record, or of a
    /// handshake message in several records.
    carry: Kept,
    /// Bytes of the handshake so far, against its limit.
    handshake_bytes: usize,
    /// The connection holds what was not asked of it yet: `carry` was not
    /// looked at to its end.
    primed: bool,
    /// What is unsent is session tickets, which wait for company.
    holds_tickets: bool,
    /// close_notify is sealed.
    notified: bool,
    /// The connection has failed; only what is kept can still be sent.
    failed: bool,
    /// What the next pull says, once the bytes before it are out.
    next: Next,
    truncation: Truncation,
    truncated: bool,
}

#[derive(Debug)]
enum Next {
    Bytes,
    Eof,
    Error(Box<rustls::Error>),
}

/// What the peer is known as once its handshake is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) negotiated: Negotiated,
}

/// Why a handshake did not come about.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The connection broke, or the peer went away.
    Io(io::Error),
    /// The peer ended its stream.
    Eof,
    /// The peer's fault, or the lack of common ground. An alert is on its way
    /// if there is one for it.
    Tls(rustls::Error),
    /// What came first is not TLS.
    NotTls,
}

impl TlsEnd<UnbufferedServerConnection> {
    /// A client that has connected to us, and of which `early` has been read.
    pub(crate) fn server(
        link: Link,
        early: Kept,
        config: Arc<ServerConfig>,
        truncation: Truncation,
    ) -> Result<Self, rustls::Error> {
        let tls = UnbufferedServerConnection::new(config)?;
        let mut end = Self::new(link, tls, truncation);
        end.handshake_bytes = early.len();
        end.carry = early;
        Ok(end)
    }
}

impl TlsEnd<UnbufferedClientConnection> {
    /// A server that we have connected to, by the name that it must have.
    pub(crate) fn client(
        link: Link,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        truncation: Truncation,
    ) -> Result<Self, rustls::Error> {
        let tls = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::new(link, tls, truncation))
    }
}

impl<C: Conversation> TlsEnd<C> {
    fn new(link: Link, tls: C, truncation: Truncation) -> Self {
        Self {
            link,
            tls: Box::new(tls),
            carry: Kept::default(),
            handshake_bytes: 0,
            primed: false,
            holds_tickets: false,
            notified: false,
            failed: false,
            next: Next::Bytes,
            truncation,
            truncated: false,
        }
    }

    /// Goes on with the handshake.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
    ) -> Poll<Result<Session, HandshakeError>> {
        loop {
            let all_sent = self.link.unsent.is_empty();
            let mut said = 0;
            let shaken = self.shake(wire, &mut said);
            let flight = &wire.sealing()[..said];
            match shaken {
                Ok(true) if said == 0 && all_sent => {
                    self.acknowledge();
                    return Poll::Ready(Ok(self.session()));
                }
                Ok(true) if all_sent && self.holds_back(said) => {
                    self.link.unsent.keep(flight);
                    self.holds_tickets = true;
                    return Poll::Ready(Ok(self.session()));
                }
                Ok(done) => {
                    // The last flight goes out with it; what the kernel does
                    // not take follows in the relay.
                    let sent = self.link.send(cx, flight);
                    let flushed = self.link.flush(cx);
                    if done {
                        // Even if the peer takes nothing more: what it has sent
                        // is carried, and the relay finds out.
                        return Poll::Ready(Ok(self.session()));
                    }
                    sent.map_err(HandshakeError::Io)?;
                    ready!(flushed).map_err(HandshakeError::Io)?;
                }
                Err(error) => {
                    self.link.unsent.keep(flight);
                    self.refuse(&error, wire);
                    return Poll::Ready(Err(self.blame(error)));
                }
            }
            // What is carried over must fit into the scratch space again.
            let room = wire.receiving();
            let room_len = room.len().saturating_sub(self.carry.len());
            let room = &mut room[..room_len];
            if room.is_empty() || self.handshake_bytes >= limits::HANDSHAKE_BYTES_MAX {
                let error = rustls::Error::General("the handshake is too long".into());
                self.refuse(&error, wire);
                return Poll::Ready(Err(HandshakeError::Tls(error)));
            }
            let received =
                ready!(self.link.socket.poll_recv(cx, room)).map_err(HandshakeError::Io)?;
            if received == 0 {
                return Poll::Ready(Err(HandshakeError::Eof));
            }
            self.handshake_bytes += received;
            self.carry.extend(&room[..received]);
        }
    }

    /// Feeds the connection what has arrived. True once the handshake is done.
    /// What it has to say is the first `said` bytes of the room for sealing, or
    /// kept already.
    fn shake(&mut self, wire: &mut Wire, said: &mut usize) -> Result<bool, rustls::Error> {
        let mut used = 0;
        let result = loop {
            let UnbufferedStatus { discard, state, .. } = self.tls.process(&mut self.carry[used..]);
            used += discard;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    match data.encode(&mut wire.sealing()[*said..]) {
                        Ok(n) => *said += n,
                        // A long chain: what is there makes room.
                        Err(EncodeError::InsufficientSize(_)) if *said > 0 => {
                            self.link.unsent.keep(&wire.sealing()[..*said]);
                            *said = 0;
                            match data.encode(wire.sealing()) {
                                Ok(n) => *said = n,
                                Err(error) => break Err(encode_error(error)),
                            }
                        }
                        Err(error) => break Err(encode_error(error)),
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                // Application data came right behind: it is the relay's.
                Ok(ConnectionState::ReadTraffic(_)) => {
                    self.primed = true;
                    break Ok(());
                }
                // It is said once only.
                Ok(ConnectionState::PeerClosed) => self.next = Next::Eof,
                Ok(_) => break Ok(()),
                Err(error) if C::IS_SERVER => break Err(alert::understood(error, &self.carry)),
                Err(error) => break Err(error),
            }
        };
        self.carry.consume(used);
        result?;
        let done = !self.tls.is_handshaking();
        if !done
            && *said > 0
            && let Some(error) = self.has_expired()
        {
            // Not a word of our flight is out, so that the alert goes bare.
            *said = 0;
            self.fail();
            let alert = AlertDescription::CertificateExpired;
            self.link.unsent.keep(&alert::record(alert));
            return Err(error);
        }
        if done {
            self.carry.shrink();
        }
        Ok(done)
    }

    /// Whether the session that a client wants to resume has a certificate in it
    /// that has expired since. rustls looks at it in a full handshake alone, and
    /// each resumption gives a new ticket: so it would go on for ever.
    fn has_expired(&self) -> Option<rustls::Error> {
        if !C::IS_SERVER || self.tls.handshake_kind() != Some(HandshakeKind::Resumed) {
            return None;
        }
        let leaf = self.tls.peer_certificates()?.first()?;
        tls::expired(leaf, UnixTime::now())
    }

    /// Whether `said` bytes that we have to say at the end of the handshake are
    /// tickets that wait: for the first bytes to the peer, or for
    /// [`Party::release`]. In TLS 1.3 a server's own part ends with its first
    /// flight.
    ///
    /// Tickets are not part of the handshake (RFC 8446, section 4.6.1), and in
    /// a send of their own they cost both sides a wake-up. Where the client has
    /// sent data right behind its Finished, an answer will come to go with. One
    /// that has not may be waiting to be heard, see
    /// [`acknowledge`](Self::acknowledge).
    fn holds_back(&self, said: usize) -> bool {
        C::IS_SERVER
            && self.more_came()
            && self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && said <= limits::TICKETS_HELD_MAX
    }

    /// Whether the peer has sent something behind its part of the handshake.
    fn more_came(&self) -> bool {
        self.primed || !self.carry.is_empty()
    }

    /// Has the client's Finished acknowledged now, since we have nothing to say
    /// to it. A client without TCP_NODELAY keeps its first bytes back until
    /// then, and the kernel would wait 40 ms for something to go along with.
    fn acknowledge(&self) {
        if C::IS_SERVER && !self.more_came() {
            // A Unix socket has none of this.
            let _ = socket::acknowledge(self.link.socket.as_fd());
        }
    }

    fn session(&self) -> Session {
        let suite = self.tls.negotiated_cipher_suite();
        let group = self.tls.negotiated_key_exchange_group();
        Session {
            negotiated: Negotiated {
                version: self.tls.protocol_version(),
                suite: suite.map(|suite| suite.suite()),
                group: group.map(|group| group.name()),
                resumed: self.tls.handshake_kind() == Some(HandshakeKind::Resumed),
            },
        }
    }

    fn fail(&mut self) {
        self.failed = true;
        self.holds_tickets = false;
    }

    /// Has the peer told why its handshake comes to nothing, if that is not done
    /// yet.
    fn refuse(&mut self, error: &rustls::Error, wire: &mut Wire) {
        if self.failed {
            return;
        }
        if let Some(alert) = alert::instead(error, self.tls.protocol_version()) {
            self.fail();
            self.link.unsent.keep(&alert::record(alert));
            return;
        }
        let before = self.link.unsent.as_slice().len();
        let sealed = self.seals();
        self.keep_alert(wire);
        if !sealed && self.link.unsent.as_slice().len() == before {
            let alert = alert::otherwise(error);
            self.link.unsent.keep(&alert::record(alert));
        }
    }

    /// Whether what we say in the handshake is sealed by now. It is taken to be
    /// where that cannot be told.
    fn seals(&self) -> bool {
        match self.tls.protocol_version() {
            // Nothing has been agreed on.
            None => false,
            // A server's own first sealed message is its last of all, if no
            // session is resumed (RFC 5246, section 7.3).
            Some(ProtocolVersion::TLSv1_2) => {
                !C::IS_SERVER || self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
            }
            Some(_) => true,
        }
    }

    /// Fetches the alert that a failed connection has for its peer, if any.
    /// After this the connection is not to be asked anything more: it would
    /// fall over what it has failed on.
    fn keep_alert(&mut self, wire: &mut Wire) {
        self.fail();
        // Nothing follows close_notify (RFC 8446, section 6.1).
        if self.notified {
            return;
        }
        while self.tls.wants_write() {
            match self.tls.process(&mut self.carry).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let room = wire.sealing();
                    match data.encode(room) {
                        Ok(n) => self.link.unsent.keep(&room[..n]),
                        Err(_) => return,
                    }
                }
                _ => return,
            }
        }
    }

    /// Tells a peer that speaks something else from one that speaks TLS badly.
    fn blame(&self, error: rustls::Error) -> HandshakeError {
        // A TLS connection begins with a handshake record: type 22, version
        // 3.x (RFC 8446, section 5.1); a server's may begin with an alert, type
        // 21. What the connection has consumed before it failed was TLS.
        let first = self.handshake_bytes == self.carry.len();
        let is_record = match &*self.carry {
            [22, 3, ..] | [22] | [] => true,
            [21, 3, ..] | [21] => !C::IS_SERVER,
            _ => false,
        };
        if first && !is_record {
            HandshakeError::NotTls
        } else {
            HandshakeError::Tls(error)
        }
    }

    /// Opens the records in `wire`, keeps what is left over, and gives the
    /// number of plaintext bytes. What follows them is left in `next`.
    fn open(&mut self, wire: &mut [u8], plain: &mut [u8]) -> usize {
        let mut used = 0;
        let mut opened = 0;
        let mut over = false;
        while !over {
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.tls.process(&mut wire[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                let end = opened + record.payload.len();
                                plain[opened..end].copy_from_slice(record.payload);
                                opened = end;
                                discard += record.discard;
                            }
                            Err(error) => self.next = Next::Error(error.into()),
                        }
                    }
                }
                // An answer to something other than data: an alert, a key
                // update.
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let mut answer = vec![0; limits::RECORD_WIRE_MAX];
                    match data.encode(&mut answer) {
                        Ok(n) => {
                            self.holds_tickets = false;
                            self.link.unsent.keep(&answer[..n]);
                        }
                        Err(error) => self.next = Next::Error(encode_error(error).into()),
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.next = Next::Eof,
                Ok(_) => over = true,
                // From here on it is not to be asked anything but its alert.
                Err(error) => {
                    self.next = Next::Error(error.into());
                    self.failed = true;
                    over = true;
                }
            }
            // Also what led to the last state was consumed: a message without
            // an answer, such as a key update.
            used += discard;
        }
        self.carry.clear();
        self.carry.extend_exactly(&wire[used..]);
        opened
    }
}

impl<C: Conversation + 'static> Party for TlsEnd<C> {
    type Wired<'a> = WiredTls<'a, C>;

    fn wired<'a>(
        &'a mut self,
        waker: &'a Waker,
        wire: &'a mut Wire,
        take: usize,
    ) -> WiredTls<'a, C> {
        WiredTls {
            end: self,
            cx: Context::from_waker(waker),
            wire,
            take,
        }
    }

    fn is_stalled(&self) -> bool {
        !self.holds_tickets && !self.link.unsent.is_empty()
    }

    fn was_truncated(&self) -> bool {
        self.truncated
    }

    fn link(&self) -> &Link {
        &self.link
    }

    fn into_link(self) -> Link {
        self.link
    }

    fn release(&mut self) {
        self.holds_tickets = false;
    }

    fn facts(&self) -> Facts<'_> {
        let Some(suite) = self.tls.negotiated_cipher_suite() else {
            return Facts::default();
        };
        Facts {
            name: None,
            protocols: self.tls.alpn_protocol().into_iter().collect(),
            tls: Some(TlsFacts {
                version: match self.tls.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                    _ => "TLSv1.2",
                },
                cipher: suites::suite_name(suite.suite()),
                certificate: self.tls.peer_certificates().and_then(<[_]>::first),
                resumed: self.tls.handshake_kind() == Some(HandshakeKind::Resumed),
            }),
        }
    }

    /// Seals close_notify (RFC 8446, section 6.1), once, behind what is on its
    /// way.
    fn take_leave(&mut self, wire: &mut Wire) {
        self.holds_tickets = false;
        if self.failed || std::mem::replace(&mut self.notified, true) {
            return;
        }
        let room = wire.sealing();
        // Bounded: nothing but what was queued before can come between.
        for _ in 0..8 {
            match self.tls.process(&mut self.carry).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Ok(n) = traffic.queue_close_notify(room) {
                        self.link.unsent.keep(&room[..n]);
                    }
                    return;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(room) {
                    Ok(n) => self.link.unsent.keep(&room[..n]),
                    Err(_) => return,
                },
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => {}
                _ => return,
            }
        }
    }
}

/// A [`TlsEnd`] with what it needs in order to make progress.
pub(crate) struct WiredTls<'a, C> {
    end: &'a mut TlsEnd<C>,
    cx: Context<'a>,
    wire: &'a mut Wire,
    take: usize,
}

impl<C: Conversation + 'static> WiredTls<'_, C> {
    fn said_before(&mut self) -> Option<Result<Pulled, EndError>> {
        match std::mem::replace(&mut self.end.next, Next::Bytes) {
            Next::Bytes => None,
            Next::Eof => {
                self.end.next = Next::Eof;
                Some(Ok(Pulled::Eof))
            }
            Next::Error(error) => {
                self.end.keep_alert(self.wire);
                Some(Err(EndError::Tls(error)))
            }
        }
    }

    /// Bytes from the socket, behind what was carried over. `None` at its end.
    fn receive(&mut self) -> Poll<io::Result<Option<usize>>> {
        let carried = self.end.carry.len();
        let room = self.wire.receiving_up_to(self.take);
        if carried >= room.len() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a TLS message is longer than the buffer",
            )));
        }
        let received = ready!(
            self.end
                .link
                .socket
                .poll_recv(&mut self.cx, &mut room[carried..])
        )?;
        room[..carried].copy_from_slice(&self.end.carry);
        Poll::Ready(Ok((received > 0).then_some(carried + received)))
    }
}

impl<C: Conversation + 'static> End for WiredTls<'_, C> {
    type Error = EndError;

    fn pull(&mut self, plain: &mut [u8]) -> Poll<Result<Pulled, EndError>> {
        loop {
            if let Some(said) = self.said_before() {
                return Poll::Ready(said);
            }
            let filled = if self.end.primed {
                self.end.primed = false;
                let carry = &self.end.carry;
                self.wire.receiving()[..carry.len()].copy_from_slice(carry);
                carry.len()
            } else {
                match self.receive() {
                    Poll::Ready(Ok(Some(filled))) => filled,
                    Poll::Ready(Ok(None)) => {
                        self.end.truncated = true;
                        return Poll::Ready(match self.end.truncation {
                            Truncation::Fin => Ok(Pulled::Eof),
                            Truncation::Reset => Err(EndError::Truncated),
                        });
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(EndError::Io(error))),
                    Poll::Pending => {
                        if self.end.carry.is_empty() {
                            self.end.carry = Kept::default();
                        }
                        return Poll::Pending;
                    }
                }
            };
            let opened = self
                .end
                .open(&mut self.wire.receiving_up_to(filled)[..filled], plain);
            if opened > 0 {
                return Poll::Ready(Ok(Pulled::Bytes(opened)));
            }
        }
    }

    fn push(&mut self, plain: &[u8]) -> Result<(), EndError> {
        // What is carried over goes along: the connection counts from its
        // start.
        debug_assert!(!self.end.primed);
        if self.end.failed {
            return Err(rustls::Error::HandshakeNotComplete.into());
        }
        let room = self.wire.sealing();
        // Tickets go in front, in the same send.
        let mut filled = 0;
        if std::mem::take(&mut self.end.holds_tickets) {
            let tickets = std::mem::take(&mut self.end.link.unsent);
            filled = tickets.as_slice().len();
            room[..filled].copy_from_slice(tickets.as_slice());
        }
        loop {
            let status = self.end.tls.process(&mut self.end.carry);
            match status.state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    filled += traffic
                        .encrypt(plain, &mut room[filled..])
                        .map_err(encrypt_error)?;
                    return Ok(self.end.link.send(&mut self.cx, &room[..filled])?);
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let n = data.encode(&mut room[filled..]).map_err(encode_error)?;
                    self.end.link.unsent.keep(&room[..filled + n]);
                    filled = 0;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.end.next = Next::Eof,
                _ => return Err(rustls::Error::HandshakeNotComplete.into()),
            }
        }
    }

    fn flush(&mut self) -> Poll<Result<(), EndError>> {
        if self.end.holds_tickets {
            return Poll::Ready(Ok(()));
        }
        self.end.link.flush(&mut self.cx).map_err(EndError::Io)
    }

    fn finish(&mut self) -> Poll<Result<(), EndError>> {
        self.end.take_leave(self.wire);
        self.end.link.finish(&mut self.cx).map_err(EndError::Io)
    }
}

fn encode_error(error: EncodeError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

fn encrypt_error(error: EncryptError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

#[cfg(test)]
mod tests;
