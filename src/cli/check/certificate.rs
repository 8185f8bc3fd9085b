//! What a certificate is, in a report.

use std::path::Path;
use std::time::SystemTime;

use adit::tls::CertificateInfo;
use serde::{Serialize, Serializer};

use super::line;

/// A certificate, with what changes by the day.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Certificate {
    #[serde(flatten)]
    pub(super) facts: CertificateInfo,
    /// The moment it ceases to be good.
    #[serde(serialize_with = "rfc3339")]
    pub(super) not_after: SystemTime,
    pub(super) days_left: i64,
}

impl Certificate {
    pub(super) fn new(facts: CertificateInfo, now: SystemTime) -> Self {
        Self {
            not_after: facts.not_after,
            days_left: facts.days_left(now),
            facts,
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        let facts = &self.facts;
        line(text, "certificate", facts.file.display());
        line(text, "names", facts.names.join(", "));
        line(text, "issuer", &facts.issuer);
        line(text, "key", &facts.key_type);
        line(
            text,
            "chain",
            match facts.chain_length {
                1 => "1 certificate".to_owned(),
                n => format!("{n} certificates"),
            },
        );
        line(text, "valid for", self.validity());
        if let Some(status) = self.stapling() {
            line(text, "OCSP", status);
        }
        for warning in &facts.warnings {
            line(text, "warning", warning);
        }
    }

    fn validity(&self) -> String {
        let until = humantime::format_rfc3339_seconds(self.not_after).to_string();
        let day = until.split('T').next().unwrap_or_default();
        format!("{} days, until {day}", self.days_left)
    }

    fn stapling(&self) -> Option<String> {
        let short = |file: &Path| file.display().to_string();
        let Some(ocsp) = &self.facts.ocsp else {
            let wanted = self.facts.must_staple;
            return wanted.then(|| "must be stapled, and there is none".into());
        };
        let file = short(&ocsp.file);
        Some(match (&ocsp.fault, ocsp.next_update) {
            (Some(fault), _) => format!("{file}, not stapled: {fault}"),
            (None, None) => format!("{file}, stapled"),
            (None, Some(next)) => {
                let next = humantime::format_rfc3339_seconds(next);
                format!("{file}, stapled until {next}")
            }
        })
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_seconds(*time))
}
