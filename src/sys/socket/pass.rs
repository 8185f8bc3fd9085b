//! Messages between two processes that carry descriptors (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair, sockopt,
};

use crate::limits;

/// One end of a pair of connected Unix sockets that keep messages apart
/// (SOCK_SEQPACKET). Nobody but the two who hold its ends can read it.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What arrived at a [`Channel`].
#[derive(Debug)]
pub enum Arrival {
    /// A message of so many bytes, at the beginning of the buffer, and the
    /// descriptors that came with it, close-on-exec.
    Message(usize, Vec<OwnedFd>),
    /// The other end has been closed.
    Closed,
    /// Nothing, in the time allowed.
    Nothing,
}

impl Channel {
    /// Both ends, close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Takes a descriptor for one end of a pair, if that is what it is.
    pub fn from_fd(fd: OwnedFd) -> Option<Self> {
        let is_one = sockopt::socket_domain(&fd).is_ok_and(|d| d == AddressFamily::UNIX)
            && sockopt::socket_type(&fd).is_ok_and(|t| t == SocketType::SEQPACKET);
        is_one.then_some(Self(fd))
    }

    /// The descriptor, for a process that is to have this end.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends a message, with at most [`limits::PASSED_DESCRIPTORS_MAX`]
    /// descriptors, waiting for room up to `patience`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut); a broken pipe if the other end
    /// has been closed; else those of sendmsg(2).
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
        let due = Instant::now() + patience;
        loop {
            let mut space = [MaybeUninit::uninit();
                rustix::cmsg_space!(ScmRights(limits::PASSED_DESCRIPTORS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::Error::other("too many descriptors for one message"));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if !self.wait(PollFlags::OUT, due)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the next message, waiting for it up to `patience`.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2), and a message that is longer than the buffer, or
    /// has more descriptors than may be: it is lost, and they are closed.
    pub fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Arrival> {
        let due = Instant::now() + patience;
        loop {
            let mut space = [MaybeUninit::uninit();
                rustix::cmsg_space!(ScmRights(limits::PASSED_DESCRIPTORS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut parts, &mut control, flags) {
                Ok(message) => {
                    let mut fds = Vec::new();
                    for part in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(rights) = part {
                            fds.extend(rights);
                        }
                    }
                    if message
                        .flags
                        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
                    {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "a message arrived cut short; the limit of descriptors may be reached",
                        ));
                    }
                    // No message is empty.
                    return Ok(match message.bytes {
                        0 => Arrival::Closed,
                        length => Arrival::Message(length, fds),
                    });
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if !self.wait(PollFlags::IN, due)? {
                        return Ok(Arrival::Nothing);
                    }
                }
                Err(rustix::io::Errno::CONNRESET) => return Ok(Arrival::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether it is ready before that moment.
    fn wait(&self, what: PollFlags, due: Instant) -> io::Result<bool> {
        let left = due.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.0, what)], Some(&left)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (one, other) = Channel::pair().unwrap();
        let (mut end, far) = std::os::unix::net::UnixStream::pair().unwrap();
        one.send(b"first", &[far.as_fd()], PATIENCE).unwrap();
        one.send(b"second", &[], PATIENCE).unwrap();
        drop(far);
        let mut buffer = [0; 64];
        let Arrival::Message(5, fds) = other.receive(&mut buffer, PATIENCE).unwrap() else {
            panic!("not the first");
        };
        assert_eq!((&buffer[..5], fds.len()), (&b"first"[..], 1));
        let mut passed = File::from(fds.into_iter().next().unwrap());
        passed.write_all(b"through").unwrap();
        drop(passed);
        let mut text = String::new();
        end.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        let second = other.receive(&mut buffer, PATIENCE).unwrap();
        assert!(matches!(&second, Arrival::Message(6, fds) if fds.is_empty()));
        let none = other.receive(&mut buffer, Duration::ZERO).unwrap();
        assert!(matches!(none, Arrival::Nothing), "{none:?}");
        drop(one);
        let end = other.receive(&mut buffer, PATIENCE).unwrap();
        assert!(matches!(end, Arrival::Closed), "{end:?}");
        assert!(other.send(b"x", &[], PATIENCE).is_err());
    }

    #[test]
    fn as_many_descriptors_as_the_kernel_takes_go_in_one_message() {
        let (one, other) = Channel::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        let most = vec![file.as_fd(); limits::PASSED_DESCRIPTORS_MAX];
        one.send(b"many", &most, PATIENCE).unwrap();
        let mut buffer = [0; 8];
        let Arrival::Message(4, fds) = other.receive(&mut buffer, PATIENCE).unwrap() else {
            panic!("nothing");
        };
        assert_eq!(fds.len(), most.len());
        let more = vec![file.as_fd(); limits::PASSED_DESCRIPTORS_MAX + 1];
        assert!(one.send(b"more", &more, PATIENCE).is_err());
    }

    #[test]
    fn a_message_that_is_too_long_is_an_error() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"0123456789", &[], PATIENCE).unwrap();
        let error = other.receive(&mut [0; 4], PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn other_descriptors_are_no_channel() {
        let file = File::open("/dev/null").unwrap();
        assert!(Channel::from_fd(file.into()).is_none());
        let (one, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Channel::from_fd(one.into()).is_none());
        let (one, _other) = Channel::pair().unwrap();
        assert!(Channel::from_fd(one.into_fd()).is_some());
    }
}
