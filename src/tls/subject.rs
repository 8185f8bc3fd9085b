//! Whom a client's certificate says that it is.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::SubjectPattern;

/// The subject of a client's certificate: its common name and its alternative
/// names (RFC 5280, sections 4.1.2.6 and 4.2.1.6).
///
/// As long as the certificate, which the client may have made as long as
/// [`limits::HANDSHAKE_BYTES_MAX`](crate::limits::HANDSHAKE_BYTES_MAX) allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name; the last, which is the most specific, if there are
    /// several.
    pub common_name: Option<String>,
    /// The DNS names.
    pub dns: Vec<String>,
    /// The URIs, such as a SPIFFE id.
    pub uris: Vec<String>,
    /// The e-mail addresses.
    pub emails: Vec<String>,
}

impl Subject {
    /// The subject of a certificate. `None` if it is malformed.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(certificate).ok()?;
        let mut subject = Self {
            common_name: cert
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .last()
                .map(str::to_owned),
            ..Self::default()
        };
        if let Some(extension) = cert.subject_alternative_name().ok()? {
            for name in &extension.value.general_names {
                match name {
                    GeneralName::DNSName(name) => subject.dns.push((*name).to_owned()),
                    GeneralName::URI(name) => subject.uris.push((*name).to_owned()),
                    GeneralName::RFC822Name(name) => subject.emails.push((*name).to_owned()),
                    _ => {}
                }
            }
        }
        Some(subject)
    }

    /// Whether one of its names is as the pattern has it.
    ///
    /// DNS names, and the host of an e-mail address, are compared without
    /// regard to case, all else with it.
    pub fn matches(&self, pattern: &SubjectPattern) -> bool {
        let any = |names: &[String], same: &dyn Fn(&str) -> bool| names.iter().any(|n| same(n));
        match pattern {
            SubjectPattern::Dns(pattern) => {
                let pattern = pattern.to_ascii_lowercase();
                any(&self.dns, &|name| dns(&pattern, &name.to_ascii_lowercase()))
            }
            SubjectPattern::Uri(pattern) => any(&self.uris, &|name| text(pattern, name)),
            SubjectPattern::Email(pattern) => {
                let pattern = lower_host(pattern);
                any(&self.emails, &|name| text(&pattern, &lower_host(name)))
            }
            SubjectPattern::Cn(pattern) => {
                let name = self.common_name.as_deref();
                name.is_some_and(|name| text(pattern, name))
            }
        }
    }
}

impl fmt::Display for Subject {
    /// The name that says most: a URI, a DNS name, an e-mail address or the
    /// common name, with its kind in front. It is text from the network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = |kind, names: &[String]| names.first().map(|name| (kind, name.clone()));
        let name = first("URI", &self.uris)
            .or_else(|| first("DNS", &self.dns))
            .or_else(|| first("email", &self.emails))
            .or_else(|| self.common_name.clone().map(|name| ("CN", name)));
        match name {
            Some((kind, name)) => write!(f, "{kind}:{name}"),
            None => f.write_str("without a name"),
        }
    }
}

/// Label by label: a `*` within one stands for characters of that label, and a
/// label has one at least.
fn dns(pattern: &str, name: &str) -> bool {
    let labels = |text: &'_ str| text.strip_suffix('.').unwrap_or(text).split('.').count();
    labels(pattern) == labels(name)
        && pattern
            .split('.')
            .zip(name.split('.'))
            .all(|(pattern, label)| {
                (!label.is_empty() || pattern.is_empty()) && text(pattern, label)
            })
}

/// Each `*` stands for any number of characters, none included. Takes no longer
/// than the product of both lengths.
fn text(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last `*` does not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    p = after;
                    t = taken + 1;
                    star = Some((after, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The part after the `@` in lower case (RFC 5280, section 7.5).
fn lower_host(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("spiffe://x/*", "spiffe://x/ns/a", true),
            ("spiffe://x/*", "spiffe://xy/ns/a", false),
            ("*/sa/*", "spiffe://x/sa/y/sa/z", true),
            ("*b", "abab", true),
            ("*ba", "abab", false),
            ("a*a", "a", false),
            ("a\0*", "a", false),
        ] {
            assert_eq!(text(pattern, name), expected, "{pattern} {name}");
        }
        for (pattern, name, expected) in [
            ("*.example.org", "a.example.org", true),
            ("*.example.org", "a.b.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("web-*.example.org", "web-1.example.org", true),
            ("web-*.example.org", "web-1.x.example.org", false),
            ("*", "localhost", true),
            ("*", "a.b", false),
            ("a.b", "a.b.", true),
        ] {
            assert_eq!(dns(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn each_kind_of_name_is_its_own() {
        let mut params =
            rcgen::CertificateParams::new(vec!["Web.Example.org".into()]).expect("a name");
        let name = |text: &str| text.try_into().expect("a name");
        params.subject_alt_names.extend([
            rcgen::SanType::URI(name("spiffe://example.org/web")),
            rcgen::SanType::Rfc822Name(name("Web@Example.org")),
        ]);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "web 1");
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        let subject = Subject::of(cert.der()).expect("a subject");
        assert_eq!(subject.to_string(), "URI:spiffe://example.org/web");
        for (pattern, expected) in [
            (SubjectPattern::Dns("web.EXAMPLE.org".into()), true),
            (SubjectPattern::Dns("web 1".into()), false),
            (SubjectPattern::Uri("spiffe://example.org/*".into()), true),
            (SubjectPattern::Uri("SPIFFE://example.org/*".into()), false),
            (SubjectPattern::Email("Web@example.ORG".into()), true),
            (SubjectPattern::Email("web@example.org".into()), false),
            (SubjectPattern::Cn("web *".into()), true),
            (SubjectPattern::Cn("Web.Example.org".into()), false),
        ] {
            assert_eq!(subject.matches(&pattern), expected, "{pattern:?}");
        }
        assert_eq!(Subject::of(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
