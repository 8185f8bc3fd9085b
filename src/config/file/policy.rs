//! Versions, cipher suites and groups, as typed.

use rustls::NamedGroup;

use super::super::position::{Node, SyntaxError};
use super::super::units::{AlpnName, CipherName, GroupName, PresetName, VersionName};
use super::super::{TlsPolicy, TlsVersion};
use super::{check_count, refuse, refuse_key};
use crate::config::suites;
use crate::limits;

/// The keys that TLS has towards either side.
#[derive(Debug)]
pub(super) struct FilePolicy {
    pub(super) preset: Option<PresetName>,
    pub(super) min_version: Option<VersionName>,
    pub(super) max_version: Option<VersionName>,
    pub(super) ciphers: Option<Vec<CipherName>>,
    pub(super) groups: Option<Vec<GroupName>>,
}

impl FilePolicy {
    /// What it means. `node` is the TLS that it is part of.
    pub(super) fn meant(self, node: Option<&Node<'_>>) -> Result<TlsPolicy, SyntaxError> {
        let default = TlsPolicy::default();
        let mut policy = match self.preset {
            Some(PresetName((min, max))) => {
                let typed = [
                    ("min_version", self.min_version.is_some()),
                    ("max_version", self.max_version.is_some()),
                ];
                if let Some((key, _)) = typed.iter().find(|(_, typed)| *typed) {
                    return Err(refuse_key(
                        node,
                        key,
                        format!(
                            "the preset says the versions already; remove {key}, or the preset"
                        ),
                    ));
                }
                TlsPolicy {
                    min,
                    max,
                    ..default
                }
            }
            None => TlsPolicy {
                min: self.min_version.map_or(default.min, |version| version.0),
                max: self.max_version.map_or(default.max, |version| version.0),
                ..default
            },
        };
        if policy.min > policy.max {
            return Err(refuse_key(
                node,
                "min_version",
                "min_version is higher than max_version, so that no version is left; change one of the two".into(),
            ));
        }
        if let Some(ciphers) = self.ciphers {
            let at = node.and_then(|node| node.field("ciphers"));
            let ciphers: Vec<_> = ciphers.into_iter().map(|cipher| cipher.0).collect();
            check_list(&ciphers, at, "a cipher suite", |cipher| {
                suites::suite_name(*cipher)
            })?;
            for (version, number, example) in [
                (TlsVersion::Tls12, "1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                (TlsVersion::Tls13, "1.3", "TLS_AES_128_GCM_SHA256"),
            ] {
                let spoken = (policy.min..=policy.max).contains(&version);
                if spoken
                    && !ciphers
                        .iter()
                        .any(|c| suites::version_of(*c) == Some(version))
                {
                    let instead = match version {
                        TlsVersion::Tls12 => "min_version: \"1.3\"",
                        TlsVersion::Tls13 => "max_version: \"1.2\"",
                    };
                    return Err(refuse(
                        at,
                        &format!(
                            "this list has no cipher suite for TLS {number}, which is to be spoken; add one, such as \"{example}\", or write {instead}"
                        ),
                    ));
                }
            }
            policy.ciphers = Some(ciphers);
        }
        if let Some(groups) = self.groups {
            let at = node.and_then(|node| node.field("groups"));
            let groups: Vec<_> = groups.into_iter().map(|group| group.0).collect();
            check_list(&groups, at, "a group", |group| suites::group_name(*group))?;
            if policy.min == TlsVersion::Tls12 && !groups.iter().any(is_for_tls12) {
                return Err(refuse(
                    at,
                    "these groups are for TLS 1.3 alone, and TLS 1.2 is to be spoken; add \"x25519\", or write min_version: \"1.3\"",
                ));
            }
            policy.groups = Some(groups);
        }
        Ok(policy)
    }
}

/// What the names of application protocols mean.
pub(super) fn alpn(
    typed: Option<Vec<AlpnName>>,
    node: Option<&Node<'_>>,
) -> Result<Vec<String>, SyntaxError> {
    let Some(typed) = typed else {
        return Ok(Vec::new());
    };
    let at = node.and_then(|node| node.field("alpn"));
    check_count(typed.len(), limits::ALPN_MAX, "protocols", at)?;
    let names: Vec<_> = typed.into_iter().map(|name| name.0).collect();
    if let Some(again) = repeated(&names) {
        return Err(refuse(
            at.and_then(|at| at.item(again)),
            "this protocol stands in the list a second time; remove one of the two",
        ));
    }
    Ok(names)
}

fn check_list<T: PartialEq>(
    list: &[T],
    at: Option<&Node<'_>>,
    what: &str,
    name: impl Fn(&T) -> &'static str,
) -> Result<(), SyntaxError> {
    if list.is_empty() {
        return Err(refuse(
            at,
            &format!("the list is empty; write {what}, or leave the key out for all"),
        ));
    }
    match repeated(list) {
        Some(again) => Err(refuse(
            at.and_then(|at| at.item(again)),
            &format!(
                "{} stands in the list a second time; remove one of the two",
                name(&list[again])
            ),
        )),
        None => Ok(()),
    }
}

/// The first that stands in front of it as well. No list of what there is can
/// be long before one does.
fn repeated<T: PartialEq>(list: &[T]) -> Option<usize> {
    (1..list.len()).find(|index| list[..*index].contains(&list[*index]))
}

/// Hybrid and pure post-quantum groups are defined for TLS 1.3 alone.
fn is_for_tls12(group: &NamedGroup) -> bool {
    matches!(
        group,
        NamedGroup::X25519 | NamedGroup::secp256r1 | NamedGroup::secp384r1 | NamedGroup::secp521r1
    )
}
