//! Listening sockets that another process has made: what they are bound to, and
//! more of their kind.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};

use socket2::{Domain, SockRef, Socket, Type};

use crate::config::{Address, Host};

/// What a listening stream socket is bound to, as a listener would name it:
/// the dual-stack socket of every address is `*`.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for whatever is no such
/// socket, with a text that says what it is instead.
pub fn bound_to(fd: BorrowedFd<'_>) -> io::Result<Address> {
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned()));
    let socket = SockRef::from(&fd);
    match socket.r#type() {
        Ok(Type::STREAM) => {}
        Ok(Type::DGRAM) => return wrong("it is a datagram socket, and not one of streams"),
        Ok(_) => return wrong("it is no stream socket"),
        Err(_) => return wrong("it is no socket"),
    }
    if !socket.is_listener()? {
        return wrong("it does not listen: it is one connection (Accept=yes), and not a listener");
    }
    let local = socket.local_addr()?;
    if let Some(address) = local.as_socket() {
        let any = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !socket.only_v6()?;
        return Ok(Address::Tcp {
            host: match any {
                true => Host::Any,
                false => Host::Ip(address.ip()),
            },
            port: address.port(),
        });
    }
    match local.as_pathname() {
        Some(path) => Ok(Address::Unix(path.to_owned())),
        None if local.is_unix() => wrong("it is a Unix socket without a path"),
        None => wrong("it is neither of TCP nor a Unix socket"),
    }
}

/// Another socket beside this one of TCP, among which the kernel spreads
/// connections (SO_REUSEPORT, socket(7)), in non-blocking mode. It does not
/// listen yet.
///
/// # Errors
///
/// Those of bind(2): EACCES where this user may not have the port, EADDRINUSE
/// where the first one is another user's, or alone by its own will.
pub fn bind_beside(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let first = SockRef::from(&fd);
    let local = first.local_addr()?;
    let Some(address) = local.as_socket() else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    if !first.reuse_port()? {
        return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
    }
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        None,
    )?;
    if let SocketAddr::V6(_) = address {
        socket.set_only_v6(first.only_v6()?)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&local)?;
    Ok(socket.into())
}

/// Makes an inherited socket as ours are: non-blocking.
pub fn adopt(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_nonblocking(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{accept, bind_group};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_socket_tells_what_it_is_bound_to() {
        for text in ["127.0.0.1:0", "*:0"] {
            let group = bind_group(&text.parse().unwrap(), 1, 16).unwrap();
            group[0].listen().unwrap();
            assert_eq!(bound_to(group[0].fds[0].as_fd()).unwrap(), group[0].address);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        assert_eq!(bound_to(unix.as_fd()).unwrap(), Address::Unix(path));
    }

    #[test]
    fn what_is_no_listener_is_told_apart() {
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let (pair, _other) = UnixStream::pair().unwrap();
        for (fd, hint) in [
            (datagrams.as_fd(), "datagram"),
            (client.as_fd(), "Accept=yes"),
            (pair.as_fd(), "Accept=yes"),
            (file.as_fd(), "no socket"),
        ] {
            let error = bound_to(fd).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn another_socket_beside_shares_the_port() {
        let group = bind_group(&"127.0.0.1:0".parse().unwrap(), 1, 64).unwrap();
        group[0].listen().unwrap();
        let first = &group[0].fds[0];
        let second = bind_beside(first.as_fd()).unwrap();
        SockRef::from(&second).listen(64).unwrap();
        let at = SockRef::from(first).local_addr().unwrap();
        let at = at.as_socket().unwrap();
        let _clients: Vec<_> = (0..64).map(|_| TcpStream::connect(at).unwrap()).collect();
        for fd in [first, &second] {
            // Missed by all with a chance of 0.5^64.
            accept(fd.as_fd()).unwrap();
        }
        let alone = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind_beside(alone.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    }
}
