//! On machines of many kinds, each a tree of files such as sysfs shows.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::{Placement, parse_cpu_list};
use crate::sys::preflight::Severity;
use crate::sys::topology::Unknown;

/// A tree recorded as `path: text` on each line, in `tests/fixtures/machines`.
struct Machine {
    folder: TempDir,
    allowed: Vec<usize>,
}

impl Machine {
    fn of(recorded: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for line in recorded.lines().filter(|line| !line.starts_with('#')) {
            let (path, text) = line.split_once(':').expect(line);
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{}\n", text.trim())).unwrap();
        }
        let online = fs::read_to_string(folder.path().join("cpu/online")).unwrap_or_default();
        let allowed = parse_cpu_list(online.trim()).unwrap_or_default();
        Self { folder, allowed }
    }

    fn may_use(mut self, cpus: &str) -> Self {
        self.allowed = parse_cpu_list(cpus).unwrap();
        self
    }

    fn topology(&self) -> Topology {
        Topology::read(self.folder.path(), &self.allowed)
    }

    fn layout(&self, asked: Shards) -> Result<Layout, String> {
        Layout::bare(self.allowed.clone(), self.topology(), None).with(&asked)
    }

    /// The CPUs of the shards; `any` where they are not pinned.
    fn shards(&self, asked: Shards) -> String {
        let layout = self.layout(asked).unwrap();
        let cpu = |cpu: &Option<usize>| cpu.map_or("any".into(), |cpu| cpu.to_string());
        let cpus: Vec<String> = layout.shards.iter().map(cpu).collect();
        cpus.join(" ")
    }

    fn refused(&self, asked: Shards) -> String {
        self.layout(asked).unwrap_err()
    }
}

/// Two packages with a node each; on each two cache domains of two cores with
/// two threads. Threads are numbered as AMD's are, cores first.
const TWO_SOCKETS: &str = include_str!("../../../tests/fixtures/machines/two-sockets.txt");
/// Two packages, and CPUs dealt out to their nodes in turns.
const INTERLEAVED: &str = include_str!("../../../tests/fixtures/machines/interleaved.txt");
/// A node with CPUs and no memory, one with memory and no CPU; no third-level
/// cache; some CPUs switched off.
const ODD_NODES: &str = include_str!("../../../tests/fixtures/machines/odd-nodes.txt");
/// An old kernel: no `core_cpus_list`, no nodes, no caches.
const BARE: &str = include_str!("../../../tests/fixtures/machines/bare.txt");

fn by(placement: Placement) -> Shards {
    Shards {
        placement,
        ..Shards::default()
    }
}

impl Shards {
    fn count(mut self, count: usize) -> Self {
        self.count = NonZeroUsize::new(count);
        self
    }

    fn cpus(mut self, list: &str) -> Self {
        self.cpus = Some(parse_cpu_list(list).unwrap());
        self
    }

    fn nodes(mut self, list: &str) -> Self {
        self.nodes = Some(parse_cpu_list(list).unwrap());
        self
    }

    fn caches(mut self, list: &str) -> Self {
        self.caches = Some(parse_cpu_list(list).unwrap());
        self
    }
}

fn auto() -> Shards {
    Shards::default()
}

#[test]
fn a_machine_is_read_as_it_is() {
    let topology = Machine::of(TWO_SOCKETS).topology();
    let places: Vec<_> = topology
        .cpus
        .iter()
        .map(|c| (c.cpu, c.core, c.cache, c.node))
        .collect();
    let expected: Vec<_> = (0..16)
        .map(|cpu| (cpu, cpu % 8, cpu % 8 / 2, cpu % 8 / 4))
        .collect();
    assert_eq!(places, expected);
    assert_eq!(topology.unknown, Unknown::default());
    assert_eq!(topology.nodes[1].cpus, [4, 5, 6, 7, 12, 13, 14, 15]);
    assert_eq!(topology.nodes[1].has_memory, Some(true));

    let topology = Machine::of(INTERLEAVED).topology();
    let places: Vec<_> = topology
        .cpus
        .iter()
        .map(|c| (c.core, c.cache, c.node))
        .collect();
    // core_id is the same in both packages.
    assert_eq!(
        places,
        [
            (0, 0, 0),
            (1, 1, 1),
            (2, 0, 0),
            (3, 1, 1),
            (0, 0, 0),
            (1, 1, 1),
            (2, 0, 0),
            (3, 1, 1)
        ]
    );
}

