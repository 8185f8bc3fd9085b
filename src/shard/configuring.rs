//! How a shard takes up a configuration: everything is made ready first, and
//! nothing changes until all shards have it so.

use std::num::NonZeroUsize;
use std::rc::Rc;

use super::ending::Access;
use super::entrance::Entrance;
use super::{Door, Shard, room};
use crate::backend::{Making, Service, Upstream};
use crate::config::{self, AccessList, Rate};
use crate::logging::access::AccessLog;
use crate::plan::Plan;
use crate::tls::{self, ClientParts, TicketKeys, TicketTerms};
use crate::tunnel::{Pace, Scratch, Terms, Way};

/// A configuration made ready, and not yet taken up.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) generation: u64,
    buffer_size: usize,
    max_handshakes: usize,
    /// Tunnels that this shard may have.
    most: usize,
    rate: Option<Rate>,
    /// Bytes that they may hold.
    budget: usize,
    access: Option<AccessLog>,
    entrances: Vec<PreparedEntrance>,
    pub(super) services: Vec<Rc<Service>>,
}

#[derive(Debug)]
struct PreparedEntrance {
    listener: config::Listener,
    terms: Rc<Terms>,
    tickets: Option<TicketTerms>,
    /// None: the doors that are open already.
    doors: Option<Vec<Door>>,
}

