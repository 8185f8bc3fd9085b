//! Where a shard's clients come in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::FutureExt;

use super::Shard;
use super::accept_rate::AcceptRate;
use super::admission::Said;
use super::room::Room;
use crate::config::{Accept, Address, Listener, TcpOptions};
use crate::limits;
use crate::metrics::{Counter, ListenerUse};
use crate::runtime;
use crate::sys::{memory, socket};
use crate::tls::TicketTerms;
use crate::tunnel::{self, CloseReason, Phase, Side, Summary, Terms};

/// One listener on one shard.
#[derive(Debug)]
pub(super) struct Entrance {
    address: Address,
    /// What the next connection meets.
    terms: RefCell<Rc<Terms>>,
    /// How its tickets are made.
    tickets: RefCell<Option<TicketTerms>>,
    /// What its doors are to be like.
    wishes: RefCell<Rc<Wishes>>,
    /// Its tunnels on this shard.
    pub(super) room: Room,
    /// Connections that this shard has accepted at it.
    accepted: Counter,
    /// How fast they may come.
    pub(super) rate: AcceptRate,
    pub(super) limit_pauses: Counter,
    pub(super) rate_pauses: Counter,
    /// That they come faster.
    pub(super) said_rate: Said,
    /// Whether a shard with fewer tunnels gets its connections.
    balanced: Cell<bool>,
    closing: Cell<bool>,
    /// Another process accepts at its doors from now on.
    left: Cell<bool>,
    /// The tasks that wait at its doors.
    waiting: RefCell<Vec<Waker>>,
}

/// One listening socket of a listener: it has several if its address is a name
/// with several addresses, or if another process has left more to it.
#[derive(Debug)]
pub(crate) struct Door {
    /// The same socket may be a door of several shards. None of them closes it
    /// for the others, and the server finds it here when it is to be handed
    /// over; the count is not touched in between.
    fd: Arc<OwnedFd>,
}

/// What an operator wants of a door, and may want otherwise while it is open.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    /// Connections that the kernel may hold.
    backlog: u32,
    /// None: it is no door for TCP.
    tcp: Option<TcpOptions>,
    /// It is for what comes in on its shard's CPU.
    same_cpu: bool,
}

impl Wishes {
    fn of(listener: &Listener) -> Self {
        Self {
            backlog: listener.backlog,
            tcp: match listener.address {
                // What is passed may be either; the door knows.
                Address::Tcp { .. } | Address::Systemd(_) => Some(listener.tcp.clone()),
                Address::Unix(_) => None,
            },
            same_cpu: listener.accept == Accept::SameCpu,
        }
    }
}

impl Door {
    /// A socket that listens, in non-blocking mode.
    pub(crate) fn new(fd: Arc<OwnedFd>) -> Self {
        Self { fd }
    }

    /// Its socket.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn become_like(&self, wishes: &Wishes, shard: &Shard) -> io::Result<()> {
        let fd = self.fd.as_fd();
        if let Some(tcp) = &wishes.tcp
            && socket::local_address(fd)?.is_some()
        {
            socket::ask_tcp_anew(fd, tcp, wishes.backlog)?;
            // A shard has as many doors as its listener has groups of sockets,
            // one in each, which began to listen in the order of the shards.
            if wishes.same_cpu {
                shard.steering.steer(fd, shard.number)?;
            } else {
                shard.steering.release(fd, shard.number)?;
            }
        }
        socket::set_backlog(fd, wishes.backlog)
    }
}

