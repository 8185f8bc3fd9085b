//! A configuration with everything that it names read and checked: what shards
//! are given.

use std::time::SystemTime;

use crate::config::Config;
use crate::error::Error;
use crate::tls::Identity;

/// A configuration with everything that it names read and checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// One for each of the configuration's listeners.
    pub(crate) identities: Vec<Identity>,
}

impl Plan {
    /// Reads and checks the certificates and keys. It may take its time, and
    /// is done on no shard.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let now = SystemTime::now();
        let identities = config
            .listeners
            .iter()
            .map(|listener| Identity::load(&listener.tls, now))
            .collect::<Result<Vec<_>, _>>()?;
        for identity in &identities {
            for warning in &identity.info().warnings {
                log::warn!("{warning}");
            }
        }
        Ok(Self { config, identities })
    }
}
