//! What this machine and this process are.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

use crate::sys::ring::{self, COOP_TASKRUN, IoUringParams};
use crate::sys::rlimit::{self, Limit, UNLIMITED};

/// What this machine and this process are, as far as it matters. A file of
/// /proc that cannot be read leaves its fact out, and then nothing is made of
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The running kernel.
    pub kernel: Kernel,
    /// How it went to set up a small ring.
    pub ring: Trial,
    /// The sysctl `kernel.io_uring_disabled`: 0 lets everybody, 1 the
    /// privileged and one group, 2 nobody. Kernels before 6.6 have none.
    pub io_uring_disabled: Option<u32>,
    /// Whether this process belongs to the group that
    /// `kernel.io_uring_disabled=1` makes an exception for.
    pub in_io_uring_group: bool,
    /// Whether a seccomp filter is in force.
    pub seccomp_filter: bool,
    /// Locked memory, in bytes.
    pub memlock: Limit,
    /// Whether the limit of locked memory does not apply (CAP_IPC_LOCK, in the
    /// machine's own user namespace).
    pub may_lock_any: bool,
    /// Whether it is privileged as `kernel.io_uring_disabled=1` understands it
    /// (CAP_SYS_ADMIN, in the machine's own user namespace).
    pub is_administrator: bool,
    /// Descriptors.
    pub nofile: Limit,
    /// Descriptors open now.
    pub descriptors_open: usize,
    /// What every listen backlog is cut to (`net.core.somaxconn`).
    pub somaxconn: Option<u32>,
    /// Whether connections queued at a listener that closes move to another of
    /// its group (`net.ipv4.tcp_migrate_req`).
    pub tcp_migrate_req: Option<bool>,
}

/// A kernel's version. Ordered by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// How it went to set up a small ring, ask what it can do, and enter it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It can be used.
    Usable {
        /// Whether completions need not interrupt the core
        /// (IORING_SETUP_COOP_TASKRUN).
        cooperative: bool,
        /// Operations that glommio demands, and this kernel has not.
        missing: Vec<&'static str>,
    },
    /// The kernel, or something in front of it, refused.
    Refused {
        /// The system call.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
}

impl Facts {
    /// Looks at this machine and this process.
    pub fn gather() -> Self {
        // Of this thread, since that is what its filter and its privileges
        // belong to; new threads take them over.
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let capabilities = field("CapEff")
            .filter(|_| in_first_user_namespace())
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .unwrap_or(0);
        const CAP_IPC_LOCK: u64 = 1 << 14;
        const CAP_SYS_ADMIN: u64 = 1 << 21;
        const SECCOMP_MODE_FILTER: &str = "2";
        let io_uring_group: Option<i64> = sysctl("kernel/io_uring_group");
        let groups = || {
            let effective = field("Gid").and_then(|gids| gids.split_whitespace().nth(1));
            let supplementary = field("Groups").unwrap_or("").split_whitespace();
            supplementary
                .chain(effective)
                .filter_map(|gid| gid.parse::<i64>().ok())
                .collect::<Vec<_>>()
        };
        let unlimited = Limit {
            soft: UNLIMITED,
            hard: UNLIMITED,
        };
        Self {
            kernel: Kernel::running(),
            ring: Trial::make(),
            io_uring_disabled: sysctl("kernel/io_uring_disabled"),
            in_io_uring_group: io_uring_group.is_some_and(|gid| groups().contains(&gid)),
            seccomp_filter: field("Seccomp") == Some(SECCOMP_MODE_FILTER),
            memlock: rlimit::memlock().unwrap_or(unlimited),
            may_lock_any: capabilities & CAP_IPC_LOCK != 0,
            is_administrator: capabilities & CAP_SYS_ADMIN != 0,
            nofile: rlimit::nofile().unwrap_or(unlimited),
            descriptors_open: rlimit::open_descriptors().unwrap_or(0),
            somaxconn: sysctl("net/core/somaxconn"),
            tcp_migrate_req: sysctl::<u32>("net/ipv4/tcp_migrate_req").map(|value| value != 0),
        }
    }
}

