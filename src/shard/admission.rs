//! Whether one more connection may come in, and what becomes of those that may
//! not: they wait in the kernel's queue, and are reset only where there is no
//! descriptor for them.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;

use super::Shard;
use super::entrance::{Door, Entrance};
use crate::limits;
use crate::runtime;
use crate::sys::socket;
use crate::tunnel::{Cause, CloseReason, Phase, Side};

/// Why nobody may come in now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lack {
    /// The shard has all the tunnels that it may have.
    Tunnels,
    /// The listener has, on this shard.
    ListenerTunnels,
    /// One more tunnel might pass the memory budget.
    Memory,
    /// They come too fast to the process; for so long.
    Rate(Duration),
    /// They come too fast to this listener.
    ListenerRate(Duration),
}

/// What has been said lately and is not said again.
#[derive(Debug, Default)]
pub(super) struct Said(Cell<Option<Instant>>);

impl Said {
    /// Whether it is to be said: not again within
    /// [`limits::LACK_INTERVAL`].
    fn is_news(&self) -> bool {
        let now = Instant::now();
        let recently = |at: Instant| now.duration_since(at) < limits::LACK_INTERVAL;
        if self.0.get().is_some_and(recently) {
            return false;
        }
        self.0.set(Some(now));
        true
    }
}

impl Shard {
    /// Why there is no room for one more, if there is none.
    pub(super) fn lack_of_room(&self, entrance: &Entrance) -> Option<Lack> {
        if self.room.is_full() {
            Some(Lack::Tunnels)
        } else if entrance.room.is_full() {
            Some(Lack::ListenerTunnels)
        } else if self.budget.is_short(&self.around.counters) {
            Some(Lack::Memory)
        } else {
            None
        }
    }

    /// Why nobody may come in now, if that is so.
    pub(super) fn lack(&self, entrance: &Entrance) -> Option<Lack> {
        let now = || self.around.timers.nanos();
        self.lack_of_room(entrance)
            .or_else(|| self.rate.wait(now).map(Lack::Rate))
            .or_else(|| entrance.rate.wait(now).map(Lack::ListenerRate))
    }

    /// One more has come in.
    pub(super) fn count_rate(&self, entrance: &Entrance) {
        let now = || self.around.timers.nanos();
        self.rate.count(now);
        entrance.rate.count(now);
    }

    /// Waits until there may be room again, or the entrance closes. Clients
    /// wait in the kernel's queue meanwhile.
    pub(super) async fn pause(&self, entrance: &Entrance, lack: Lack) {
        self.count_pause(entrance, lack);
        self.tell_lack(entrance, lack);
        let closing = poll_fn(|cx| entrance.poll_closing(cx));
        match lack {
            Lack::Tunnels | Lack::ListenerTunnels => {
                poll_fn(|cx| {
                    if entrance.poll_closing(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    ready!(self.room.poll_free(cx));
                    entrance.room.poll_free(cx)
                })
                .await;
            }
            Lack::Memory => closing.or(runtime::sleep(limits::MEMORY_LOOK)).await,
            Lack::Rate(wait) | Lack::ListenerRate(wait) => {
                closing.or(runtime::sleep(wait)).await;
            }
        }
    }

    fn count_pause(&self, entrance: &Entrance, lack: Lack) {
        let counters = &self.around.counters;
        match lack {
            Lack::Tunnels => counters.limit_pauses.add(1),
            Lack::ListenerTunnels => {
                counters.limit_pauses.add(1);
                entrance.limit_pauses.add(1);
            }
            Lack::Memory => counters.memory_pauses.add(1),
            Lack::Rate(_) => counters.rate_pauses.add(1),
            Lack::ListenerRate(_) => {
                counters.rate_pauses.add(1);
                entrance.rate_pauses.add(1);
            }
        }
    }

    fn tell_lack(&self, entrance: &Entrance, lack: Lack) {
        let (address, shard) = (entrance.address(), self.number);
        let (room, whose) = match lack {
            Lack::Tunnels => (&self.room, "this shard's part of what the process"),
            Lack::ListenerTunnels => (&entrance.room, "this shard's part of what the listener"),
            Lack::Memory => {
                if self.said_memory.is_news() {
                    log::warn!(
                        "{address}: accepting pauses until there is room: tunnels hold {} KiB on \
                         shard {shard}, and may hold {} KiB (its part of memory_budget)",
                        super::Budget::held(&self.around.counters) / 1024,
                        self.budget.most() / 1024,
                    );
                }
                return;
            }
            Lack::Rate(_) | Lack::ListenerRate(_) => {
                if entrance.said_rate.is_news() {
                    let whose = match lack {
                        Lack::Rate(_) => "the process's",
                        _ => "the listener's",
                    };
                    log::warn!(
                        "{address}: connections come to shard {shard} faster than they may \
                         (its part of {whose} connection_rate); they wait in the kernel's queue"
                    );
                }
                return;
            }
        };
        if room.is_news() {
            log::warn!(
                "{address}: accepting pauses until there is room: {} tunnels are open on shard \
                 {shard}, {whose} may have (max_connections, or the file descriptors: \
                 LimitNOFILE=)",
                room.open(),
            );
        }
    }

    /// The kernel gave no descriptor, or no memory. Rests, and if it was so
    /// before, too, sends those away who wait: `again`.
    pub(super) async fn do_without(
        self: &Rc<Self>,
        entrance: &Rc<Entrance>,
        door: &Door,
        error: &io::Error,
        again: bool,
    ) {
        self.around.counters.accept_pauses.add(1);
        if self.said_lack.is_news() {
            log::warn!(
                "{}: accepting pauses until there is room: {error}; who waits for longer than {} \
                 is reset",
                entrance.address(),
                humantime::format_duration(limits::ACCEPT_PAUSE),
            );
        }
        if again {
            self.shed(entrance, door);
        }
        let closing = poll_fn(|cx| entrance.poll_closing(cx));
        closing.or(runtime::sleep(limits::ACCEPT_PAUSE)).await;
    }

    /// Resets those who wait at a door, with the descriptor that is kept for
    /// it: they know at once, and may try elsewhere.
    fn shed(&self, entrance: &Entrance, door: &Door) {
        let reason = CloseReason::new(Phase::Handshake, Side::Server, Cause::Resources);
        for _ in 0..limits::SHED_PER_PAUSE {
            let accepted = self.reserve.lend(|| {
                let (client, peer) = socket::accept_from(door.as_fd())?;
                let _ = socket::set_linger_reset(client.as_fd());
                io::Result::Ok(peer)
            });
            let Some(Ok(peer)) = accepted else {
                return;
            };
            let counters = &self.around.counters;
            counters.accepted.add(1);
            counters.accept_shed.add(1);
            counters.closed(reason);
            self.tell_turned_away(&entrance.terms(), peer, reason);
        }
    }
}
