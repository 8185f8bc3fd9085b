//! Listeners, as typed.

use std::path::Path;

use serde::Deserialize;

use super::super::error::clip;
use super::super::position::{Node, SyntaxError};
use super::super::units::{AlpnName, Backlog, Count, ListenAddress, Name, NetworkText, SniPattern};
use super::super::{
    Accept, Address, ClientTls, Listener, Route, ServerTls, Service, SubjectPattern, Timeouts,
};
use super::access::{FileAccess, FileRate, FileRates, FileTcp, networks};
use super::client_tls::FileClientTls;
use super::destinations::Destinations;
use super::log::FileTimeouts;
use super::server_tls::{FileServerTls, check_pattern};
use super::service::FileBackend;
use super::{check_count, refuse, refuse_key};
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
    routes: Option<Vec<FileRoute>>,
    proxy_from: Option<Vec<NetworkText>>,
    access: Option<FileAccess>,
    rates: Option<FileRates>,
    connection_rate: Option<FileRate>,
    max_connections: Option<Count>,
    accept: Option<Accept>,
    timeouts: Option<FileTimeouts>,
    tcp: Option<FileTcp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "a route", deny_unknown_fields)]
struct FileRoute {
    sni: Option<Vec<SniPattern>>,
    alpn: Option<Vec<AlpnName>>,
    client: Option<Vec<SubjectPattern>>,
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
    Passthrough,
    Off,
}

/// What they mean. Services that they hold themselves are added to the others.
pub(super) fn listeners(
    typed: Vec<FileListener>,
    services: &mut Vec<Service>,
    timeouts: &Timeouts,
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
        let passthrough = matches!(typed.tls, FileTls::Passthrough);
        let Sides { clients, backends } = sides(typed.tls, typed.backend_tls, node, base)?;
        let service = destinations.find(typed.service, typed.backend, backends, node)?;
        let routes = routes(
            typed.routes.unwrap_or_default(),
            Ways {
                clients: clients.as_ref(),
                passthrough,
            },
            &mut destinations,
            node,
            base,
        )?;
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
        let mut listener = Listener::new(address, clients, service);
        listener.name = name;
        listener.passthrough = passthrough;
        listener.routes = routes;
        listener.proxy_from = networks(typed.proxy_from, node.field("proxy_from"))?;
        if let Some(backlog) = typed.backlog {
            listener.backlog = backlog.0;
        }
        if let Some(access) = typed.access {
            listener.access = access.meant(node.field("access"))?;
        }
        if let Some(rates) = typed.rates {
            listener.rates = rates.meant();
        }
        listener.connection_rate = typed.connection_rate.map(FileRate::meant);
        listener.max_connections = typed.max_connections.map(Count::get);
        if let Some(accept) = typed.accept {
            if accept == Accept::SameCpu && matches!(listener.address, Address::Unix(_)) {
                return Err(refuse(
                    node.field("accept"),
                    "connections of a Unix socket come in on no CPU of their own; write Spread or Balanced",
                ));
            }
            listener.accept = accept;
        }
        if let Some(own) = typed.timeouts {
            let node = node.field("timeouts");
            for (key, given) in [
                ("drain", own.drain.is_some()),
                ("ready_grace", own.ready_grace.is_some()),
            ] {
                if given {
                    return Err(refuse_key(
                        node,
                        key,
                        format!(
                            "{key} is the whole process's; write it in the timeouts beside listeners"
                        ),
                    ));
                }
            }
            listener.timeouts = Some(own.meant(timeouts));
        }
        if let Some(tcp) = typed.tcp {
            listener.tcp = tcp.meant();
        }
        listeners.push(listener);
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
        FileTls::Off | FileTls::Passthrough => None,
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

/// What a route can go by.
#[derive(Clone, Copy)]
struct Ways<'a> {
    clients: Option<&'a ServerTls>,
    passthrough: bool,
}

fn routes(
    typed: Vec<FileRoute>,
    ways: Ways<'_>,
    destinations: &mut Destinations<'_>,
    node: &Node<'_>,
    base: &Path,
) -> Result<Vec<Route>, SyntaxError> {
    let list = node.field("routes");
    check_count(typed.len(), limits::ROUTES_MAX, "routes", list)?;
    let mut routes = Vec::with_capacity(typed.len());
    for (index, route) in typed.into_iter().enumerate() {
        let Some(node) = list.and_then(|list| list.item(index)) else {
            return Err(refuse(list, "the routes cannot be told apart"));
        };
        routes.push(route.meant(ways, destinations, node, base)?);
    }
    Ok(routes)
}

impl FileRoute {
    fn meant(
        self,
        ways: Ways<'_>,
        destinations: &mut Destinations<'_>,
        node: &Node<'_>,
        base: &Path,
    ) -> Result<Route, SyntaxError> {
        let refuse_key = |key, message: String| Err(refuse_key(Some(node), key, message));
        let sni: Vec<_> = self
            .sni
            .unwrap_or_default()
            .into_iter()
            .map(|n| n.0)
            .collect();
        let alpn: Vec<_> = self
            .alpn
            .unwrap_or_default()
            .into_iter()
            .map(|n| n.0)
            .collect();
        let client = self.client.unwrap_or_default();
        if sni.is_empty() && alpn.is_empty() && client.is_empty() {
            return Err(SyntaxError {
                span: node.span.head(),
                message: "this route asks for nothing, so that every client would take it; add sni: [\"www.example.org\"], or write its service as the listener's".into(),
            });
        }
        if ways.clients.is_none() && !ways.passthrough {
            return Err(SyntaxError {
                span: node.span.head(),
                message: "routes go by what clients say in TLS, and this listener hears none; write tls: ( … ), or tls: Passthrough to hear without opening".into(),
            });
        }
        match ways.clients {
            Some(tls) => {
                if let Some(unknown) = alpn.iter().find(|name| !tls.alpn.contains(name)) {
                    return refuse_key(
                        "alpn",
                        format!(
                            "\"{unknown}\" is never agreed on here; add it to alpn of this listener's tls"
                        ),
                    );
                }
                if !client.is_empty() && tls.client_verify.is_none() {
                    return refuse_key(
                        "client",
                        "clients are not asked for certificates here; add client_verify to this listener's tls".into(),
                    );
                }
            }
            None if !client.is_empty() => {
                return refuse_key(
                    "client",
                    "a certificate cannot be seen in TLS that is passed through; remove client, or open TLS here".into(),
                );
            }
            None => {}
        }
        for (index, pattern) in client.iter().enumerate() {
            let at = node.field("client").and_then(|list| list.item(index));
            check_pattern(pattern).map_err(|message| refuse(at, &message))?;
        }
        let tls = self
            .backend_tls
            .map(|tls| tls.meant(node.field("backend_tls"), base))
            .transpose()?;
        Ok(Route {
            sni,
            alpn,
            client,
            service: destinations.find(self.service, self.backend, tls, node)?,
        })
    }
}
