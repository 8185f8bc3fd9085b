//! Who may come in, how fast, and what is asked of TCP, as typed.

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{BitsV4, BitsV6, Count, Name, NetworkText, Switch};
use super::super::{Access, Network, Rate, RateLimits, TcpOptions};
use super::check_count;
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(rename = "access", deny_unknown_fields)]
pub(super) struct FileAccess {
    allow: Option<Vec<NetworkText>>,
    deny: Option<Vec<NetworkText>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "rates", deny_unknown_fields)]
pub(super) struct FileRates {
    connections: Option<FileRate>,
    handshakes: Option<FileRate>,
    prefix_v4: Option<BitsV4>,
    prefix_v6: Option<BitsV6>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "a rate", deny_unknown_fields)]
pub(super) struct FileRate {
    per_second: Count,
    burst: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "tcp", deny_unknown_fields)]
pub(super) struct FileTcp {
    fast_open: Option<Switch>,
    congestion: Option<Name>,
}

impl FileAccess {
    /// What it means. `node` is where it was read from, for places.
    pub(super) fn meant(self, node: Option<&Node<'_>>) -> Result<Access, SyntaxError> {
        let list = |typed, key| networks(typed, node.and_then(|node| node.field(key)));
        Ok(Access {
            allow: list(self.allow, "allow")?,
            deny: list(self.deny, "deny")?,
        })
    }
}

/// A list of networks, found at that node.
pub(super) fn networks(
    typed: Option<Vec<NetworkText>>,
    node: Option<&Node<'_>>,
) -> Result<Vec<Network>, SyntaxError> {
    let typed = typed.unwrap_or_default();
    check_count(typed.len(), limits::NETWORKS_MAX, "networks", node)?;
    Ok(typed.into_iter().map(|network| network.0).collect())
}

impl FileRates {
    pub(super) fn meant(self) -> RateLimits {
        let default = RateLimits::default();
        RateLimits {
            connections: self.connections.map(FileRate::meant),
            handshakes: self.handshakes.map(FileRate::meant),
            prefix_v4: self.prefix_v4.map_or(default.prefix_v4, |bits| bits.0),
            prefix_v6: self.prefix_v6.map_or(default.prefix_v6, |bits| bits.0),
        }
    }
}

impl FileRate {
    pub(super) fn meant(self) -> Rate {
        let per_second = self.per_second.0.get();
        Rate {
            per_second,
            burst: self.burst.map_or(per_second, |burst| burst.0.get()),
        }
    }
}

impl FileTcp {
    pub(super) fn meant(self) -> TcpOptions {
        TcpOptions {
            fast_open: self.fast_open.is_some_and(|on| on.0),
            congestion: self.congestion.map(|name| name.0),
        }
    }
}
