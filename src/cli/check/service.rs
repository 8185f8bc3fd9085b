//! What one service is, in a report.

use std::fmt::Write as _;
use std::time::SystemTime;

use adit::config::{self, Backend, Balance, CheckKind, HealthCheck, ProxyVersion, Source};
use serde::Serialize;

use super::super::places;
use super::backends::BackendTls;
use super::line;

/// A service and its backends.
#[derive(Debug, Serialize)]
pub(super) struct ServiceReport {
    pub(super) name: String,
    pub(super) backends: Vec<BackendReport>,
    /// How one of them is chosen.
    balance: &'static str,
    /// How they are checked; none: not at all.
    health: Option<String>,
    /// The version of the PROXY protocol in which they are told of the client.
    proxy_protocol: Option<u8>,
    /// Where connections come from.
    source: String,
    /// For how long a client is held while none is up, in milliseconds.
    hold_ms: u128,
    /// TLS towards them; none if they are spoken to in plaintext.
    tls: Option<BackendTls>,
    /// What is wrong with the files.
    pub(super) error: Option<String>,
}

/// One backend.
#[derive(Debug, Serialize)]
pub(super) struct BackendReport {
    address: String,
    weight: u32,
    backup: bool,
    max_connections: Option<u32>,
}

impl ServiceReport {
    /// Reads and checks the files that it names.
    pub(super) fn new(service: &config::Service, now: SystemTime) -> Self {
        let tls = service.tls.as_ref().map(|tls| BackendTls::new(tls, now));
        let (tls, error) = match tls {
            Some(Ok(tls)) => (Some(tls), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, None),
        };
        let key_log = service.tls.as_ref().and_then(|tls| tls.key_log.as_ref());
        let error = error.or_else(|| places::unfit_key_log(key_log));
        Self {
            name: service.name.clone(),
            backends: service.backends.iter().map(BackendReport::new).collect(),
            balance: match service.balance {
                Balance::TwoChoices => "two choices",
                Balance::RoundRobin => "round robin",
                Balance::LeastTunnels => "least tunnels",
                Balance::SourceHash => "hash of the client's address",
                Balance::First => "the first that is up",
            },
            health: service.health.as_ref().map(health),
            proxy_protocol: service.proxy_protocol.as_ref().map(|h| match h.version {
                ProxyVersion::One => 1,
                ProxyVersion::Two => 2,
            }),
            source: match service.source {
                Source::Kernel => "as the kernel likes".into(),
                Source::Fixed(address) => address.to_string(),
                Source::Transparent => "the client's own address".into(),
            },
            hold_ms: service.hold.as_millis(),
            tls,
            error,
        }
    }

    /// Whether it is no more than the address that a listener names.
    pub(super) fn is_plain(&self) -> bool {
        let alone = matches!(self.backends.as_slice(), [one] if one.address == self.name);
        alone && self.tls.is_none() && self.error.is_none()
    }

    pub(super) fn write(&self, text: &mut String) {
        let _ = writeln!(text, "service {}", self.name);
        for backend in &self.backends {
            line(text, "backend", backend.text());
        }
        if self.backends.len() > 1 {
            line(text, "balance", self.balance);
        }
        line(text, "checks", self.health.as_deref().unwrap_or("none"));
        if let Some(version) = self.proxy_protocol {
            line(
                text,
                "told of",
                format_args!("PROXY protocol, version {version}"),
            );
        }
        if self.source != "as the kernel likes" {
            line(text, "source", &self.source);
        }
        match &self.tls {
            Some(tls) => tls.write(text),
            None if self.error.is_none() => line(text, "spoken to", "in plaintext"),
            None => {}
        }
        if let Some(error) = &self.error {
            line(text, "ERROR", error);
        }
        text.push('\n');
    }
}

impl BackendReport {
    fn new(backend: &Backend) -> Self {
        Self {
            address: backend.address.to_string(),
            weight: backend.weight,
            backup: backend.backup,
            max_connections: backend.max_connections.map(u32::from),
        }
    }

    fn text(&self) -> String {
        let mut text = self.address.clone();
        if self.weight != 1 {
            let _ = write!(text, ", weight {}", self.weight);
        }
        if self.backup {
            text.push_str(", backup");
        }
        if let Some(most) = self.max_connections {
            let _ = write!(text, ", {most} tunnels at most");
        }
        text
    }
}

fn health(health: &HealthCheck) -> String {
    let what = match &health.kind {
        CheckKind::Tcp => "connects".to_owned(),
        CheckKind::Tls => "handshakes".to_owned(),
        CheckKind::Http { path, status, .. } => {
            format!("GET {path}, {} to {} is good", status.0, status.1)
        }
    };
    let interval = humantime::format_duration(health.interval);
    format!("{what}, every {interval}")
}
