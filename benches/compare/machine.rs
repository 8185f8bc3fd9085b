//! On what a run was measured. Names of hosts and people are left out.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The machine, its system, and the source that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    /// Whether it is a guest of another machine.
    pub(crate) virtual_machine: bool,
    /// The frequency governor, where there is one.
    pub(crate) governor: Option<String>,
    pub(crate) memory_mib: u64,
    pub(crate) system: String,
    pub(crate) kernel: String,
    /// What the kernel does against each flaw of the CPU that it has.
    pub(crate) mitigations: BTreeMap<String, String>,
    pub(crate) rustc: String,
    /// The commit, and whether the tree was changed since.
    pub(crate) commit: String,
    /// Load averages as the run began.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            cpuinfo.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        Self {
            cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: field("flags").is_some_and(|flags| flags.contains(" hypervisor")),
            governor: Some(read(
                "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            ))
            .filter(|text| !text.is_empty()),
            memory_mib: memory_mib(),
            system: system(),
            kernel: read("/proc/sys/kernel/osrelease"),
            mitigations: mitigations(),
            rustc: told("rustc", &["--version"]),
            commit: commit(),
            load: read("/proc/loadavg"),
        }
    }

    /// A word or three for it, fit for a file's name: `amd-epyc-2cpu`.
    pub(crate) fn slug(&self) -> String {
        let words: Vec<_> = self
            .cpu
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty() && !["R", "TM", "CPU", "Processor"].contains(word))
            .take(3)
            .map(str::to_lowercase)
            .collect();
        format!("{}-{}cpu", words.join("-"), self.cpus)
    }
}

fn memory_mib() -> u64 {
    let info = read("/proc/meminfo");
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn system() -> String {
    let release = read("/etc/os-release");
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').into()
}

fn mitigations() -> BTreeMap<String, String> {
    let folder = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    folder
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, read(&entry.path().to_string_lossy()))
        })
        .filter(|(_, state)| state != "Not affected")
        .collect()
}

fn commit() -> String {
    let commit = told("git", &["rev-parse", "--short=12", "HEAD"]);
    // Results and their rendering may be new; what is measured may not.
    let changed = told(
        "git",
        &[
            "status",
            "--porcelain",
            "--",
            "src",
            "Cargo.toml",
            "Cargo.lock",
        ],
    );
    match changed.is_empty() {
        true => commit,
        false => format!("{commit}, changed since"),
    }
}

/// The first line that a program prints; empty if there is none.
fn told(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().into()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().into()
}
