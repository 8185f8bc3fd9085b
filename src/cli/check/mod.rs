//! `adit check`: everything that can be known without binding a port.
//!
//! Nothing is bound here on purpose: a reuseport socket, once bound, takes its
//! share of the connections of the server that is running.

use std::fmt::Write as _;
use std::time::SystemTime;

use adit::config::{Address, CertSource, Config, Listener};
use adit::sys::preflight::{self, Finding, Needs, Severity};
use adit::tls::{CertificateInfo, Identity};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::plan::{Format, RunPlan};
use super::{output, run};

pub(crate) fn run(plan: &RunPlan, format: Format) -> Result<Exit, Failure> {
    let report = match plan.config() {
        Ok(config) => Report::new(&config, SystemTime::now()),
        // A script that asked for JSON gets JSON, whatever is wrong.
        Err(failure) if format == Format::Json => Report::refused(failure.message),
        Err(failure) => return Err(failure),
    };
    match format {
        Format::Text => output::print(&report.text())?,
        Format::Json => {
            let json = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::runtime(error.to_string()))?;
            output::print(&format!("{json}\n"))?;
        }
    }
    Ok(report.exit())
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether a server would start.
    ok: bool,
    /// What is wrong with the configuration as a whole.
    error: Option<String>,
    shards: usize,
    listeners: Vec<ListenerReport>,
    machine: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct ListenerReport {
    name: String,
    address: String,
    service: String,
    backends: Vec<String>,
    certificate: Option<Certificate>,
    /// What is wrong with the certificate or its key.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    file: String,
    #[serde(flatten)]
    facts: CertificateInfo,
    days_left: i64,
}

impl Report {
    fn new(config: &Config, now: SystemTime) -> Self {
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .map(|listener| ListenerReport::new(config, listener, now))
            .collect();
        let shards = run::shard_count(config);
        let mut report = Self {
            ok: false,
            error: None,
            shards,
            listeners,
            machine: preflight::check(&Needs::of(config, shards)).findings,
        };
        report.ok = report.exit() == Exit::Clean;
        report
    }

    fn refused(error: String) -> Self {
        Self {
            ok: false,
            error: Some(error),
            shards: 0,
            listeners: Vec::new(),
            machine: Vec::new(),
        }
    }

    /// The operator's own errors come first: they are there on any machine.
    fn exit(&self) -> Exit {
        if self.error.is_some() || self.listeners.iter().any(|l| l.error.is_some()) {
            Exit::Usage
        } else if self.machine.iter().any(|f| f.severity == Severity::Error) {
            Exit::Failure
        } else {
            Exit::Clean
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for listener in &self.listeners {
            listener.write(&mut text);
        }
        let noun = if self.shards == 1 { "shard" } else { "shards" };
        let _ = writeln!(text, "machine, for {} {noun}", self.shards);
        if self.machine.is_empty() {
            let _ = writeln!(
                text,
                "  ok           io_uring, locked memory and descriptors suffice"
            );
        }
        for finding in &self.machine {
            let label = match finding.severity {
                Severity::Info => "note",
                Severity::Warning => "warning",
                Severity::Error => "ERROR",
            };
            let _ = writeln!(text, "  {label:<12} {}", finding.what);
            let _ = writeln!(text, "  {:<12} {}", "  fix", finding.fix);
        }
        let _ = writeln!(
            text,
            "\n{}",
            match self.exit() {
                Exit::Clean => "all is well",
                Exit::Failure => "the machine needs a change; see the fixes above",
                Exit::Usage => "the configuration needs a change; see the errors above",
            }
        );
        text
    }
}

impl ListenerReport {
    fn new(config: &Config, listener: &Listener, now: SystemTime) -> Self {
        // Config holds no index without a service.
        let service = &config.services[listener.service];
        let source = listener.tls.as_ref().and_then(|tls| tls.certs.first());
        let loaded = source.map(|source| Identity::load(source, now)).transpose();
        let (certificate, error) = match loaded {
            Ok(None) => (None, None),
            Ok(Some(identity)) => {
                let facts = identity.info().clone();
                (Some(Certificate::new(source, facts, now)), None)
            }
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            name: listener.name.clone(),
            address: listener.address.to_string(),
            service: service.name.clone(),
            backends: service
                .backends
                .iter()
                .map(|b| b.address.to_string())
                .collect(),
            error: error.or_else(|| folder_missing(&listener.address)),
            certificate,
        }
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "listener {}", self.name);
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(text, "  {label:<12} {value}");
        };
        line("address", &self.address);
        if self.backends.len() == 1 && self.backends[0] == self.service {
            line("backend", &self.service);
        } else {
            line("service", &self.service);
            line("backends", &self.backends.join(", "));
        }
        if let Some(certificate) = &self.certificate {
            let facts = &certificate.facts;
            line("certificate", &certificate.file);
            line("names", &facts.names.join(", "));
            line("issuer", &facts.issuer);
            line("key", &facts.key_type);
            line("valid for", &certificate.validity());
            for warning in &facts.warnings {
                line("warning", warning);
            }
        }
        if let Some(error) = &self.error {
            line("ERROR", error);
        }
        text.push('\n');
    }
}

