//! What a service tells its manager: the datagrams of sd_notify(3).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::time::{ClockId, clock_gettime};

/// The way to a service manager.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// The one that NOTIFY_SOCKET names. `None` without that variable.
    ///
    /// # Errors
    ///
    /// A text that names the variable and what is wrong with it, or with the
    /// socket.
    pub fn from_environment() -> Result<Option<Self>, String> {
        let name: OsString = match env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => name,
            _ => return Ok(None),
        };
        Self::at(&name)
            .map(Some)
            .map_err(|error| format!("NOTIFY_SOCKET {}: {error}", name.display()))
    }

    /// The one at that socket: an absolute path, or `@` and an abstract name.
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("it is neither a path nor begins with @")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // What cannot be sent at once is left out: a manager that does not read
        // must not hold us up.
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Sends assignments, one on each line.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2).
    pub fn send(&self, text: &str) -> io::Result<()> {
        self.socket.send(text.as_bytes()).map(|_| ())
    }

    /// Waits until the manager has read all that was sent before
    /// (sd_notify_barrier(3)), up to `patience`. Whether it has.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2).
    pub fn barrier(&self, patience: Duration) -> io::Result<bool> {
        // The manager closes what it is sent, once it has come to it.
        let (kept, sent) = io::pipe()?;
        let fds: [BorrowedFd<'_>; 1] = [sent.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let text = [IoSlice::new(b"BARRIER=1")];
        sendmsg(&self.socket, &text, &mut control, SendFlags::NOSIGNAL)?;
        drop(sent);
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut watched = [PollFd::new(&kept, PollFlags::empty())];
        Ok(poll(&mut watched, Some(&patience))? > 0)
    }
}

/// How often this process must show that it is alive: at least once in this
/// time (sd_watchdog_enabled(3)). `None`: nobody asks.
///
/// # Errors
///
/// A WATCHDOG_USEC that is no time.
pub fn watchdog() -> Result<Option<Duration>, String> {
    let Ok(micros) = env::var("WATCHDOG_USEC") else {
        return Ok(None);
    };
    let whose = env::var("WATCHDOG_PID");
    if whose.is_ok_and(|pid| pid.parse() != Ok(std::process::id())) {
        return Ok(None);
    }
    match micros.parse() {
        Ok(0) | Err(_) => Err(format!(
            "WATCHDOG_USEC is \"{micros}\", and no number of microseconds"
        )),
        Ok(micros) => Ok(Some(Duration::from_micros(micros))),
    }
}

/// CLOCK_MONOTONIC, in microseconds, by which a manager tells whether a reload
/// is the one that it asked for.
pub fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn receive(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_found_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("adit-test-{}", path.display());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        for (place, socket) in [
            (path.clone().into_os_string(), &at_path),
            (format!("@{name}").into(), &at_name),
        ] {
            let manager = Manager::at(&place).unwrap();
            manager.send("READY=1\nSTATUS=x").unwrap();
            assert_eq!(receive(socket), "READY=1\nSTATUS=x");
        }
        assert!(Manager::at(OsStr::new("relative")).is_err());
        assert!(Manager::at(OsStr::new("/nonexistent/notify")).is_err());
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _silent = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str()).unwrap();
        let refused = (0..100_000).find_map(|_| manager.send("STATUS=x").err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_barrier_ends_when_its_descriptor_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.as_os_str()).unwrap();
        // The descriptor waits in the queue, unread.
        assert!(!manager.barrier(Duration::from_millis(10)).unwrap());
        // Read by plain recv, it is closed by the kernel.
        let reading = std::thread::spawn(move || {
            let first = receive(&socket);
            (first, receive(&socket))
        });
        assert!(manager.barrier(PATIENCE).unwrap());
        let (first, second) = reading.join().unwrap();
        assert_eq!((&*first, &*second), ("BARRIER=1", "BARRIER=1"));
    }

    #[test]
    fn the_clock_goes_on() {
        let before = monotonic_micros();
        assert!(before > 0 && monotonic_micros() >= before);
    }
}