impl Entrance {
    pub(super) fn new(
        listener: &Listener,
        terms: Rc<Terms>,
        tickets: Option<TicketTerms>,
        most: usize,
    ) -> Self {
        Self {
            address: listener.address.clone(),
            terms: RefCell::new(terms),
            tickets: RefCell::new(tickets),
            wishes: RefCell::new(Rc::new(Wishes::of(listener))),
            room: Room::new(most),
            accepted: Counter::default(),
            rate: AcceptRate::default(),
            limit_pauses: Counter::default(),
            rate_pauses: Counter::default(),
            said_rate: Said::default(),
            balanced: Cell::new(listener.accept == Accept::Balanced),
            closing: Cell::new(false),
            left: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// The address as it was configured.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn terms(&self) -> Rc<Terms> {
        self.terms.borrow().clone()
    }

    pub(super) fn tickets(&self) -> Option<TicketTerms> {
        self.tickets.borrow().clone()
    }

    /// The next connection meets these terms.
    pub(super) fn renew(&self, terms: Rc<Terms>, tickets: Option<TicketTerms>) {
        *self.terms.borrow_mut() = terms;
        *self.tickets.borrow_mut() = tickets;
    }

    /// Its doors are to be like this from now on.
    pub(super) fn wish(&self, listener: &Listener) {
        let wishes = Wishes::of(listener);
        if **self.wishes.borrow() != wishes {
            *self.wishes.borrow_mut() = Rc::new(wishes);
            self.call();
        }
    }

    /// Whether its doors are like this.
    fn has(&self, wishes: &Rc<Wishes>) -> bool {
        Rc::ptr_eq(&self.wishes.borrow(), wishes)
    }

    /// What else a new configuration says of it.
    pub(super) fn allow(&self, most: usize, accept: Accept) {
        self.room.allow(most);
        self.balanced.set(accept == Accept::Balanced);
    }

    pub(super) fn is_balanced(&self) -> bool {
        self.balanced.get()
    }

    /// Its limits, and their use.
    pub(super) fn stats(&self) -> ListenerUse {
        ListenerUse {
            name: self.terms.borrow().listener.as_ref().into(),
            accepted: self.accepted.get(),
            tunnels_open: self.room.open() as u64,
            tunnels_max: self.room.most(),
            limit_pauses: self.limit_pauses.get(),
            rate_pauses: self.rate_pauses.get(),
        }
    }

    /// Lets in who is waiting already, and nobody after that.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.call();
    }

    /// Lets nobody in any more: who is waiting, and who comes, is let in by the
    /// process that the doors were handed over to.
    pub(super) fn leave(&self) {
        self.left.set(true);
        self.close();
    }

