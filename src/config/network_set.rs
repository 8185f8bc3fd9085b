//! Many networks, and whether an address lies in any of them.

use std::net::IpAddr;

use super::{Access, Network};

/// Networks, made ready to be looked through: a lookup among n of them takes
/// log2(n) steps. IPv4 in IPv6 (RFC 4291, section 2.5.5.2) is taken for IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// [`Access`], made ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessList {
    /// `None`: everybody.
    allow: Option<NetworkSet>,
    deny: NetworkSet,
}

impl NetworkSet {
    /// Whether that address lies in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(one) => holds(&self.v4, u32::from(one)),
            IpAddr::V6(one) => holds(&self.v6, u128::from(one)),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl<'a> FromIterator<&'a Network> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = &'a Network>>(networks: I) -> Self {
        let mut set = Self::default();
        for network in networks {
            match (network.first(), network.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => set.v4.push((first.into(), last.into())),
                (IpAddr::V6(first), IpAddr::V6(last)) => set.v6.push((first.into(), last.into())),
                // A network's ends are of one family.
                _ => {}
            }
        }
        merge(&mut set.v4);
        merge(&mut set.v6);
        set
    }
}

impl AccessList {
    /// What an operator has written, made ready.
    pub fn new(access: &Access) -> Self {
        Self {
            allow: (!access.allow.is_empty()).then(|| access.allow.iter().collect()),
            deny: access.deny.iter().collect(),
        }
    }

    /// Whether a client with that address may come in: as
    /// [`Access::admits`] says it.
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.deny.contains(address)
            && self
                .allow
                .as_ref()
                .is_none_or(|allow| allow.contains(address))
    }

    /// Whether everybody may.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

/// Sorts ranges, and joins those that overlap.
fn merge<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|(first, last), (_, before)| {
        let overlaps = *first <= *before;
        if overlaps {
            *before = (*before).max(*last);
        }
        overlaps
    });
    ranges.shrink_to_fit();
}

/// Whether one of the ranges, which ascend and are apart, holds it.
fn holds<T: Ord + Copy>(ranges: &[(T, T)], one: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= one);
    behind.checked_sub(1).is_some_and(|at| one <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// The plain way of asking is the oracle.
    #[test]
    fn it_says_what_a_look_at_each_network_says() {
        let mut random = fastrand::Rng::with_seed(7);
        // Few different bits, so that networks overlap and addresses hit.
        let address = |random: &mut fastrand::Rng| {
            let bits = random.u32(..) & 0xc003_0003;
            match random.u8(..3) {
                0 => IpAddr::V4(Ipv4Addr::from(bits)),
                1 => IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped()),
                _ => IpAddr::V6(Ipv6Addr::from(u128::from(bits) << 64 | u128::from(bits))),
            }
        };
        let mut seen = [0, 0];
        for _ in 0..2000 {
            let list = |random: &mut fastrand::Rng| -> Vec<Network> {
                (0..random.usize(..6))
                    .filter_map(|_| Network::new(address(random), random.u8(..=128)))
                    .collect()
            };
            let access = Access {
                allow: list(&mut random),
                deny: list(&mut random),
            };
            let ready = AccessList::new(&access);
            for _ in 0..20 {
                let one = address(&mut random);
                let admits = access.admits(one);
                assert_eq!(ready.admits(one), admits, "{one} by {access:?}");
                seen[usize::from(admits)] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n > 1000), "{seen:?}");
    }

    #[test]
    fn the_ends_of_all_addresses_are_in_the_network_of_all() {
        let set: NetworkSet = ["::/0", "0.0.0.0/0"]
            .map(|text| text.parse::<Network>().expect("a network"))
            .iter()
            .collect();
        for one in ["0.0.0.0", "255.255.255.255", "::", "ffff::ffff"] {
            assert!(set.contains(one.parse().expect("an address")), "{one}");
        }
        assert!(!NetworkSet::default().contains(Ipv4Addr::LOCALHOST.into()));
    }
}
