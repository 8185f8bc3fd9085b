//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::account::effective_uid;

/// A process that connected to a Unix socket, as it was then (SO_PEERCRED,
/// unix(7)). The kernel says so, and not the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id, as seen from here; 0 if it is in a PID namespace that
    /// cannot be seen from here.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl Peer {
    /// Whether it may be told everything, and give orders: it is root's, or of
    /// the user that this process runs as.
    pub fn is_trusted(self) -> bool {
        self.uid == 0 || self.uid == effective_uid()
    }
}

/// Who is at the other end of a connected Unix socket.
///
/// # Errors
///
/// The socket is no Unix socket, or not connected.
pub fn of(socket: impl AsFd) -> io::Result<Peer> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, to a value that has as
    // many and may have any bits, and the length that it wrote. The descriptor
    // is open for as long as it is borrowed.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // A TCP socket gives nobody's: the process 0 and the user -1.
    if length as usize != size_of::<libc::ucred>() || credentials.uid == u32::MAX {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Peer {
        pid: u32::try_from(credentials.pid).unwrap_or(0),
        uid: credentials.uid,
        gid: credentials.gid,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let peer = of(&one).expect("a peer");
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, effective_uid());
        assert!(peer.is_trusted());
        let other = Peer {
            uid: effective_uid() + 1,
            ..peer
        };
        assert!(!other.is_trusted());
        assert!(Peer { uid: 0, ..peer }.is_trusted());
    }

    #[test]
    fn a_tcp_socket_has_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).expect("connected");
        assert!(of(&stream).is_err());
    }
}
