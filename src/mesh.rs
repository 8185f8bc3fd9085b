//! Orders and reports between shards.
//!
//! Every shard has one bounded inbox, and every shard can send to every other.
//! The main shard has a second one, for reports and for the commands that come
//! from outside. Nothing here ever blocks a shard: a send that finds an inbox
//! full says so at once, or waits as a task of its own.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Address;
use crate::error::Error;
use crate::limits;
use crate::metrics::{
    ListenerStats, ServiceStats, ShardStats, Stats, TunnelId, TunnelQuery, TunnelStats,
};
use crate::plan::Plan;
use crate::tls::TicketKeys;

/// From the main shard to every shard; [`Adopt`](Self::Adopt) from any to any.
#[derive(Debug)]
pub(crate) enum Order {
    /// All shards are ready: begin to accept.
    Serve,
    /// Report your figures.
    Snapshot {
        /// Which gathering it is for.
        gathering: u64,
        /// When the main shard asked.
        asked: Instant,
    },
    /// Make everything for another configuration ready, and change nothing.
    Prepare {
        generation: u64,
        plan: Arc<Plan>,
        /// For each listener of the plan: its sockets if it is new, none if
        /// the shard has them already.
        sockets: Vec<Option<Vec<Arc<OwnedFd>>>>,
    },
    /// Take up what was prepared.
    Commit { generation: u64 },
    /// Forget what was prepared.
    Abort { generation: u64 },
    /// Health checks have found a backend up, or down.
    Health(Verdict),
    /// An operator wants a backend to get tunnels, or none.
    Enable(Switch),
    /// Tell of the tunnels that are open.
    List(Listing),
    /// End one tunnel.
    Close {
        /// Its number on the shard.
        number: u64,
        /// What it was; `None`: there is no such tunnel.
        reply: flume::Sender<Option<TunnelStats>>,
    },
    /// Seal tickets with other keys.
    Rekey(TicketKeys),
    /// Carry a connection that another shard has accepted.
    Adopt {
        /// The listener, by its address as it is configured.
        listener: Address,
        client: OwnedFd,
        /// Who accepted it.
        from: usize,
        /// It comes back: the other shard could not.
        returned: bool,
    },
    /// Stop accepting, the queues being emptied first, and report when the
    /// last tunnel has ended.
    Drain {
        /// The listeners, by their addresses as configured, that another
        /// process has too: their queues are left to it.
        left: Arc<[Address]>,
    },
    /// End every tunnel now.
    Cut,
    /// Leave.
    Stop,
}

/// From a shard to the main shard.
#[derive(Debug)]
pub(crate) enum Report {
    /// It has everything that it needs in order to serve.
    Ready { shard: usize },
    /// It could not start, or has died.
    Failed { shard: usize, cause: String },
    /// Its figures.
    Snapshot {
        gathering: u64,
        stats: Box<ShardStats>,
        services: Vec<ServiceStats>,
    },
    /// A health check has ended, with what it found wrong if it failed.
    Checked {
        check: u64,
        result: Result<(), String>,
    },
    /// It is ready for the new configuration, or cannot be.
    Prepared {
        shard: usize,
        generation: u64,
        result: Result<(), String>,
    },
    /// It has taken up what it had prepared.
    Committed { shard: usize, generation: u64 },
    /// Its last tunnel has ended; that many were cut.
    Drained { shard: usize, cut: u64 },
}

/// What health checks have found of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Its service, by name.
    pub(crate) service: Arc<str>,
    pub(crate) address: Arc<Address>,
    pub(crate) up: bool,
}

/// What an operator wants of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    /// Its service, by name.
    pub(crate) service: Arc<str>,
    pub(crate) address: Arc<Address>,
    pub(crate) enabled: bool,
    /// Told by each shard, with its number, once it is so.
    pub(crate) reply: flume::Sender<usize>,
}

/// Which tunnels somebody wants to be told of.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) query: Arc<TunnelQuery>,
    /// The moment at which ages are told, the same on every shard.
    pub(crate) asked: Instant,
    /// Where each shard answers. It has room for all of them.
    pub(crate) reply: flume::Sender<Listed>,
}

