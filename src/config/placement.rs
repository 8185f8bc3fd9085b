//! How many shards there are, and on which CPUs.

use std::num::NonZeroUsize;

use serde::Deserialize;

/// How many shards there are, and on which CPUs they run.
///
/// `cpus`, `nodes` and `caches` say which CPUs may be used, of those that the
/// process may use at all; `placement`, what each shard gets of them; `count`,
/// how many there are. What contradicts itself, or this machine, is refused at
/// the start and by `adit check`, which also shows what comes of it.
///
/// Where shards are fewer than the places for them, the places are dealt out in
/// the order of `cpus` if that is given. Otherwise shards are kept apart: one
/// on each NUMA node before any has two, then one on each cache domain of a
/// node, then one on each core of a cache domain, and two on the threads of a
/// core at last. So each has as much of memory bandwidth, cache and core as can
/// be had; to have them close together, name a node or a cache domain. Shards
/// are numbered by their CPUs, in ascending order or in that of `cpus`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shards {
    /// `None`: one for each place that `placement` makes of the CPUs.
    pub count: Option<NonZeroUsize>,
    /// The CPUs, in order. `None`: those of the affinity mask.
    pub cpus: Option<Vec<usize>>,
    /// Only CPUs of these NUMA nodes, by the kernel's numbers. `None`: of any.
    pub nodes: Option<Vec<usize>>,
    /// Only CPUs of these cache domains, as `adit check` counts them
    /// ([`sys::topology::Cpu::cache`](crate::sys::topology::Cpu::cache)).
    /// `None`: of any.
    pub caches: Option<Vec<usize>>,
    /// What each shard gets.
    pub placement: Placement,
}

/// What each shard gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Placement {
    /// A CPU, if there are as many shards as CPUs, or if CPUs are named.
    /// Otherwise shards run wherever the kernel has room for them, and there
    /// may be more of them than CPUs.
    #[default]
    Auto,
    /// A CPU; with SMT, one thread of a core.
    PerCpu,
    /// A physical core, of which it uses one CPU: with SMT, the core's other
    /// threads stay free.
    PerCore,
    /// A cache domain, of which it uses one CPU: what shares a third-level
    /// cache.
    PerCache,
    /// A NUMA node, of which it uses one CPU.
    PerNode,
}
