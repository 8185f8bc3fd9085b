//! How this machine's CPUs are arranged: on which core each is, which of them
//! share a cache, and which NUMA node they belong to.
//!
//! It is read from sysfs, whose files are described in the kernel's
//! Documentation/admin-guide/cputopology.rst and
//! Documentation/ABI/testing/sysfs-devices-system-cpu: below the root
//! [`SYSFS`], or any other with files of the same names. A file that is not
//! there, as in a container without sysfs, leaves something unknown, and never
//! fails: [`Topology`] says what it had to assume.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use crate::limits;

/// Where Linux shows its CPUs and nodes.
pub const SYSFS: &str = "/sys/devices/system";

/// The CPUs that are online, and how they are arranged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// By number, ascending.
    pub cpus: Vec<Cpu>,
    /// CPUs that are there and switched off.
    pub offline: Vec<usize>,
    /// By number, ascending; with nodes that have memory alone.
    pub nodes: Vec<Node>,
    /// What the files do not tell.
    pub unknown: Unknown,
}

/// One CPU, as the scheduler understands it: with SMT, a core has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// The kernel's number of it.
    pub cpu: usize,
    /// Its core. Cores are counted from 0 over the whole machine, in the order
    /// of their first CPU that is online: the kernel's own numbers
    /// (`core_id`) begin anew in each package.
    pub core: usize,
    /// Its cache domain: the CPUs that share its third-level cache, or, where
    /// there is none, the highest-level one. Counted as cores are.
    pub cache: usize,
    /// The kernel's number of its NUMA node.
    pub node: usize,
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number of it.
    pub node: usize,
    /// Its CPUs that are online; none, if it is memory alone.
    pub cpus: Vec<usize>,
    /// Whether it has memory, if that is told.
    pub has_memory: Option<bool>,
}

/// What the files do not tell, and what is assumed then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Which CPUs are online: those that the process may use.
    pub cpus: bool,
    /// The core of some CPU: it has one of its own.
    pub cores: bool,
    /// The caches of some CPU: it shares one with all of its node.
    pub caches: bool,
    /// The node of some CPU: it is on node 0.
    pub nodes: bool,
}

impl Unknown {
    /// Whether there is anything.
    pub fn any(self) -> bool {
        self.cpus || self.cores || self.caches || self.nodes
    }
}

impl Topology {
    /// Reads what is below `root`. `allowed` are the CPUs that the process may
    /// use, and so there in any case.
    pub fn read(root: &Path, allowed: &[usize]) -> Self {
        let cpu_root = root.join("cpu");
        let mut unknown = Unknown::default();
        let shown = list(&cpu_root.join("online"));
        unknown.cpus = shown.is_none();
        let mut online = shown.unwrap_or_default();
        // A container may be shown others (lxcfs); what may be used is there.
        online.extend_from_slice(allowed);
        online.sort_unstable();
        online.dedup();
        let present = list(&cpu_root.join("present")).unwrap_or_default();
        let offline = present
            .into_iter()
            .filter(|cpu| online.binary_search(cpu).is_err());
        let mut nodes = read_nodes(root, &online);
        let mut homes = BTreeMap::new();
        for node in &nodes {
            homes.extend(node.cpus.iter().map(|&cpu| (cpu, node.node)));
        }
        let (mut cores, mut caches) = (Numbers::default(), Numbers::default());
        let mut cpus = Vec::with_capacity(online.len());
        for &cpu in &online {
            let folder = cpu_root.join(format!("cpu{cpu}"));
            let node = homes.get(&cpu).copied().unwrap_or_else(|| {
                unknown.nodes = true;
                0
            });
            let core = Core::read(&folder).unwrap_or_else(|| {
                unknown.cores = true;
                Core::Alone(cpu)
            });
            let cache = Cache::read(&folder).unwrap_or_else(|| {
                unknown.caches = true;
                Cache::Node(node)
            });
            cpus.push(Cpu {
                cpu,
                core: cores.of(core),
                cache: caches.of(cache),
                node,
            });
        }
        if unknown.nodes {
            let lost = |cpu: &&Cpu| !homes.contains_key(&cpu.cpu);
            let lost: Vec<usize> = cpus.iter().filter(lost).map(|cpu| cpu.cpu).collect();
            adopt(&mut nodes, lost);
        }
        Self {
            offline: offline.collect(),
            cpus,
            nodes,
            unknown,
        }
    }

