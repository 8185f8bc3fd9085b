//! Where metrics are served, as typed.

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::ListenAddress;
use super::super::{Listener, Metrics, ReadyBackends};
use super::refuse;

#[derive(Debug, Deserialize)]
#[serde(rename = "metrics", deny_unknown_fields)]
pub(super) struct FileMetrics {
    address: ListenAddress,
    ready_backends: Option<ReadyBackends>,
}

impl FileMetrics {
    /// What it means beside these listeners.
    pub(super) fn meant(
        self,
        listeners: &[Listener],
        root: &Node<'_>,
    ) -> Result<Metrics, SyntaxError> {
        let node = root.field("metrics").and_then(|node| node.field("address"));
        let address = self.address.0;
        let clash = |listener: &&Listener| listener.address.conflicts_with(&address);
        if let Some(listener) = listeners.iter().find(clash) {
            return Err(refuse(
                node,
                &format!(
                    "\"{address}\" conflicts with the listener \"{}\"; give one of the two \
                     another port or host",
                    listener.name
                ),
            ));
        }
        Ok(Metrics {
            address,
            ready_backends: self.ready_backends.unwrap_or_default(),
        })
    }
}
