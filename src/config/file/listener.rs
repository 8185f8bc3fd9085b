//! Listeners, as typed.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::super::error::clip;
use super::super::position::{Node, SyntaxError};
use super::super::suggest::nearest;
use super::super::units::{Backlog, ListenAddress, Name};
use super::super::{Backend, ClientTls, Listener, ServerTls, Service};
use super::client_tls::{FileClientTls, check_names};
use super::server_tls::FileServerTls;
use super::service::FileBackend;
use super::{refuse, refuse_key};
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(rename = "a listener", deny_unknown_fields)]
pub(super) struct FileListener {
    name: Option<Name>,
    address: ListenAddress,
    backlog: Option<Backlog>,
    tls: FileTls,
    service: Option<Name>,
    backend: Option<FileBackend>,
    backend_tls: Option<FileClientTls>,
}

/// Brackets without a word stand for `Server`; see the reader's nameless ones.
#[derive(Debug, Deserialize)]
#[serde(rename = "tls of a listener")]
enum FileTls {
    Server(Box<FileServerTls>),
    Client(Box<FileClientTls>),
    Off,
}

/// What they mean. Services that they hold themselves are added to the others.
pub(super) fn listeners(
    typed: Vec<FileListener>,
    services: &mut Vec<Service>,
    root: &Node<'_>,
    base: &Path,
) -> Result<Vec<Listener>, SyntaxError> {
    let mut destinations = Destinations::new(services);
    let mut listeners: Vec<Listener> = Vec::new();
    for (index, typed) in typed.into_iter().enumerate() {
        let at = root.field("listeners").and_then(|list| list.item(index));
        let Some(node) = at else {
            return Err(refuse(Some(root), "the listeners cannot be told apart"));
        };
        let Sides { clients, backends } = sides(typed.tls, typed.backend_tls, node, base)?;
        let service = destinations.find(typed.service, typed.backend, backends, node)?;
        let address = typed.address.0;
        let clash = listeners
            .iter()
            .position(|other| other.address.conflicts_with(&address));
        if let Some(other) = clash {
            return Err(refuse(
                node.field("address"),
                &format!(
                    "\"{address}\" conflicts with \"{}\" of listener {}; give one of the two another port or host",
                    listeners[other].address,
                    other + 1
                ),
            ));
        }
        let name = match typed.name {
            Some(Name(name)) if listeners.iter().any(|other| other.name == name) => {
                return Err(refuse(
                    node.field("name"),
                    &format!(
                        "another listener has the name \"{}\"; give each a name of its own",
                        clip(&name)
                    ),
                ));
            }
            Some(Name(name)) => name,
            None => address.to_string(),
        };
        listeners.push(Listener {
            name,
            address,
            backlog: typed
                .backlog
                .map_or(limits::BACKLOG_DEFAULT, |backlog| backlog.0),
            tls: clients,
            service,
        });
    }
    Ok(listeners)
}

/// What a listener says of its two sides.
struct Sides {
    clients: Option<ServerTls>,
    /// `None`: it says nothing of backends.
    backends: Option<ClientTls>,
}

fn sides(
    tls: FileTls,
    backend_tls: Option<FileClientTls>,
    node: &Node<'_>,
    base: &Path,
) -> Result<Sides, SyntaxError> {
    let at = node.field("tls");
    let clients = match tls {
        FileTls::Server(tls) => Some(tls.meant(at, base)?),
        FileTls::Off => None,
        FileTls::Client(tls) => {
            if backend_tls.is_some() {
                return Err(refuse_key(
                    Some(node),
                    "backend_tls",
                    "tls: Client( … ) says already how backends are spoken to; remove one of the two, or write tls: Off".into(),
                ));
            }
            return Ok(Sides {
                clients: None,
                backends: Some(tls.meant(at, base)?),
            });
        }
    };
    let backends = backend_tls
        .map(|tls| tls.meant(node.field("backend_tls"), base))
        .transpose()?;
    Ok(Sides { clients, backends })
}