    /// What is known of a CPU.
    pub fn cpu(&self, cpu: usize) -> Option<&Cpu> {
        let at = self.cpus.binary_search_by_key(&cpu, |known| known.cpu);
        at.ok().map(|at| &self.cpus[at])
    }
}

/// Which CPUs make one core.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Core {
    /// Those of a list, by the first of them.
    Threads(usize),
    /// Those with these numbers of package, die and core.
    Ids(usize, usize, usize),
    Alone(usize),
}

impl Core {
    fn read(folder: &Path) -> Option<Self> {
        let topology = folder.join("topology");
        // The second is what kernels before 5.3 call it.
        let threads = ["core_cpus_list", "thread_siblings_list"];
        let first = threads
            .iter()
            .find_map(|name| list(&topology.join(name))?.into_iter().min());
        if let Some(first) = first {
            return Some(Self::Threads(first));
        }
        let package = number(&topology.join("physical_package_id"))?;
        let die = number(&topology.join("die_id")).unwrap_or(0);
        Some(Self::Ids(package, die, number(&topology.join("core_id"))?))
    }
}

/// Which CPUs share a cache.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Cache {
    /// Those that share one of this level, by the first of them.
    Level(usize, usize),
    Node(usize),
}

impl Cache {
    /// The level that counts, where there is one of it.
    const WANTED: usize = 3;

    fn read(folder: &Path) -> Option<Self> {
        let caches = fs::read_dir(folder.join("cache")).ok()?;
        let mut best: Option<(usize, usize)> = None;
        for cache in caches.filter_map(Result::ok) {
            let name = cache.file_name();
            if !name.to_string_lossy().starts_with("index") {
                continue;
            }
            let path = cache.path();
            // A first-level cache is a core's own, and says nothing more.
            let level = number(&path.join("level")).filter(|level| *level > 1);
            let kind = text(&path.join("type"));
            if kind.as_deref() == Some("Instruction") {
                continue;
            }
            let first = list(&path.join("shared_cpu_list")).and_then(|l| l.into_iter().min());
            let (Some(level), Some(first)) = (level, first) else {
                continue;
            };
            let better = |(known, _): (usize, usize)| match known {
                Self::WANTED => false,
                known => level == Self::WANTED || level > known,
            };
            if best.is_none_or(better) {
                best = Some((level, first));
            }
        }
        best.map(|(level, first)| Self::Level(level, first))
    }
}

/// Things counted in the order in which they come.
struct Numbers<T>(BTreeMap<T, usize>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Numbers<T> {
    fn of(&mut self, thing: T) -> usize {
        let next = self.0.len();
        *self.0.entry(thing).or_insert(next)
    }
}

/// The nodes, with their CPUs of those that are online. None where the kernel
/// was built without NUMA, or does not show it.
fn read_nodes(root: &Path, online: &[usize]) -> Vec<Node> {
    let folder = root.join("node");
    let with_memory = list(&folder.join("has_memory"));
    let numbers = list(&folder.join("online")).unwrap_or_default();
    let node = |node: usize| {
        let mut cpus = list(&folder.join(format!("node{node}/cpulist")))?;
        cpus.retain(|cpu| online.binary_search(cpu).is_ok());
        Some(Node {
            node,
            cpus,
            has_memory: with_memory.as_ref().map(|list| list.contains(&node)),
        })
    };
    numbers.into_iter().filter_map(node).collect()
}

/// Gives CPUs without a node to node 0.
fn adopt(nodes: &mut Vec<Node>, cpus: Vec<usize>) {
    match nodes.iter_mut().find(|node| node.node == 0) {
        Some(node) => {
            node.cpus.extend(cpus);
            node.cpus.sort_unstable();
        }
        None => nodes.insert(
            0,
            Node {
                node: 0,
                cpus,
                has_memory: None,
            },
        ),
    }
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// A number; none where the kernel writes -1, for what it does not know.
fn number(path: &Path) -> Option<usize> {
    usize::from_str(&text(path)?).ok()
}

/// A list such as `0-3,8`, ascending; it may be empty. Of numbers above
/// [`limits::CPU_MAX`] nothing is made.
fn list(path: &Path) -> Option<Vec<usize>> {
    let text = text(path)?;
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        numbers.extend(first..=last.min(limits::CPU_MAX));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}
