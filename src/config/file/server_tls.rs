//! TLS towards clients, as typed.

use std::path::Path;

use serde::Deserialize;

use super::super::position::{Node, SyntaxError};
use super::super::units::{
    self, AlpnName, CipherName, FilePath, GroupName, PresetName, TicketLifetime, VersionName,
};
use super::super::{
    CertSource, ClientVerify, SealWith, ServerTls, SniNoMatch, SubjectPattern, TicketKeyFile,
    Tickets,
};
use super::policy::{FilePolicy, alpn};
use super::{check_count, refuse, refuse_key};
use crate::limits;

#[derive(Debug, Deserialize)]
#[serde(rename = "tls", deny_unknown_fields)]
pub(super) struct FileServerTls {
    cert: Option<FilePath>,
    key: Option<FilePath>,
    ocsp: Option<FilePath>,
    certs: Option<Vec<FileCert>>,
    sni_nomatch: Option<SniNoMatch>,
    preset: Option<PresetName>,
    min_version: Option<VersionName>,
    max_version: Option<VersionName>,
    ciphers: Option<Vec<CipherName>>,
    groups: Option<Vec<GroupName>>,
    alpn: Option<Vec<AlpnName>>,
    tickets: Option<units::Tickets>,
    ticket_lifetime: Option<TicketLifetime>,
    ticket_keys: Option<FileTicketKeys>,
    client_verify: Option<FileClientVerify>,
    client_ca: Option<FilePath>,
    client_crls: Option<Vec<FilePath>>,
    client_allow: Option<Vec<SubjectPattern>>,
    key_log: Option<FilePath>,
}

/// A path alone may stand for it; see the reader's shorthands.
#[derive(Debug, Deserialize)]
#[serde(rename = "a certificate", deny_unknown_fields)]
struct FileCert {
    cert: FilePath,
    key: Option<FilePath>,
    ocsp: Option<FilePath>,
}

