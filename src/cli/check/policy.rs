//! How one side speaks TLS, in a report.

use adit::config::suites::{group_name, suite_name};
use adit::config::{TlsPolicy, TlsVersion};
use adit::tls;
use serde::Serialize;

use super::line;

/// Versions, cipher suites, groups and application protocols.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PolicyReport {
    versions: Vec<&'static str>,
    ciphers: Vec<&'static str>,
    /// Whose order of them counts: the server's, the client's, the backend's.
    order: &'static str,
    groups: Vec<&'static str>,
    alpn: Vec<String>,
}

impl PolicyReport {
    /// `order` is whose order of cipher suites counts.
    pub(super) fn of(policy: &TlsPolicy, alpn: &[String], order: &'static str) -> Self {
        let (ciphers, groups) = tls::spoken(policy);
        let versions = [
            (TlsVersion::Tls12, "TLS 1.2"),
            (TlsVersion::Tls13, "TLS 1.3"),
        ];
        Self {
            versions: versions
                .into_iter()
                .filter(|(version, _)| (policy.min..=policy.max).contains(version))
                .map(|(_, name)| name)
                .collect(),
            ciphers: ciphers.into_iter().map(suite_name).collect(),
            order,
            groups: groups.into_iter().map(group_name).collect(),
            alpn: alpn.to_vec(),
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        line(text, "versions", self.versions.join(", "));
        let ciphers = self.ciphers.join(", ");
        line(
            text,
            "ciphers",
            format_args!("{ciphers} (in the {}'s order)", self.order),
        );
        line(text, "groups", self.groups.join(", "));
        if !self.alpn.is_empty() {
            line(text, "ALPN", self.alpn.join(", "));
        }
    }
}
