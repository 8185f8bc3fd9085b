//! What is set on a connected socket, and asked of it.

use std::ffi::c_int;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::connect::set_int;
use crate::config::TcpOptions;
use crate::limits;

/// Lets a socket that listens already hold so many connections (listen(2)).
pub fn set_backlog(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    SockRef::from(&fd).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Sets on a TCP listener what its connections are to have. Linux hands it on to
/// every one that is accepted, which so costs no call of its own. Without it a
/// connection is as good; nothing else can be done.
pub fn prepare_for_accepting(fd: BorrowedFd<'_>) {
    let _ = set_nodelay(fd);
    let _ = set_keepalive(
        fd,
        limits::KEEPALIVE_IDLE,
        limits::KEEPALIVE_INTERVAL,
        limits::KEEPALIVE_PROBES,
    );
}

/// Sends small segments at once (TCP_NODELAY, tcp(7)). Fails on Unix sockets.
pub fn set_nodelay(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_nodelay(true)
}

/// Acknowledges what has arrived, instead of waiting for data to do it with
/// (TCP_QUICKACK, tcp(7)). Fails on Unix sockets.
pub fn acknowledge(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_int(&fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1)
}

/// Asks for what an operator wants of a listener's TCP: data in the SYN of its
/// clients, as many of whom may be waiting as `queue` says (TCP_FASTOPEN), and a
/// congestion control, which accepted connections inherit (TCP_CONGESTION, both
/// tcp(7)).
///
/// # Errors
///
/// ENOENT for a congestion control that there is not.
pub fn ask_tcp(fd: BorrowedFd<'_>, tcp: &TcpOptions, queue: u32) -> io::Result<()> {
    if tcp.fast_open {
        let queue = c_int::try_from(queue).unwrap_or(c_int::MAX);
        set_int(&fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)?;
    }
    match &tcp.congestion {
        Some(name) => SockRef::from(&fd).set_tcp_congestion(name.as_bytes()),
        None => Ok(()),
    }
}

/// The same for a socket that was asked for other things before: what is not
/// asked for any more becomes as the system has it.
pub fn ask_tcp_anew(fd: BorrowedFd<'_>, tcp: &TcpOptions, queue: u32) -> io::Result<()> {
    if !tcp.fast_open {
        set_int(&fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 0)?;
    }
    if tcp.congestion.is_none() {
        let default = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
        SockRef::from(&fd).set_tcp_congestion(default.trim().as_bytes())?;
    }
    ask_tcp(fd, tcp, queue)
}

/// Makes the kernel probe a silent TCP peer: first after `idle`, then every
/// `interval`, and give it up after `probes` without an answer. The times count
/// in whole seconds, at least one (tcp(7)).
pub fn set_keepalive(
    fd: BorrowedFd<'_>,
    idle: Duration,
    interval: Duration,
    probes: u32,
) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(probes);
    SockRef::from(&fd).set_tcp_keepalive(&keepalive)
}

/// Makes closing the socket a reset: what is still queued is thrown away, and
/// the peer is sent RST (SO_LINGER with a time of zero, socket(7)). A Unix
/// socket takes the option and ignores it.
pub fn set_linger_reset(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_linger(Some(Duration::ZERO))
}

/// Bytes that were handed to the kernel and that the peer has not acknowledged
/// (SIOCOUTQ, tcp(7)), or, on a Unix socket, not read. On a Unix socket the
/// kernel counts its own overhead as well.
pub fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SIOCOUTQ is another name for TIOCOUTQ (linux/sockios.h).
    let mut bytes: c_int = 0;
    // SAFETY: the request writes one int, to where we point.
    let outcome = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// How many more bytes the kernel takes to be sent, about: what its buffer has
/// room for, less what it counts for its own overhead (SO_MEMINFO, linux/
/// sock_diag.h). A buffer that is still to grow with the connection is taken as
/// it is.
pub fn send_room(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // The first of `enum` SK_MEMINFO_*.
    const SNDBUF: usize = 3;
    const WMEM_QUEUED: usize = 5;
    const VARS: usize = 9;
    let mut info = [0u32; VARS];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: it writes no more than `length` bytes to where we point.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info[SNDBUF].saturating_sub(info[WMEM_QUEUED]) as usize)
}

/// Ends our direction: the peer reads end-of-file after all that was sent.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).shutdown(Shutdown::Write)
}

/// The error that waits in the socket, which is thereby cleared (SO_ERROR,
/// socket(7)): after connecting, the outcome.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    SockRef::from(&fd).take_error()
}

/// Who is at the other end. `None` on a Unix socket.
pub fn peer_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&fd).peer_addr()?.as_socket())
}

/// Our own end, with the address that the peer connected to. `None` on a Unix
/// socket.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&fd).local_addr()?.as_socket())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{recv, send};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn nodelay_and_keepalive_are_what_the_kernel_says() {
        let (client, _server) = tcp_pair();
        set_nodelay(client.as_fd()).unwrap();
        set_keepalive(
            client.as_fd(),
            limits::KEEPALIVE_IDLE,
            limits::KEEPALIVE_INTERVAL,
            limits::KEEPALIVE_PROBES,
        )
        .unwrap();
        let socket = SockRef::from(&client);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), limits::KEEPALIVE_IDLE);
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            limits::KEEPALIVE_INTERVAL
        );
        assert_eq!(
            socket.tcp_keepalive_retries().unwrap(),
            limits::KEEPALIVE_PROBES
        );
    }

    #[test]
    fn a_close_after_linger_reset_is_a_reset() {
        let (client, mut server) = tcp_pair();
        set_linger_reset(client.as_fd()).unwrap();
        drop(client);
        let error = server.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn bytes_are_unsent_until_the_peer_has_them() {
        let (client, mut server) = tcp_pair();
        assert_eq!(unsent_bytes(client.as_fd()).unwrap(), 0);
        // Until the peer's window is full, so that some must stay behind.
        let mut sent = 0;
        while let Ok(n) = send(client.as_fd(), &[0; 65536]) {
            sent += n;
        }
        let unsent = unsent_bytes(client.as_fd()).unwrap();
        assert!(unsent > 0 && unsent as usize <= sent, "{unsent} of {sent}");
        shutdown_write(client.as_fd()).unwrap();
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), sent);
    }

    #[test]
    fn room_to_send_is_what_the_kernel_then_takes() {
        let (client, server) = tcp_pair();
        let room = send_room(client.as_fd()).unwrap();
        assert!(room > 0);
        let bytes = vec![0; room / 2];
        assert_eq!(send(client.as_fd(), &bytes).unwrap(), bytes.len());
        while send(client.as_fd(), &bytes).is_ok() {}
        // Segments are let in whole that begin before its end.
        assert!(send_room(client.as_fd()).unwrap() < room / 2);
        drop(server);
        let (left, _right) = UnixStream::pair().unwrap();
        assert!(send_room(left.as_fd()).unwrap() > 0);
    }

    #[test]
    fn a_shut_direction_leaves_the_other_open() {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        right.write_all(b"x").unwrap();
        shutdown_write(left.as_fd()).unwrap();
        assert_eq!(right.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(left.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(peer_address(left.as_fd()).unwrap(), None);
        let error = send(left.as_fd(), b"y").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(
            recv(left.as_fd(), &mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn an_error_is_taken_once() {
        let (client, server) = tcp_pair();
        set_linger_reset(server.as_fd()).unwrap();
        drop(server);
        let error = take_error(client.as_fd()).unwrap().expect("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(take_error(client.as_fd()).unwrap().is_none());
    }
}
