//! The socket of a daemon that takes lines as datagrams.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::limits;

/// The way to a daemon's datagram socket.
///
/// A daemon may go away and come back at any time. Every packet tries to reach
/// it anew while it is away: that costs two system calls on a thread which has
/// nothing better to do, and so the first that can get through does.
#[derive(Debug)]
pub(super) struct Datagram {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

/// Why a packet did not reach the daemon.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// There is one, and it does not read, or will not have this packet.
    Jammed(io::Error),
    /// There is none.
    Away(io::Error),
}

impl Datagram {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, socket: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a packet over the socket there is, or over a new one if that one
    /// leads nowhere any more; if the socket finds it too long, what `shorter`
    /// makes of it. Only a socket that works is kept: a daemon that hangs may
    /// have been replaced by the time of the next packet.
    pub(super) fn send(
        &mut self,
        packet: &[u8],
        shorter: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), Undelivered> {
        if let Some(socket) = self.socket.take() {
            match send_fitting(&socket, packet, &shorter) {
                Ok(()) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                Err(jammed @ Undelivered::Jammed(_)) => return Err(jammed),
                Err(Undelivered::Away(_)) => {}
            }
        }
        let socket = self.connect().map_err(Undelivered::Away)?;
        send_fitting(&socket, packet, &shorter)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// A socket that leads to the daemon. It blocks, with a time limit that the
    /// kernel keeps: a short wait for a daemon that is behind with its reading.
    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(limits::SYSLOG_WAIT))?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

/// Sends a packet, and again cut short if the socket finds it too long.
fn send_fitting(
    socket: &UnixDatagram,
    packet: &[u8],
    shorter: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<(), Undelivered> {
    let mut outcome = send(socket, packet);
    if let Err(error) = &outcome
        && error.raw_os_error() == Some(libc::EMSGSIZE)
        && let Some(packet) = shorter(packet)
    {
        outcome = send(socket, &packet);
    }
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.raw_os_error() {
            // After the time limit of a blocking socket, too, it is EAGAIN.
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EMSGSIZE) => {
                Undelivered::Jammed(error)
            }
            _ => Undelivered::Away(error),
        }),
    }
}

/// A socket with a time limit is interrupted by what else it is not, such as a
/// process that is frozen and goes on (signal(7)).
fn send(socket: &UnixDatagram, packet: &[u8]) -> io::Result<usize> {
    loop {
        match socket.send(packet) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_the_socket_finds_too_long_is_cut() {
        let (ours, daemons) = UnixDatagram::pair().expect("a pair");
        // Longer than any send buffer takes in one message.
        let packet = vec![b'x'; 64 * 1024 * 1024];
        let shorter = |packet: &[u8]| Some(packet[..1000].to_vec());
        assert!(send_fitting(&ours, &packet, shorter).is_ok());
        let mut received = [0; 4096];
        let length = daemons.recv(&mut received).expect("a packet");
        assert_eq!(length, 1000);
        let jammed = send_fitting(&ours, &packet, |_| None);
        assert!(matches!(jammed, Err(Undelivered::Jammed(_))));
    }
}