#[test]
fn what_is_switched_off_or_has_no_cpu_is_told() {
    let topology = Machine::of(ODD_NODES).topology();
    assert_eq!(topology.offline, [2, 5]);
    let numbers: Vec<usize> = topology.cpus.iter().map(|c| c.cpu).collect();
    assert_eq!(numbers, [0, 1, 3, 4, 6, 7]);
    let nodes: Vec<_> = topology
        .nodes
        .iter()
        .map(|n| (n.node, n.cpus.clone(), n.has_memory))
        .collect();
    assert_eq!(
        nodes,
        [
            (0, vec![0, 1, 3], Some(true)),
            (1, vec![4, 6, 7], Some(false)),
            (4, vec![], Some(true)),
        ]
    );
    // Second-level caches, of two CPUs each.
    let caches: Vec<usize> = topology.cpus.iter().map(|c| c.cache).collect();
    assert_eq!(caches, [0, 0, 1, 2, 3, 3]);
}

#[test]
fn what_is_not_told_is_assumed_and_said() {
    let topology = Machine::of(BARE).topology();
    let cores: Vec<usize> = topology.cpus.iter().map(|c| c.core).collect();
    assert_eq!(cores, [0, 0, 1, 1], "by package and core_id");
    let unknown = Unknown {
        caches: true,
        nodes: true,
        ..Unknown::default()
    };
    assert_eq!(topology.unknown, unknown);
    assert!(topology.cpus.iter().all(|c| (c.cache, c.node) == (0, 0)));
    assert_eq!(topology.nodes[0].cpus, [0, 1, 2, 3]);

    // A container without sysfs.
    let nothing = Machine::of("").may_use("2,5");
    let topology = nothing.topology();
    let places: Vec<_> = topology.cpus.iter().map(|c| (c.cpu, c.core)).collect();
    assert_eq!(places, [(2, 0), (5, 1)]);
    assert!(topology.unknown.cpus && topology.unknown.cores);
    assert_eq!(nothing.shards(by(Placement::PerCore)), "2 5");
    assert_eq!(nothing.shards(auto()), "2 5");
    let says = |asked| {
        let layout = nothing.layout(asked).unwrap();
        let findings = layout.findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        (findings[0].severity, findings[0].what.clone())
    };
    let (severity, what) = says(auto());
    assert_eq!(severity, Severity::Info);
    assert!(what.contains("does not tell how"), "{what}");
    for (asked, part) in [
        (by(Placement::PerCore), "of one core"),
        (by(Placement::PerCache), "share a cache"),
        (auto().caches("0"), "share a cache"),
        (by(Placement::PerNode), "which NUMA node"),
        (auto().nodes("0"), "which NUMA node"),
    ] {
        let (severity, what) = says(asked);
        assert_eq!(severity, Severity::Warning);
        assert!(what.contains(part), "{what}");
    }
}

#[test]
fn files_of_any_content_are_survived() {
    for (path, text) in [
        ("cpu/online", "0-18446744073709551615"),
        ("cpu/online", "x"),
        ("cpu/online", "3-1"),
        ("cpu/present", "-"),
        ("cpu/cpu0/topology/core_cpus_list", "9-,"),
        ("cpu/cpu0/topology/core_id", "-1"),
        ("cpu/cpu0/cache/index3/level", "99999999999999999999"),
        ("cpu/cpu0/cache/index3/shared_cpu_list", ""),
        ("node/online", "0-7"),
        ("node/node0/cpulist", "0-4000"),
    ] {
        let mut recorded = TWO_SOCKETS.to_owned();
        recorded += &format!("{path}: {text}\n");
        let machine = Machine::of(&recorded).may_use("0-3");
        let layout = machine.layout(by(Placement::PerCore)).unwrap();
        assert!(layout.shards.len() >= 4, "{path}: {text}: {layout:?}");
    }
}

#[test]
fn each_shard_gets_one_place() {
    let machine = Machine::of(TWO_SOCKETS);
    let all: Vec<String> = (0..16).map(|cpu| cpu.to_string()).collect();
    assert_eq!(machine.shards(auto()), all.join(" "));
    assert_eq!(machine.shards(by(Placement::PerCpu)), all.join(" "));
    let per_core = "0 1 2 3 4 5 6 7";
    assert_eq!(machine.shards(by(Placement::PerCore)), per_core);
    assert_eq!(machine.shards(by(Placement::PerCache)), "0 2 4 6");
    assert_eq!(machine.shards(by(Placement::PerNode)), "0 4");
    let interleaved = Machine::of(INTERLEAVED);
    assert_eq!(interleaved.shards(by(Placement::PerCore)), "0 1 2 3");
    assert_eq!(interleaved.shards(by(Placement::PerNode)), "0 1");
}

