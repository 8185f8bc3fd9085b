//! What one listener does, in a report.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use adit::config::{
    ClientVerify, Config, Listener, Route, ServerTls, SniNoMatch, SubjectPattern, Tickets,
};
use adit::limits;
use adit::tls::{Loader, TicketFile};
use serde::Serialize;

use super::super::places;
use super::certificate::Certificate;
use super::line;
use super::policy::PolicyReport;

/// A listener, its certificates and its backends.
#[derive(Debug, Serialize)]
pub(super) struct ListenerReport {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) service: String,
    /// Which service else, by what clients say.
    pub(super) routes: Vec<RouteReport>,
    /// TLS goes through unopened.
    pub(super) passthrough: bool,
    /// TLS towards clients; none if they are spoken to in plaintext.
    pub(super) tls: Option<TlsReport>,
    pub(super) certificates: Vec<Certificate>,
    /// Those that are about no one certificate.
    pub(super) warnings: Vec<String>,
    /// What is wrong with the files, or the address.
    pub(super) error: Option<String>,
}

/// What a connection has to be like to go to another service.
#[derive(Debug, Serialize)]
pub(super) struct RouteReport {
    sni: Vec<String>,
    alpn: Vec<String>,
    client: Vec<String>,
    service: String,
}

/// How clients are spoken to.
#[derive(Debug, Serialize)]
pub(super) struct TlsReport {
    #[serde(flatten)]
    policy: PolicyReport,
    /// What becomes of a client that asks for a name which no certificate is
    /// for.
    sni_nomatch: &'static str,
    client_verify: Option<ClientReport>,
    tickets: TicketReport,
}

#[derive(Debug, Serialize)]
struct ClientReport {
    required: bool,
    ca: String,
    crls: Vec<String>,
    allow: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TicketReport {
    count: usize,
    lifetime_s: u64,
    /// The file that they are in, if they are in one.
    keys: Option<PathBuf>,
    /// How many there are in it.
    keys_count: Option<usize>,
}

impl ListenerReport {
    pub(super) fn new(
        config: &Config,
        listener: &Listener,
        loader: &mut Loader,
        now: SystemTime,
    ) -> Self {
        // Config holds no index without a service.
        let service = |index: usize| config.services[index].name.clone();
        let mut report = Self {
            name: listener.name.clone(),
            address: listener.address.to_string(),
            service: service(listener.service),
            routes: listener
                .routes
                .iter()
                .map(|route| RouteReport::new(route, service(route.service)))
                .collect(),
            passthrough: listener.passthrough,
            tls: listener.tls.as_ref().map(TlsReport::of),
            certificates: Vec::new(),
            warnings: places::passed(&listener.address).into_iter().collect(),
            error: places::unfit_address(&listener.address),
        };
        let key_log = listener.tls.as_ref().and_then(|tls| tls.key_log.as_ref());
        report.error = report.error.or_else(|| places::unfit_key_log(key_log));
        match listener.tls.as_ref().map(|tls| loader.load(tls)) {
            Some(Ok((parts, infos))) => {
                report.warnings.extend_from_slice(parts.warnings());
                report.certificates = infos
                    .iter()
                    .map(|info| Certificate::new(info.clone(), now))
                    .collect();
            }
            Some(Err(error)) => report.error = Some(error.to_string()),
            None => {}
        }
        if let Some(tls) = &mut report.tls {
            match tls.tickets.read() {
                Ok(warnings) => report.warnings.extend(warnings),
                Err(error) => report.error = report.error.or(Some(error)),
            }
        }
        report
    }

    pub(super) fn write(&self, text: &mut String) {
        let _ = writeln!(text, "listener {}", self.name);
        line(text, "address", &self.address);
        for route in &self.routes {
            route.write(text);
        }
        line(text, "leads to", &self.service);
        match &self.tls {
            Some(tls) => tls.write(text),
            None if self.passthrough => line(text, "TLS", "goes through unopened"),
            None => line(text, "clients", "in plaintext"),
        }
        self.write_certificates(text);
        for warning in &self.warnings {
            line(text, "warning", warning);
        }
        if let Some(error) = &self.error {
            line(text, "ERROR", error);
        }
        text.push('\n');
    }

