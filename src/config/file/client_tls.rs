//! TLS towards backends, as typed.

use std::path::Path;

use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{
    AlpnName, Authorities, CipherName, FilePath, GroupName, PresetName, ServerNameText, Switch,
    VersionName,
};
use super::super::{Address, Backend, ClientTls, Host, ServerVerify};
use super::policy::{FilePolicy, alpn};
use super::server_tls::source;
use super::{refuse, refuse_key};

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

/// Refuses backends that there is no name for that their certificates could be
/// for. `at` gives the place of the backend with that number.
pub(super) fn check_names<'n>(
    tls: &ClientTls,
    backends: &[Backend],
    at: impl Fn(usize) -> Option<&'n Node<'n>>,
) -> Result<(), SyntaxError> {
    if tls.server_name.is_some() {
        return Ok(());
    }
    let nameless = |backend: &Backend| match &backend.address {
        Address::Tcp {
            host: Host::Name(name),
            ..
        } => ServerName::try_from(name.as_str()).is_err(),
        Address::Tcp { .. } => false,
        Address::Unix(_) | Address::Systemd(_) => true,
    };
    match backends.iter().position(nameless) {
        Some(index) => Err(refuse(
            at(index),
            "this backend has no host name that its certificate could be for; add server_name: \"app.internal\" to its tls",
        )),
        None => Ok(()),
    }
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
