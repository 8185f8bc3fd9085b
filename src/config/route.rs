//! To which service a connection goes.

use super::SubjectPattern;

/// A rule by which a listener chooses a service. Every list that is not empty
/// has to hold something that fits the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Names that the client asked for (RFC 6066, section 3): exact, or with a
    /// `*` for the first label, in lower case.
    pub sni: Vec<String>,
    /// Application protocols (RFC 7301): what was agreed on, or, where TLS is
    /// passed through, what the client offers.
    pub alpn: Vec<String>,
    /// Subjects of the client's certificate, verified.
    pub client: Vec<SubjectPattern>,
    /// An index into [`Config::services`](super::Config::services).
    pub service: usize,
}

impl Route {
    /// Whether a name is one of [`sni`](Self::sni).
    pub fn fits_name(&self, name: &str) -> bool {
        self.sni.iter().any(|pattern| fits(pattern, name))
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        // One label, and not none.
        Some(rest) => name
            .split_once('.')
            .is_some_and(|(label, tail)| !label.is_empty() && tail.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        let fits = |pattern: &str, name: &str| fits(pattern, name);
        assert!(fits("example.org", "Example.ORG"));
        assert!(fits("*.example.org", "www.example.org"));
        assert!(!fits("*.example.org", "example.org"));
        assert!(!fits("*.example.org", ".example.org"));
        assert!(!fits("*.example.org", "a.b.example.org"));
    }
}