/// The services that listeners lead to.
struct Destinations<'a> {
    services: &'a mut Vec<Service>,
    /// Those of the file, by name.
    named: HashMap<String, usize>,
    /// Those that listeners hold themselves, by name. One name can stand for
    /// several that differ in their TLS.
    own: HashMap<String, Vec<usize>>,
}

impl<'a> Destinations<'a> {
    fn new(services: &'a mut Vec<Service>) -> Self {
        let named = services
            .iter()
            .enumerate()
            .map(|(index, service)| (service.name.clone(), index))
            .collect();
        Self {
            services,
            named,
            own: HashMap::new(),
        }
    }

    /// The index of the service that a listener leads to.
    fn find(
        &mut self,
        service: Option<Name>,
        backend: Option<FileBackend>,
        tls: Option<ClientTls>,
        node: &Node<'_>,
    ) -> Result<usize, SyntaxError> {
        match (service, backend) {
            (Some(Name(name)), None) => self.of_service(&name, tls, node),
            (None, Some(FileBackend { address })) => {
                let name = address.0.to_string();
                if self.named.contains_key(&name) {
                    return Err(refuse(
                        node.field("backend"),
                        &format!(
                            "a service has this very name; write service: \"{name}\", or rename that service"
                        ),
                    ));
                }
                let backends = vec![Backend { address: address.0 }];
                if let Some(tls) = &tls {
                    check_names(tls, &backends, |_| node.field("backend"))?;
                }
                Ok(self.own(Service {
                    name,
                    backends,
                    tls,
                }))
            }
            (Some(_), Some(_)) => Err(refuse_key(
                Some(node),
                "backend",
                "a listener leads to a service or to a backend, not to both; remove one of the two".into(),
            )),
            (None, None) => Err(SyntaxError {
                span: node.span.head(),
                message: "this listener leads nowhere; add backend: \"127.0.0.1:8080\", or service: and a name of services".into(),
            }),
        }
    }

    fn of_service(
        &mut self,
        name: &str,
        tls: Option<ClientTls>,
        node: &Node<'_>,
    ) -> Result<usize, SyntaxError> {
        let index = *self.named.get(name).ok_or_else(|| {
            let there = &self.services[..self.named.len()];
            unknown_service(node, name, there)
        })?;
        let Some(tls) = tls else {
            return Ok(index);
        };
        let name = clip(name);
        if node.field("backend_tls").is_some() {
            return Err(refuse_key(
                Some(node),
                "backend_tls",
                format!(
                    "backend_tls goes with backend; write it as tls: ( … ) in the service \"{name}\""
                ),
            ));
        }
        let service = &self.services[index];
        if service.tls.is_some() {
            return Err(refuse(
                node.field("tls"),
                &format!(
                    "the service \"{name}\" says already how its backends are spoken to; write tls: Off here, or remove tls there"
                ),
            ));
        }
        check_names(&tls, &service.backends, |_| node.field("tls"))?;
        let service = Service {
            tls: Some(tls),
            ..service.clone()
        };
        Ok(self.own(service))
    }

    /// That service, which is added unless the very same is there.
    fn own(&mut self, service: Service) -> usize {
        let same = self.own.entry(service.name.clone()).or_default();
        let there = same.iter().find(|index| self.services[**index] == service);
        if let Some(index) = there {
            return *index;
        }
        let index = self.services.len();
        same.push(index);
        self.services.push(service);
        index
    }
}

fn unknown_service(listener: &Node<'_>, name: &str, services: &[Service]) -> SyntaxError {
    let names = services.iter().map(|service| service.name.as_str());
    let hint = match nearest(name, names.clone()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if services.is_empty() => {
            "there are no services; add services: { … }, or write backend: and an address".into()
        }
        None => format!(
            "the services are {}",
            clip(&names.collect::<Vec<_>>().join(", "))
        ),
    };
    refuse(
        listener.field("service"),
        &format!("unknown service \"{}\"; {hint}", clip(name)),
    )
}
