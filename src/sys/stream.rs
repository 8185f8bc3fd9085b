//! Between descriptors and the executor's streams.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use glommio::net::TcpStream;

/// Hands a stream socket, TCP or Unix, to the executor of the calling thread.
/// The executor's stream does no more with it than recv(2), send(2) and
/// polling, which are the same for both.
pub(crate) fn adopt(fd: OwnedFd) -> TcpStream {
    // SAFETY: the descriptor is open and ours, and is given away here.
    unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) }
}

/// The descriptor of a stream, which stays the stream's.
pub(crate) fn borrow(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns the descriptor and is borrowed for as long.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
