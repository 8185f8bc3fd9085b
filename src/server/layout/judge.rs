//! What is to be thought of where shards run.

use std::collections::BTreeMap;

use super::Layout;
use crate::config::{Placement, format_cpu_list};
use crate::sys::preflight::{Finding, Severity};
use crate::sys::topology::SYSFS;

impl Layout {
    /// What an operator should know of it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.troubles();
        findings.extend(self.shared_cores());
        findings.sort_by_key(|finding| finding.severity);
        findings
    }

    /// What is wrong with it, and not only a matter of choice.
    pub(crate) fn troubles(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.scarce_time().into_iter().collect();
        findings.extend(self.unknown());
        findings.extend(self.far_memory());
        findings
    }

    /// More shards than the control group's CPU time is for.
    fn scarce_time(&self) -> Option<Finding> {
        let shards = self.shards.len();
        let quota = self.quota.filter(|quota| *quota < shards as f64)?;
        let whole = quota.floor() as usize;
        let fewer = match whole {
            0 => String::new(),
            whole => format!("write shards: {whole}, or "),
        };
        let noun = if shards == 1 { "shard" } else { "shards" };
        Some(Finding {
            severity: Severity::Warning,
            what: format!(
                "{shards} {noun} can use {shards} CPUs, and the control group's quota (cpu.max) \
                 is {} of one: under load all stand still until the next period, tunnels \
                 included",
                rounded(quota)
            ),
            fix: format!(
                "{fewer}raise the quota (CPUQuota= in the systemd unit, a container's CPU limit)"
            ),
        })
    }

    /// What was asked for and the machine does not tell.
    fn unknown(&self) -> Vec<Finding> {
        let (unknown, placement) = (self.topology.unknown, self.asked.placement);
        let by_core = placement == Placement::PerCore;
        let by_cache = placement == Placement::PerCache || self.asked.caches.is_some();
        let by_node = placement == Placement::PerNode || self.asked.nodes.is_some();
        let mut findings = Vec::new();
        let mut say = |severity, what: &str| {
            findings.push(Finding {
                severity,
                what: format!("{SYSFS} does not tell {what}"),
                fix: "let adit see it (a container may hide it), or name the CPUs (cpus)".into(),
            });
        };
        if unknown.cores && by_core {
            say(
                Severity::Warning,
                "which CPUs are of one core: each counts as a core of its own",
            );
        }
        if unknown.caches && by_cache {
            say(
                Severity::Warning,
                "which CPUs share a cache: those of a NUMA node count as one cache domain",
            );
        }
        if unknown.nodes && by_node {
            say(
                Severity::Warning,
                "which CPUs are on which NUMA node: all count as node 0",
            );
        }
        if findings.is_empty() && self.topology.unknown.cpus {
            findings.push(Finding {
                severity: Severity::Info,
                what: format!(
                    "{SYSFS} does not tell how the CPUs are arranged: each counts as a core, all \
                     as one cache domain and NUMA node 0"
                ),
                fix: "nothing, unless placement, nodes or caches are to be used".into(),
            });
        }
        findings
    }

    /// Shards on nodes without memory.
    fn far_memory(&self) -> Option<Finding> {
        let bare = |node: &usize| {
            let known = self.topology.nodes.iter().find(|n| n.node == *node);
            known.is_some_and(|n| n.has_memory == Some(false))
        };
        let on: Vec<usize> = self.nodes_used().into_iter().filter(bare).collect();
        (!on.is_empty()).then(|| Finding {
            severity: Severity::Warning,
            what: format!(
                "NUMA node {} has no memory of its own: its shards' is all on other nodes",
                format_cpu_list(&on)
            ),
            fix: "name nodes that have some (nodes), if they have CPUs enough".into(),
        })
    }

    fn nodes_used(&self) -> Vec<usize> {
        let cpus = self.shards.iter().flatten();
        let mut nodes: Vec<usize> = cpus
            .filter_map(|cpu| self.topology.cpu(*cpu))
            .map(|cpu| cpu.node)
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Shards on threads of the same core.
    fn shared_cores(&self) -> Option<Finding> {
        let mut cores: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for (shard, cpu) in self.shards.iter().enumerate() {
            if let Some(known) = cpu.and_then(|cpu| self.topology.cpu(cpu)) {
                cores
                    .entry(known.core)
                    .or_default()
                    .push((shard, known.cpu));
            }
        }
        let mut shared = cores.iter().filter(|(_, on_it)| on_it.len() > 1);
        let (core, on_it) = shared.next()?;
        let (shards, cpus): (Vec<usize>, Vec<usize>) = on_it.iter().copied().unzip();
        let others = match shared.count() {
            0 => String::new(),
            1 => "; so do those of 1 other core".into(),
            n => format!("; so do those of {n} other cores"),
        };
        let is_meant = self.asked.placement == Placement::PerCpu;
        Some(Finding {
            severity: if is_meant {
                Severity::Info
            } else {
                Severity::Warning
            },
            what: format!(
                "shards {} share core {core}, of which CPUs {} are threads (SMT){others}",
                format_cpu_list(&shards),
                format_cpu_list(&cpus)
            ),
            fix: if is_meant {
                "nothing: placement: PerCpu asks for it".into()
            } else {
                "write placement: PerCore for steadier latency, one shard on each core; or PerCpu \
                 for the most work done, in which the threads of a core together do somewhat \
                 more than one alone"
                    .into()
            },
        })
    }
}

/// As short as it can be said in hundredths.
fn rounded(cpus: f64) -> String {
    let text = format!("{cpus:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