/// A path alone may stand for it; see the reader's shorthands.
#[derive(Debug, Deserialize)]
#[serde(rename = "ticket_keys", deny_unknown_fields)]
struct FileTicketKeys {
    file: FilePath,
    seal_with: Option<SealWith>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum FileClientVerify {
    None,
    Optional,
    Required,
}

impl FileServerTls {
    /// What it means. `node` is where it was read from, for places.
    pub(super) fn meant(
        self,
        node: Option<&Node<'_>>,
        base: &Path,
    ) -> Result<ServerTls, SyntaxError> {
        let default = Tickets::default();
        Ok(ServerTls {
            client_verify: client_verify(
                self.client_verify,
                self.client_ca,
                self.client_crls,
                self.client_allow,
                node,
                base,
            )?,
            certs: certs(self.cert, self.key, self.ocsp, self.certs, node, base)?,
            sni_nomatch: self.sni_nomatch.unwrap_or_default(),
            policy: FilePolicy {
                preset: self.preset,
                min_version: self.min_version,
                max_version: self.max_version,
                ciphers: self.ciphers,
                groups: self.groups,
            }
            .meant(node)?,
            alpn: alpn(self.alpn, node)?,
            tickets: Tickets {
                count: self.tickets.map_or(default.count, |tickets| tickets.0),
                lifetime: self
                    .ticket_lifetime
                    .map_or(default.lifetime, |lifetime| lifetime.0),
                keys: self.ticket_keys.map(|keys| TicketKeyFile {
                    path: base.join(keys.file.0),
                    seal_with: keys.seal_with.unwrap_or_default(),
                }),
            },
            key_log: self.key_log.map(|path| base.join(path.0)),
        })
    }
}

fn certs(
    cert: Option<FilePath>,
    key: Option<FilePath>,
    ocsp: Option<FilePath>,
    certs: Option<Vec<FileCert>>,
    node: Option<&Node<'_>>,
    base: &Path,
) -> Result<Vec<CertSource>, SyntaxError> {
    let mut sources = Vec::new();
    match cert {
        Some(cert) => sources.push(source(cert, key, ocsp, node, base)?),
        None => {
            let alone = [("key", key.is_some()), ("ocsp", ocsp.is_some())];
            if let Some((alone, _)) = alone.iter().find(|(_, typed)| *typed) {
                return Err(refuse_key(
                    node,
                    alone,
                    format!(
                        "{alone} belongs to cert, which is missing; add cert: \"site.pem\", or write certs: [(cert: \"site.pem\", {alone}: …)]"
                    ),
                ));
            }
        }
    }
    let list = node.and_then(|node| node.field("certs"));
    for (index, cert) in certs.into_iter().flatten().enumerate() {
        let at = list.and_then(|list| list.item(index));
        sources.push(source(cert.cert, cert.key, cert.ocsp, at, base)?);
    }
    if sources.is_empty() {
        return Err(match list {
            Some(list) => refuse(
                Some(list),
                "there is no certificate; write one, such as \"site.pem\", or a directory, \"certs/\"",
            ),
            None => refuse_key(
                node,
                "",
                "the key \"cert\" is missing in tls; add cert: \"site.pem\", or certs: [\"certs/\"]"
                    .into(),
            ),
        });
    }
    Ok(sources)
}

pub(super) fn source(
    cert: FilePath,
    key: Option<FilePath>,
    ocsp: Option<FilePath>,
    node: Option<&Node<'_>>,
    base: &Path,
) -> Result<CertSource, SyntaxError> {
    let is_folder = cert.0.as_os_str().as_encoded_bytes().ends_with(b"/");
    let beside = [("key", key.is_some()), ("ocsp", ocsp.is_some())];
    if let (true, Some((key, _))) = (is_folder, beside.iter().find(|(_, typed)| *typed)) {
        return Err(refuse_key(
            node,
            key,
            format!("a directory of certificates has no {key} of its own; remove {key}"),
        ));
    }
    let cert = base.join(cert.0);
    let key = key.map(|key| base.join(key.0));
    Ok(CertSource {
        // One file with both is how it is without the key.
        key: key.filter(|key| *key != cert),
        ocsp: ocsp.map(|ocsp| base.join(ocsp.0)),
        cert,
    })
}

fn client_verify(
    verify: Option<FileClientVerify>,
    ca: Option<FilePath>,
    crls: Option<Vec<FilePath>>,
    allow: Option<Vec<SubjectPattern>>,
    node: Option<&Node<'_>>,
    base: &Path,
) -> Result<Option<ClientVerify>, SyntaxError> {
    let required = match verify {
        None | Some(FileClientVerify::None) => {
            let alone = [
                ("client_ca", ca.is_some()),
                ("client_crls", crls.is_some()),
                ("client_allow", allow.is_some()),
            ];
            return match alone.iter().find(|(_, typed)| *typed) {
                Some((key, _)) => Err(refuse_key(
                    node,
                    key,
                    format!(
                        "{key} means nothing unless clients are asked for certificates; add client_verify: Required, or Optional"
                    ),
                )),
                None => Ok(None),
            };
        }
        Some(verify) => verify == FileClientVerify::Required,
    };
    let Some(ca) = ca else {
        return Err(refuse_key(
            node,
            "client_verify",
            "client_verify needs the authorities to verify by; add client_ca: \"ca.pem\"".into(),
        ));
    };
    let field = |key| node.and_then(|node| node.field(key));
    let crls = crls.unwrap_or_default();
    check_count(
        crls.len(),
        limits::CRLS_MAX,
        "files of revocation lists",
        field("client_crls"),
    )?;
    let at = field("client_allow");
    if allow.as_ref().is_some_and(Vec::is_empty) {
        return Err(refuse(
            at,
            "the list is empty, so that nobody would be let in; write a subject, such as Dns(\"*.example.org\"), or leave the key out to let in all",
        ));
    }
    let allow = allow.unwrap_or_default();
    check_count(allow.len(), limits::SUBJECT_PATTERNS_MAX, "subjects", at)?;
    for (index, pattern) in allow.iter().enumerate() {
        check_pattern(pattern)
            .map_err(|message| refuse(at.and_then(|at| at.item(index)), &message))?;
    }
    Ok(Some(ClientVerify {
        required,
        ca: base.join(ca.0),
        crls: crls.into_iter().map(|path| base.join(path.0)).collect(),
        allow,
    }))
}

fn check_pattern(pattern: &SubjectPattern) -> Result<(), String> {
    let (SubjectPattern::Dns(text)
    | SubjectPattern::Uri(text)
    | SubjectPattern::Email(text)
    | SubjectPattern::Cn(text)) = pattern;
    if text.is_empty() {
        return Err("the subject is empty; write one, or * for any".into());
    }
    if text.len() > limits::SUBJECT_PATTERN_MAX {
        return Err(format!(
            "the subject is {} bytes long; write at most {}",
            text.len(),
            limits::SUBJECT_PATTERN_MAX
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("the subject holds a control character; write plain text".into());
    }
    let fits = match pattern {
        SubjectPattern::Dns(name) => name.split('.').all(|label| {
            label == "*"
                || !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        }),
        SubjectPattern::Uri(uri) => uri == "*" || uri.contains(':'),
        SubjectPattern::Email(_) | SubjectPattern::Cn(_) => true,
    };
    match pattern {
        _ if fits => Ok(()),
        SubjectPattern::Dns(_) => Err(
            "this is no DNS name; write one in ASCII, such as Dns(\"app.example.org\") or Dns(\"*.example.org\"), where * is a whole label".into(),
        ),
        _ => Err(
            "this is no URI; write one with its scheme, such as Uri(\"spiffe://example.org/*\")".into(),
        ),
    }
}
