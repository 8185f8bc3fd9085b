//! Which certificate a client is shown: one shard's choice from the store that
//! all share.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use super::store::Store;
use crate::config::SniNoMatch;
use crate::limits;

/// One shard's choice of certificates.
///
/// The keys that it signs with are its own, so that no reference count is
/// shared between cores; they are made when they are first asked for, and at
/// most [`limits::CERTIFICATES_HOT_MAX`] are kept.
pub(super) struct Resolver {
    store: Arc<Store>,
    nomatch: SniNoMatch,
    /// Locked once in a handshake, and by this shard alone: rustls wants what
    /// it is given to be `Sync`.
    hot: Mutex<Hot>,
    clock: Box<dyn TimeProvider>,
}

impl Resolver {
    /// A choice from this store that has made nothing ready yet.
    pub(super) fn new(
        store: Arc<Store>,
        nomatch: SniNoMatch,
        clock: Box<dyn TimeProvider>,
    ) -> Self {
        Self {
            store,
            nomatch,
            hot: Mutex::new(Hot::new(limits::CERTIFICATES_HOT_MAX)),
            clock,
        }
    }

    fn now(&self) -> SystemTime {
        let time = self.clock.current_time();
        // Without a time nothing is out of date; there is one on Linux.
        UNIX_EPOCH + time.map_or(Duration::ZERO, |time| Duration::from_secs(time.as_secs()))
    }

    fn ready(&self, place: usize) -> Result<Arc<CertifiedKey>, rustls::Error> {
        // A panic elsewhere leaves nothing half done in there.
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        let key = hot.find_or_add(place, || Ready::new(&self.store, place))?;
        Ok(key.current(|| self.now()))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let place = self.store.choose(
            hello.server_name(),
            // In TLS 1.2 rustls leaves those out that no common suite has.
            hello.signature_schemes(),
            self.nomatch,
        )?;
        self.ready(place)
            .inspect_err(|error| log::error!("a certificate cannot be shown: {error}"))
            .ok()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({:?})", self.store)
    }
}

/// A certificate that can be shown at once.
struct Ready {
    key: Arc<CertifiedKey>,
    /// When the OCSP response in `key` stops being good.
    staple_until: Option<SystemTime>,
}

impl Ready {
    fn new(store: &Store, place: usize) -> Result<Self, rustls::Error> {
        let (mut key, staple) = store.certified_key(place)?;
        key.ocsp = staple.map(|staple| staple.der.to_vec());
        Ok(Self {
            key: Arc::new(key),
            staple_until: staple.and_then(|staple| staple.until),
        })
    }

    /// Without its OCSP response once that is out of date: it would do a client
    /// more harm than none.
    fn current(&mut self, now: impl FnOnce() -> SystemTime) -> Arc<CertifiedKey> {
        if let Some(until) = self.staple_until
            && until <= now()
        {
            self.staple_until = None;
            let mut bare = CertifiedKey::clone(&self.key);
            bare.ocsp = None;
            self.key = Arc::new(bare);
        }
        self.key.clone()
    }
}

/// The certificates that were asked for of late. When it is full, the one goes
/// that has not been asked for since it was last passed by (second chance).
struct Hot {
    ready: HashMap<usize, (Ready, bool)>,
    /// The keys of `ready`, in the order in which they are passed by.
    order: VecDeque<usize>,
    max: usize,
}

impl Hot {
    /// Room for `max`, at least one.
    fn new(max: usize) -> Self {
        Self {
            ready: HashMap::new(),
            order: VecDeque::new(),
            max,
        }
    }

    fn find_or_add<E>(
        &mut self,
        place: usize,
        make: impl FnOnce() -> Result<Ready, E>,
    ) -> Result<&mut Ready, E> {
        if !self.ready.contains_key(&place) {
            let made = make()?;
            if self.order.len() >= self.max {
                self.evict();
            }
            self.order.push_back(place);
            self.ready.insert(place, (made, false));
            debug_assert_eq!(self.ready.len(), self.order.len());
        }
        // It was there, or has just been put there.
        let (ready, asked) = self.ready.get_mut(&place).expect("in the map");
        *asked = true;
        Ok(ready)
    }

    fn evict(&mut self) {
        // Ends at the second turn at the latest.
        while let Some(place) = self.order.pop_front() {
            match self.ready.get_mut(&place) {
                Some((_, asked)) if *asked => {
                    *asked = false;
                    self.order.push_back(place);
                }
                _ => {
                    self.ready.remove(&place);
                    return;
                }
            }
        }
    }
}
