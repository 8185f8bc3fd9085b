//! The thread that asks the server.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use adit::limits;
use adit::metrics::{Stats, TunnelList, TunnelQuery};

use crate::cli::endpoint::Endpoint;
use crate::cli::exit::Failure;
use crate::cli::plan::Target;

/// What is to be asked for, and how often.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) query: TunnelQuery,
    pub(super) every: Duration,
}

/// A server at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) stats: Stats,
    pub(super) tunnels: TunnelList,
}

/// What became of asking: a picture, or why there is none.
pub(super) type Heard = Result<Box<Picture>, String>;

/// The thread. Dropping it lets go of it: it ends by itself, when it has its
/// answer.
#[derive(Debug)]
pub(super) struct Poller {
    asks: Sender<Ask>,
    heard: Receiver<Heard>,
}

impl Poller {
    pub(super) fn start(target: Target, ask: Ask) -> Result<Self, Failure> {
        let (asks, asked) = channel();
        let (tell, heard) = channel();
        thread::Builder::new()
            .name("adit-top".into())
            .spawn(move || poll(&target, ask, &asked, &tell))
            .map_err(|error| Failure::runtime(format!("no thread to ask with: {error}")))?;
        Ok(Self { asks, heard })
    }

    /// Asks for that from now on, and at once.
    pub(super) fn ask(&self, ask: Ask) {
        // Without the thread there is nobody to ask.
        let _ = self.asks.send(ask);
    }

    /// What has been heard, if anything.
    pub(super) fn heard(&self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }
}

fn poll(target: &Target, mut ask: Ask, asked: &Receiver<Ask>, tell: &Sender<Heard>) {
    loop {
        let began = Instant::now();
        let heard = look(target, &ask.query);
        let every = match heard {
            Ok(_) => ask.every,
            Err(_) => ask.every.max(limits::TOP_RETRY),
        };
        if tell.send(heard).is_err() {
            return;
        }
        match asked.recv_timeout(every.saturating_sub(began.elapsed())) {
            // The last of those that came is what is wanted.
            Ok(next) => ask = asked.try_iter().last().unwrap_or(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The server is looked for each time: it may be another one by now.
fn look(target: &Target, query: &TunnelQuery) -> Heard {
    let picture = || {
        let endpoint = Endpoint::of(target)?;
        let (_, stats) = endpoint.get("/stats")?;
        let (_, tunnels) = endpoint.get(&format!("/tunnels?{}", query.to_url()))?;
        Ok(Box::new(Picture { stats, tunnels }))
    };
    picture().map_err(|failure: Failure| failure.message)
}
