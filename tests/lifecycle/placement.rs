//! Where shards run, on machines that this one is made to look like: another
//! tree is mounted where sysfs was, for the program alone.

use std::fs;
use std::path::Path;

use adit::sys::cpu;
use serde_json::Value;

use crate::program::{self, Ended, Program};
use crate::support::backend;
use crate::support::certificate::Certificate;

/// What the program is started behind, so that it finds these two CPUs and sees
/// that tree: `None`, and said so, where it cannot be done.
fn disguise(tree: &Path, cpus: [usize; 2]) -> Option<Vec<String>> {
    let script = format!(
        "mount --bind {} /sys/devices/system && exec taskset -c {},{} \"$0\" \"$@\"",
        tree.display(),
        cpus[0],
        cpus[1]
    );
    program::with_mounts(&script)
}

fn two_cpus() -> Option<[usize; 2]> {
    let cpus = cpu::allowed().expect("the CPUs");
    if cpus.len() < 2 {
        println!("passed over: it takes two CPUs");
    }
    (cpus.len() >= 2).then(|| [cpus[0], cpus[1]])
}

/// Runs adit so disguised to its end.
fn run(folder: &Path, wrapper: &[String], words: &[&str]) -> Ended {
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Program::start_under(folder, &wrapper, words).wait()
}

const BARE: &str = "(listeners: [(address: \"127.0.0.1:0\", tls: Off, backend: \"127.0.0.1:1\")])";

#[test]
fn check_maps_a_machine_and_warns_of_shared_cores() {
    let Some(cpus) = two_cpus() else { return };
    let [a, b] = cpus;
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("tree");
    let both = format!("{a},{b}");
    for cpu in cpus {
        let at = |name: &str| tree.join(format!("cpu/cpu{cpu}/{name}"));
        for (path, text) in [
            (at("topology/core_cpus_list"), both.as_str()),
            (at("cache/index3/level"), "3"),
            (at("cache/index3/type"), "Unified"),
            (at("cache/index3/shared_cpu_list"), &both),
            (tree.join("cpu/online"), &both),
            (tree.join("cpu/present"), "0-4095"),
            (tree.join("node/online"), "3"),
            (tree.join("node/has_memory"), "3"),
            (tree.join("node/node3/cpulist"), &both),
        ] {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
    }
    let Some(wrapper) = disguise(&tree, cpus) else {
        return;
    };
    let file = folder.path().join("adit.ron");
    fs::write(&file, BARE).expect("a file");
    let check = |more: &[&str]| {
        let words = ["check", "-c", file.to_str().expect("text")];
        run(folder.path(), &wrapper, &[&words, more].concat())
    };

    let shown = check(&[]);
    assert_eq!(shown.code, Some(0), "{}{}", shown.out, shown.err);
    let row = |cpu: usize, shard: &str| {
        let fits = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words == [&cpu.to_string(), "0", "0", "3", shard]
        };
        assert!(shown.out.lines().any(|l| fits(&l)), "{}", shown.out);
    };
    row(a, "0");
    row(b, "1");
    for part in [
        "CPU          core         cache        node         shard",
        "warning      shards 0,1 share core 0",
        "placement: PerCore",
        "switched off",
    ] {
        assert!(shown.out.contains(part), "{part} not in:\n{}", shown.out);
    }

    let shown = check(&["--placement", "per-core", "--json"]);
    assert_eq!(shown.code, Some(0), "{}{}", shown.out, shown.err);
    let report: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!(report["shards"], 1);
    let placement = &report["placement"];
    assert_eq!(placement["pinned"], true);
    assert_eq!(placement["findings"], serde_json::json!([]));
    assert_eq!(
        placement["cpus"],
        serde_json::json!([
            {"cpu": a, "core": 0, "cache": 0, "node": 3, "allowed": true, "shard": 0},
            {"cpu": b, "core": 0, "cache": 0, "node": 3, "allowed": true, "shard": null},
        ])
    );

    // What is refused is shown with the map that the right answer is on.
    let shown = check(&["--nodes", "0"]);
    assert_eq!(shown.code, Some(2), "{}{}", shown.out, shown.err);
    for part in ["no NUMA node 0; write nodes of these: 3", "shard\n"] {
        assert!(shown.out.contains(part), "{part} not in:\n{}", shown.out);
    }
}

#[test]
fn a_server_that_sees_no_sysfs_pins_its_shards_and_says_what_it_assumed() {
    let Some(cpus) = two_cpus() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("nothing");
    fs::create_dir(&tree).expect("a folder");
    let Some(wrapper) = disguise(&tree, cpus) else {
        return;
    };
    let certificate = Certificate::make(folder.path());
    let backend = backend::echo();
    let mut words = program::words("127.0.0.1:0", &certificate, backend.address());
    words.extend(["--placement", "per-core"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let program = Program::start_under(folder.path(), &wrapper, &words);
    program.wait_log("listening on ");
    let pinned: Vec<_> = program.stats().shards.iter().map(|s| s.cpu).collect();
    assert_eq!(pinned, cpus.map(Some));
    // They are, and not only said to be.
    for (shard, cpu) in cpus.iter().enumerate() {
        assert_eq!(
            allowed(program.pid(), &format!("adit-{shard}")),
            cpu.to_string()
        );
    }
    let line = program.wait_log("which CPUs are of one core");
    assert!(line.contains("does not tell"), "{line}");
    program::echo_at(program.listeners()[0], &program::trust(&certificate));
    program.signal("TERM");
    assert_eq!(program.wait().code, Some(0));
}

/// The CPUs that a thread of that name may run on.
fn allowed(pid: u32, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut status = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        status
            .starts_with(&format!("Name:\t{name}\n"))
            .then_some(status)
    });
    let status = status.next().expect("the thread");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.expect("a list").trim().to_owned()
}
