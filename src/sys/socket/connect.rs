//! Connecting to a backend.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

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
    let (domain, address) = match peer {
        Peer::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
        Peer::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
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
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

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
