//! One check of one backend, on a thread that may wait for it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{Address, CheckKind, Host, ProxyVersion};
use crate::limits;
use crate::proxy_protocol::{Command, write_v1, write_v2};

/// What is checked, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) kind: CheckKind,
    pub(super) timeout: Duration,
    /// What the backend is spoken to with, and the name that it has to have.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// It expects a header of the PROXY protocol, and gets one that says that
    /// the connection is nobody's (its specification, section 2.2: LOCAL).
    pub(super) proxy: Option<ProxyVersion>,
}

impl Target {
    /// Checks it. Of several addresses one that is good will do.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong, of [`limits::HEALTH_DETAIL_MAX`] bytes
    /// at most.
    pub(super) fn check(&self) -> Result<(), String> {
        self.try_each().map_err(|mut wrong| {
            let at_most = limits::HEALTH_DETAIL_MAX.min(wrong.len());
            let end = (0..=at_most).rev().find(|end| wrong.is_char_boundary(*end));
            wrong.truncate(end.unwrap_or(0));
            wrong
        })
    }

    fn try_each(&self) -> Result<(), String> {
        let addresses = self
            .addresses()
            .map_err(|error| format!("it does not resolve: {error}"))?;
        // Looking names up has no timeout of its own, and is not its fault.
        let deadline = Instant::now() + self.timeout;
        let mut wrong = "its name has no addresses".to_owned();
        for (at, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (addresses.len() - at) as u32;
            match self.check_at(address, Instant::now() + share) {
                Ok(()) => return Ok(()),
                Err(error) => wrong = error,
            }
        }
        Err(wrong)
    }

    fn addresses(&self) -> io::Result<Vec<SockAddr>> {
        let (host, port) = match &self.address {
            Address::Unix(path) => return Ok(vec![SockAddr::unix(path)?]),
            // No backend is configured so.
            Address::Systemd(_) => return Err(io::ErrorKind::InvalidInput.into()),
            Address::Tcp { host, port } => (host, *port),
        };
        let found: Vec<SocketAddr> = match host {
            Host::Ip(ip) => vec![(*ip, port).into()],
            Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.collect(),
            // No backend is configured so.
            Host::Any => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let found = found.into_iter().take(limits::ADDRESSES_PER_NAME_MAX);
        Ok(found.map(SockAddr::from).collect())
    }

    fn check_at(&self, address: &SockAddr, deadline: Instant) -> Result<(), String> {
        let mut wire = Wire::connect(address, deadline).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => "it does not answer".to_owned(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                "nothing listens there".to_owned()
            }
            _ => format!("it cannot be reached: {error}"),
        })?;
        if self.kind == CheckKind::Tcp && self.proxy.is_none() {
            return Ok(());
        }
        if let Some(version) = self.proxy {
            let header = local_header(version);
            wire.write_all(&header)
                .map_err(|error| format!("it takes no PROXY header: {error}"))?;
        }
        match (&self.kind, &self.tls) {
            (CheckKind::Tcp, _) => Ok(()),
            (CheckKind::Tls, None) => Err("there is no TLS to shake hands in".into()),
            (CheckKind::Tls, Some(tls)) => {
                let mut stream = shake(wire, tls)?;
                stream.conn.send_close_notify();
                // It has shown what was asked for.
                let _ = stream.conn.complete_io(&mut stream.sock);
                Ok(())
            }
            (CheckKind::Http { path, host, status }, tls) => {
                let request = self.request(path, host.as_deref());
                let found = match tls {
                    None => ask(&mut wire, &request),
                    Some(tls) => ask(&mut shake(wire, tls)?, &request),
                };
                let found = found.map_err(|error| match error.kind() {
                    io::ErrorKind::TimedOut => "its answer does not come".to_owned(),
                    _ => format!("it gives no answer: {error}"),
                })?;
                let (from, to) = *status;
                if (from..=to).contains(&found) {
                    Ok(())
                } else if from == to {
                    Err(format!("it answers {found} and not {from}"))
                } else {
                    Err(format!("it answers {found}, not {from} to {to}"))
                }
            }
        }
    }

    fn request(&self, path: &str, host: Option<&str>) -> String {
        let own = match &self.address {
            Address::Tcp { .. } => self.address.to_string(),
            Address::Unix(_) | Address::Systemd(_) => "localhost".to_owned(),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: adit/{} (health check)\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            host.unwrap_or(&own),
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// The header of a connection that is nobody's.
fn local_header(version: ProxyVersion) -> Vec<u8> {
    let mut room = vec![0; limits::PROXY_HEADER_MAX];
    let written = match version {
        ProxyVersion::One => write_v1(&Command::Local, &mut room),
        ProxyVersion::Two => write_v2(&Command::Local, &[], &mut room),
    };
    // The room is enough for either.
    room.truncate(written.unwrap_or(0));
    room
}

fn shake(
    wire: Wire,
    (config, name): &(Arc<ClientConfig>, ServerName<'static>),
) -> Result<StreamOwned<ClientConnection, Wire>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("no TLS handshake: {error}");
    let mut wire = wire;
    let mut tls =
        ClientConnection::new(config.clone(), name.clone()).map_err(|error| wrong(&error))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut wire).map_err(|error| wrong(&error))?;
    }
    Ok(StreamOwned::new(tls, wire))
}

/// Asks, and reads the answer's head. Gives its status.
fn ask(stream: &mut (impl Read + Write), request: &str) -> io::Result<u16> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let taken = stream.read(&mut chunk)?;
        head.extend_from_slice(&chunk[..taken]);
        let mut headers = [httparse::EMPTY_HEADER; 4 * limits::HTTP_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let whole = response.parse(&head);
        match (whole, response.code) {
            (Ok(httparse::Status::Complete(_)), Some(code)) => return Ok(code),
            (Ok(_), _) if taken == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Ok(_), _) if head.len() < limits::HEALTH_HEAD_MAX => {}
            _ => {
                let why = "what it says is no HTTP";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
    }
}

/// A connection that is over by a deadline.
#[derive(Debug)]
struct Wire {
    socket: Socket,
    deadline: Instant,
}

impl Wire {
    fn connect(address: &SockAddr, deadline: Instant) -> io::Result<Self> {
        loop {
            let left = left(deadline)?;
            let domain = Domain::from(i32::from(address.family()));
            let socket = Socket::new(domain, Type::STREAM, None)?;
            match socket.connect_timeout(address, left) {
                Ok(()) => return Ok(Self { socket, deadline }),
                // The backlog of a Unix socket is full; nothing tells when it
                // is not.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(limits::CONNECT_RETRY.min(left));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(buffer).map_err(in_time)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is left until the deadline, as a timeout that is one.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_micros(1) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// What SO_RCVTIMEO and SO_SNDTIMEO say when time is up, by its name.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
