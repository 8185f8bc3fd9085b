//! Which tunnels get a line at their end, how it looks, and where it goes.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::LogSink;

/// The access log: one line for each tunnel that has ended, and for each
/// connection that was turned away.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// How a line looks.
    pub format: AccessFormat,
    /// Where to. The syslog mask has no meaning here: every line is sent, with
    /// priority info.
    pub sink: LogSink,
    /// Of the tunnels that carried bytes and ended in the ordinary way, one in
    /// so many gets a line. All others get theirs.
    pub sample: NonZeroU32,
    /// How many lines there may be in a second, over all shards: so many for
    /// tunnels that ended in the ordinary way, and so many for the others,
    /// so that neither can crowd the other out. `None`: any number.
    pub per_second: Option<NonZeroU32>,
}

/// How an access line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum AccessFormat {
    /// `key=value`, in quotes where need be, with `-` for what is not known.
    #[default]
    Text,
    /// A JSON object (RFC 8259), with `null` for what is not known.
    Json,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            format: AccessFormat::default(),
            sink: LogSink::Stderr,
            sample: NonZeroU32::MIN,
            per_second: None,
        }
    }
}
