//! Which CPU each shard gets.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use crate::config::{Placement, Shards, format_cpu_list};
use crate::sys::topology::{Cpu, Topology};

/// The CPU of each shard, as [`Shards`] has it; `None` where it is not pinned.
pub(super) fn shards(
    asked: &Shards,
    allowed: &[usize],
    topology: &Topology,
) -> Result<Vec<Option<usize>>, String> {
    let cpus = usable(asked, allowed, topology)?;
    let places = places(asked.placement, &cpus);
    let count = asked.count.map_or(places.len(), NonZeroUsize::get);
    let is_named = asked.cpus.is_some() || asked.nodes.is_some() || asked.caches.is_some();
    if asked.placement == Placement::Auto {
        if count != cpus.len() && !is_named {
            // Shards that do not fill the CPUs they may use are left to the
            // kernel, which knows what else runs there.
            return Ok(vec![None; count]);
        }
        if count > cpus.len() && asked.nodes.is_none() && asked.caches.is_none() {
            return Ok(vec![None; count]);
        }
    }
    if count > places.len() {
        return Err(too_many(asked, count, places.len()));
    }
    let mut chosen = match asked.cpus {
        Some(_) => places,
        None => spread(places),
    };
    chosen.truncate(count);
    if asked.cpus.is_none() {
        chosen.sort_unstable_by_key(|cpu| cpu.cpu);
    }
    Ok(chosen.into_iter().map(|cpu| Some(cpu.cpu)).collect())
}

fn too_many(asked: &Shards, count: usize, places: usize) -> String {
    let (one, many, or) = match asked.placement {
        Placement::Auto => ("CPU", "CPUs", "name more of them"),
        Placement::PerCpu => ("CPU", "CPUs", "placement: Auto, with which none is pinned"),
        Placement::PerCore => ("core", "cores", "placement: PerCpu"),
        Placement::PerCache => ("cache domain", "cache domains", "placement: PerCore"),
        Placement::PerNode => ("NUMA node", "NUMA nodes", "placement: PerCore"),
    };
    let (is, noun) = if places == 1 {
        ("is", one)
    } else {
        ("are", many)
    };
    format!(
        "shards is {count}, and there {is} {places} {noun} for one shard each; write shards: \
         {places} at most, or {or}"
    )
}

/// The CPUs that are asked for: of those that may be used, in the order of
/// `cpus` if that is given.
fn usable(asked: &Shards, allowed: &[usize], topology: &Topology) -> Result<Vec<Cpu>, String> {
    if let Some(named) = &asked.cpus {
        check_named(named, allowed, topology)?;
    }
    let mut cpus: Vec<Cpu> = asked
        .cpus
        .as_deref()
        .unwrap_or(allowed)
        .iter()
        .filter_map(|cpu| topology.cpu(*cpu).copied())
        .collect();
    if let Some(nodes) = &asked.nodes {
        check_nodes(nodes, topology)?;
        let kind = Kind {
            key: "nodes",
            noun: "NUMA node",
            of: |cpu| cpu.node,
        };
        kind.narrow(&mut cpus, nodes, asked.cpus.is_some())?;
    }
    if let Some(caches) = &asked.caches {
        check_caches(caches, topology)?;
        let kind = Kind {
            key: "caches",
            noun: "cache domain",
            of: |cpu| cpu.cache,
        };
        kind.narrow(&mut cpus, caches, asked.cpus.is_some())?;
    }
    Ok(cpus)
}

/// Looks for CPUs that the operator names and the process may not use.
fn check_named(named: &[usize], allowed: &[usize], topology: &Topology) -> Result<(), String> {
    let Some(outside) = named.iter().find(|cpu| !allowed.contains(cpu)) else {
        return Ok(());
    };
    if topology.offline.contains(outside) {
        return Err(format!(
            "CPU {outside} is switched off; name others, or switch it on \
             (echo 1 > /sys/devices/system/cpu/cpu{outside}/online)"
        ));
    }
    Err(format!(
        "CPU {outside} is not among those that this process may use, {}; name others, or \
         change its affinity (taskset, systemd's CPUAffinity=, a container's cpuset)",
        format_cpu_list(allowed)
    ))
}

