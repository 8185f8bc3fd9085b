//! Which signatures a kind of key makes (RFC 8446, section 4.2.3).

use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

/// What each kind of key signs with, the most wanted kind first.
static KINDS: [&[SignatureScheme]; 6] = [
    &[SignatureScheme::ECDSA_NISTP256_SHA256],
    &[SignatureScheme::ECDSA_NISTP384_SHA384],
    &[SignatureScheme::ECDSA_NISTP521_SHA512],
    &[SignatureScheme::ED25519],
    // Kinds without a list.
    &[],
    &[
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA256,
    ],
];

/// What this key signs with; empty for a kind that has no list here.
pub(super) fn schemes_of(key: &dyn SigningKey) -> &'static [SignatureScheme] {
    let known = [
        SignatureAlgorithm::ECDSA,
        SignatureAlgorithm::RSA,
        SignatureAlgorithm::ED25519,
    ];
    KINDS
        .into_iter()
        .filter(|_| known.contains(&key.algorithm()))
        .find(|schemes| key.choose_scheme(schemes).is_some())
        .unwrap_or_default()
}

/// How late a kind of key is chosen, by what it signs with.
pub(super) fn rank(schemes: &[SignatureScheme]) -> usize {
    KINDS
        .iter()
        .position(|kind| *kind == schemes)
        .unwrap_or(KINDS.len())
}
