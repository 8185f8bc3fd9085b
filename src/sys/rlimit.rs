//! Resource limits of this process (getrlimit(2)).

use std::fmt;
use std::io;

/// A resource limit. The soft one is in force, and may be raised up to the hard
/// one without privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is in force.
    pub soft: u64,
    /// What `soft` may be raised to.
    pub hard: u64,
}

/// The value of a limit that is none.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: u64| match value {
            UNLIMITED => "unlimited".to_owned(),
            value => value.to_string(),
        };
        write!(f, "{} (hard {})", text(self.soft), text(self.hard))
    }
}

/// File descriptors that may be open (RLIMIT_NOFILE): one more than the highest
/// number.
pub fn nofile() -> io::Result<Limit> {
    read(libc::RLIMIT_NOFILE)
}

/// Memory that may be locked, in bytes (RLIMIT_MEMLOCK). What rings take is
/// counted per user, over all of the user's processes.
pub fn memlock() -> io::Result<Limit> {
    read(libc::RLIMIT_MEMLOCK)
}

/// Raises the soft limit of descriptors to the hard one, and tells the outcome.
pub fn raise_nofile() -> io::Result<Limit> {
    raise(libc::RLIMIT_NOFILE)
}

/// Raises the soft limit of locked memory to the hard one, and tells the
/// outcome.
pub fn raise_memlock() -> io::Result<Limit> {
    raise(libc::RLIMIT_MEMLOCK)
}

/// Raises the limit of locked memory, the hard one too, to that many bytes if
/// it is lower.
///
/// # Errors
///
/// EPERM without CAP_SYS_RESOURCE.
pub fn extend_memlock(bytes: u64) -> io::Result<()> {
    let Limit { soft, hard } = memlock()?;
    if soft < bytes {
        set(libc::RLIMIT_MEMLOCK, bytes, hard.max(bytes))?;
    }
    Ok(())
}

/// How many descriptors this process has open.
pub fn open_descriptors() -> io::Result<usize> {
    // The one that reads the directory is listed too.
    Ok(std::fs::read_dir("/proc/self/fd")?
        .count()
        .saturating_sub(1))
}

/// The same without counting them one by one, which takes a while where there
/// are many. `None`: the kernel does not say so (before 6.2).
pub fn descriptors_in_use() -> Option<u64> {
    let folder = std::fs::metadata("/proc/self/fd").ok()?;
    Some(folder.len()).filter(|count| *count > 0)
}

fn read(resource: libc::__rlimit_resource_t) -> io::Result<Limit> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit64, to where we point.
    if unsafe { libc::getrlimit64(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Limit {
        soft: limit.rlim_cur,
        hard: limit.rlim_max,
    })
}

fn raise(resource: libc::__rlimit_resource_t) -> io::Result<Limit> {
    let Limit { soft, hard } = read(resource)?;
    if soft < hard {
        set(resource, hard, hard)?;
    }
    Ok(Limit { soft: hard, hard })
}

fn set(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads one rlimit64.
    if unsafe { libc::setrlimit64(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Max open files            20000                20000                files`
    fn shown(name: &str) -> [String; 2] {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let mut words = line[name.len()..].split_whitespace().map(str::to_owned);
        [words.next().unwrap(), words.next().unwrap()]
    }

    #[test]
    fn limits_are_those_that_proc_shows_and_are_raised() {
        for (name, read, raise) in [
            (
                "Max open files",
                nofile as fn() -> _,
                raise_nofile as fn() -> io::Result<Limit>,
            ),
            ("Max locked memory", memlock, raise_memlock),
        ] {
            let raised = raise().unwrap();
            assert_eq!(raised.soft, raised.hard);
            assert_eq!(read().unwrap(), raised);
            let [soft, hard] = shown(name);
            assert_eq!(format!("{soft} (hard {hard})"), raised.to_string());
        }
    }

    #[test]
    fn open_descriptors_are_counted() {
        // Other tests open and close some at the same time, far fewer than
        // these.
        let many: Vec<_> = (0..500)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let open = open_descriptors().unwrap();
        assert!(open >= many.len() + 3, "{open}");
        drop(many);
        assert!(open_descriptors().unwrap() < open);
    }
}
