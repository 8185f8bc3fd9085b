//! `adit check`: everything that can be known without binding a port.
//!
//! Nothing is bound here on purpose: a reuseport socket, once bound, takes its
//! share of the connections of the server that is running. Nor is a file made.
//!
//! `listener` and `service` are the two sides of it, `certificate` what is shown
//! on them, `backends` and `policy` how they speak; `placement` is where shards
//! run.

mod backends;
mod certificate;
mod listener;
mod placement;
mod policy;
mod rights;
mod service;

use std::fmt::Write as _;
use std::time::SystemTime;

use adit::config::Config;
use adit::sys::cpu;
use adit::sys::preflight::{self, Finding, Needs, Severity};
use adit::tls::Loader;
use adit::{Layout, Server};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::plan::{Format, RunPlan};
use super::{output, places};
use listener::ListenerReport;
use placement::PlacementReport;
use rights::RightsReport;
use service::ServiceReport;

/// What can be said of a start, whoever makes it.
pub(crate) fn run(plan: &RunPlan, format: Format) -> Result<Exit, Failure> {
    tell(plan, format, false)
}

/// What this start would come to.
pub(crate) fn test(plan: &RunPlan) -> Result<Exit, Failure> {
    tell(plan, Format::Text, true)
}

fn tell(plan: &RunPlan, format: Format, of_start: bool) -> Result<Exit, Failure> {
    let report = match plan.config() {
        Ok(config) => Report::new(plan, &config, of_start, SystemTime::now()),
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
    /// What cannot be known of it from here.
    notes: Vec<String>,
    shards: usize,
    listeners: Vec<ListenerReport>,
    services: Vec<ServiceReport>,
    /// Where shards run; without shards, if they cannot run as the
    /// configuration has it.
    placement: Option<PlacementReport>,
    rights: RightsReport,
    machine: Vec<Finding>,
}

impl Report {
    fn new(plan: &RunPlan, config: &Config, of_start: bool, now: SystemTime) -> Self {
        let mut loader = Loader::new(now);
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .map(|listener| ListenerReport::new(config, listener, &mut loader, now))
            .collect();
        let layout = Layout::of(config).ok();
        let shards = layout
            .as_ref()
            .map_or_else(|| shards_asked_for(config), |layout| layout.shards.len());
        let mut report = Self {
            ok: false,
            error: places::unfit_beside_listeners(config)
                .or_else(|| Server::check(config).err().map(|e| e.to_string())),
            notes: config
                .metrics
                .iter()
                .filter_map(|metrics| places::passed(&metrics.address))
                .map(|note| format!("metrics: {note}"))
                .collect(),
            shards,
            listeners,
            services: config
                .services
                .iter()
                .map(|service| ServiceReport::new(service, now))
                .collect(),
            placement: layout
                .or_else(|| Layout::of_machine().ok())
                .map(|layout| PlacementReport::new(&layout)),
            rights: RightsReport::new(plan, config, of_start),
            machine: preflight::check(&Needs::of(config, shards)).findings,
        };
        report.ok = report.exit() == Exit::Clean;
        report
    }

    fn refused(error: String) -> Self {
        Self {
            ok: false,
            error: Some(error),
            notes: Vec::new(),
            shards: 0,
            listeners: Vec::new(),
            services: Vec::new(),
            placement: None,
            rights: RightsReport::default(),
            machine: Vec::new(),
        }
    }

    /// The operator's own errors come first: they are there on any machine.
    fn exit(&self) -> Exit {
        let wrong = self.listeners.iter().any(|l| l.error.is_some())
            || self.services.iter().any(|s| s.error.is_some())
            || self.rights.error.is_some();
        if self.error.is_some() || wrong {
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
        for service in self.services.iter().filter(|service| !service.is_plain()) {
            service.write(&mut text);
        }
        self.rights.write(&mut text);
        if self.error.is_some() || !self.notes.is_empty() {
            let _ = writeln!(text, "configuration");
            for note in &self.notes {
                line(&mut text, "note", note);
            }
            if let Some(error) = &self.error {
                line(&mut text, "ERROR", error);
            }
            text.push('\n');
        }
        if let Some(placement) = &self.placement {
            placement.write(&mut text);
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
            write_finding(&mut text, finding);
        }
        let _ = writeln!(
            text,
            "\n{}",
            match self.exit() {
                Exit::Clean if self.rights.not_as_root => {
                    "all is well, but for a start as root; see the warning above"
                }
                Exit::Clean => "all is well",
                Exit::Failure => "the machine needs a change; see the fixes above",
                Exit::Usage => "the configuration needs a change; see the errors above",
            }
        );
        text
    }
}

/// How many shards are asked for, where it cannot be said on which CPUs.
fn shards_asked_for(config: &Config) -> usize {
    match (config.shards.count, &config.shards.cpus) {
        (Some(count), _) => count.get(),
        (None, Some(cpus)) => cpus.len(),
        (None, None) => cpu::allowed().map_or(1, |cpus| cpus.len()),
    }
}

fn write_finding(text: &mut String, finding: &Finding) {
    let label = match finding.severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "ERROR",
    };
    let _ = writeln!(text, "  {label:<12} {}", finding.what);
    let _ = writeln!(text, "  {:<12} {}", "  fix", finding.fix);
}

/// One line: what it is about, and what there is to say.
fn line(text: &mut String, label: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {label:<12} {value}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit::config::{ServerTls, SniNoMatch};
    use adit::tls::CertificateInfo;

    use super::certificate::Certificate;
    use super::listener::TlsReport;
    use super::*;

    fn report(days: i64, machine: Vec<Finding>) -> Report {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let facts = CertificateInfo {
            file: "c.pem".into(),
            names: vec!["example.org".into(), "*.example.org".into()],
            issuer: "Example CA".into(),
            key_type: "ECDSA P-256".into(),
            not_before: now,
            chain_length: 1,
            not_after: now + Duration::from_secs(days.unsigned_abs() * 86_400 + 3600),
            ocsp: None,
            must_staple: false,
            for_servers: true,
            left_out: false,
            warnings: vec!["k.pem can be read by everybody; run chmod 600 k.pem".into()],
        };
        let tls = ServerTls {
            sni_nomatch: SniNoMatch::Abort,
            alpn: vec!["h2".into(), "http/1.1".into()],
            ..ServerTls::new("c.pem", "k.pem")
        };
        let listener = ListenerReport {
            tls: Some(TlsReport::of(&tls)),
            certificates: vec![Certificate::new(facts, now)],
            name: "*:443".into(),
            address: "*:443".into(),
            service: "app:80".into(),
            passthrough: false,
            routes: Vec::new(),
            warnings: Vec::new(),
            error: None,
        };
        Report {
            ok: true,
            error: None,
            notes: Vec::new(),
            shards: 2,
            listeners: vec![listener],
            services: Vec::new(),
            placement: None,
            rights: RightsReport::default(),
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
            "leads to     app:80",
            "names        example.org, *.example.org",
            "41 days, until 2027-02-25",
            "chmod 600",
            "versions     TLS 1.2, TLS 1.3",
            "TLS_AES_128_GCM_SHA256",
            "X25519MLKEM768",
            "ALPN         h2, http/1.1",
            "unknown name refused",
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

    #[test]
    fn ten_thousand_certificates_are_summed_up() {
        let mut report = report(400, Vec::new());
        let listener = &mut report.listeners[0];
        listener.certificates[0].facts.warnings.clear();
        for number in 1..10_000 {
            let mut next = listener.certificates[0].clone();
            next.facts.file = format!("{number}.pem").into();
            listener.certificates.push(next);
        }
        let worn = &mut listener.certificates[7_000].facts;
        worn.warnings
            .push("7000.pem: the certificate expires in 3 days".into());
        let text = report.text();
        assert!(text.lines().count() < 200, "{}", text.lines().count());
        for part in ["10000 certificates", "7000.pem: the", "9979 more"] {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
        assert!(!text.contains("9000.pem"), "{text}");
    }
}
