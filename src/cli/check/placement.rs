//! Which shard runs where, in a report.

use std::fmt::Write as _;

use adit::Layout;
use adit::config::format_cpu_list;
use adit::sys::preflight::Finding;
use adit::sys::topology::Cpu;
use serde::Serialize;

use super::{line, write_finding};

/// The map of the machine's CPUs.
#[derive(Debug, Serialize)]
pub(super) struct PlacementReport {
    /// Whether each shard has a CPU of its own.
    pinned: bool,
    /// Those that are online, by number.
    cpus: Vec<CpuReport>,
    /// Those that are switched off.
    offline: Vec<usize>,
    pub(super) findings: Vec<Finding>,
}

/// One CPU.
#[derive(Debug, Serialize)]
struct CpuReport {
    #[serde(flatten)]
    place: Cpu,
    /// Whether the process may use it.
    allowed: bool,
    /// The shard that is pinned to it.
    shard: Option<usize>,
}

impl PlacementReport {
    pub(super) fn new(layout: &Layout) -> Self {
        let shard_on = |cpu| layout.shards.iter().position(|on| *on == Some(cpu));
        let report = |place: &Cpu| CpuReport {
            place: *place,
            allowed: layout.allowed.contains(&place.cpu),
            shard: shard_on(place.cpu),
        };
        Self {
            // Without any shard, none may run anywhere.
            pinned: layout.shards.iter().all(Option::is_some),
            cpus: layout.topology.cpus.iter().map(report).collect(),
            offline: layout.topology.offline.clone(),
            findings: layout.findings(),
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        text.push_str("placement\n");
        let _ = writeln!(
            text,
            "  {:<12} {:<12} {:<12} {:<12} shard",
            "CPU", "core", "cache", "node"
        );
        let mut rest = self.cpus.as_slice();
        while let Some(first) = rest.first() {
            let run = (1..rest.len())
                .take_while(|&i| rest[i].follows(&rest[i - 1]))
                .count()
                + 1;
            let last = &rest[run - 1];
            let shard = match (first.shard, last.shard) {
                (Some(first), Some(last)) => range(first, last),
                _ if !first.allowed => "may not be used".into(),
                _ if self.pinned => "–".into(),
                _ => "any".into(),
            };
            let _ = writeln!(
                text,
                "  {:<12} {:<12} {:<12} {:<12} {shard}",
                range(first.place.cpu, last.place.cpu),
                range(first.place.core, last.place.core),
                first.place.cache,
                first.place.node,
            );
            rest = &rest[run..];
        }
        if !self.offline.is_empty() {
            line(text, "switched off", format_cpu_list(&self.offline));
        }
        for finding in &self.findings {
            write_finding(text, finding);
        }
        text.push('\n');
    }
}

impl CpuReport {
    /// Whether one line tells both: this one is one further in everything that
    /// is counted, and like the other in everything else.
    fn follows(&self, before: &Self) -> bool {
        self.place.cpu == before.place.cpu + 1
            && self.place.core == before.place.core + 1
            && self.place.cache == before.place.cache
            && self.place.node == before.place.node
            && self.allowed == before.allowed
            && self.shard == before.shard.map(|shard| shard + 1)
    }
}

fn range(first: usize, last: usize) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}