/// A shard's part of an answer.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) shard: usize,
    pub(crate) tunnels: Vec<TunnelStats>,
    /// How many there are that fit.
    pub(crate) matching: u64,
    /// How many there are.
    pub(crate) open: u64,
}

/// From outside to the main shard.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop accepting, drain, end.
    Shutdown,
    /// Gather the figures.
    Stats { reply: flume::Sender<Stats> },
    /// Tell the keys that tickets are sealed with, and in what time they change,
    /// for the process that is to take over.
    TicketKeys {
        reply: flume::Sender<(TicketKeys, Duration)>,
    },
    /// Drain, and leave these listeners, by their addresses as configured, to
    /// the process with that id.
    HandOver { left: Vec<Address>, to: u32 },
    /// Have every shard tell of its tunnels.
    List(Listing),
    /// End one tunnel.
    Close {
        id: TunnelId,
        reply: flume::Sender<Option<TunnelStats>>,
    },
    /// Have a backend get tunnels, or none.
    Enable(Switch),
    /// Count a reload that was refused before any shard was asked.
    ReloadRefused,
    /// Take up another configuration.
    Reload {
        plan: Arc<Plan>,
        /// For each shard, what [`Order::Prepare`] hands to it.
        sockets: Vec<Vec<Option<Vec<Arc<OwnedFd>>>>>,
        /// What the listeners are then.
        listeners: Vec<ListenerStats>,
        reply: flume::Sender<Result<(), Error>>,
    },
}

/// What arrives at the main shard.
#[derive(Debug)]
pub(crate) enum Message {
    Report(Report),
    Command(Command),
}

/// The way to every shard's inbox.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    inboxes: Arc<[flume::Sender<Order>]>,
    main: flume::Sender<Message>,
}

/// One shard's place in the mesh.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) shard: usize,
    pub(crate) inbox: flume::Receiver<Order>,
    pub(crate) mesh: Mesh,
}

impl Mesh {
    /// A mesh of `shards` shards: a seat for each, and what arrives at the
    /// main shard.
    pub(crate) fn new(shards: usize) -> (Self, Vec<Seat>, flume::Receiver<Message>) {
        // Room for a few reports of every shard beside the commands.
        let (main, arriving) = flume::bounded(limits::COMMANDS_QUEUED_MAX + 4 * shards);
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..shards)
            .map(|_| flume::bounded(limits::ORDERS_QUEUED_MAX))
            .unzip();
        let mesh = Self {
            inboxes: inboxes.into(),
            main,
        };
        let seats = receivers
            .into_iter()
            .enumerate()
            .map(|(shard, inbox)| Seat {
                shard,
                inbox,
                mesh: mesh.clone(),
            })
            .collect();
        (mesh, seats, arriving)
    }

    /// How many shards there are.
    pub(crate) fn len(&self) -> usize {
        self.inboxes.len()
    }

    /// Sends an order unless the shard's inbox is full, as only a stalled
    /// shard's is, or the shard is gone.
    pub(crate) fn try_order(&self, shard: usize, order: Order) -> Result<(), Order> {
        match self.inboxes.get(shard) {
            Some(inbox) => inbox.try_send(order).map_err(|e| e.into_inner()),
            None => Err(order),
        }
    }

    /// Sends an order, waiting for room if need be. An order to a shard that
    /// is gone is lost.
    pub(crate) async fn order(&self, shard: usize, order: Order) {
        if let Some(inbox) = self.inboxes.get(shard) {
            let _ = inbox.send_async(order).await;
        }
    }

    /// Reports to the main shard, waiting for room if need be.
    pub(crate) async fn report(&self, report: Report) {
        let _ = self.main.send_async(Message::Report(report)).await;
    }

    /// Reports to the main shard from a thread that may wait.
    pub(crate) fn report_blocking(&self, report: Report) {
        let _ = self.main.send(Message::Report(report));
    }

    /// The way for commands from outside.
    pub(crate) fn commands(&self) -> flume::Sender<Message> {
        self.main.clone()
    }
}
