//! How fast each network of clients may come in, as one shard sees to it.
//!
//! Each network has an account with two allowances, for connections and for
//! full handshakes ([`Allowance`]). The rate that is configured is that of all
//! shards together, and each has its equal part: the kernel spreads a client's
//! connections over the shards by their ports. So a client with a few
//! connections may be refused a little early by one shard while others have
//! something left for it; each shard grants one at once in any case.
//!
//! Accounts lie in a table of fixed size, [`limits::RATE_SETS`] sets of
//! [`limits::RATE_WAYS`], found by a keyed hash, so that nobody can choose
//! addresses which meet in one set. An account with no room takes that of the
//! network of its set that has been silent longest, which thereby begins anew
//! with all that it may have: a flood from more networks than there is room for
//! makes rates lenient, and never refuses a network for what others did.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Rate, RateLimits};
use crate::limits;
use crate::rate::Allowance;

/// The accounts of a shard, for all of its listeners. The table is made when
/// the first account is asked for.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    key: RandomState,
    table: RefCell<Vec<[Account; limits::RATE_WAYS]>>,
}

/// The rates of one listener: one shard's part.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Keeps the accounts of listeners apart.
    listener: String,
    prefix_v4: u8,
    prefix_v6: u8,
    connections: Option<Allowance>,
    handshakes: Option<Allowance>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A connection.
    Connection,
    /// A full handshake.
    Handshake,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// The hash of the listener and the network. 0: nobody's.
    owner: u64,
    /// When it was last asked, in nanoseconds since the shard began.
    asked: u64,
    /// When the allowance for connections is whole again, likewise.
    connections: u64,
    /// The same for handshakes.
    handshakes: u64,
}

impl Pace {
    /// `None` where nothing is limited.
    pub(crate) fn new(listener: &str, rates: &RateLimits, shards: usize) -> Option<Self> {
        if rates.connections.is_none() && rates.handshakes.is_none() {
            return None;
        }
        let part = |rate: Rate| Allowance::new(rate, shards);
        Some(Self {
            listener: listener.to_owned(),
            prefix_v4: rates.prefix_v4,
            prefix_v6: rates.prefix_v6,
            connections: rates.connections.map(part),
            handshakes: rates.handshakes.map(part),
        })
    }

    fn allowance(&self, counted: Counted) -> Option<Allowance> {
        match counted {
            Counted::Connection => self.connections,
            Counted::Handshake => self.handshakes,
        }
    }

    /// Whether there is a rate for that.
    pub(crate) fn limits(&self, counted: Counted) -> bool {
        self.allowance(counted).is_some()
    }

    fn network(&self, client: IpAddr) -> IpAddr {
        match client.to_canonical() {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(self.prefix_v4.into()).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & !host).into()
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(self.prefix_v6.into()).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & !host).into()
            }
        }
    }
}

impl Rates {
    /// Whether a client may have one more of that now, and if so, counts it.
    /// `now`: nanoseconds since the shard began.
    pub(crate) fn take(&self, pace: &Pace, client: IpAddr, counted: Counted, now: u64) -> bool {
        let Some(allowance) = pace.allowance(counted) else {
            return true;
        };
        self.with_account(pace, client, now, |account| {
            let whole = account.whole(counted);
            let taken = allowance.taken(*whole, now);
            *whole = taken.unwrap_or(*whole);
            taken.is_some()
        })
    }

    /// What was taken is given back: it was not used.
    pub(crate) fn give_back(&self, pace: &Pace, client: IpAddr, counted: Counted, now: u64) {
        if let Some(allowance) = pace.allowance(counted) {
            self.with_account(pace, client, now, |account| {
                let whole = account.whole(counted);
                *whole = allowance.given_back(*whole);
            });
        }
    }

    fn with_account<T>(
        &self,
        pace: &Pace,
        client: IpAddr,
        now: u64,
        change: impl FnOnce(&mut Account) -> T,
    ) -> T {
        let hash = self.key.hash_one((&pace.listener, pace.network(client)));
        let owner = hash.max(1);
        let mut table = self.table.borrow_mut();
        if table.is_empty() {
            table.resize(limits::RATE_SETS, Default::default());
        }
        let at = (hash % limits::RATE_SETS as u64) as usize;
        let set = &mut table[at];
        // Its own, or the one that was asked the longest time ago.
        let mut found = 0;
        for (way, account) in set.iter().enumerate() {
            if account.owner == owner {
                found = way;
                break;
            }
            if account.asked < set[found].asked {
                found = way;
            }
        }
        let account = &mut set[found];
        if account.owner != owner {
            *account = Account {
                owner,
                ..Account::default()
            };
        }
        // One that is in use is younger than one that never was.
        account.asked = now.max(1);
        change(account)
    }
}

