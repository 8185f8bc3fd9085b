//! Who may come in, and how fast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::limits;

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Who may come in by a listener. What `deny` names is kept out even if `allow`
/// names it; what neither names may come in only where `allow` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Who may.
    pub allow: Vec<Network>,
    /// Who may not.
    pub deny: Vec<Network>,
}

/// How fast each network of clients may come in by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Connections a second, and how many at once after a pause. `None`: any.
    pub connections: Option<Rate>,
    /// The same for full TLS handshakes, which cost the most.
    pub handshakes: Option<Rate>,
    /// Leading bits of an IPv4 address by which clients are told apart.
    pub prefix_v4: u8,
    /// Leading bits of an IPv6 address by which clients are told apart.
    pub prefix_v6: u8,
}

/// So many a second on average, and `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// A second, over all shards.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            connections: None,
            handshakes: None,
            prefix_v4: limits::RATE_PREFIX_V4,
            prefix_v6: limits::RATE_PREFIX_V6,
        }
    }
}

impl Network {
    /// `None` if there are more bits than the address has.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = address.to_canonical();
        (prefix <= bits(address)).then_some(Self { address, prefix })
    }

    /// Its first address.
    pub(super) fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & !host).into()
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & !host).into()
            }
        }
    }

    /// Its last address.
    pub(super) fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) | host).into()
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) | host).into()
            }
        }
    }

    /// Whether that address lies in it. IPv4 in IPv6 (RFC 4291, section
    /// 2.5.5.2) is taken for IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(one)) => {
                shared(u32::from(net) ^ u32::from(one), self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(one)) => {
                let differ = u128::from(net) ^ u128::from(one);
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl Access {
    /// Whether a client with that address may come in.
    pub fn admits(&self, address: IpAddr) -> bool {
        let named = |list: &[Network]| list.iter().any(|network| network.contains(address));
        !named(&self.deny) && (self.allow.is_empty() || named(&self.allow))
    }

    /// Whether everybody may.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn shared(differ: u32, prefix: u8) -> bool {
    differ.leading_zeros() >= u32::from(prefix)
}

impl FromStr for Network {
    type Err = String;

    /// `192.0.2.0/24`, `2001:db8::/32`, or an address alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            format!(
                "\"{text}\" is no network; write one such as \"192.0.2.0/24\" or \"2001:db8::/32\""
            )
        })?;
        let most = bits(address.to_canonical());
        let prefix = match prefix {
            None => most,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or_else(|| {
                    format!("\"{text}\": after the / stands a number from 0 to {most}")
                })?,
        };
        Self::new(address, prefix).ok_or_else(|| format!("\"{text}\" is no network"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_holds_what_shares_its_bits() {
        for (net, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
        ] {
            assert!(network(net).contains(address(inside)), "{net} {inside}");
            assert!(!network(net).contains(address(outside)), "{net} {outside}");
        }
        assert!(network("0.0.0.0/0").contains(address("203.0.113.9")));
        for text in [
            "192.0.2.0/33",
            "2001:db8::/129",
            "10.0.0/8",
            "",
            "/8",
            "10.0.0.0/x",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_is_denied_stays_out_and_who_is_not_allowed_too() {
        let access = |allow: &[&str], deny: &[&str]| Access {
            allow: allow.iter().map(|net| network(net)).collect(),
            deny: deny.iter().map(|net| network(net)).collect(),
        };
        let one = address("192.0.2.7");
        assert!(access(&[], &[]).admits(one));
        assert!(access(&["192.0.2.0/24"], &[]).admits(one));
        assert!(!access(&["10.0.0.0/8"], &[]).admits(one));
        assert!(!access(&["192.0.2.0/24"], &["192.0.2.7"]).admits(one));
        assert!(access(&[], &["192.0.2.8"]).admits(one));
    }
}