#[test]
fn fewer_shards_are_kept_apart() {
    let machine = Machine::of(TWO_SOCKETS);
    let per_cpu = || by(Placement::PerCpu);
    for (count, cpus) in [
        (1, "0"),
        (2, "0 4"),
        (3, "0 2 4"),
        (4, "0 2 4 6"),
        (5, "0 1 2 4 6"),
        (8, "0 1 2 3 4 5 6 7"),
        (10, "0 1 2 3 4 5 6 7 8 12"),
    ] {
        assert_eq!(machine.shards(per_cpu().count(count)), cpus);
    }
    assert_eq!(machine.shards(by(Placement::PerCache).count(2)), "0 4");
    assert_eq!(machine.shards(auto().nodes("1").count(2)), "4 6");
    // Left to the kernel, as ever.
    assert_eq!(machine.shards(auto().count(3)), "any any any");
    let many = auto().count(17);
    assert!(machine.shards(many).starts_with("any any"));
    // In the operator's order.
    assert_eq!(machine.shards(per_cpu().cpus("9,1,0").count(2)), "9 1");
    assert_eq!(machine.shards(auto().cpus("9,1,0").count(2)), "9 1");
}

#[test]
fn nodes_caches_and_the_mask_narrow_it_down() {
    let machine = Machine::of(TWO_SOCKETS);
    let node = "4 5 6 7 12 13 14 15";
    assert_eq!(machine.shards(auto().nodes("1")), node);
    assert_eq!(machine.shards(by(Placement::PerCore).nodes("1")), "4 5 6 7");
    assert_eq!(machine.shards(auto().caches("1,3")), "2 3 6 7 10 11 14 15");
    assert_eq!(machine.shards(auto().caches("1-3").nodes("0")), "2 3 10 11");
    let bound = Machine::of(TWO_SOCKETS).may_use("3,5,11,13");
    assert_eq!(bound.shards(auto()), "3 5 11 13");
    assert_eq!(bound.shards(by(Placement::PerCore)), "3 5");
    assert_eq!(bound.shards(auto().nodes("1")), "5 13");
    // The first named of a core.
    let named = by(Placement::PerCore).cpus("12,4,5,13");
    assert_eq!(machine.shards(named), "12 5");
}

#[test]
fn what_contradicts_itself_or_the_machine_is_refused() {
    let machine = Machine::of(TWO_SOCKETS);
    let bound = Machine::of(TWO_SOCKETS).may_use("0-3");
    let odd = Machine::of(ODD_NODES);
    for (machine, asked, parts) in [
        (
            &bound,
            auto().cpus("0,4"),
            "CPU 4 is not among those that this process may use, 0-3",
        ),
        (&odd, auto().cpus("0,5"), "CPU 5 is switched off"),
        (
            &machine,
            auto().nodes("2"),
            "no NUMA node 2; write nodes of these: 0,1",
        ),
        (
            &odd,
            auto().nodes("4"),
            "NUMA node 4 has no CPU; write nodes of these: 0,1",
        ),
        (
            &machine,
            auto().caches("4"),
            "no cache domain 4; write caches of these, as adit check counts them: 0-3",
        ),
        (
            &bound,
            auto().nodes("1"),
            "may use is on NUMA node 1; write nodes of these: 0,",
        ),
        (
            &bound,
            auto().caches("2,3"),
            "on cache domain 2,3; write caches of these: 0,1,",
        ),
        (
            &machine,
            auto().nodes("0").caches("2"),
            "on cache domain 2; write caches of these: 0,1,",
        ),
        (
            &machine,
            auto().cpus("0,4").nodes("0"),
            "CPU 4 of cpus is on NUMA node 1, which nodes does not name",
        ),
        (
            &machine,
            auto().cpus("0,4").caches("0"),
            "CPU 4 of cpus is on cache domain 2, which caches does not name",
        ),
        (
            &machine,
            auto().nodes("0").count(9),
            "shards is 9, and there are 8 CPUs",
        ),
        (
            &machine,
            by(Placement::PerCpu).count(17),
            "shards is 17, and there are 16 CPUs",
        ),
        (
            &machine,
            by(Placement::PerCore).count(9),
            "there are 8 cores for one shard each; write shards: 8 at most, or placement: PerCpu",
        ),
        (
            &machine,
            by(Placement::PerNode).nodes("1").count(2),
            "there is 1 NUMA node for",
        ),
    ] {
        let error = machine.refused(asked.clone());
        assert!(error.contains(parts), "{asked:?}: {error}");
    }
}

