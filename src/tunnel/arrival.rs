//! What comes before a tunnel's own first bytes: a header of the PROXY
//! protocol, and the ClientHello of TLS that is passed through.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Poll, ready};

use rustls::server::Acceptor;

use super::alert;
use super::cause::tls_cause;
use super::closing::Farewell;
use super::end::{Link, Party};
use super::facts::Facts;
use super::held::Kept;
use super::hello;
use super::parting::Parting;
use super::record::Record;
use super::{Cause, CloseReason, Phase, Side, Tunnel};
use crate::limits;
use crate::proxy_protocol::{self, Parsed};
use crate::runtime::Socket;
use crate::sys::socket;
use crate::timer::Tick;

/// A connection that has come in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) origin: Origin,
    /// Read already, and the tunnel's to carry.
    pub(super) early: Kept,
}

/// Who made a connection, and to whom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// As the header of the PROXY protocol had it.
    claimed: Option<(SocketAddr, SocketAddr)>,
}

impl Origin {
    /// The client's address. `None` where a Unix socket has none.
    pub(super) fn client(&self, socket: &Socket) -> Option<IpAddr> {
        let peer = || socket::peer_address(socket.as_fd()).ok().flatten();
        let (client, _) = self.claimed.unzip();
        client.or_else(peer).map(|client| client.ip())
    }

    /// The client and the address that it connected to, for those who have to
    /// know. `None` where a Unix socket has neither.
    pub(super) fn ends(&self, socket: &Socket) -> Option<(SocketAddr, SocketAddr)> {
        self.claimed.or_else(|| {
            let source = socket::peer_address(socket.as_fd()).ok()??;
            let destination = socket::local_address(socket.as_fd()).ok()??;
            Some((source, destination))
        })
    }
}

/// What the ClientHello of TLS that is passed through says, beside the name,
/// that routes go by.
#[derive(Debug, Default)]
pub(super) struct Hello {
    protocols: Vec<Vec<u8>>,
}

impl Hello {
    /// What is known of a client that has said this, and that end of whose
    /// connection is ours.
    pub(super) fn facts<'a>(&'a self, record: &'a Record, client: &'a impl Party) -> Facts<'a> {
        let facts = client.facts();
        Facts {
            name: record.name(),
            protocols: match &facts.tls {
                Some(_) => facts.protocols,
                None => self.protocols.iter().map(Vec::as_slice).collect(),
            },
            tls: facts.tls,
        }
    }
}

type Unheard = (Cause, Option<String>);

impl Arrival {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            origin: Origin::default(),
            early: Kept::default(),
        }
    }

    /// Refuses a client that may not come in, as at the door: with a reset.
    pub(super) fn turned_away(self, cause: Cause) -> Box<Parting> {
        self.socket.reset();
        let reason = CloseReason::new(Phase::Handshake, Side::Client, cause);
        Box::new(Parting::new((reason, None)))
    }

    /// Refuses it without a word.
    pub(super) fn refused(self, unheard: Unheard) -> Box<Parting> {
        self.told(&[], unheard)
    }

    /// Refuses it with that alert, if it is one.
    fn told(self, alert: &[u8], (cause, detail): Unheard) -> Box<Parting> {
        let reason = CloseReason::new(Phase::Handshake, cause.doer(Side::Client), cause);
        let mut link = Link::new(self.socket);
        link.unsent.keep(alert);
        Box::new(Parting::new((reason, detail)).client(link, Farewell::after(cause)))
    }
}

