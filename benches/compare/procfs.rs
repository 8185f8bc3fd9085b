//! What the kernel tells of a process, proc(5).

use std::fs;
use std::time::Duration;

/// A process and all that descend from it, each with the time it was started
/// at, by which it is told from a later process of the same number.
pub(crate) fn family(pid: u32) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        if let Some(started) = started(pid) {
            found.push((pid, started));
            open.extend(children(pid));
        }
    }
    found
}

/// When the process was started, in clock ticks since the machine was.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; the 22nd field is the 20th
    // after it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The processes whose parent it is.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for thread in threads(pid) {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
        found.extend(
            list.unwrap_or_default()
                .split_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    found
}

/// CPU time that the threads of the process have used so far, exactly
/// (schedstat). Threads that have ended do not count.
pub(crate) fn cpu(pid: u32) -> Duration {
    let time = |thread: u32| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(threads(pid).into_iter().filter_map(time).sum())
}

/// Memory of the process's own that is in RAM (RssAnon), in bytes.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