/// Whatever is asked for, on every machine: no CPU twice, none that is not
/// allowed or not asked for, and all shards pinned or none.
#[test]
fn no_answer_breaks_the_rules() {
    let placements = [
        Placement::Auto,
        Placement::PerCpu,
        Placement::PerCore,
        Placement::PerCache,
        Placement::PerNode,
    ];
    let lists = [None, Some(vec![0]), Some(vec![1]), Some(vec![1, 0])];
    let cpus = [None, Some(vec![3, 0, 6, 1]), Some(vec![4])];
    let mut answers = 0;
    for recorded in [TWO_SOCKETS, INTERLEAVED, ODD_NODES, BARE] {
        let mut bound = Machine::of(recorded);
        bound.allowed.remove(2);
        for machine in [Machine::of(recorded), bound] {
            let bare = Layout::bare(machine.allowed.clone(), machine.topology(), None);
            for placement in placements {
                for (nodes, caches) in lists.iter().flat_map(|n| lists.iter().map(move |c| (n, c)))
                {
                    for (cpus, count) in cpus
                        .iter()
                        .flat_map(|c| [0, 1, 2, 3, 5, 8, 17].map(|n| (c, n)))
                    {
                        let asked = Shards {
                            count: NonZeroUsize::new(count),
                            cpus: cpus.clone(),
                            nodes: nodes.clone(),
                            caches: caches.clone(),
                            placement,
                        };
                        if let Ok(layout) = bare.clone().with(&asked) {
                            answers += 1;
                            check_rules(&layout, &asked);
                        }
                    }
                }
            }
        }
    }
    assert!(answers > 1000, "{answers}");
}

fn check_rules(layout: &Layout, asked: &Shards) {
    let context = format!("{asked:?}: {:?}", layout.shards);
    assert!(!layout.shards.is_empty(), "{context}");
    if let Some(count) = asked.count {
        assert_eq!(layout.shards.len(), count.get(), "{context}");
    }
    let pinned: Vec<usize> = layout.shards.iter().copied().flatten().collect();
    if pinned.is_empty() {
        assert_eq!(asked.placement, Placement::Auto, "{context}");
        return;
    }
    assert_eq!(pinned.len(), layout.shards.len(), "{context}");
    let mut places = Vec::new();
    for cpu in &pinned {
        assert!(layout.allowed.contains(cpu), "{context}");
        let known = layout.topology.cpu(*cpu).unwrap();
        let fits = |list: &Option<Vec<usize>>, what| list.as_ref().is_none_or(|l| l.contains(what));
        assert!(fits(&asked.cpus, cpu), "{context}");
        assert!(fits(&asked.nodes, &known.node), "{context}");
        assert!(fits(&asked.caches, &known.cache), "{context}");
        let place = match asked.placement {
            Placement::Auto | Placement::PerCpu => known.cpu,
            Placement::PerCore => known.core,
            Placement::PerCache => known.cache,
            Placement::PerNode => known.node,
        };
        assert!(!places.contains(&place), "{context}");
        places.push(place);
    }
}

#[test]
fn what_is_doubtful_is_found() {
    let machine = Machine::of(TWO_SOCKETS);
    let findings = |asked| machine.layout(asked).unwrap().findings();
    let shared = findings(auto());
    assert_eq!(shared[0].severity, Severity::Warning);
    assert_eq!(
        shared[0].what,
        "shards 0,8 share core 0, of which CPUs 0,8 are threads (SMT); so do those of 7 other cores"
    );
    assert!(shared[0].fix.contains("PerCore"), "{shared:?}");
    assert_eq!(findings(by(Placement::PerCpu))[0].severity, Severity::Info);
    assert_eq!(findings(by(Placement::PerCore)), []);
    assert_eq!(findings(auto().count(3)), []);

    let odd = Machine::of(ODD_NODES).layout(auto()).unwrap();
    let far = &odd.findings()[0];
    assert!(far.what.contains("NUMA node 1 has no memory"), "{far:?}");
    assert_eq!(
        Machine::of(ODD_NODES)
            .layout(auto().nodes("0"))
            .unwrap()
            .findings(),
        []
    );

    for (quota, shards, fix) in [
        (Some(2.5), 8, "write shards: 2, or raise"),
        (Some(0.25), 1, "raise the quota"),
        (Some(8.0), 8, ""),
        (None, 8, ""),
    ] {
        let asked = by(Placement::PerCore).count(shards);
        let bare = Layout::bare(machine.allowed.clone(), machine.topology(), quota);
        let layout = bare.with(&asked).unwrap();
        let findings = layout.findings();
        match findings.first() {
            Some(finding) => {
                assert!(
                    !fix.is_empty() && finding.fix.starts_with(fix),
                    "{finding:?}"
                );
                let shown = quota.unwrap().to_string();
                assert!(finding.what.contains(&shown), "{finding:?}");
            }
            None => assert_eq!(fix, ""),
        }
    }
}

#[test]
fn this_machine_is_read_too() {
    let allowed = cpu::allowed().unwrap();
    let topology = Topology::read(Path::new(SYSFS), &allowed);
    for cpu in &allowed {
        assert!(topology.cpu(*cpu).is_some(), "{topology:?}");
    }
}