impl Trial {
    /// Makes one, and closes what it opened.
    fn make() -> Self {
        match Self::attempt() {
            Ok(usable) => usable,
            Err((call, error)) => Self::Refused {
                call,
                errno: error.raw_os_error().unwrap_or(libc::EIO),
            },
        }
    }

    fn attempt() -> Result<Self, (&'static str, io::Error)> {
        const ENTRIES: u32 = 4;
        let mut params = IoUringParams::default();
        let ring = ring::set_up_cooperative(ENTRIES, &mut params)
            .map_err(|error| ("io_uring_setup", error))?;
        let supported = match ring::supported_operations(ring.as_fd()) {
            // Kernels before 5.6 cannot be asked.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Vec::new(),
            outcome => outcome.map_err(|error| ("io_uring_register", error))?,
        };
        ring::enter(ring.as_fd()).map_err(|error| ("io_uring_enter", error))?;
        Ok(Self::Usable {
            cooperative: params.flags & COOP_TASKRUN != 0,
            missing: OPERATIONS
                .iter()
                .filter(|&&(number, _)| supported.get(number) != Some(&true))
                .map(|&(_, name)| name)
                .collect(),
        })
    }
}

/// The operations that glommio 0.9.0 ends the process without, by their number
/// in the kernel's `enum io_uring_op`.
const OPERATIONS: &[(usize, &str)] = &[
    (0, "NOP"),
    (1, "READV"),
    (2, "WRITEV"),
    (3, "FSYNC"),
    (4, "READ_FIXED"),
    (5, "WRITE_FIXED"),
    (6, "POLL_ADD"),
    (7, "POLL_REMOVE"),
    (9, "SENDMSG"),
    (10, "RECVMSG"),
    (11, "TIMEOUT"),
    (12, "TIMEOUT_REMOVE"),
    (13, "ACCEPT"),
    (15, "LINK_TIMEOUT"),
    (16, "CONNECT"),
    (17, "FALLOCATE"),
    (18, "OPENAT"),
    (19, "CLOSE"),
    (21, "STATX"),
    (22, "READ"),
    (23, "WRITE"),
    (26, "SEND"),
    (27, "RECV"),
];

impl Kernel {
    /// The running one; 0.0 if it hides its version.
    pub fn running() -> Self {
        sysctl("kernel/osrelease").unwrap_or(Self { major: 0, minor: 0 })
    }
}

impl From<(u32, u32)> for Kernel {
    fn from((major, minor): (u32, u32)) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The first two numbers of a release such as `6.18.44-generic` or `7.0-rc1`.
impl FromStr for Kernel {
    type Err = ();

    fn from_str(release: &str) -> Result<Self, ()> {
        let mut numbers = release.splitn(3, |c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|n| n.parse().ok()).ok_or(());
        Ok(Self {
            major: next()?,
            minor: next()?,
        })
    }
}

fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/{name}"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Whether this is the machine's own user namespace: in any other, root has all
/// capabilities and the kernel heeds none of those that matter here.
fn in_first_user_namespace() -> bool {
    // user_namespaces(7): the whole range of user ids, mapped to itself.
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        let read = |release: &str| release.parse::<Kernel>().map(|k| (k.major, k.minor));
        assert_eq!(read("6.18.44-fc-v669"), Ok((6, 18)));
        assert_eq!(read("5.4.0-150-generic"), Ok((5, 4)));
        assert_eq!(read("7.0-rc1"), Ok((7, 0)));
        assert_eq!(read("7.0"), Ok((7, 0)));
        assert_eq!(read("plan9"), Err(()));
        assert!(Kernel::from((5, 19)) > Kernel::from((5, 8)));
        assert!(Kernel::from((6, 0)) > Kernel::from((5, 19)));
    }

    #[test]
    fn operations_beyond_the_kernels_last_count_as_missing() {
        let params = &mut IoUringParams::default();
        let ring = ring::set_up_cooperative(4, params).unwrap();
        let supported = ring::supported_operations(ring.as_fd()).unwrap();
        assert!(supported[OPERATIONS[0].0]);
        // The array that was asked for is longer than what the kernel knows.
        assert!(supported.len() < 256, "{}", supported.len());
    }
}
