//! What a server's processes have used, read from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::Duration;

use crate::sys::cpu_time;

/// The processes of a server, named by some of their ids.
#[derive(Clone, Debug)]
pub(super) struct Processes(Vec<u32>);

/// What they had used by one moment, and hold at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// All of them, with their children.
    pub(super) pids: Vec<u32>,
    pub(super) cpu: Duration,
    /// What of it was spent in user space and in the kernel, to within ticks of
    /// 10 ms.
    pub(super) user: Duration,
    pub(super) system: Duration,
    /// For how long its threads of this moment have waited for a CPU on which
    /// something else ran.
    pub(super) waited: Duration,
    /// Anonymous resident memory (RssAnon, proc_pid_status(5)). Pages that
    /// children have in common with their parent are counted for each.
    pub(super) memory_bytes: u64,
    pub(super) threads: u64,
    /// Open descriptors; `None` if they may not be looked at.
    pub(super) descriptors: Option<u64>,
}

/// Ticks of `/proc/PID/stat` in a second: USER_HZ, on every architecture that
/// adit runs on.
const TICKS_PER_SECOND: u64 = 100;

impl Processes {
    /// # Errors
    ///
    /// There is no process of one of these ids, or it may not be read.
    pub(super) fn new(pids: &[u32]) -> Result<Self, String> {
        for pid in pids {
            stat(*pid).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    format!("there is no process {pid}")
                } else {
                    format!("process {pid} cannot be looked at: {error}")
                }
            })?;
        }
        Ok(Self(pids.to_vec()))
    }

    /// Whether there are any to read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The figures of this moment.
    ///
    /// # Errors
    ///
    /// A process that was named is not there any more.
    pub(super) fn read(&self) -> Result<Reading, String> {
        let mut reading = Reading::default();
        for pid in family(&self.0) {
            let named = self.0.contains(&pid);
            match reading.add(pid) {
                Ok(()) => reading.pids.push(pid),
                // A child that has ended by now is in what its parent's
                // children have used.
                Err(_) if !named => {}
                Err(error) => return Err(format!("process {pid} is gone: {error}")),
            }
        }
        Ok(reading)
    }
}

impl Reading {
    fn add(&mut self, pid: u32) -> io::Result<()> {
        let stat = stat(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        // The clock has the threads that have ended as well. What children had
        // used that were waited for is known in ticks only.
        let own = cpu_time::of_process(pid).unwrap_or(stat.user + stat.system);
        self.cpu += own + stat.children_user + stat.children_system;
        self.user += stat.user + stat.children_user;
        self.system += stat.system + stat.children_system;
        self.waited += waited(pid);
        self.memory_bytes += 1024 * field(&status, "RssAnon").unwrap_or(0);
        self.threads += field(&status, "Threads").unwrap_or(0);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok();
        if let Some(descriptors) = descriptors {
            *self.descriptors.get_or_insert(0) += descriptors.count() as u64;
        }
        Ok(())
    }
}

/// These processes and all that descend from them, each once.
fn family(pids: &[u32]) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Ok(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut family = BTreeSet::new();
    let mut next = pids.to_vec();
    while let Some(pid) = next.pop() {
        if family.insert(pid)
            && let Some(children) = children.get(&pid)
        {
            next.extend(children);
        }
    }
    family
}

/// What is wanted of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug)]
struct Stat {
    parent: u32,
    user: Duration,
    system: Duration,
    children_user: Duration,
    children_system: Duration,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| io::Error::other("its stat is in no known form"))
}

fn parse(text: &str) -> Option<Stat> {
    // The name, in brackets, may hold blanks and brackets.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // The first of these is the third in the manual.
    let number = |manual: usize| fields.get(manual - 3)?.parse::<u64>().ok();
    let time =
        |manual| number(manual).map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND));
    Some(Stat {
        parent: number(4)?.try_into().ok()?,
        user: time(14)?,
        system: time(15)?,
        children_user: time(16)?,
        children_system: time(17)?,
    })
}

/// What the threads of a process have waited for a CPU, as far as the kernel
/// tells (Documentation/scheduler/sched-stats.rst).
fn waited(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    };
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(of_task)
        .sum()
}

/// A number of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_may_look_like_anything() {
        let text = "7 (a) R 1 (b) S 3 7 7 0 -1 4194560 1 0 0 0 250 50 100 200 20 0 1 0 5\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.parent, 3);
        assert_eq!(stat.user, Duration::from_millis(2500));
        assert_eq!(stat.system, Duration::from_millis(500));
        assert_eq!(stat.children_user, Duration::from_secs(1));
        assert_eq!(stat.children_system, Duration::from_secs(2));
        assert!(parse("7 (a) R").is_none());
    }

    #[test]
    fn children_belong_to_it_while_they_live_and_after() {
        // A shell whose child works until it is told to end, and is waited for.
        let script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo; read x'; \
                      echo; read y";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        let processes = Processes::new(&[shell.id()]).unwrap();
        let alive = processes.read().unwrap();
        assert_eq!(alive.pids.len(), 2, "{alive:?}");
        assert!(alive.cpu > Duration::from_millis(20), "{alive:?}");
        assert!(alive.memory_bytes > 0 && alive.threads == 2, "{alive:?}");
        assert!(alive.descriptors.unwrap() >= 6, "{alive:?}");
        use std::io::Write as _;
        let mut stdin = shell.stdin.take().unwrap();
        stdin.write_all(b"\n").unwrap();
        lines.next().unwrap().unwrap();
        let waited = processes.read().unwrap();
        assert_eq!(waited.pids, [shell.id()]);
        // To within two ticks.
        assert!(
            waited.cpu + Duration::from_millis(20) > alive.cpu,
            "{waited:?}"
        );
        stdin.write_all(b"\n").unwrap();
        shell.wait().unwrap();
        assert!(processes.read().is_err());
        assert!(
            Processes::new(&[shell.id()])
                .unwrap_err()
                .contains("no process")
        );
    }
}
