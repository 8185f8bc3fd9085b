//! Which certificate a client is shown: one shard's choice from the store that
//! all share.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::CipherSuite;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use super::heard;
use super::store::Store;
use crate::config::{SniNoMatch, TlsVersion};
use crate::limits;

/// What a client offers among its cipher suites when it has fallen back (RFC 7507,
/// section 2).
const FALLBACK_SCSV: u16 = 0x5600;

/// One shard's choice of certificates.
///
/// The keys that it signs with are its own, so that no reference count is
/// shared between cores; they are made when they are first asked for, and at
/// most [`limits::CERTIFICATES_HOT_MAX`] are kept.
pub(super) struct Resolver {
    store: Arc<Store>,
    nomatch: SniNoMatch,
    /// The newest version that is spoken.
    newest: TlsVersion,
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
        newest: TlsVersion,
        clock: Box<dyn TimeProvider>,
    ) -> Self {
        Self {
            store,
            nomatch,
            newest,
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
        if let Some(name) = hello.server_name() {
            heard::leave(name);
        }
        if self.newest == TlsVersion::Tls13 && has_fallen_back(hello.cipher_suites()) {
            heard::leave_fallback();
            return None;
        }
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

/// Whether a client says that it could do more, and comes with TLS 1.2 because
/// that was answered with a failure (RFC 7507, section 3): somebody on the way may
/// have seen to it. One that offers TLS 1.3 has suites of it, which no other
/// version has (RFC 8446, appendix B.4).
fn has_fallen_back(suites: &[CipherSuite]) -> bool {
    let mut says_so = false;
    for suite in suites {
        match u16::from(*suite) {
            FALLBACK_SCSV => says_so = true,
            0x1300..=0x13ff => return false,
            _ => {}
        }
    }
    says_so
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustls::pki_types::UnixTime;

    use super::*;
    use crate::config::CertSource;
    use crate::tls::identity::Identity;
    use crate::tls::ocsp::Staple;
    use crate::tls::store::Builder;

    /// Seconds since 1970.
    #[derive(Clone, Debug)]
    struct Clock(Arc<AtomicU64>);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }

    fn identity(name: &str) -> Identity {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        let file = folder.path().join("site.pem");
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(&file, pem).expect("a file");
        let source = CertSource::new(&file, &file);
        Identity::load(&source, SystemTime::now()).expect("an identity")
    }

    fn store(count: usize, until: Option<u64>) -> Arc<Store> {
        let mut builder = Builder::default();
        for number in 0..count {
            let mut identity = identity(&format!("{number}.test"));
            identity.staple = until.map(|until| Staple {
                der: [1, 2, 3].into(),
                until: Some(UNIX_EPOCH + Duration::from_secs(until)),
            });
            assert!(builder.add(identity));
        }
        Arc::new(builder.build())
    }

    #[test]
    fn a_response_is_stapled_until_it_is_out_of_date() {
        let clock = Clock(Arc::new(AtomicU64::new(999)));
        let resolver = Resolver::new(
            store(1, Some(1000)),
            SniNoMatch::Default,
            TlsVersion::Tls13,
            Box::new(clock.clone()),
        );
        let stapled = || resolver.ready(0).expect("a key").ocsp.clone();
        assert_eq!(stapled(), Some(vec![1, 2, 3]));
        clock.0.store(1000, Ordering::Relaxed);
        assert_eq!(stapled(), None);
        assert_eq!(stapled(), None);
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_makes_room() {
        let store = store(5, None);
        let mut hot = Hot::new(3);
        let mut made = Vec::new();
        for place in [0, 1, 2, 0, 3, 0, 4, 0, 3] {
            hot.find_or_add(place, || {
                made.push(place);
                Ready::new(&store, place)
            })
            .expect("a key");
            assert!(hot.ready.len() <= 3 && hot.ready.len() == hot.order.len());
        }
        // All had been asked for when 3 came, so that the eldest went.
        assert_eq!(made, [0, 1, 2, 3, 0, 4]);
    }
}
