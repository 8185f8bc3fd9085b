//! What a service's backends are spoken to with, in a report.

use std::time::SystemTime;

use adit::config::{ClientTls, ServerVerify};
use adit::tls::{self, Identity};
use serde::Serialize;

use super::certificate::Certificate;
use super::line;
use super::policy::PolicyReport;

/// TLS towards backends.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BackendTls {
    #[serde(flatten)]
    policy: PolicyReport,
    /// By whom a backend's certificate is judged.
    verify: String,
    /// The name that is asked for; the backend's own if there is none.
    server_name: Option<String>,
    resume: bool,
    /// The certificate that is shown to backends.
    certificate: Option<Certificate>,
    warnings: Vec<String>,
}

impl BackendTls {
    /// Reads and checks the files; what is wrong with them is the error.
    pub(super) fn new(tls: &ClientTls, now: SystemTime) -> Result<Self, adit::Error> {
        let warnings = tls::check_client(tls, now)?;
        let identity = tls
            .identity
            .as_ref()
            .map(|source| Identity::load(source, now))
            .transpose()?;
        Ok(Self {
            policy: PolicyReport::of(&tls.policy, &tls.alpn, "backend"),
            verify: match &tls.verify {
                ServerVerify::System => "the system's authorities".into(),
                ServerVerify::Ca(path) => path.display().to_string(),
                ServerVerify::Off => "not at all".into(),
            },
            server_name: tls.server_name.clone(),
            resume: tls.resume,
            certificate: identity.map(|identity| {
                let mut facts = identity.info().clone();
                // They are among the warnings of the whole.
                facts.warnings.clear();
                Certificate::new(facts, now)
            }),
            warnings,
        })
    }

    pub(super) fn write(&self, text: &mut String) {
        line(text, "spoken to", "in TLS");
        line(text, "verified by", &self.verify);
        if let Some(name) = &self.server_name {
            line(text, "server name", name);
        }
        self.policy.write(text);
        line(
            text,
            "sessions",
            if self.resume {
                "resumed"
            } else {
                "not resumed"
            },
        );
        if let Some(certificate) = &self.certificate {
            certificate.write(text);
        }
        for warning in &self.warnings {
            line(text, "warning", warning);
        }
    }
}
