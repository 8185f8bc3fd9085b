//! What is asked about single tunnels, and takes its time: going through all of
//! them, a part in each turn, so that those that carry bytes have theirs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;

use super::Shard;
use crate::limits;
use crate::mesh::{Listed, Listing};
use crate::metrics::{Rank, TunnelQuery, TunnelStats};
use crate::runtime;
use crate::tunnel::Record;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Errand {
    List(Listing),
    Close {
        number: u64,
        reply: flume::Sender<Option<TunnelStats>>,
    },
}

/// The way to the task that does them, one after the other.
#[derive(Debug)]
pub(super) struct Errands(flume::Sender<Errand>);

/// What each tunnel had carried at some time, by slot: its number, and bytes in
/// both directions.
#[derive(Debug)]
struct Sample {
    taken: Instant,
    carried: Vec<(u64, u64)>,
}

/// The first tunnels of an order, of those that were looked at so far.
struct First<'a> {
    query: &'a TunnelQuery,
    found: Vec<(Rank, Rc<Record>, Option<u64>)>,
    matching: u64,
}

impl Errands {
    pub(super) fn new() -> (Self, flume::Receiver<Errand>) {
        let (errands, waiting) = flume::bounded(limits::ERRANDS_QUEUED_MAX);
        (Self(errands), waiting)
    }

    /// One more. Where too many wait, it is dropped, and with it the way to
    /// answer, by which whoever asked knows.
    pub(super) fn add(&self, errand: Errand) {
        let _ = self.0.try_send(errand);
    }
}

impl Shard {
    /// Does errands, for as long as the shard lives.
    pub(super) async fn run_errands(&self, waiting: &flume::Receiver<Errand>) {
        let mut sample: Option<Sample> = None;
        loop {
            let errand = match &sample {
                None => waiting.recv_async().await.map(Some),
                Some(_) => {
                    let next = async { waiting.recv_async().await.map(Some) };
                    let forget = async {
                        runtime::sleep(limits::RATE_MEMORY).await;
                        Ok(None)
                    };
                    next.or(forget).await
                }
            };
            match errand {
                Ok(Some(Errand::List(listing))) => {
                    // Whoever asked may have given up meanwhile.
                    if !listing.reply.is_disconnected() {
                        let listed = self.list(&listing, &mut sample).await;
                        let _ = listing.reply.try_send(listed);
                    }
                }
                Ok(Some(Errand::Close { number, reply })) => {
                    let found = self.find(number).await;
                    let closed = found.map(|record| {
                        record.close(&self.around.timers);
                        record.view(self.number, Instant::now(), None).to_stats()
                    });
                    let _ = reply.try_send(closed);
                }
                Ok(None) => sample = None,
                // The shard is gone.
                Err(_) => return,
            }
        }
    }

    async fn list(&self, listing: &Listing, sample: &mut Option<Sample>) -> Listed {
        let query = &*listing.query;
        let records = &self.around.records;
        let mut first = First {
            query,
            found: Vec::new(),
            matching: 0,
        };
        let mut open = 0;
        let began = Instant::now();
        // One that is fresh serves a little longer, for spans that tell something.
        let is_old = |sample: &Sample| began - sample.taken >= limits::RATE_SPAN_MIN;
        let mut fresh = (query.wants_rates() && sample.as_ref().is_none_or(is_old)).then(|| {
            let carried = Vec::with_capacity(records.slots());
            Sample {
                taken: began,
                carried,
            }
        });
        let mut from = 0;
        // Others come meanwhile, and are looked at as far as the end moves on.
        while from < records.slots() {
            let now = Instant::now();
            records.look(from, limits::TUNNELS_PER_TURN, |slot, record| {
                open += 1;
                let rate = query
                    .wants_rates()
                    .then(|| rate(record, slot, sample.as_ref(), now));
                if let Some(fresh) = &mut fresh {
                    fresh.note(slot, record);
                }
                first.look_at(self.number, record, listing.asked, rate);
            });
            from += limits::TUNNELS_PER_TURN;
            self.around.later.pass().await;
        }
        if let Some(mut fresh) = fresh {
            // The middle of the time that it took.
            fresh.taken += began.elapsed() / 2;
            *sample = Some(fresh);
        }
        let matching = first.matching;
        let mut tunnels = Vec::new();
        for (at, (_, record, rate)) in first.sorted().into_iter().enumerate() {
            if at % limits::TUNNELS_PER_TURN == limits::TUNNELS_PER_TURN - 1 {
                self.around.later.pass().await;
            }
            tunnels.push(record.view(self.number, listing.asked, rate).to_stats());
        }
        Listed {
            shard: self.number,
            tunnels,
            matching,
            open,
        }
    }

    /// The open tunnel with that number.
    async fn find(&self, number: u64) -> Option<Rc<Record>> {
        let records = &self.around.records;
        let mut from = 0;
        while from < records.slots() {
            let mut found = None;
            records.look(from, limits::TUNNELS_PER_TURN, |_, record| {
                if record.number == number {
                    found = Some(record.clone());
                }
            });
            if found.is_some() {
                return found;
            }
            from += limits::TUNNELS_PER_TURN;
            self.around.later.pass().await;
        }
        None
    }
}

impl First<'_> {
    fn look_at(&mut self, shard: usize, record: &Rc<Record>, now: Instant, rate: Option<u64>) {
        let view = record.view(shard, now, rate);
        if !self.query.fits(&view) {
            return;
        }
        self.matching += 1;
        let most = self.query.most();
        if most == 0 {
            return;
        }
        self.found
            .push((self.query.rank(&view), record.clone(), rate));
        // Now and then, so that it costs the same for each, however many are
        // wanted.
        if self.found.len() >= 2 * most + limits::TUNNELS_PER_TURN {
            let query = self.query;
            self.found
                .select_nth_unstable_by(most, |a, b| query.compare(&a.0, &b.0));
            self.found.truncate(most);
        }
    }

    fn sorted(mut self) -> Vec<(Rank, Rc<Record>, Option<u64>)> {
        let query = self.query;
        self.found
            .sort_unstable_by(|a, b| query.compare(&a.0, &b.0));
        self.found.truncate(query.most());
        self.found
    }
}

impl Sample {
    fn note(&mut self, slot: usize, record: &Record) {
        if self.carried.len() <= slot {
            self.carried.resize(slot + 1, (0, 0));
        }
        self.carried[slot] = (record.number, carried(record));
    }
}

fn carried(record: &Record) -> u64 {
    record
        .bytes_up
        .get()
        .saturating_add(record.bytes_down.get())
}

/// Bytes a second since the sample; without one, since the tunnel is there. One
/// that is younger than the sample has carried nothing before: the few bytes of
/// one that is a moment old are no great rate.
fn rate(record: &Record, slot: usize, sample: Option<&Sample>, now: Instant) -> u64 {
    let (since, before) = match sample {
        None => (record.accepted, 0),
        Some(sample) => match sample.carried.get(slot) {
            Some((number, carried)) if *number == record.number => (sample.taken, *carried),
            _ => (sample.taken, 0),
        },
    };
    let span = now.saturating_duration_since(since);
    let span = span.max(Duration::from_millis(1));
    (carried(record).saturating_sub(before) as f64 / span.as_secs_f64()) as u64
}
