//! Protocol versions, cipher suites and groups, as rustls is told of them.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS, default_provider};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion};

use crate::config::suites::version_of;
use crate::config::{TlsPolicy, TlsVersion};

/// The cipher suites and the groups that a policy comes down to, the most
/// wanted first.
pub fn spoken(policy: &TlsPolicy) -> (Vec<CipherSuite>, Vec<NamedGroup>) {
    let provider = provider(policy);
    let suites = provider.cipher_suites.iter().map(|suite| suite.suite());
    let within = |suite: &CipherSuite| {
        version_of(*suite).is_some_and(|version| (policy.min..=policy.max).contains(&version))
    };
    let groups = provider.kx_groups.iter().map(|group| group.name());
    (suites.filter(within).collect(), groups.collect())
}

/// A provider of what the policy allows, in its order. It is made anew each
/// time, so that shards share none.
pub(super) fn provider(policy: &TlsPolicy) -> CryptoProvider {
    let mut provider = default_provider();
    if let Some(wanted) = &policy.ciphers {
        provider.cipher_suites = wanted
            .iter()
            .filter_map(|wanted| ALL_CIPHER_SUITES.iter().find(|s| s.suite() == *wanted))
            .copied()
            .collect();
    }
    if let Some(wanted) = &policy.groups {
        provider.kx_groups = wanted
            .iter()
            .filter_map(|wanted| ALL_KX_GROUPS.iter().find(|g| g.name() == *wanted))
            .copied()
            .collect();
    }
    provider
}

/// The versions that the policy allows.
pub(super) fn versions(policy: &TlsPolicy) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match (policy.min, policy.max) {
        (TlsVersion::Tls13, _) => &ALL[..1],
        (TlsVersion::Tls12, TlsVersion::Tls12) => &ALL[1..],
        (TlsVersion::Tls12, TlsVersion::Tls13) => &ALL,
    }
}
