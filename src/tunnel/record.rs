//! What is known of an open tunnel, for whoever asks about it while it lives
//! and for the line that tells of its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::facts::Facts;
use crate::backend::Service;
use crate::config::suites;
use crate::metrics::{Negotiated, TunnelId, TunnelState, TunnelView};
use crate::timer::{Alarm, Timers};
use crate::tls::Subject;

/// That of a tunnel which has not begun, and looks at its record when it does.
const NO_ALARM: u32 = u32::MAX;

/// Of a tunnel that has none. No service has as many.
const NO_BACKEND: u32 = u32::MAX;

/// What is known of one tunnel. It is written by the tunnel alone, as it comes
/// to know it, and read by anybody on its shard.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its number on its shard, which is given once.
    pub(crate) number: u64,
    /// The name of the listener that it came in at.
    pub(crate) listener: Rc<str>,
    /// When it was accepted.
    pub(crate) accepted: Instant,
    client: Cell<Option<SocketAddr>>,
    stage: Cell<Stage>,
    /// An operator wants it to end.
    closing: Cell<bool>,
    /// The alarm that wakes it.
    alarm: Cell<u32>,
    name: OnceCell<Box<str>>,
    service: OnceCell<Rc<Service>>,
    backend: Cell<u32>,
    negotiated: Cell<Option<Negotiated>>,
    notes: OnceCell<Box<Notes>>,
    /// Microseconds from the accept to the end of the handshake, and to the
    /// connected backend; 0: not yet.
    shaken_micros: Cell<u32>,
    connected_micros: Cell<u32>,
    /// Plaintext bytes from the client to the backend.
    pub(crate) bytes_up: Cell<u64>,
    /// Plaintext bytes from the backend to the client.
    pub(crate) bytes_down: Cell<u64>,
}

/// What is kept of a client's TLS only where it is to be told of in the end.
#[derive(Debug)]
struct Notes {
    protocol: Option<Box<str>>,
    subject: Option<Box<str>>,
}

/// What a tunnel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It finds out who the client is and what it wants.
    Handshake,
    /// It looks for a backend.
    Connect,
    /// It carries bytes.
    Relay,
    /// It takes leave of its peers.
    Closing,
}

impl Record {
    /// What is known of a connection that was just accepted. `client`: `None`
    /// where a Unix socket has no address.
    pub(crate) fn new(number: u64, listener: Rc<str>, client: Option<SocketAddr>) -> Self {
        Self {
            number,
            listener,
            accepted: Instant::now(),
            client: Cell::new(client.map(canonical)),
            stage: Cell::new(Stage::Handshake),
            closing: Cell::new(false),
            alarm: Cell::new(NO_ALARM),
            name: OnceCell::new(),
            service: OnceCell::new(),
            backend: Cell::new(NO_BACKEND),
            negotiated: Cell::new(None),
            notes: OnceCell::new(),
            shaken_micros: Cell::new(0),
            connected_micros: Cell::new(0),
            bytes_up: Cell::new(0),
            bytes_down: Cell::new(0),
        }
    }