    /// The first of them, and those of the others that need somebody.
    fn write_certificates(&self, text: &mut String) {
        let count = self.certificates.len();
        if count > limits::CERTIFICATES_SHOWN_MAX {
            let names: usize = self.certificates.iter().map(|c| c.facts.names.len()).sum();
            line(
                text,
                "in all",
                format_args!("{count} certificates for {names} names"),
            );
        }
        let mut left_out = 0;
        for (number, certificate) in self.certificates.iter().enumerate() {
            if number < limits::CERTIFICATES_SHOWN_MAX || !certificate.facts.warnings.is_empty() {
                certificate.write(text);
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            line(
                text,
                "and",
                format_args!("{left_out} more that need nothing; --json shows them all"),
            );
        }
    }
}

impl RouteReport {
    fn new(route: &Route, service: String) -> Self {
        Self {
            sni: route.sni.clone(),
            alpn: route.alpn.clone(),
            client: route.client.iter().map(subject).collect(),
            service,
        }
    }

    fn write(&self, text: &mut String) {
        let asked = [
            ("name", &self.sni),
            ("ALPN", &self.alpn),
            ("client", &self.client),
        ];
        let asked: Vec<String> = asked
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(what, list)| format!("{what} {}", list.join(" or ")))
            .collect();
        let service = &self.service;
        line(
            text,
            "route",
            format_args!("{} to {service}", asked.join(", ")),
        );
    }
}

impl TlsReport {
    pub(super) fn of(tls: &ServerTls) -> Self {
        let order = match tls.policy.ciphers {
            Some(_) => "server",
            None => "client",
        };
        Self {
            policy: PolicyReport::of(&tls.policy, &tls.alpn, order),
            sni_nomatch: match tls.sni_nomatch {
                SniNoMatch::Default => "default",
                SniNoMatch::Abort => "abort",
            },
            client_verify: tls.client_verify.as_ref().map(ClientReport::of),
            tickets: TicketReport::of(&tls.tickets),
        }
    }

    fn write(&self, text: &mut String) {
        self.policy.write(text);
        line(
            text,
            "unknown name",
            match self.sni_nomatch {
                "abort" => "refused",
                _ => "gets the first certificate",
            },
        );
        match &self.client_verify {
            Some(clients) => clients.write(text),
            None => line(text, "clients", "not asked for a certificate"),
        }
        self.tickets.write(text);
    }
}

impl ClientReport {
    fn of(verify: &ClientVerify) -> Self {
        Self {
            required: verify.required,
            ca: verify.ca.display().to_string(),
            crls: verify
                .crls
                .iter()
                .map(|p| p.display().to_string())
                .collect(),
            allow: verify.allow.iter().map(subject).collect(),
        }
    }

    fn write(&self, text: &mut String) {
        let how = if self.required {
            "must show a certificate"
        } else {
            "may show a certificate"
        };
        line(text, "clients", format_args!("{how}, by {}", self.ca));
        if !self.crls.is_empty() {
            line(text, "revoked", self.crls.join(", "));
        }
        if !self.allow.is_empty() {
            line(text, "allowed", self.allow.join(", "));
        }
    }
}

impl TicketReport {
    fn of(tickets: &Tickets) -> Self {
        let keys = tickets.keys.as_ref();
        Self {
            count: tickets.count,
            lifetime_s: tickets.lifetime.as_secs(),
            keys: keys.map(|keys| keys.path.clone()),
            keys_count: None,
        }
    }

    /// Reads the keys, and gives what their operator should mend.
    fn read(&mut self) -> Result<Vec<String>, String> {
        let Some(path) = &self.keys else {
            return Ok(Vec::new());
        };
        let (keys, warnings) = TicketFile::read(path).map_err(|error| error.to_string())?;
        self.keys_count = Some(keys.len());
        Ok(warnings)
    }

    fn write(&self, text: &mut String) {
        if self.count == 0 {
            return line(text, "tickets", "none");
        }
        let lifetime = humantime::format_duration(std::time::Duration::from_secs(self.lifetime_s));
        let keys = match &self.keys {
            Some(path) => {
                let count = self.keys_count.map(|count| format!("{count} "));
                format!("{}keys from {}", count.unwrap_or_default(), path.display())
            }
            None => "keys of this process".into(),
        };
        let count = self.count;
        line(
            text,
            "tickets",
            format_args!("{count}, good for {lifetime}, {keys}"),
        );
    }
}

fn subject(pattern: &SubjectPattern) -> String {
    match pattern {
        SubjectPattern::Dns(name) => format!("DNS:{name}"),
        SubjectPattern::Uri(name) => format!("URI:{name}"),
        SubjectPattern::Email(name) => format!("email:{name}"),
        SubjectPattern::Cn(name) => format!("CN:{name}"),
    }
}
