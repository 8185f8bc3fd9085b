//! The machine that a measurement was made on, in a few words.

use std::fs;

use serde::Serialize;

use crate::sys::cpu;

/// The machine that the generator ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Its processor's name.
    pub cpu: String,
    /// The CPUs that the generator might use.
    pub cpus: usize,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its kernel.
    pub kernel: String,
    /// Its processor's kind, such as `x86_64`.
    pub architecture: &'static str,
    /// The version of adit.
    pub adit: &'static str,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let kib = value(&meminfo, "MemTotal").and_then(|text| {
            let digits = text.split_whitespace().next()?;
            digits.parse::<u64>().ok()
        });
        Self {
            cpu: value(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cpus: cpu::allowed().map_or(0, |cpus| cpus.len()),
            memory_bytes: kib.unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            architecture: std::env::consts::ARCH,
            adit: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What stands behind a name and a colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}