    /// The client's address, as the PROXY header has it if there was one; that
    /// of IPv4 as IPv4 wherever it came in.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.client.get()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// The server name that the client asked for.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.get().map(|name| &**name)
    }

    /// The service that it leads to, once that is known.
    pub(crate) fn service(&self) -> Option<&Rc<Service>> {
        self.service.get()
    }

    /// The number of its backend among the service's, once it has one.
    pub(crate) fn backend(&self) -> Option<usize> {
        let backend = self.backend.get();
        (backend != NO_BACKEND).then_some(backend as usize)
    }

    /// What it agreed on with the client, if they speak TLS and have agreed.
    pub(crate) fn negotiated(&self) -> Option<Negotiated> {
        self.negotiated.get()
    }

    /// The application protocol that was agreed on, if it was
    /// [noted](Self::note). It is text from the network.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.notes.get()?.protocol.as_deref()
    }

    /// Whom the client's certificate is for, likewise.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.notes.get()?.subject.as_deref()
    }

    /// From the accept to the end of the handshake; in plaintext, to the moment
    /// at which the client is known. `None`: it has not come to that.
    pub(crate) fn handshake_time(&self) -> Option<Duration> {
        micros(self.shaken_micros.get())
    }

    /// From there to a backend that is connected and ready. `None`: it has not
    /// come to that.
    pub(crate) fn connect_time(&self) -> Option<Duration> {
        let connected = micros(self.connected_micros.get())?;
        Some(connected.saturating_sub(self.handshake_time().unwrap_or_default()))
    }

    /// Orders the tunnel to end, as every one is when the drain time is over.
    pub(crate) fn close(&self, timers: &Timers) {
        self.closing.set(true);
        timers.wake(self.alarm.get());
    }

    /// The same as it is told of outside. `shard`: the one it is on; `rate`:
    /// bytes a second, if they are asked for.
    pub(crate) fn view(&self, shard: usize, now: Instant, rate: Option<u64>) -> TunnelView<'_> {
        let service = self.service();
        let negotiated = self.negotiated();
        let backend = self.backend().zip(service);
        TunnelView {
            id: TunnelId {
                shard,
                number: self.number,
            },
            state: match self.stage() {
                Stage::Handshake => TunnelState::Handshake,
                Stage::Connect => TunnelState::Connect,
                Stage::Relay => TunnelState::Relay,
                Stage::Closing => TunnelState::Closing,
            },
            client: self.client(),
            sni: self.name(),
            listener: &self.listener,
            service: service.map(|service| service.name()),
            backend: backend.and_then(|(number, service)| service.address_of(number)),
            tls_version: negotiated.and_then(|n| n.version).map(suites::version_name),
            cipher: negotiated.and_then(|n| n.suite).map(suites::suite_name),
            group: negotiated.and_then(|n| n.group).map(suites::group_name),
            resumed: negotiated.map(|n| n.resumed),
            age_seconds: now.saturating_duration_since(self.accepted).as_secs_f64(),
            bytes_up: self.bytes_up.get(),
            bytes_down: self.bytes_down.get(),
            bytes_per_second: rate,
        }
    }

    pub(super) fn is_ordered_to_close(&self) -> bool {
        self.closing.get()
    }

    pub(super) fn is_woken_by(&self, alarm: &Alarm) {
        self.alarm.set(alarm.number());
    }

    /// A header of the PROXY protocol says who the client is.
    pub(super) fn claim(&self, client: SocketAddr) {
        self.client.set(Some(canonical(client)));
    }

    /// The client has asked for that name. What it asked for first counts.
    pub(super) fn hear(&self, name: Box<str>) {
        let _ = self.name.set(name);
    }

    pub(super) fn agree(&self, negotiated: Negotiated) {
        self.negotiated.set(Some(negotiated));
    }

    /// Keeps what an access line tells of a client's TLS.
    pub(super) fn note(&self, facts: &Facts<'_>) {
        let protocol = facts.protocols.first();
        let certificate = facts.tls.as_ref().and_then(|tls| tls.certificate);
        let subject = certificate.and_then(Subject::of);
        if protocol.is_some() || subject.is_some() {
            let _ = self.notes.set(Box::new(Notes {
                protocol: protocol.map(|name| String::from_utf8_lossy(name).into()),
                subject: subject.map(|subject| subject.to_string().into()),
            }));
        }
    }

    /// The client is known, and a backend is looked for.
    pub(super) fn seeks(&self, service: &Rc<Service>) {
        self.shaken_micros.set(self.age_micros());
        let _ = self.service.set(service.clone());
        self.stage.set(Stage::Connect);
    }

    /// It has its backend, with that number, and begins to carry.
    pub(super) fn carries(&self, backend: u32) {
        self.connected_micros.set(self.age_micros());
        self.backend.set(backend);
        self.stage.set(Stage::Relay);
    }

    pub(super) fn parts(&self) {
        self.stage.set(Stage::Closing);
    }

    /// Never 0, which stands for what has not happened.
    fn age_micros(&self) -> u32 {
        let micros = self.accepted.elapsed().as_micros();
        u32::try_from(micros).unwrap_or(u32::MAX).max(1)
    }
}