impl Shard {
    /// Makes everything ready for a configuration, and changes nothing.
    pub(super) fn prepare(
        &self,
        generation: u64,
        plan: &Plan,
        sockets: Vec<Option<Vec<Door>>>,
    ) -> Result<Prepared, String> {
        let config = &plan.config;
        let keys = self.keys.borrow();
        let services = config
            .services
            .iter()
            .zip(&plan.clients)
            .map(|(service, parts)| self.service(service, parts.as_ref()).map(Rc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut entrances = Vec::with_capacity(config.listeners.len());
        let loaded = plan.servers.iter().zip(&plan.tickets);
        for ((listener, (parts, tickets)), doors) in
            config.listeners.iter().zip(loaded).zip(sockets)
        {
            let tls = match (&listener.tls, parts) {
                (Some(tls), Some(parts)) => {
                    let ticketer = tickets.as_ref().map(|terms| terms.ticketer(&keys));
                    let made = ticketer
                        .transpose()
                        .and_then(|ticketer| tls::server_config(tls, parts, ticketer));
                    Some(made.map_err(|error| format!("{}: {error}", listener.name))?)
                }
                _ => None,
            };
            let service = |index: usize| {
                let service = services.get(index).cloned();
                service.ok_or_else(|| format!("{} leads to no service", listener.name))
            };
            let ways = listener
                .routes
                .iter()
                .map(|route| {
                    Ok(Way {
                        service: service(route.service)?,
                        route: route.clone(),
                    })
                })
                .collect::<Result<Vec<_>, String>>()?;
            let timeouts = listener.timeouts.as_ref().unwrap_or(&config.timeouts);
            entrances.push(PreparedEntrance {
                listener: listener.clone(),
                terms: Rc::new(Terms {
                    listener: listener.name.as_str().into(),
                    tls,
                    hears_hello: listener.passthrough,
                    ways,
                    service: service(listener.service)?,
                    access: Rc::new(AccessList::new(&listener.access)),
                    pace: Pace::new(&listener.name, &listener.rates, self.mesh.len()),
                    proxy_from: listener.proxy_from.clone(),
                    tells: plan.access.is_some(),
                    timeouts: timeouts.clone(),
                    truncation: config.truncation,
                    buffer_size: config.buffer_size,
                }),
                tickets: tickets.clone(),
                doors,
            });
        }
        Ok(Prepared {
            generation,
            buffer_size: config.buffer_size,
            max_handshakes: config.max_handshakes.get(),
            most: self
                .part(config.max_connections)
                .min(self.part(NonZeroUsize::new(self.tunnels_possible)))
                .max(1),
            rate: config.connection_rate,
            budget: self.part(config.memory_budget.and_then(NonZeroUsize::new)),
            access: plan.access.clone(),
            entrances,
            services,
        })
    }

    /// This shard's part of a limit.
    fn part(&self, whole: Option<NonZeroUsize>) -> usize {
        whole.map_or(usize::MAX, |whole| {
            room::part(whole.get(), self.number, self.mesh.len())
        })
    }

    fn service(
        &self,
        service: &config::Service,
        parts: Option<&ClientParts>,
    ) -> Result<Service, String> {
        let upstream = match (&service.tls, parts) {
            (Some(tls), Some(parts)) => {
                let config = tls::client_config(tls, parts)
                    .map_err(|error| format!("{}: {error}", service.name))?;
                Some(Upstream::new(service, tls.server_name.as_deref(), config)?)
            }
            _ => None,
        };
        let present = self.services.borrow();
        let former = present.iter().find(|former| former.name() == service.name);
        let making = Making {
            tls: upstream,
            resolver: &self.resolver,
            queues: self.queues,
            shard: self.number,
            shards: self.mesh.len(),
            former: former.map(|former| &**former),
        };
        Ok(Service::new(service, making))
    }

    /// Takes up what was prepared. New connections meet the new terms; open
    /// ones keep theirs.
    pub(super) fn commit(self: &Rc<Self>, prepared: &mut Option<Prepared>, generation: u64) {
        let Some(ready) = prepared.take_if(|ready| ready.generation == generation) else {
            return;
        };
        if self.is_draining.get() {
            return;
        }
        {
            // Tunnels on older terms may need the greater space.
            let mut scratch = self.around.scratch.borrow_mut();
            if ready.buffer_size > scratch.buffer_size() {
                *scratch = Scratch::new(ready.buffer_size);
            }
        }
        *self.services.borrow_mut() = ready.services;
        // At once; and the next time may be sooner than it was.
        self.refresh_names();
        let _ = self.renewed.try_send(());
        self.around.turns.allow(ready.max_handshakes);
        self.room.allow(ready.most);
        self.rate.allow(ready.rate, self.mesh.len());
        self.budget.allow(ready.budget);
        *self.access.borrow_mut() = ready.access.map(|log| Access::new(log, self.mesh.len()));
        let mut old = self.entrances.take();
        let mut new = Vec::with_capacity(ready.entrances.len());
        for PreparedEntrance {
            listener,
            terms,
            tickets,
            doors,
        } in ready.entrances
        {
            let most = self.part(listener.max_connections);
            match doors {
                None => {
                    if let Some(at) = old.iter().position(|e| e.address() == &listener.address) {
                        let entrance = old.swap_remove(at);
                        entrance.renew(terms, tickets);
                        entrance.wish(&listener);
                        entrance.allow(most, listener.accept);
                        entrance
                            .rate
                            .allow(listener.connection_rate, self.mesh.len());
                        new.push(entrance);
                    }
                }
                Some(doors) => {
                    let entrance = Rc::new(Entrance::new(&listener, terms, tickets, most));
                    entrance
                        .rate
                        .allow(listener.connection_rate, self.mesh.len());
                    for door in doors {
                        self.open(&entrance, door);
                    }
                    new.push(entrance);
                }
            }
        }
        self.balances.set(new.iter().any(|e| e.is_balanced()));
        self.tell_load();
        *self.entrances.borrow_mut() = new;
        self.retire(old);
    }

    /// Seals tickets with other keys, and does so in what is prepared, too.
    /// Listeners that have keys of their own keep them.
    pub(super) fn rekey(&self, keys: TicketKeys, prepared: Option<&mut Prepared>) {
        for entrance in self.entrances.borrow().iter() {
            let tickets = entrance.tickets();
            if let Some(terms) = rekeyed(&entrance.terms(), tickets.as_ref(), &keys) {
                entrance.renew(terms, tickets);
            }
        }
        for entrance in prepared.into_iter().flat_map(|ready| &mut ready.entrances) {
            if let Some(terms) = rekeyed(&entrance.terms, entrance.tickets.as_ref(), &keys) {
                entrance.terms = terms;
            }
        }
        *self.keys.borrow_mut() = keys;
    }
}

/// The same terms with the process's new ticket keys, if they are what its
/// tickets are sealed with.
fn rekeyed(terms: &Terms, tickets: Option<&TicketTerms>, keys: &TicketKeys) -> Option<Rc<Terms>> {
    let tls = terms.tls.as_ref()?;
    let tickets = tickets.filter(|tickets| tickets.follow_the_process())?;
    match tickets.ticketer(keys) {
        Ok(ticketer) => Some(Rc::new(Terms {
            tls: Some(tls::with_ticketer(tls, ticketer)),
            ..terms.clone()
        })),
        Err(error) => {
            log::error!("the ticket keys stay as they are: {error}");
            None
        }
    }
}
