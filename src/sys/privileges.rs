//! Giving up what a process may do beyond others.
//!
//! Users and groups belong to each thread as the kernel sees it, and to the
//! process as the C library does, whose calls reach every thread; those are the
//! ones used here. Capabilities, the bounding set and no-new-privileges are the
//! calling thread's alone, and are handed on to the threads that it starts.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::account::Account;

/// What a process may be left with (capabilities(7)), by its number in the
/// kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Capability {
    /// To bind ports below `net.ipv4.ip_unprivileged_port_start`
    /// (CAP_NET_BIND_SERVICE).
    NetBindService = 10,
    /// To connect from addresses that are not this machine's (CAP_NET_ADMIN).
    NetAdmin = 12,
}

impl Capability {
    fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// From now on nothing that this thread executes, nor any thread that it
/// starts, gains a right by that: no set-user-ID bit and no capability of a
/// file counts (PR_SET_NO_NEW_PRIVS).
///
/// # Errors
///
/// A kernel without it.
pub fn gain_nothing() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Whether a core of this process may be written, and whether other processes
/// of its user may read its memory (PR_SET_DUMPABLE).
///
/// # Errors
///
/// None that is known of.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0)
}

/// Takes every capability but these out of what this thread, and those that it
/// starts, can ever have again (PR_CAPBSET_DROP). What it has now it keeps.
///
/// # Errors
///
/// EPERM without CAP_SETPCAP.
pub fn bound_capabilities(keep: &[Capability]) -> io::Result<()> {
    let keep: u64 = keep.iter().map(|capability| capability.bit()).sum();
    for number in 0..u64::BITS {
        if keep >> number & 1 == 1 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0) {
            // Past the last that this kernel has.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Makes a folder the root of every path for the whole process, and the
/// working directory (chroot(2)).
///
/// # Errors
///
/// EPERM without CAP_SYS_CHROOT, and those of a path that cannot be used.
pub fn enter_root(folder: &Path) -> io::Result<()> {
    std::os::unix::fs::chroot(folder)?;
    std::env::set_current_dir("/")
}

/// How something is opened for its name alone: no link is followed, no device
/// or pipe is woken, and nothing can be read (O_PATH, open(2)).
pub const OPEN_AS_NAME: libc::c_int = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// Makes what was opened with [`OPEN_AS_NAME`] this user's own.
///
/// # Errors
///
/// Those of fchownat(2).
pub fn give_away(thing: BorrowedFd<'_>, user: &Account) -> io::Result<()> {
    // SAFETY: the empty path, with its terminating zero, has the descriptor
    // itself changed.
    check(unsafe {
        libc::fchownat(
            thing.as_raw_fd(),
            c"".as_ptr(),
            user.uid,
            user.gid,
            libc::AT_EMPTY_PATH,
        )
    })
}

/// Whether this process may make and remove files in that folder (access(2), by
/// the rights that are in force).
pub fn may_write_in(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the path ends with a zero.
    let outcome = unsafe {
        libc::faccessat(
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::W_OK | libc::X_OK,
            libc::AT_EACCESS,
        )
    };
    outcome == 0
}

/// Acts as this user, and for its groups alone, in every thread and for good.
/// The calling thread, and those that it starts from now on, keep these
/// capabilities as far as they have them, also through execve(2) (ambient
/// capabilities); no other thread keeps any.
///
/// # Errors
///
/// What the kernel refuses, and [`io::ErrorKind::Other`] if anything is left
/// of the rights of before. The process must end then: it may be in between.
pub fn become_user(user: &Account, keep: &[Capability]) -> io::Result<()> {
    let held = permitted()?;
    let keep: Vec<Capability> = keep
        .iter()
        .copied()
        .filter(|capability| held & capability.bit() != 0)
        .collect();
    let mask: u64 = keep.iter().map(|capability| capability.bit()).sum();
    // Else changing the user clears the permitted set too.
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    // SAFETY: the groups are read, as many as there are.
    let outcome = unsafe { libc::setgroups(user.groups.len(), user.groups.as_ptr()) };
    check(outcome)?;
    // SAFETY: these take numbers alone.
    check(unsafe { libc::setresgid(user.gid, user.gid, user.gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(user.uid, user.uid, user.uid) })?;
    set_capabilities(mask)?;
    for capability in &keep {
        prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
            *capability as libc::c_ulong,
        )?;
    }
    prctl(libc::PR_SET_KEEPCAPS, 0, 0)?;
    verify(user, mask)
}

/// Has a thread of its own, which is that user and has no capability, do
/// something. All other threads stay as they are; for as long as it takes, none
/// of them may change its user.
///
/// # Errors
///
/// What the kernel refuses; a thread that cannot be had.
pub fn look_as<T: Send>(user: &Account, look: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            // SAFETY: the groups are read, as many as there are; the others
            // take numbers alone. They are made without the C library, and so
            // concern this thread alone.
            unsafe {
                check(libc::syscall(
                    libc::SYS_setgroups,
                    user.groups.len(),
                    user.groups.as_ptr(),
                ))?;
                check(libc::syscall(
                    libc::SYS_setresgid,
                    user.gid,
                    user.gid,
                    user.gid,
                ))?;
                check(libc::syscall(
                    libc::SYS_setresuid,
                    user.uid,
                    user.uid,
                    user.uid,
                ))?;
            }
            Ok(look())
        })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the look has panicked")))
    })
}

