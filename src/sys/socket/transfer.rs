//! Taking connections and moving bytes, without ever waiting.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;
use socket2::{SockAddr, SockAddrStorage};

/// Takes one connection from the queue of a listener in non-blocking mode. The
/// new socket is non-blocking and close-on-exec.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if the queue is empty; EMFILE or
/// ENFILE, each time, while there is no descriptor for it. A network error that
/// the connection already had is passed on by accept(2), and is no fault of the
/// listener.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    accept_from(listener).map(|(fd, _)| fd)
}

/// As [`accept`], and tells who it is, which costs no call of its own. `None`
/// on a Unix socket.
///
/// # Errors
///
/// Those of [`accept`].
pub fn accept_from(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let take = |address: *mut SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: both point to what the kernel may write to, and the length
        // is that of the storage, as `try_init` gives it.
        let fd = unsafe { libc::accept4(listener.as_raw_fd(), address.cast(), length, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: where accept4 succeeds it has written an address and its length.
    let (fd, address) = unsafe { SockAddr::try_init(take)? };
    Ok((fd, address.as_socket()))
}

/// Takes what has arrived, up to the length of `buffer`; 0 is end-of-file.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing has arrived; else those
/// of recv(2).
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to it.
    count(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
        )
    })
}

/// Hands bytes to the kernel, as many as there is room for, which is at least
/// one unless `bytes` is empty. No SIGPIPE is raised.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room, or the socket
/// is still connecting; else those of send(2).
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send_with(fd, bytes, 0)
}

/// As [`send`], but what does not fill a segment waits up to 200 ms for what
/// comes next (MSG_MORE, send(2)), be it only the FIN of a shutdown.
///
/// # Errors
///
/// Those of [`send`].
pub fn send_more(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send_with(fd, bytes, libc::MSG_MORE)
}

fn send_with(fd: BorrowedFd<'_>, bytes: &[u8], flags: c_int) -> io::Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `bytes.len()` bytes of it.
    count(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// -1 is an error, in errno.
fn count(outcome: isize) -> io::Result<usize> {
    usize::try_from(outcome).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_arrive_or_would_block_on_a_blocking_socket() {
        let (left, right) = UnixStream::pair().unwrap();
        let mut buffer = [0; 8];
        let empty = recv(right.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(send(left.as_fd(), b"abc").unwrap(), 3);
        assert_eq!(recv(right.as_fd(), &mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
        let full = loop {
            if let Err(error) = send(left.as_fd(), &[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(right);
        // Unread bytes were lost with the peer; no signal ended this process.
        let gone = send(left.as_fd(), b"x").unwrap_err();
        assert!(
            matches!(
                gone.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            ),
            "{gone}"
        );
    }

    #[test]
    fn a_listener_is_asked_without_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let empty = accept(listener.as_fd()).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = accept_from(listener.as_fd()).unwrap();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        // SAFETY: no memory is passed.
        let (status, descriptor) = unsafe {
            (
                libc::fcntl(server.as_raw_fd(), libc::F_GETFL),
                libc::fcntl(server.as_raw_fd(), libc::F_GETFD),
            )
        };
        assert_ne!(status & libc::O_NONBLOCK, 0);
        assert_ne!(descriptor & libc::FD_CLOEXEC, 0);
        send(client.as_fd(), b"hi").unwrap();
        assert_eq!(recv(server.as_fd(), &mut [0; 8]).unwrap(), 2);
    }
}
