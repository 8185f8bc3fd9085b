//! Where listeners and routes lead to, as typed.

use std::collections::HashMap;

use super::super::error::clip;
use super::super::position::{Node, SyntaxError};
use super::super::suggest::nearest;
use super::super::units::Name;
use super::super::{ClientTls, Service};
use super::client_tls::check_names;
use super::service::FileBackend;
use super::{refuse, refuse_key};

/// The services that listeners lead to.
pub(super) struct Destinations<'a> {
    services: &'a mut Vec<Service>,
    /// Those of the file, by name.
    named: HashMap<String, usize>,
    /// Those that listeners hold themselves, by name. One name can stand for
    /// several that differ in their TLS.
    own: HashMap<String, Vec<usize>>,
}

impl<'a> Destinations<'a> {
    pub(super) fn new(services: &'a mut Vec<Service>) -> Self {
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

    /// The index of the service that a listener, or one of its routes, leads
    /// to.
    pub(super) fn find(
        &mut self,
        service: Option<Name>,
        backend: Option<FileBackend>,
        tls: Option<ClientTls>,
        node: &Node<'_>,
    ) -> Result<usize, SyntaxError> {
        match (service, backend) {
            (Some(Name(name)), None) => self.of_service(&name, tls, node),
            (None, Some(backend)) => {
                let backend = backend.meant();
                let name = backend.address.to_string();
                if self.named.contains_key(&name) {
                    return Err(refuse(
                        node.field("backend"),
                        &format!(
                            "a service has this very name; write service: \"{name}\", or rename that service"
                        ),
                    ));
                }
                let backends = vec![backend];
                if let Some(tls) = &tls {
                    check_names(tls, &backends, |_| node.field("backend"))?;
                }
                Ok(self.own(Service::new(name, backends, tls)))
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
