//! Connecting to a backend.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use libc::c_int;
use socket2::{Domain, SockAddr, Socket, Type};

/// One place that can be connected to, all names resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a connection is to be made, beside where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The address that it comes from. `None`: as the kernel likes.
    pub source: Option<IpAddr>,
    /// The source need not be one of this machine's (`IP_TRANSPARENT`, ip(7)).
    pub transparent: bool,
    /// The first bytes may go with the SYN (`TCP_FASTOPEN_CONNECT`, tcp(7)).
    pub fast_open: bool,
    /// The congestion control by its name (`TCP_CONGESTION`, tcp(7)).
    pub congestion: Option<String>,
}

impl Outgoing {
    /// Whether a connection can be made so at all: IPv4 does not come from IPv6,
    /// nor the other way round.
    pub fn suits(&self, peer: &Peer) -> bool {
        match (self.source, peer) {
            (Some(source), Peer::Tcp(peer)) => {
                source.to_canonical().is_ipv4() == peer.ip().to_canonical().is_ipv4()
            }
            _ => true,
        }
    }

    /// Sets what has to be set before the socket is connected to that address.
    /// A source is bound without a port, which the kernel then chooses at
    /// connecting: so the port need only differ among connections to the same
    /// peer, and not among all of that source.
    fn prepare(&self, socket: &Socket, peer: SocketAddr) -> io::Result<()> {
        if let Some(name) = &self.congestion {
            socket.set_tcp_congestion(name.as_bytes())?;
        }
        if self.fast_open {
            // Without it the connection is as good.
            let _ = set_int(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1);
        }
        let Some(source) = self.source else {
            return Ok(());
        };
        let source = match (source.to_canonical(), peer.ip()) {
            (IpAddr::V4(source), IpAddr::V6(_)) => IpAddr::V6(source.to_ipv6_mapped()),
            (source, _) => source,
        };
        if source.is_ipv4() != peer.is_ipv4() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the source {source} is not of the same family"),
            ));
        }
        if self.transparent {
            allow_any_source(socket, source)?;
        }
        set_int(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        socket.bind(&SocketAddr::new(source, 0).into())
    }
}

/// Whether this process may connect from addresses that are not this machine's.
///
/// # Errors
///
/// What the kernel says: EPERM without CAP_NET_ADMIN or CAP_NET_RAW.
pub fn may_be_transparent() -> io::Result<()> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    allow_any_source(&socket, any)
}

/// Whether this process may use that congestion control.
///
/// # Errors
///
/// What the kernel says: ENOENT for one that it does not have or that this user
/// may not use.
pub fn has_congestion(name: &str) -> io::Result<()> {
    Socket::new(Domain::IPV4, Type::STREAM, None)?.set_tcp_congestion(name.as_bytes())
}

fn allow_any_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    match source {
        IpAddr::V4(_) => set_int(socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
        IpAddr::V6(_) => set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1),
    }
}

pub(super) fn set_int(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one int, whose length is given.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Begins to connect a new socket, which is non-blocking and close-on-exec.
///
/// `true`: it is connected already. `false`: it will be writable once the
/// outcome is known, and then [`take_error`](super::take_error) tells it.
///
/// # Errors
///
/// What the kernel says at once. A Unix socket whose backlog is full gives
/// [`WouldBlock`](io::ErrorKind::WouldBlock): nothing tells when there is room,
/// so try again a little later.
pub fn connect_nonblocking(peer: &Peer) -> io::Result<(OwnedFd, bool)> {
    connect_as(peer, &Outgoing::default())
}

/// As [`connect_nonblocking`], in that way. A Unix socket knows none.
///
/// # Errors
///
/// Those of [`connect_nonblocking`], and what `outgoing` asks for and the kernel
/// refuses.
pub fn connect_as(peer: &Peer, outgoing: &Outgoing) -> io::Result<(OwnedFd, bool)> {
    let (domain, address) = match peer {
        Peer::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
        Peer::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    if let Peer::Tcp(address) = peer {
        outgoing.prepare(&socket, *address)?;
    }
    let connected = match socket.connect(&address) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
        Err(error) => return Err(error),
    };
    Ok((socket.into(), connected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{peer_address, take_error};
    use std::net::TcpListener;
    use std::os::fd::{AsFd, BorrowedFd};

    #[test]
    fn a_tcp_peer_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (fd, done) = connect_nonblocking(&Peer::Tcp(address)).unwrap();
        if !done {
            wait_writable(fd.as_fd());
        }
        assert!(take_error(fd.as_fd()).unwrap().is_none());
        assert_eq!(peer_address(fd.as_fd()).unwrap(), Some(address));
        listener.accept().unwrap();
    }

    #[test]
    fn a_refusal_is_told_at_once_or_by_the_socket() {
        // A port that was free a moment ago: held by a socket that does not
        // listen, so that nobody else takes it.
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        holder
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        let error = match connect_nonblocking(&Peer::Tcp(address)) {
            Err(error) => error,
            Ok((fd, done)) => {
                assert!(!done);
                wait_writable(fd.as_fd());
                take_error(fd.as_fd()).unwrap().expect("refused")
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_full_unix_backlog_would_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(2).unwrap();
        let peer = Peer::Unix(path);
        let mut open = Vec::new();
        let error = loop {
            match connect_nonblocking(&peer) {
                Ok((fd, done)) => {
                    assert!(done);
                    open.push(fd);
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!open.is_empty());
    }

    #[test]
    fn a_source_is_what_the_peer_sees_and_leaves_the_port_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer::Tcp(listener.local_addr().unwrap());
        let outgoing = Outgoing {
            source: Some([127, 0, 0, 77].into()),
            congestion: Some("reno".into()),
            fast_open: true,
            ..Outgoing::default()
        };
        let (fd, _) = connect_as(&peer, &outgoing).unwrap();
        // With fast open the kernel connects when the first byte is sent.
        crate::sys::socket::send(fd.as_fd(), b"x").unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 77]));
        let named = socket2::SockRef::from(&fd).tcp_congestion().unwrap();
        assert!(named.starts_with(b"reno"), "{named:?}");
        let other = Outgoing {
            source: Some("2001:db8::1".parse().unwrap()),
            ..Outgoing::default()
        };
        let error = connect_as(&peer, &other).unwrap_err();
        assert!(error.to_string().contains("2001:db8::1"), "{error}");
        assert!(has_congestion("no-such").is_err());
    }

    fn wait_writable(fd: BorrowedFd<'_>) {
        let mut poll = libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        assert_eq!(unsafe { libc::poll(&mut poll, 1, 10_000) }, 1);
    }
}