/// Looks at what is left, in every thread where /proc tells it.
fn verify(user: &Account, mask: u64) -> io::Result<()> {
    let left = |what: String| Err(io::Error::other(what));
    if user.uid != 0 {
        // SAFETY: these take numbers alone. They are made without the C
        // library, which would ask every thread.
        let (group, back) = unsafe {
            (
                libc::syscall(libc::SYS_setresgid, 0, 0, 0),
                libc::syscall(libc::SYS_setresuid, 0, 0, 0),
            )
        };
        if back == 0 || (group == 0 && user.gid != 0) {
            return left("root could be become again".into());
        }
    }
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Ok(());
    };
    for task in tasks {
        let path = task?.path();
        let status = match fs::read_to_string(path.join("status")) {
            Ok(status) => status,
            // A thread that has ended meanwhile.
            Err(_) => continue,
        };
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or("")
        };
        let all_are = |name: &str, id: u32| {
            let mut ids = field(name).split_whitespace().map(str::parse::<u32>);
            ids.all(|found| found == Ok(id))
        };
        if !all_are("Uid", user.uid) || !all_are("Gid", user.gid) {
            return left(format!("thread {} acts as another user", path.display()));
        }
        let mut groups = field("Groups").split_whitespace();
        if !groups.all(|group| group.parse().is_ok_and(|g| user.groups.contains(&g))) {
            return left(format!("thread {} has other groups", path.display()));
        }
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            let found = u64::from_str_radix(field(set).trim(), 16).unwrap_or(0);
            if user.uid != 0 && found & !mask != 0 {
                return left(format!(
                    "thread {} has kept capabilities ({set} {found:x})",
                    path.display()
                ));
            }
        }
    }
    Ok(())
}

/// capset(2)'s header; a pid of 0 is the calling thread.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: libc::c_int,
}

/// Half of each set.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const HEADER: CapHeader = CapHeader {
    // _LINUX_CAPABILITY_VERSION_3
    version: 0x2008_0522,
    pid: 0,
};

/// What this thread may make use of.
fn permitted() -> io::Result<u64> {
    let mut data = [CapData::default(); 2];
    let mut header = HEADER;
    // SAFETY: version 3 writes two halves, to where we point, and may write
    // the version to the header.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_capget,
            &raw mut header,
            data.as_mut_ptr().cast::<CapData>(),
        )
    };
    check(outcome)?;
    Ok(u64::from(data[1].permitted) << 32 | u64::from(data[0].permitted))
}

/// Makes this set the permitted, the effective and the inheritable one.
fn set_capabilities(mask: u64) -> io::Result<()> {
    let half = |bits: u64| {
        let bits = (bits & u64::from(u32::MAX)) as u32;
        CapData {
            effective: bits,
            permitted: bits,
            inheritable: bits,
        }
    };
    let data = [half(mask), half(mask >> 32)];
    let mut header = HEADER;
    // SAFETY: version 3 reads two halves from where we point.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<()> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the options used here take numbers alone.
    check(unsafe { libc::prctl(option, first, second, NONE, NONE) })
}

fn check(outcome: impl Into<i64>) -> io::Result<()> {
    if outcome.into() < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
