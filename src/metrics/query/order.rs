//! What tunnels are ordered by.

use std::cmp::Reverse;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::metrics::tunnel::{TunnelId, TunnelView};

/// What tunnels are ordered by. Amounts begin with the greatest, texts with the
/// first of the alphabet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TunnelOrder {
    /// The oldest first.
    #[default]
    Age,
    /// By bytes in both directions.
    Bytes,
    /// By bytes from the client.
    Up,
    /// By bytes to the client.
    Down,
    /// By bytes a second in both directions, now.
    Rate,
    /// By the client's address.
    Client,
    /// By the name that the client asked for.
    Sni,
    /// By service.
    Service,
    /// By backend.
    Backend,
    /// By shard and number.
    Id,
}

/// A tunnel's place in an order. What comes first is the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Amount(Reverse<u64>, TunnelId),
    Text(Option<String>, TunnelId),
}

impl TunnelOrder {
    /// Every order.
    pub const ALL: [Self; 10] = [
        Self::Age,
        Self::Bytes,
        Self::Up,
        Self::Down,
        Self::Rate,
        Self::Client,
        Self::Sni,
        Self::Service,
        Self::Backend,
        Self::Id,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Bytes => "bytes",
            Self::Up => "up",
            Self::Down => "down",
            Self::Rate => "rate",
            Self::Client => "client",
            Self::Sni => "sni",
            Self::Service => "service",
            Self::Backend => "backend",
            Self::Id => "id",
        }
    }

    /// A tunnel's place in this order.
    pub(super) fn rank(self, tunnel: &TunnelView<'_>) -> Rank {
        let amount = |amount| Rank::Amount(Reverse(amount), tunnel.id);
        let text = |text: Option<&str>| Rank::Text(text.map(str::to_owned), tunnel.id);
        match self {
            Self::Age => amount((tunnel.age_seconds * 1e6) as u64),
            Self::Bytes => amount(tunnel.bytes_up.saturating_add(tunnel.bytes_down)),
            Self::Up => amount(tunnel.bytes_up),
            Self::Down => amount(tunnel.bytes_down),
            Self::Rate => amount(tunnel.bytes_per_second.unwrap_or(0)),
            // So that 9.0.0.1 comes before 10.0.0.1.
            Self::Client => Rank::Text(
                tunnel.client.map(|client| match client {
                    SocketAddr::V4(v4) => {
                        format!("4{:08x}{:05}", u32::from(*v4.ip()), v4.port())
                    }
                    SocketAddr::V6(v6) => {
                        format!("6{:032x}{:05}", u128::from(*v6.ip()), v6.port())
                    }
                }),
                tunnel.id,
            ),
            Self::Sni => text(tunnel.sni),
            Self::Service => text(tunnel.service),
            Self::Backend => text(tunnel.backend),
            Self::Id => amount(0),
        }
    }
}

impl fmt::Display for TunnelOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TunnelOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL;
        let found = all.into_iter().find(|order| order.as_str() == text);
        found.ok_or_else(|| {
            let words = all.map(Self::as_str).join(", ");
            format!("\"{}\" is no order; write {words}", text.escape_debug())
        })
    }
}
