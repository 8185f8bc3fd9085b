//! What a process is handed at its start: the sockets of systemd's socket
//! activation (sd_listen_fds(3)), and its standard input.

use std::env::{self, VarError};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// The variables by which sockets are passed. A process started by this one is
/// not to see them.
pub const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// One socket that was passed.
#[derive(Debug)]
pub struct Passed {
    /// Now close-on-exec.
    pub fd: OwnedFd,
    /// FileDescriptorName= of its unit; the unit's own name if there is none.
    pub name: String,
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors that LISTEN_FDS and LISTEN_PID say are ours. None, if
/// there are no such variables, or they are another process's. A second call
/// finds none.
///
/// To be called before anything else is opened: whatever has those numbers is
/// taken for what was passed.
///
/// # Errors
///
/// Variables that make no sense, and descriptors that are not open: texts that
/// name them.
pub fn passed() -> Result<Vec<Passed>, String> {
    let (Some(pid), Some(count)) = (variable("LISTEN_PID")?, variable("LISTEN_FDS")?) else {
        return Ok(Vec::new());
    };
    if pid.parse() != Ok(std::process::id()) || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let count = count
        .parse::<u16>()
        .map(RawFd::from)
        .map_err(|_| format!("LISTEN_FDS is \"{count}\", and no number of sockets"))?;
    let names = variable("LISTEN_FDNAMES")?;
    let names: Vec<&str> = names
        .as_deref()
        .filter(|names| !names.is_empty())
        .map_or_else(Vec::new, |names| names.split(':').collect());
    if !names.is_empty() && names.len() != count as usize {
        return Err(format!(
            "LISTEN_FDNAMES has {} names for the {count} sockets of LISTEN_FDS",
            names.len()
        ));
    }
    (0..count)
        .map(|index| {
            let fd = take(FIRST + index)
                .map_err(|error| format!("the passed descriptor {}: {error}", FIRST + index))?;
            let name = names.get(index as usize).copied().unwrap_or("unknown");
            Ok(Passed {
                fd,
                name: name.to_owned(),
            })
        })
        .collect()
}

fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is no text")),
    }
}

/// Takes an open descriptor, from now on close-on-exec.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; a number that is not open is refused.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and whoever started this process left it to us; it is
    // taken only once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes standard input, and leaves `/dev/null` in its place.
///
/// # Errors
///
/// Those of open(2), fcntl(2) and dup2(2).
pub fn take_stdin() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    debug_assert!(taken.as_raw_fd() > 2);
    Ok(taken)
}
