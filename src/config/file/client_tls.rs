//! TLS towards backends, as typed.

use std::path::Path;

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{
    AlpnName, Authorities, CipherName, FilePath, GroupName, PresetName, ServerNameText, Switch,
    VersionName,
};
use super::super::{ClientTls, ServerVerify};
use super::policy::{FilePolicy, alpn};
use super::refuse_key;
use super::server_tls::source;

#[derive(Debug, Deserialize)]
#[serde(rename = "tls towards backends", deny_unknown_fields)]
pub(super) struct FileClientTls {
    verify: Option<FileVerify>,
    ca: Option<Authorities>,
    server_name: Option<ServerNameText>,
    cert: Option<FilePath>,
    key: Option<FilePath>,
    preset: Option<PresetName>,
    min_version: Option<VersionName>,
    max_version: Option<VersionName>,
    ciphers: Option<Vec<CipherName>>,
    groups: Option<Vec<GroupName>>,
    alpn: Option<Vec<AlpnName>>,
    resume: Option<Switch>,
    key_log: Option<FilePath>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum FileVerify {
    Full,
    Off,
}

impl FileClientTls {
    /// What it means. `node` is where it was read from, for places.
    pub(super) fn meant(
        self,
        node: Option<&Node<'_>>,
        base: &Path,
    ) -> Result<ClientTls, SyntaxError> {
        let default = ClientTls::default();
        let verify = match (self.verify, self.ca) {
            (Some(FileVerify::Off), Some(_)) => {
                return Err(refuse_key(
                    node,
                    "ca",
                    "verify: Off takes any certificate, whoever signed it; remove ca, or verify"
                        .into(),
                ));
            }
            (Some(FileVerify::Off), None) => ServerVerify::Off,
            (_, Some(Authorities(ServerVerify::Ca(path)))) => ServerVerify::Ca(base.join(path)),
            (_, Some(Authorities(by))) => by,
            (_, None) => default.verify,
        };
        let identity = match (self.cert, self.key) {
            (Some(cert), key) => Some(source(cert, key, None, node, base)?),
            (None, Some(_)) => {
                return Err(refuse_key(
                    node,
                    "key",
                    "key belongs to cert, which is missing; add cert: \"client.pem\"".into(),
                ));
            }
            (None, None) => None,
        };
        Ok(ClientTls {
            verify,
            server_name: self.server_name.map(|name| name.0),
            identity,
            policy: FilePolicy {
                preset: self.preset,
                min_version: self.min_version,
                max_version: self.max_version,
                ciphers: self.ciphers,
                groups: self.groups,
            }
            .meant(node)?,
            alpn: alpn(self.alpn, node)?,
            resume: self.resume.map_or(default.resume, |resume| resume.0),
            key_log: self.key_log.map(|path| base.join(path.0)),
        })
    }
}