/// Looks for nodes that the machine has not, or that are memory alone.
fn check_nodes(named: &[usize], topology: &Topology) -> Result<(), String> {
    let with_cpus = || {
        let nodes = topology.nodes.iter().filter(|node| !node.cpus.is_empty());
        format_cpu_list(&nodes.map(|node| node.node).collect::<Vec<_>>())
    };
    for wanted in named {
        match topology.nodes.iter().find(|node| node.node == *wanted) {
            Some(node) if node.cpus.is_empty() => {
                return Err(format!(
                    "NUMA node {wanted} has no CPU; write nodes of these: {}",
                    with_cpus()
                ));
            }
            Some(_) => {}
            None => {
                return Err(format!(
                    "there is no NUMA node {wanted}; write nodes of these: {}",
                    with_cpus()
                ));
            }
        }
    }
    Ok(())
}

/// Looks for cache domains that the machine has not.
fn check_caches(named: &[usize], topology: &Topology) -> Result<(), String> {
    let last = topology.cpus.iter().map(|cpu| cpu.cache).max().unwrap_or(0);
    match named.iter().find(|cache| **cache > last) {
        Some(wanted) => Err(format!(
            "there is no cache domain {wanted}; write caches of these, as adit check counts them: \
             {}",
            format_cpu_list(&(0..=last).collect::<Vec<_>>())
        )),
        None => Ok(()),
    }
}

/// What CPUs are chosen by.
struct Kind {
    key: &'static str,
    noun: &'static str,
    of: fn(&Cpu) -> usize,
}

impl Kind {
    /// Leaves those CPUs that belong to one of these. It is an error if one
    /// does not that was named itself, and if none does.
    fn narrow(&self, cpus: &mut Vec<Cpu>, to: &[usize], named: bool) -> Result<(), String> {
        let Self { key, noun, of } = self;
        let of_them = |cpu: &Cpu| to.contains(&of(cpu));
        if let Some(outside) = cpus.iter().find(|cpu| named && !of_them(cpu)) {
            return Err(format!(
                "CPU {} of cpus is on {noun} {}, which {key} does not name; leave one of the two \
                 out, or have them agree",
                outside.cpu,
                of(outside)
            ));
        }
        let before: BTreeSet<usize> = cpus.iter().map(of).collect();
        cpus.retain(of_them);
        if cpus.is_empty() {
            let before: Vec<usize> = before.into_iter().collect();
            return Err(format!(
                "none of the CPUs that this process may use is on {noun} {}; write {key} of \
                 these: {}, or change its affinity (taskset, systemd's CPUAffinity=, a \
                 container's cpuset)",
                format_cpu_list(to),
                format_cpu_list(&before)
            ));
        }
        Ok(())
    }
}

/// The places that shards may get, by one CPU of each, in the order of the
/// CPUs.
fn places(placement: Placement, cpus: &[Cpu]) -> Vec<Cpu> {
    let mut taken = BTreeSet::new();
    let place = |cpu: &Cpu| match placement {
        Placement::Auto | Placement::PerCpu => cpu.cpu,
        Placement::PerCore => cpu.core,
        Placement::PerCache => cpu.cache,
        Placement::PerNode => cpu.node,
    };
    let first = |cpu: &&Cpu| taken.insert(place(cpu));
    cpus.iter().filter(first).copied().collect()
}

/// The places in the order in which they are dealt out: as far apart as can be.
fn spread(places: Vec<Cpu>) -> Vec<Cpu> {
    // For each place: how many came before it on its core, how many cores
    // before its own in the cache domain, how many of those on the node.
    let mut threads: BTreeMap<usize, usize> = BTreeMap::new();
    let mut cores: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut caches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut ranked: Vec<_> = places
        .into_iter()
        .map(|cpu| {
            let thread = threads.entry(cpu.core).or_default();
            *thread += 1;
            let core = rank(cores.entry(cpu.cache).or_default(), cpu.core);
            let cache = rank(caches.entry(cpu.node).or_default(), cpu.cache);
            ((*thread, core, cache, cpu.node), cpu)
        })
        .collect();
    ranked.sort_by_key(|(order, _)| *order);
    ranked.into_iter().map(|(_, cpu)| cpu).collect()
}

/// The place of one of them in the order in which they came.
fn rank(seen: &mut Vec<usize>, one: usize) -> usize {
    seen.iter().position(|s| *s == one).unwrap_or_else(|| {
        seen.push(one);
        seen.len() - 1
    })
}
