//! How much CPU time the control groups of this process leave it.
//!
//! Of control groups of version 2 (`cpu.max`, Documentation/admin-guide/cgroup-v2.rst).
//! A process that has used up its quota stands still until the period is over,
//! 100 ms as a rule, with all of its shards and whatever tunnels they carry.

use std::fs;
use std::path::Path;

/// The tightest CPU quota of this process, in CPUs: 1.5 is three threads at
/// work half of the time. `None`: there is none, or it is not told.
pub fn of_this_process() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    // Where version 1 has the controllers, version 2 may have a mount of its
    // own, which then has no quotas.
    read(Path::new("/sys/fs/cgroup"), &groups)
}

/// The same, of a process with these lines in /proc/PID/cgroup, where `root` is
/// the mount of version 2. Every group from its own up to the root bounds it.
pub fn read(root: &Path, groups: &str) -> Option<f64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // In a namespace of control groups a process elsewhere is shown by "..".
    let inside = !path.split('/').any(|part| part == "..");
    let own = root.join(if inside { path } else { "" });
    own.ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| fs::read_to_string(folder.join("cpu.max")).ok())
        .filter_map(|text| quota(&text))
        .min_by(f64::total_cmp)
}

/// `max 100000`, or `150000 100000`: microseconds in each period of so many.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next().map_or(Some(100_000.0), |p| p.parse().ok())?;
    let cpus = quota / period;
    (cpus.is_finite() && cpus > 0.0).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |folder: &str, text: &str| {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cpu.max"), text).unwrap();
        };
        let read = |groups: &str| read(root.path(), groups);
        assert_eq!(read("0::/"), None);
        write("a", "250000 100000\n");
        write("a/b", "max 100000\n");
        write("a/b/c", "400000 100000\n");
        write("a/d", "50000 100000\n");
        write("e", "nonsense\n");
        assert_eq!(read("0::/a/b/c\n"), Some(2.5));
        assert_eq!(read("3:cpu:/x\n0::/a/b\n"), Some(2.5));
        assert_eq!(read("0::/a/d"), Some(0.5));
        for without in ["0::/e", "0::/", "0::/gone", "3:cpu:/a\n", "0::/../a", ""] {
            assert_eq!(read(without), None, "{without}");
        }
        // In a container's own namespace its group is the root.
        write("", "150000 50000\n");
        assert_eq!(read("0::/"), Some(3.0));
        assert_eq!(read("0::/../../else"), Some(3.0));
    }
}