impl Account {
    fn whole(&mut self, counted: Counted) -> &mut u64 {
        match counted {
            Counted::Connection => &mut self.connections,
            Counted::Handshake => &mut self.handshakes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(per_second: u32, burst: u32, shards: usize) -> Pace {
        let rate = Some(Rate { per_second, burst });
        let rates = RateLimits {
            connections: rate,
            ..RateLimits::default()
        };
        Pace::new("web", &rates, shards).expect("a limit")
    }

    fn granted(rates: &Rates, pace: &Pace, client: &str, asked: usize, now: u64) -> usize {
        let client = client.parse().expect("an address");
        (0..asked)
            .filter(|_| rates.take(pace, client, Counted::Connection, now))
            .count()
    }

    #[test]
    fn so_many_at_once_and_so_many_a_second_after_that() {
        let (rates, pace) = (Rates::default(), pace(10, 5, 1));
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 9, SECOND), 5);
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 9, SECOND), 0);
        // A tenth of a second gives one.
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 9, SECOND * 11 / 10), 1);
        // Others have their own, and no pause gives more than the burst.
        assert_eq!(granted(&rates, &pace, "192.0.2.2", 9, SECOND), 5);
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 99, SECOND * 900), 5);
        let asked = (0..1000).map(|step| SECOND * 1000 + step * SECOND / 100);
        let total: usize = asked
            .map(|now| granted(&rates, &pace, "192.0.2.9", 1, now))
            .sum();
        assert!((100..=106).contains(&total), "{total} in ten seconds");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (rates, pace) = (Rates::default(), pace(1, 1, 1));
        let client = "192.0.2.1".parse().expect("an address");
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 2, SECOND), 1);
        rates.give_back(&pace, client, Counted::Connection, SECOND);
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 2, SECOND), 1);
    }

    #[test]
    fn shards_share_a_rate_and_each_grants_one() {
        let of_four = pace(100, 8, 4);
        assert_eq!(
            granted(&Rates::default(), &of_four, "192.0.2.1", 9, SECOND),
            2
        );
        let of_many = pace(1, 1, 64);
        assert_eq!(
            granted(&Rates::default(), &of_many, "192.0.2.1", 9, SECOND),
            1
        );
    }

    #[test]
    fn networks_are_told_apart_by_their_prefix() {
        let (rates, mut pace) = (Rates::default(), pace(1, 1, 1));
        assert_eq!(granted(&rates, &pace, "2001:db8:0:1::1", 1, SECOND), 1);
        assert_eq!(granted(&rates, &pace, "2001:db8:0:2::2", 1, SECOND), 0);
        assert_eq!(granted(&rates, &pace, "2001:db8:0:100::", 1, SECOND), 1);
        assert_eq!(granted(&rates, &pace, "::ffff:192.0.2.1", 1, SECOND), 1);
        assert_eq!(granted(&rates, &pace, "192.0.2.1", 1, SECOND), 0);
        pace.prefix_v4 = 0;
        assert_eq!(granted(&rates, &pace, "192.0.2.2", 1, SECOND), 1);
        assert_eq!(granted(&rates, &pace, "203.0.113.1", 1, SECOND), 0);
    }

    /// Four times as many networks as there is room for: nobody who comes for
    /// the first time is refused, and the table does not grow.
    #[test]
    fn a_flood_of_addresses_refuses_nobody_else() {
        let (rates, pace) = (Rates::default(), pace(1, 1, 1));
        let room = (limits::RATE_SETS * limits::RATE_WAYS) as u32;
        for number in 0..4 * room {
            let client = Ipv4Addr::from(number).into();
            let now = SECOND + u64::from(number);
            assert!(rates.take(&pace, client, Counted::Connection, now));
        }
        assert_eq!(rates.table.borrow().len(), limits::RATE_SETS);
        // Who was there last is remembered.
        let last = Ipv4Addr::from(4 * room - 1).into();
        assert!(!rates.take(&pace, last, Counted::Connection, 2 * SECOND - 1));
    }
}