impl Certificate {
    fn new(source: Option<&CertSource>, facts: CertificateInfo, now: SystemTime) -> Self {
        let days_left = match facts.not_after.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs() / 86_400).unwrap_or(i64::MAX),
            Err(late) => -i64::try_from(late.duration().as_secs() / 86_400 + 1).unwrap_or(i64::MAX),
        };
        Self {
            file: source.map_or_else(String::new, |source| source.cert.display().to_string()),
            facts,
            days_left,
        }
    }

    fn validity(&self) -> String {
        let until = humantime::format_rfc3339_seconds(self.facts.not_after).to_string();
        let day = until.split('T').next().unwrap_or_default();
        format!("{} days, until {day}", self.days_left)
    }
}

/// A Unix listener needs its folder.
fn folder_missing(address: &Address) -> Option<String> {
    let Address::Unix(path) = address else {
        return None;
    };
    let folder = path.parent()?;
    (!folder.is_dir()).then(|| {
        format!(
            "{address}: the folder {} is not there; make it, or listen elsewhere",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit::config::ServerTls;

    use super::*;

    fn report(days: i64, machine: Vec<Finding>) -> Report {
        let address: Address = "*:443".parse().expect("an address");
        let backend: Address = "app:80".parse().expect("an address");
        let config = Config::single(address, ServerTls::new("c.pem", "k.pem"), backend);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let facts = CertificateInfo {
            names: vec!["example.org".into(), "*.example.org".into()],
            issuer: "Example CA".into(),
            key_type: "ECDSA P-256".into(),
            not_before: now,
            chain_length: 1,
            not_after: now + Duration::from_secs(days.unsigned_abs() * 86_400 + 3600),
            warnings: vec!["k.pem can be read by everybody; run chmod 600 k.pem".into()],
        };
        let listener = ListenerReport {
            certificate: Some(Certificate::new(
                config.listeners[0]
                    .tls
                    .as_ref()
                    .and_then(|tls| tls.certs.first()),
                facts,
                now,
            )),
            name: "*:443".into(),
            address: "*:443".into(),
            service: "app:80".into(),
            backends: vec!["app:80".into()],
            error: None,
        };
        Report {
            ok: true,
            error: None,
            shards: 2,
            listeners: vec![listener],
            machine,
        }
    }

    #[test]
    fn a_sound_report_reads_so() {
        let report = report(41, Vec::new());
        assert_eq!(report.exit(), Exit::Clean);
        let text = report.text();
        for part in [
            "listener *:443\n",
            "backend      app:80",
            "names        example.org, *.example.org",
            "41 days, until 2027-02-25",
            "chmod 600",
            "for 2 shards",
            "all is well",
        ] {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }

    #[test]
    fn the_machines_errors_and_the_operators_are_told_apart() {
        let finding = |severity| Finding {
            severity,
            what: "io_uring is disabled".into(),
            fix: "sysctl kernel.io_uring_disabled=0".into(),
        };
        assert_eq!(
            report(1, vec![finding(Severity::Warning)]).exit(),
            Exit::Clean
        );
        let mut broken = report(1, vec![finding(Severity::Error)]);
        assert_eq!(broken.exit(), Exit::Failure);
        assert!(
            broken.text().contains("fix        sysctl"),
            "{}",
            broken.text()
        );
        broken.listeners[0].error = Some("the key does not match".into());
        assert_eq!(broken.exit(), Exit::Usage);
        assert!(broken.text().contains("the key does not match"));
    }
}
