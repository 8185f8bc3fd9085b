//! Services and their backends, as typed.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::super::error::clip;
use super::super::position::{Node, SyntaxError};
use super::super::units::{
    Amount, BackendAddress, Count, Deadline, Grace, Name, ProxyVersionNumber, SourceAddress,
    Switch, Weight,
};
use super::super::{Backend, Balance, ProxyHeader, ProxyTlv, ProxyVersion, Service};
use super::access::FileTcp;
use super::client_tls::{FileClientTls, check_names};
use super::health::FileHealth;
use super::{check_count, refuse, refuse_key};
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(rename = "a service", deny_unknown_fields)]
struct FileService {
    backends: Vec<FileBackend>,
    tls: Option<FileClientTls>,
    balance: Option<Balance>,
    health: Option<FileHealth>,
    eject: Option<FileEjection>,
    slow_start: Option<Grace>,
    queue: Option<FileQueue>,
    hold: Option<Grace>,
    resolve: Option<Deadline>,
    proxy_protocol: Option<FileProxyHeader>,
    source: Option<SourceAddress>,
    tcp: Option<FileTcp>,
}

/// An address alone may stand for it; see the reader's shorthands.
#[derive(Debug, Deserialize)]
#[serde(rename = "a backend", deny_unknown_fields)]
pub(super) struct FileBackend {
    address: BackendAddress,
    weight: Option<Weight>,
    backup: Option<Switch>,
    max_connections: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "eject", deny_unknown_fields)]
struct FileEjection {
    failures: Option<Amount>,
    pause: Option<Deadline>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "queue", deny_unknown_fields)]
struct FileQueue {
    length: Option<Amount>,
    timeout: Option<Deadline>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "proxy_protocol", deny_unknown_fields)]
struct FileProxyHeader {
    version: ProxyVersionNumber,
    tlvs: Option<Vec<ProxyTlv>>,
}

/// In the order of the file.
#[derive(Debug)]
pub(super) struct FileServices(Vec<(Name, FileService)>);

impl<'de> Deserialize<'de> for FileServices {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = FileServices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("services, { \"name\": (backends: [ … ]), … }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileServices, A::Error> {
                let mut services = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    services.push(entry);
                }
                Ok(FileServices(services))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl FileServices {
    pub(super) fn meant(self, root: &Node<'_>, base: &Path) -> Result<Vec<Service>, SyntaxError> {
        let node = root.field("services");
        check_count(self.0.len(), limits::LISTENERS_MAX, "services", node)?;
        let mut services = Vec::new();
        for (index, (name, service)) in self.0.into_iter().enumerate() {
            let node = node.and_then(|node| node.item(index));
            let backends = node.and_then(|service| service.field("backends"));
            check_count(
                service.backends.len(),
                limits::BACKENDS_MAX,
                "backends",
                backends,
            )?;
            if service.backends.is_empty() {
                return Err(refuse(
                    backends,
                    &format!(
                        "the service \"{}\" has no backend; write one, such as [\"127.0.0.1:8080\"]",
                        clip(&name.0)
                    ),
                ));
            }
            services.push(service.meant(name.0, node, base)?);
        }
        Ok(services)
    }
}

impl FileService {
    fn meant(
        self,
        name: String,
        node: Option<&Node<'_>>,
        base: &Path,
    ) -> Result<Service, SyntaxError> {
        let at = |key| node.and_then(|node| node.field(key));
        let tls = self.tls.map(|tls| tls.meant(at("tls"), base)).transpose()?;
        let backends: Vec<_> = self.backends.into_iter().map(FileBackend::meant).collect();
        if let Some(tls) = &tls {
            check_names(tls, &backends, |index| at("backends")?.item(index))?;
        }
        let mut service = Service::new(name, backends, tls);
        if let Some(health) = self.health {
            service.health = Some(health.meant(at("health"), service.tls.is_some())?);
        }
        if let Some(balance) = self.balance {
            service.balance = balance;
        }
        if let Some(FileEjection { failures, pause }) = self.eject {
            let eject = &mut service.eject;
            eject.failures = failures.map_or(eject.failures, |failures| failures.0);
            eject.pause = pause.map_or(eject.pause, |pause| pause.0);
        }
        if let Some(FileQueue { length, timeout }) = self.queue {
            let queue = &mut service.queue;
            queue.length = length.map_or(queue.length, |length| length.0);
            queue.timeout = timeout.map_or(queue.timeout, |timeout| timeout.0);
        }
        service.slow_start = self.slow_start.map_or(service.slow_start, |time| time.0);
        service.hold = self.hold.map_or(service.hold, |time| time.0);
        service.resolve = self.resolve.map(|time| time.0);
        service.proxy_protocol = self
            .proxy_protocol
            .map(|header| header.meant(at("proxy_protocol")))
            .transpose()?;
        service.source = self.source.map_or(service.source, |source| source.0);
        service.tcp = self.tcp.map_or(service.tcp, FileTcp::meant);
        Ok(service)
    }
}

impl FileBackend {
    pub(super) fn meant(self) -> Backend {
        let mut backend = Backend::new(self.address.0);
        backend.weight = self.weight.map_or(backend.weight, |weight| weight.0);
        backend.backup = self.backup.is_some_and(|backup| backup.0);
        backend.max_connections = self.max_connections.map(|count| count.0);
        backend
    }
}

impl FileProxyHeader {
    fn meant(self, node: Option<&Node<'_>>) -> Result<ProxyHeader, SyntaxError> {
        let version = self.version.0;
        let tlvs = self.tlvs.unwrap_or_default();
        if version == ProxyVersion::One && !tlvs.is_empty() {
            return Err(refuse_key(
                node,
                "tlvs",
                "version 1 says addresses and nothing else; write version: 2, or remove tlvs"
                    .into(),
            ));
        }
        Ok(ProxyHeader { version, tlvs })
    }
}
