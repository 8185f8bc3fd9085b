//! All certificates of a listener, as files gave them: plain data that every
//! shard reads and none changes.
//!
//! It is kept small, for there may be tens of thousands: certificates and keys
//! as DER, each intermediate once, and an index of names. What rustls signs
//! with is made of it by each shard ([`resolver`](super::resolver)).

use std::collections::HashMap;
use std::fmt;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::identity::Identity;
use super::ocsp::Staple;
use super::signatures::rank;
use crate::config::SniNoMatch;

/// The certificates of one listener.
#[derive(Default)]
pub(super) struct Store {
    /// In the order in which they were found; the first is the default.
    entries: Vec<Entry>,
    /// Each certificate of the chains but the leaves, once.
    issuers: Vec<Box<[u8]>>,
    /// By name, and by what follows `*.`: places in `entries`, the most wanted
    /// first.
    exact: HashMap<Box<str>, Places>,
    wildcard: HashMap<Box<str>, Places>,
    /// The default, and after it those that share its first name.
    default: Places,
}

type Places = Box<[u32]>;

struct Entry {
    leaf: Box<[u8]>,
    /// Places in [`Store::issuers`].
    chain: Box<[u32]>,
    key: Zeroizing<PrivateKeyDer<'static>>,
    /// What the key can sign with.
    schemes: &'static [SignatureScheme],
    staple: Option<Staple>,
}

impl Store {
    /// How many certificates there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The place of the certificate for a client that asks for this name, in
    /// lower case, and takes these signatures. `None` if the client is to be
    /// refused.
    ///
    /// If the client takes none of those that are for the name, it gets the
    /// first, so that rustls refuses it for that.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
        nomatch: SniNoMatch,
    ) -> Option<usize> {
        let Some(name) = name else {
            return self.fitting(self.default.iter(), schemes);
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let exact = self.exact.get(name).into_iter();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let mut places = exact.chain(wildcard).flatten().peekable();
        match (places.peek(), nomatch) {
            (Some(_), _) => self.fitting(places, schemes),
            (None, SniNoMatch::Default) => self.fitting(self.default.iter(), schemes),
            (None, SniNoMatch::Abort) => None,
        }
    }

    fn fitting<'a>(
        &self,
        mut places: impl Iterator<Item = &'a u32>,
        schemes: &[SignatureScheme],
    ) -> Option<usize> {
        let first = *places.next()? as usize;
        let fits = |place: usize| {
            self.entries.get(place).is_some_and(|entry| {
                // None known: a kind of key that this program has no list for.
                entry.schemes.is_empty() || entry.schemes.iter().any(|s| schemes.contains(s))
            })
        };
        if fits(first) {
            return Some(first);
        }
        let other = places
            .map(|place| *place as usize)
            .find(|place| fits(*place));
        Some(other.unwrap_or(first))
    }

    /// What rustls signs with for the certificate at `place`, all of it made
    /// anew, and the OCSP response, if it has one.
    pub(super) fn certified_key(
        &self,
        place: usize,
    ) -> Result<(CertifiedKey, Option<&Staple>), rustls::Error> {
        let entry = self
            .entries
            .get(place)
            .ok_or_else(|| rustls::Error::General("no such certificate".into()))?;
        let issuers = entry
            .chain
            .iter()
            .filter_map(|issuer| self.issuers.get(*issuer as usize));
        let chain = std::iter::once(&entry.leaf)
            .chain(issuers)
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        let key = any_supported_type(&entry.key)?;
        Ok((CertifiedKey::new(chain, key), entry.staple.as_ref()))
    }
}

impl fmt::Debug for Store {
    /// How many, and nothing of their keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} certificates)", self.entries.len())
    }
}

/// A store in the making.
#[derive(Default)]
pub(super) struct Builder {
    store: Store,
    issuers: HashMap<Box<[u8]>, u32>,
    exact: HashMap<Box<str>, Vec<u32>>,
    wildcard: HashMap<Box<str>, Vec<u32>>,
    /// The first name of the default.
    first: Option<Box<str>>,
}

impl Builder {
    /// Adds a certificate. Gives false if no client is ever shown it, for
    /// others with its kind of key have all of its names.
    pub(super) fn add(&mut self, identity: Identity) -> bool {
        let Identity {
            chain,
            key,
            schemes,
            staple,
            info,
        } = identity;
        // Bounded: limits::CERTIFICATES_MAX for each source.
        let place = u32::try_from(self.store.entries.len()).unwrap_or(u32::MAX);
        let mut useful = place == 0;
        for name in &info.names {
            let name = name.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            let places = match name.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.into()),
                None => self.exact.entry(name.into()),
            };
            let places = places.or_default();
            let entries = &self.store.entries;
            // The same name twice in one certificate is no other's doing.
            if places.last() == Some(&place) {
                continue;
            }
            useful |= !places
                .iter()
                .filter_map(|other| entries.get(*other as usize))
                .any(|other| other.schemes == schemes);
            places.push(place);
            if place == 0 && self.first.is_none() {
                self.first = Some(name.into());
            }
        }
        let mut chain = chain.into_iter();
        let leaf = chain.next().map(|leaf| leaf.to_vec().into_boxed_slice());
        let entry = Entry {
            leaf: leaf.unwrap_or_default(),
            chain: chain.map(|issuer| self.issuer(&issuer)).collect(),
            key,
            schemes,
            staple,
        };
        self.store.entries.push(entry);
        useful
    }

    /// All that were added.
    pub(super) fn build(self) -> Store {
        let Self {
            mut store,
            mut exact,
            mut wildcard,
            first,
            ..
        } = self;
        let mut default = vec![0];
        if let Some(first) = first {
            let siblings = match first.strip_prefix("*.") {
                Some(parent) => wildcard.get(parent),
                None => exact.get(&first),
            };
            default.extend(siblings.into_iter().flatten().filter(|place| **place != 0));
        }
        if !store.entries.is_empty() {
            store.default = default.into();
        }
        let entries = &store.entries;
        for places in exact.values_mut().chain(wildcard.values_mut()) {
            places.sort_by_key(|place| rank(entries[*place as usize].schemes));
        }
        let boxed = |map: HashMap<Box<str>, Vec<u32>>| {
            map.into_iter()
                .map(|(name, places)| (name, places.into()))
                .collect()
        };
        store.exact = boxed(exact);
        store.wildcard = boxed(wildcard);
        store.entries.shrink_to_fit();
        store
    }

    fn issuer(&mut self, der: &[u8]) -> u32 {
        if let Some(place) = self.issuers.get(der) {
            return *place;
        }
        let place = u32::try_from(self.store.issuers.len()).unwrap_or(u32::MAX);
        self.store.issuers.push(der.into());
        self.issuers.insert(der.into(), place);
        place
    }
}
