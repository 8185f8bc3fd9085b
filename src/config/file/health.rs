//! Health checks, as typed.

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{Count, Deadline, Name, PagePath, Statuses};
use super::super::{CheckKind, HealthCheck};
use super::refuse_key;

#[derive(Debug, Deserialize)]
#[serde(rename = "health", deny_unknown_fields)]
pub(super) struct FileHealth {
    check: FileCheck,
    path: Option<PagePath>,
    host: Option<Name>,
    status: Option<Statuses>,
    interval: Option<Deadline>,
    timeout: Option<Deadline>,
    rise: Option<Count>,
    fall: Option<Count>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename = "check")]
enum FileCheck {
    Tcp,
    Tls,
    Http,
}

impl FileHealth {
    /// What it means. `node` is where it was read from, for places; `tls`,
    /// whether the service's backends are spoken to in TLS.
    pub(super) fn meant(
        self,
        node: Option<&Node<'_>>,
        tls: bool,
    ) -> Result<HealthCheck, SyntaxError> {
        let default = HealthCheck::default();
        let of_http = [
            ("path", self.path.is_some()),
            ("host", self.host.is_some()),
            ("status", self.status.is_some()),
        ];
        if self.check != FileCheck::Http
            && let Some((key, _)) = of_http.iter().find(|(_, given)| *given)
        {
            return Err(refuse_key(
                node,
                key,
                format!("{key} goes with check: Http; write that, or remove {key}"),
            ));
        }
        if self.check == FileCheck::Tls && !tls {
            return Err(refuse_key(
                node,
                "check",
                "the service's backends are spoken to in plaintext; add tls: ( … ) to the service, or write check: Tcp".into(),
            ));
        }
        Ok(HealthCheck {
            kind: match self.check {
                FileCheck::Tcp => CheckKind::Tcp,
                FileCheck::Tls => CheckKind::Tls,
                FileCheck::Http => CheckKind::Http {
                    path: self.path.map_or_else(|| "/".into(), |path| path.0),
                    host: self.host.map(|host| host.0),
                    status: self.status.map_or((200, 399), |status| status.0),
                },
            },
            interval: self.interval.map_or(default.interval, |time| time.0),
            timeout: self.timeout.map_or(default.timeout, |time| time.0),
            rise: self.rise.map_or(default.rise, |rise| rise.0.get()),
            fall: self.fall.map_or(default.fall, |fall| fall.0.get()),
        })
    }
}