impl Tunnel<'_> {
    /// Reads the header of the PROXY protocol, if the connection comes from
    /// somebody who has to send one.
    pub(super) async fn hear_proxy(
        &self,
        mut arrival: Arrival,
        due: Tick,
    ) -> Result<Arrival, Box<Parting>> {
        let from = arrival.origin.client(&arrival.socket);
        if !self.terms.takes_header(from) {
            return Ok(arrival);
        }
        loop {
            let needed = match proxy_protocol::parse(&arrival.early) {
                Ok(Parsed::Whole(header)) => {
                    arrival.origin.claimed = header.command.addresses();
                    if let Some((source, _)) = arrival.origin.claimed {
                        self.record.claim(source);
                    }
                    let len = header.len;
                    arrival.early.consume(len);
                    // The peer's own connections (LOCAL) were admitted with it.
                    if let Some((source, _)) = arrival.origin.claimed
                        && let Err(cause) = self.around.admit(self.terms, source.ip())
                    {
                        return Err(arrival.turned_away(cause));
                    }
                    return Ok(arrival);
                }
                Ok(Parsed::Partial { needed }) => needed,
                Err(error) => {
                    let detail = Some(error.to_string());
                    return Err(arrival.refused((Cause::BadProxyHeader, detail)));
                }
            };
            // No more than that, so that nothing is read beyond the header.
            if let Err(unheard) = self.read(&mut arrival, needed, due).await {
                return Err(arrival.refused(unheard));
            }
        }
    }

    /// Reads the ClientHello, and keeps its bytes to be passed on.
    pub(super) async fn hear_hello(
        &self,
        mut arrival: Arrival,
        due: Tick,
    ) -> Result<(Arrival, Hello), Box<Parting>> {
        let mut acceptor = Acceptor::default();
        let mut fed = 0;
        let unheard = loop {
            while fed < arrival.early.len() {
                // It reads from memory, and takes what it has room for.
                match acceptor.read_tls(&mut &arrival.early[fed..]) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => fed += n,
                }
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    if let Some(name) = hello.server_name() {
                        self.record.hear(name.into());
                    }
                    let hello = Hello {
                        protocols: hello
                            .alpn()
                            .map(|names| names.map(<[u8]>::to_vec).collect())
                            .unwrap_or_default(),
                    };
                    return Ok((arrival, hello));
                }
                Ok(None) if arrival.early.len() >= limits::HANDSHAKE_BYTES_MAX => {
                    break (Cause::TlsError, Some("the ClientHello is too long".into()));
                }
                Ok(None) => {}
                Err((error, mut theirs)) => {
                    // What cannot be spoken here may be spoken there, and a name
                    // that could not be had here may be served.
                    if self.terms.tls.is_none()
                        && let Some(spoken) = hello::read(&arrival.early)
                    {
                        if let Some(name) = spoken.name {
                            self.record.hear(name.into());
                        }
                        let protocols = spoken.protocols;
                        return Ok((arrival, Hello { protocols }));
                    }
                    let is_tls = matches!(&*arrival.early, [22, 3, ..] | [22]);
                    let error = alert::understood(error, &arrival.early);
                    if !is_tls {
                        break (Cause::NotTls, None);
                    }
                    let mut said = Vec::new();
                    match alert::instead(&error, None) {
                        Some(alert) => said.extend(alert::record(alert)),
                        // It writes to memory.
                        None => drop(theirs.write_all(&mut said)),
                    }
                    let unheard = (tls_cause(&error), Some(error.to_string()));
                    return Err(arrival.told(&said, unheard));
                }
            }
            if let Err(unheard) = self
                .read(&mut arrival, limits::HANDSHAKE_BYTES_MAX, due)
                .await
            {
                break unheard;
            }
        };
        Err(arrival.refused(unheard))
    }

    /// Reads some bytes, so that there are `most` at most.
    async fn read(&self, arrival: &mut Arrival, most: usize, due: Tick) -> Result<(), Unheard> {
        let Arrival { socket, early, .. } = arrival;
        let read = poll_fn(|cx| {
            let scratch = &mut *self.around.scratch.borrow_mut();
            let room = most.saturating_sub(early.len()).min(scratch.plain.len());
            let received = match socket.poll_recv(cx, &mut scratch.plain[..room]) {
                Poll::Pending => {
                    let stop = ready!(self.poll_stop(cx, due));
                    return Poll::Ready(Err((stop.cause(), None)));
                }
                Poll::Ready(received) => received,
            };
            Poll::Ready(match received {
                Ok(0) => Err((Cause::Eof, None)),
                Ok(n) => {
                    early.extend(&scratch.plain[..n]);
                    Ok(())
                }
                Err(error) => Err((Cause::Reset, Some(error.to_string()))),
            })
        });
        read.await
    }
}
