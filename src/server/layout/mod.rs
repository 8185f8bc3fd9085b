//! On which CPUs shards run.
//!
//! `decide` finds out, and `judge` says what is to be thought of it; both are
//! pure, and this file gives them this machine.

mod decide;
mod judge;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Shards};
use crate::error::Error;
use crate::sys::topology::{SYSFS, Topology};
use crate::sys::{cpu, quota};

/// The CPUs of the machine, and which shard runs on which.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The CPU of each shard, in order; `None`: it is not pinned. Either all of
    /// them are pinned, each to a CPU of its own, or none is.
    pub shards: Vec<Option<usize>>,
    /// The CPUs that the process may use: its affinity mask.
    pub allowed: Vec<usize>,
    /// How they, and the others, are arranged.
    pub topology: Topology,
    asked: Shards,
    quota: Option<f64>,
}

impl Layout {
    /// Where the shards of that configuration would run on this machine.
    ///
    /// # Errors
    ///
    /// [`Error::Demand`] if they cannot run as [`Config::shards`] wants it.
    pub fn of(config: &Config) -> Result<Self, Error> {
        let machine = Self::of_machine()?;
        machine.with(&config.shards).map_err(Error::Demand)
    }

    /// The machine alone, without a shard.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel does not say which CPUs may be used.
    pub fn of_machine() -> Result<Self, Error> {
        let allowed = cpu::allowed()
            .map_err(|error| Error::System(format!("the CPUs cannot be listed: {error}")))?;
        let topology = Topology::read(Path::new(SYSFS), &allowed);
        Ok(Self::bare(allowed, topology, quota::of_this_process()))
    }

    fn bare(allowed: Vec<usize>, topology: Topology, quota: Option<f64>) -> Self {
        Self {
            shards: Vec::new(),
            allowed,
            topology,
            asked: Shards::default(),
            quota,
        }
    }

    /// With these shards.
    fn with(self, asked: &Shards) -> Result<Self, String> {
        Ok(Self {
            shards: decide::shards(asked, &self.allowed, &self.topology)?,
            asked: asked.clone(),
            ..self
        })
    }

    /// The CPUs of the shards, in order; none if they are not pinned.
    pub(crate) fn cpus(&self) -> Arc<[usize]> {
        self.shards.iter().copied().flatten().collect()
    }
}
