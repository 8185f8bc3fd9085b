//! What TLS handshakes agreed on.

use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
use serde::{Deserialize, Serialize};

use super::counters::Counter;
use crate::config::suites;

/// What one handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) suite: Option<CipherSuite>,
    /// `None`: no keys were exchanged, as where TLS 1.2 resumes a session.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) resumed: bool,
}

/// How many handshakes agreed on what, by standard names. What never occurred
/// is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NegotiatedCounts {
    /// By protocol version: "TLSv1.2", "TLSv1.3".
    pub versions: Vec<NameCount>,
    /// By cipher suite, in IANA's names.
    pub ciphers: Vec<NameCount>,
    /// By key exchange group, in IANA's names. Handshakes that exchanged no
    /// keys, as where TLS 1.2 resumes a session, are not among them.
    pub groups: Vec<NameCount>,
}

/// How many of what has that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameCount {
    /// The name.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// One shard's cells for the handshakes with one side. Each list ends with a
/// cell for what has no name here.
#[derive(Debug)]
pub(super) struct Handshakes {
    done: Counter,
    resumed: Counter,
    versions: Cells<ProtocolVersion>,
    suites: Cells<CipherSuite>,
    groups: Cells<NamedGroup>,
}

/// A counter for each of a few values, found by going through them: that is
/// done once in a handshake, and there are ten at most.
#[derive(Debug)]
struct Cells<T> {
    cells: Box<[(T, Counter)]>,
    others: Counter,
}

impl NegotiatedCounts {
    /// Adds another shard's figures to these.
    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.versions, &other.versions);
        add(&mut self.ciphers, &other.ciphers);
        add(&mut self.groups, &other.groups);
    }
}

fn add(ours: &mut Vec<NameCount>, theirs: &[NameCount]) {
    for more in theirs {
        match ours.iter_mut().find(|known| known.name == more.name) {
            Some(known) => known.count += more.count,
            None => ours.push(more.clone()),
        }
    }
}

impl Handshakes {
    pub(super) fn new() -> Self {
        Self {
            done: Counter::default(),
            resumed: Counter::default(),
            versions: Cells::new([ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]),
            suites: Cells::new(suites::cipher_suites()),
            groups: Cells::new(suites::groups()),
        }
    }

    pub(super) fn count(&self, negotiated: Negotiated) {
        self.done.add(1);
        if negotiated.resumed {
            self.resumed.add(1);
        }
        self.versions.count(negotiated.version);
        self.suites.count(negotiated.suite);
        self.groups.count(negotiated.group);
    }

    pub(super) fn done(&self) -> u64 {
        self.done.get()
    }

    pub(super) fn resumed(&self) -> u64 {
        self.resumed.get()
    }

    pub(super) fn negotiated(&self) -> NegotiatedCounts {
        NegotiatedCounts {
            versions: self.versions.named(suites::version_name),
            ciphers: self.suites.named(suites::suite_name),
            groups: self.groups.named(suites::group_name),
        }
    }
}

impl<T: Copy + PartialEq> Cells<T> {
    fn new(values: impl IntoIterator<Item = T>) -> Self {
        Self {
            cells: values
                .into_iter()
                .map(|value| (value, Counter::default()))
                .collect(),
            others: Counter::default(),
        }
    }

    fn count(&self, value: Option<T>) {
        let Some(value) = value else { return };
        let cell = self.cells.iter().find(|(known, _)| *known == value);
        cell.map_or(&self.others, |(_, cell)| cell).add(1);
    }

    fn named(&self, name: impl Fn(T) -> &'static str) -> Vec<NameCount> {
        let cells = self.cells.iter().map(|(value, cell)| (name(*value), cell));
        cells
            .chain([("other", &self.others)])
            .filter(|(_, cell)| cell.get() > 0)
            .map(|(name, cell)| NameCount {
                name: name.to_owned(),
                count: cell.get(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(counts: &[NameCount]) -> Vec<(&str, u64)> {
        counts
            .iter()
            .map(|count| (count.name.as_str(), count.count))
            .collect()
    }

    #[test]
    fn what_was_agreed_on_is_counted_by_its_name_and_summed() {
        let shard = || {
            let handshakes = Handshakes::new();
            for (suite, group, resumed) in [
                (
                    CipherSuite::TLS13_AES_128_GCM_SHA256,
                    Some(NamedGroup::X25519),
                    false,
                ),
                (
                    CipherSuite::TLS13_AES_128_GCM_SHA256,
                    Some(NamedGroup::X448),
                    true,
                ),
                (CipherSuite::TLS_NULL_WITH_NULL_NULL, None, true),
            ] {
                handshakes.count(Negotiated {
                    version: Some(ProtocolVersion::TLSv1_3),
                    suite: Some(suite),
                    group,
                    resumed,
                });
            }
            handshakes
        };
        assert_eq!((shard().done(), shard().resumed()), (3, 2));
        let mut sum = NegotiatedCounts::default();
        sum.add(&shard().negotiated());
        sum.add(&shard().negotiated());
        assert_eq!(names(&sum.versions), [("TLSv1.3", 6)]);
        assert_eq!(
            names(&sum.ciphers),
            [("TLS_AES_128_GCM_SHA256", 4), ("other", 2)]
        );
        assert_eq!(names(&sum.groups), [("x25519", 2), ("other", 2)]);
    }
}
