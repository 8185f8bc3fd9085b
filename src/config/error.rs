//! What is wrong with a configuration.

/// What is wrong with a configuration, and where.
#[derive(Debug)]
pub struct ConfigError;