    /// Wakes whoever waits at a door.
    fn call(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until the door has a connection to give, is to be shut, or is to be
    /// otherwise than it is.
    ///
    /// # Errors
    ///
    /// It cannot be waited for, since there is no descriptor to do it with.
    async fn knock(&self, door: &Door, present: &Rc<Wishes>) -> io::Result<()> {
        let called = poll_fn(|cx| {
            if !self.has(present) {
                return Poll::Ready(Ok(()));
            }
            self.poll_closing(cx).map(Ok)
        });
        called.or(runtime::acceptable(door.fd.as_fd())).await
    }

    /// Ready once it is to be shut.
    pub(super) fn poll_closing(&self, cx: &Context<'_>) -> Poll<()> {
        if self.closing.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Shard {
    /// Starts to accept at a door.
    pub(super) fn open(self: &Rc<Self>, entrance: &Rc<Entrance>, door: Door) {
        self.doors_open.set(self.doors_open.get() + 1);
        let (shard, entrance) = (self.clone(), entrance.clone());
        self.queues.spawn_data(async move {
            shard.attend(&entrance, &door).await;
            drop(door);
            shard.doors_open.set(shard.doors_open.get() - 1);
            shard.emptier();
        });
    }

    /// Accepts until the entrance closes. Whoever was in the queue by then is
    /// let in, as far as limits allow: closing the socket resets the others. If
    /// it was handed over that does not close it, and the queue is left alone.
    async fn attend(self: &Rc<Self>, entrance: &Rc<Entrance>, door: &Door) {
        let mut refused = false;
        let mut present = entrance.wishes.borrow().clone();
        loop {
            let closing = entrance.closing.get();
            if !closing && let Some(lack) = self.lack(entrance) {
                self.pause(entrance, lack).await;
                continue;
            }
            if !closing && entrance.knock(door, &present).await.is_err() {
                // Nobody need be waiting, so that accepting would not tell.
                runtime::sleep(limits::ACCEPT_PAUSE).await;
            }
            if entrance.left.get() {
                return;
            }
            if closing {
                // The kernel's watch over the door holds the socket open until
                // it is called off, with the executor's next turn: who came in
                // meanwhile would be reset, behind a door that seemed shut.
                runtime::sleep(limits::DOOR_TURN).await;
            }
            if !entrance.has(&present) {
                present = entrance.wishes.borrow().clone();
                if let Err(error) = door.become_like(&present, self) {
                    let address = &entrance.address;
                    log::warn!("{address}: backlog, tcp and accept stay as they were: {error}");
                }
            }
            for taken in 0.. {
                // While closing the queue is emptied in one go, so that as few
                // as possible join it behind our back.
                if taken >= limits::ACCEPTS_PER_TURN && !closing {
                    self.around.later.pass().await;
                    break;
                }
                // Who waits while it closes is let in however fast they came.
                if closing && self.lack_of_room(entrance).is_some() {
                    return;
                }
                if !closing && self.lack(entrance).is_some() {
                    break;
                }
                match socket::accept_from(door.fd.as_fd()) {
                    Ok((client, peer)) => {
                        refused = false;
                        self.count_rate(entrance);
                        self.receive(entrance, client, peer);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if closing {
                            return;
                        }
                        break;
                    }
                    Err(error) if is_lack(&error) => {
                        if closing {
                            return;
                        }
                        let again = std::mem::replace(&mut refused, true);
                        self.do_without(entrance, door, &error, again).await;
                        break;
                    }
                    // The client's trouble: it went away, or the network did.
                    // (Should it be the listener's after all, closing ends.)
                    Err(_) if closing && taken >= limits::BACKLOG_MAX as usize => return,
                    Err(_) => {}
                }
            }
        }
    }

    /// Finds out what becomes of an accepted connection: who may not come in is
    /// reset, so that it knows at once, and nothing of it stays in the kernel.
    fn receive(
        self: &Rc<Self>,
        entrance: &Rc<Entrance>,
        client: OwnedFd,
        peer: Option<SocketAddr>,
    ) {
        let counters = &self.around.counters;
        counters.accepted.add(1);
        entrance.accepted.add(1);
        let terms = entrance.terms();
        let from = peer;
        if let Some(peer) = peer.map(|peer| peer.ip())
            // Who sends a header says in it who the client is.
            && !terms.takes_header(Some(peer))
            && let Err(cause) = self.around.admit(&terms, peer)
        {
            let _ = socket::set_linger_reset(client.as_fd());
            let reason = CloseReason::new(Phase::Handshake, Side::Client, cause);
            counters.closed(reason);
            self.tell_turned_away(&terms, from, reason);
            return;
        }
        if let Some(client) = self.hand_over(entrance, client) {
            self.carry(entrance, client, peer);
        }
    }

    /// Starts the tunnel of a connection.
    pub(super) fn carry(
        self: &Rc<Self>,
        entrance: &Rc<Entrance>,
        client: OwnedFd,
        peer: Option<SocketAddr>,
    ) {
        self.around.counters.tunnels_open.add(1);
        self.room.enter();
        self.crowd.came(self.room.open());
        entrance.room.enter();
        self.tell_load();
        let (shard, entrance, terms) = (self.clone(), entrance.clone(), entrance.terms());
        let (slot, record) = self.around.records.add(terms.listener.clone(), peer);
        self.queues.spawn_data(async move {
            let around = &shard.around;
            // A fault in one tunnel ends that tunnel, and nothing else.
            let run = AssertUnwindSafe(tunnel::run(around, &terms, &record, client));
            let summary = run.catch_unwind().await.unwrap_or_else(|_| {
                around.counters.panics.add(1);
                Summary::panicked()
            });
            around.counters.closed(summary.reason);
            around.counters.tunnels_open.sub(1);
            entrance.room.leave();
            shard.room.leave();
            if shard.crowd.went(shard.room.open()) {
                memory::give_back();
            }
            shard.tell_load();
            around.records.remove(slot);
            shard.tell_end(&record, &summary);
            shard.emptier();
        });
    }
}

/// Out of descriptors or memory: it will not get better by asking again at
/// once (accept(2)).
fn is_lack(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
