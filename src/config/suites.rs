//! What of TLS can be asked for: versions, cipher suites and groups, by their
//! standard names.

use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite};

use super::TlsVersion;

/// Cipher suites by IANA's name, and by OpenSSL's where that differs.
const SUITES: &[(CipherSuite, &str, &str)] = &[
    (
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_AES_256_GCM_SHA384",
        "TLS13_AES_256_GCM_SHA384",
    ),
    (
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_128_GCM_SHA256",
    ),
    (
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS13_CHACHA20_POLY1305_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

/// Groups by IANA's name, and by others that are in use.
const GROUPS: &[(NamedGroup, &str, &[&str])] = &[
    (NamedGroup::X25519MLKEM768, "X25519MLKEM768", &[]),
    (
        NamedGroup::secp256r1MLKEM768,
        "SecP256r1MLKEM768",
        &["P256MLKEM768"],
    ),
    (NamedGroup::X25519, "x25519", &["curve25519"]),
    (
        NamedGroup::secp256r1,
        "secp256r1",
        &["P-256", "P256", "prime256v1"],
    ),
    (NamedGroup::secp384r1, "secp384r1", &["P-384", "P384"]),
    (NamedGroup::MLKEM768, "MLKEM768", &["ML-KEM-768"]),
    (NamedGroup::MLKEM1024, "MLKEM1024", &["ML-KEM-1024"]),
];

/// Every cipher suite that can be asked for, the most wanted first.
pub fn cipher_suites() -> impl Iterator<Item = CipherSuite> {
    ALL_CIPHER_SUITES.iter().map(SupportedCipherSuite::suite)
}

/// Every key exchange group that can be asked for, the most wanted first.
pub fn groups() -> impl Iterator<Item = NamedGroup> {
    ALL_KX_GROUPS.iter().map(|group| group.name())
}

/// The version that a cipher suite is for.
pub fn version_of(suite: CipherSuite) -> Option<TlsVersion> {
    let known = ALL_CIPHER_SUITES.iter().find(|s| s.suite() == suite)?;
    Some(match known.tls13() {
        Some(_) => TlsVersion::Tls13,
        None => TlsVersion::Tls12,
    })
}

/// IANA's name of a cipher suite; of one that the program does not have,
/// "other".
pub fn suite_name(suite: CipherSuite) -> &'static str {
    SUITES
        .iter()
        .find(|(known, ..)| *known == suite)
        .map_or("other", |(_, name, _)| *name)
}

/// The cipher suite of that name, IANA's or OpenSSL's.
pub fn suite_named(name: &str) -> Option<CipherSuite> {
    SUITES
        .iter()
        .find(|(_, iana, openssl)| {
            iana.eq_ignore_ascii_case(name) || openssl.eq_ignore_ascii_case(name)
        })
        .map(|(suite, ..)| *suite)
}

/// IANA's name of a group; of one that the program does not have, "other".
pub fn group_name(group: NamedGroup) -> &'static str {
    GROUPS
        .iter()
        .find(|(known, ..)| *known == group)
        .map_or("other", |(_, name, _)| *name)
}

/// The group of that name, IANA's or another that is in use.
pub fn group_named(name: &str) -> Option<NamedGroup> {
    GROUPS
        .iter()
        .find(|(_, iana, others)| {
            iana.eq_ignore_ascii_case(name)
                || others.iter().any(|other| other.eq_ignore_ascii_case(name))
        })
        .map(|(group, ..)| *group)
}

/// The name of a protocol version.
pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_there_is_has_a_name_and_is_found_by_it() {
        for suite in cipher_suites() {
            assert_eq!(suite_named(suite_name(suite)), Some(suite), "{suite:?}");
        }
        for group in groups() {
            assert_eq!(group_named(group_name(group)), Some(group), "{group:?}");
        }
        assert_eq!(cipher_suites().count(), SUITES.len());
        assert_eq!(groups().count(), GROUPS.len());
    }

    #[test]
    fn other_names_that_are_in_use_are_known() {
        for (name, suite) in [
            (
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ),
            (
                "tls_aes_128_gcm_sha256",
                CipherSuite::TLS13_AES_128_GCM_SHA256,
            ),
        ] {
            assert_eq!(suite_named(name), Some(suite));
        }
        for (name, group) in [
            ("X25519", NamedGroup::X25519),
            ("P-256", NamedGroup::secp256r1),
            ("prime256v1", NamedGroup::secp256r1),
        ] {
            assert_eq!(group_named(name), Some(group));
        }
        assert_eq!(group_named("sect571k1"), None);
    }
}