/// The address as it is told of: a listener for both families has that of an
/// IPv4 client as IPv6 (RFC 4291, section 2.5.5.2).
pub(crate) fn canonical(client: SocketAddr) -> SocketAddr {
    match client.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, client.port()).into(),
        IpAddr::V6(_) => client,
    }
}

fn micros(micros: u32) -> Option<Duration> {
    (micros > 0).then(|| Duration::from_micros(micros.into()))
}

/// The records of a shard's open tunnels.
#[derive(Debug, Default)]
pub(crate) struct Records {
    slots: RefCell<Vec<Option<Rc<Record>>>>,
    free: RefCell<Vec<u32>>,
    last: Cell<u64>,
}

/// Where a tunnel's record is kept.
#[derive(Debug)]
pub(crate) struct Slot(u32);

impl Records {
    /// The record of one more tunnel, until it is [removed](Self::remove).
    pub(crate) fn add(&self, listener: Rc<str>, client: Option<SocketAddr>) -> (Slot, Rc<Record>) {
        let number = self.last.get() + 1;
        self.last.set(number);
        let record = Rc::new(Record::new(number, listener, client));
        let kept = Some(record.clone());
        let mut slots = self.slots.borrow_mut();
        let slot = match self.free.borrow_mut().pop() {
            Some(slot) => {
                slots[slot as usize] = kept;
                slot
            }
            None => {
                slots.push(kept);
                // No process has as many descriptors.
                (slots.len() - 1) as u32
            }
        };
        (Slot(slot), record)
    }

    /// The record of a connection that no tunnel comes of.
    pub(crate) fn pass(&self, listener: Rc<str>, client: Option<SocketAddr>) -> Record {
        let number = self.last.get() + 1;
        self.last.set(number);
        Record::new(number, listener, client)
    }

    /// The tunnel has ended.
    pub(crate) fn remove(&self, Slot(slot): Slot) {
        self.slots.borrow_mut()[slot as usize] = None;
        self.free.borrow_mut().push(slot);
    }

    /// How many slots there are, of which some may be empty.
    pub(crate) fn slots(&self) -> usize {
        self.slots.borrow().len()
    }

    /// The records in slots from `from` on, `most` slots of them, each with the
    /// number of its slot. None is added or removed meanwhile.
    pub(crate) fn look(&self, from: usize, most: usize, mut each: impl FnMut(usize, &Rc<Record>)) {
        let slots = self.slots.borrow();
        for (slot, record) in slots.iter().enumerate().skip(from).take(most) {
            if let Some(record) = record {
                each(slot, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_numbers_are_not() {
        let records = Records::default();
        let listener: Rc<str> = "door".into();
        let (first, one) = records.add(listener.clone(), None);
        let (_second, two) = records.add(listener.clone(), None);
        records.remove(first);
        let (third, three) = records.add(listener, None);
        assert_eq!((one.number, two.number, three.number), (1, 2, 3));
        assert_eq!(third.0, 0);
        let open = |from, most| {
            let mut open = Vec::new();
            records.look(from, most, |slot, record| open.push((slot, record.number)));
            open
        };
        assert_eq!(open(0, 9), [(0, 3), (1, 2)]);
        assert_eq!((open(0, 1), open(1, 1)), (vec![(0, 3)], vec![(1, 2)]));
        assert_eq!((open(2, 9), records.slots()), (vec![], 2));
    }

    #[test]
    fn times_are_known_once_there_are_any() {
        let record = Record::new(1, "door".into(), None);
        assert_eq!(
            (record.handshake_time(), record.connect_time()),
            (None, None)
        );
        record.carries(0);
        assert!(record.connect_time().is_some());
    }
}
