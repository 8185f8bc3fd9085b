//! Connections that another shard carries: those of a `Balanced` listener are
//! handed, before their handshake, from a shard that has clearly more tunnels
//! than the least loaded one to that one. None is lost on the way: who cannot
//! give one away keeps it, and who cannot take it gives it back.

use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::ready;

use super::Shard;
use super::entrance::Entrance;
use crate::config::Address;
use crate::mesh::Order;
use crate::sys::socket;
use crate::tunnel::{Cause, CloseReason, Phase, Side};

impl Shard {
    /// Hands a connection to a less loaded shard, if its listener has it so and
    /// there is one; else gives it back.
    pub(super) fn hand_over(&self, entrance: &Entrance, client: OwnedFd) -> Option<OwnedFd> {
        if !entrance.is_balanced() || self.is_draining.get() {
            return Some(client);
        }
        let Some(shard) = self.loads.choose(self.number, self.room.open()) else {
            return Some(client);
        };
        let order = Order::Adopt {
            listener: entrance.address().clone(),
            client,
            from: self.number,
            returned: false,
        };
        match self.mesh.try_order(shard, order) {
            Ok(()) => {
                self.around.counters.handed_over.add(1);
                None
            }
            Err(order) => {
                self.loads.arrived(shard);
                match order {
                    Order::Adopt { client, .. } => Some(client),
                    // It is the order that was to be sent.
                    _ => None,
                }
            }
        }
    }

    /// Takes what another shard has handed over, or could not take.
    pub(super) fn adopt(
        self: &Rc<Self>,
        listener: Address,
        client: OwnedFd,
        from: usize,
        returned: bool,
    ) {
        let counters = &self.around.counters;
        let entrance = self.entrance(&listener);
        let has_room = |e: &Rc<Entrance>| self.lack_of_room(e).is_none();
        match entrance {
            Some(entrance) if has_room(&entrance) => {
                if !returned {
                    counters.adopted.add(1);
                }
                self.carry_adopted(&entrance, client);
            }
            Some(entrance) if returned => self.keep(entrance, client),
            _ if !returned => {
                let order = Order::Adopt {
                    listener,
                    client,
                    from,
                    returned: true,
                };
                if let Err(order) = self.mesh.try_order(from, order) {
                    let mesh = self.mesh.clone();
                    self.queues
                        .spawn_control(async move { mesh.order(from, order).await });
                }
            }
            // A reload has taken the listener away in the meantime.
            _ => {
                let _ = socket::set_linger_reset(client.as_fd());
                let cause = Cause::Drained;
                counters.closed(CloseReason::new(Phase::Handshake, Side::Server, cause));
            }
        }
        if !returned {
            self.loads.arrived(self.number);
            self.emptier();
        }
    }

    /// Carries a connection as soon as there is room. It counts as one that
    /// waits at a door.
    fn keep(self: &Rc<Self>, entrance: Rc<Entrance>, client: OwnedFd) {
        self.doors_open.set(self.doors_open.get() + 1);
        let shard = self.clone();
        self.start(async move {
            poll_fn(|cx| {
                ready!(shard.room.poll_free(cx));
                entrance.room.poll_free(cx)
            })
            .await;
            shard.carry_adopted(&entrance, client);
            shard.doors_open.set(shard.doors_open.get() - 1);
        });
    }

    /// Starts the tunnel of a connection that another shard has accepted, and
    /// whose client has to be asked for.
    fn carry_adopted(self: &Rc<Self>, entrance: &Rc<Entrance>, client: OwnedFd) {
        let peer = socket::peer_address(client.as_fd()).ok().flatten();
        self.carry(entrance, client, peer);
    }

    /// The entrance with that address, be it one that has been closed.
    fn entrance(&self, listener: &Address) -> Option<Rc<Entrance>> {
        let (open, closed) = (self.entrances.borrow(), self.retired.borrow());
        open.iter()
            .chain(closed.iter())
            .find(|entrance| entrance.address() == listener)
            .cloned()
    }

    /// Lets the other shards know how many tunnels there are, if any of them
    /// might hand one over.
    pub(super) fn tell_load(&self) {
        if self.balances.get() {
            self.loads.tell(self.number, self.room.open());
        }
    }
}
