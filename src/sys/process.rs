//! What the kernel keeps of this process (proc(5)).

use std::fs;
use std::time::Duration;

use super::{cpu_time, rlimit};

/// What the kernel keeps of this process at one moment. What it does not tell,
/// as where there is no `/proc`, is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// The processor time of all its threads.
    pub cpu_time: Option<Duration>,
    /// When it began, in seconds of Unix time.
    pub started_unix_seconds: Option<f64>,
    /// Memory that is in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Memory that it may refer to, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Descriptors that are open.
    pub open_descriptors: Option<u64>,
    /// Descriptors that may be open (RLIMIT_NOFILE).
    pub max_descriptors: Option<u64>,
    /// Its threads.
    pub threads: Option<u64>,
}

/// Clock ticks in a second, as `/proc` counts them: the same on every
/// architecture.
const USER_HZ: f64 = 100.0;

impl Process {
    /// This process, now.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat = Stat::parse(&stat);
        let number = |field: &Option<Stat>, of: fn(&Stat) -> u64| field.as_ref().map(of);
        Self {
            cpu_time: cpu_time::of_process(std::process::id()).ok(),
            started_unix_seconds: number(&stat, |stat| stat.start_ticks)
                .zip(boot_unix_seconds())
                .map(|(ticks, boot)| boot as f64 + ticks as f64 / USER_HZ),
            resident_bytes: resident_bytes(),
            virtual_bytes: number(&stat, |stat| stat.virtual_bytes),
            open_descriptors: rlimit::descriptors_in_use()
                .or_else(|| rlimit::open_descriptors().ok().map(|n| n as u64)),
            max_descriptors: rlimit::nofile().ok().map(|limit| limit.soft),
            threads: number(&stat, |stat| stat.threads),
        }
    }
}

/// For how long one of this process's threads could have run while something
/// else had its CPU. `None` where the kernel does not count that.
pub fn thread_waited(thread: u32) -> Option<Duration> {
    // "run wait slices", in nanoseconds (sched-stats.rst in the kernel's
    // documentation).
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

struct Stat {
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field, in brackets, may hold anything, brackets too.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // proc(5) counts from 1, and the first here is the third there.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
        })
    }
}

/// `VmRSS` of `status` is in KiB, whatever the size of a page is;
/// `statm` is not.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn boot_unix_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let process = Process::now();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        let started = process.started_unix_seconds.expect("a start");
        let age = now.as_secs_f64() - started;
        assert!((-2.0..3600.0).contains(&age), "{process:?}");
        assert!(process.cpu_time.expect("a time") < Duration::from_secs(3600));
        let (resident, all) = (process.resident_bytes, process.virtual_bytes);
        assert!(resident > Some(1 << 20) && resident < all, "{process:?}");
        assert!(process.open_descriptors >= Some(3), "{process:?}");
        assert!(process.open_descriptors <= process.max_descriptors);
        assert!(process.threads >= Some(1), "{process:?}");
    }

    #[test]
    fn a_thread_that_is_not_there_has_not_waited() {
        assert_eq!(thread_waited(0), None);
        let own = thread_waited(cpu_time::this_thread());
        assert!(own < Some(Duration::from_secs(3600)), "{own:?}");
    }

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let text = "7 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 9 0 555 1234 99 0";
        let stat = Stat::parse(text).expect("a line");
        assert_eq!(
            (stat.threads, stat.start_ticks, stat.virtual_bytes),
            (9, 555, 1234)
        );
        assert!(Stat::parse("").is_none());
    }
}
