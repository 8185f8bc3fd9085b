//! Services and their backends, as typed.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::super::error::clip;
use super::super::position::{Node, SyntaxError};
use super::super::units::{BackendAddress, Name};
use super::super::{Backend, Service};
use super::client_tls::{FileClientTls, check_names};
use super::{check_count, refuse};
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(rename = "a service", deny_unknown_fields)]
struct FileService {
    backends: Vec<FileBackend>,
    tls: Option<FileClientTls>,
}

/// An address alone may stand for it; see the reader's shorthands.
#[derive(Debug, Deserialize)]
#[serde(rename = "a backend", deny_unknown_fields)]
pub(super) struct FileBackend {
    pub(super) address: BackendAddress,
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
            let tls = service
                .tls
                .map(|tls| tls.meant(node.and_then(|node| node.field("tls")), base))
                .transpose()?;
            let list: Vec<_> = service
                .backends
                .into_iter()
                .map(|backend| Backend {
                    address: backend.address.0,
                })
                .collect();
            if let Some(tls) = &tls {
                check_names(tls, &list, |index| backends?.item(index))?;
            }
            services.push(Service {
                name: name.0,
                backends: list,
                tls,
            });
        }
        Ok(services)
    }
}
