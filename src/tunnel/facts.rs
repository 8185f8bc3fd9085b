//! What is known of a client when its service is chosen.

use rustls::pki_types::CertificateDer;

use crate::config::{Route, SubjectPattern};
use crate::tls::Subject;

/// What is known of a client when its service is chosen, and what the service's
/// backends can be told.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// The name that it asked for (RFC 6066, section 3).
    pub(super) name: Option<&'a str>,
    /// The application protocol that was agreed on, or those that it offers
    /// where nothing is agreed on here.
    pub(super) protocols: Vec<&'a [u8]>,
    /// What its TLS is, where that ends here.
    pub(super) tls: Option<TlsFacts<'a>>,
}

impl Facts<'_> {
    /// Whether everything that a route asks for is there.
    pub(super) fn fit(&self, route: &Route) -> bool {
        let name = || self.name.is_some_and(|name| route.fits_name(name));
        let protocol = || {
            let fits = |asked: &String| self.protocols.contains(&asked.as_bytes());
            route.alpn.iter().any(fits)
        };
        (route.sni.is_empty() || name())
            && (route.alpn.is_empty() || protocol())
            && (route.client.is_empty() || self.is_one_of(&route.client))
    }

    fn is_one_of(&self, patterns: &[SubjectPattern]) -> bool {
        let certificate = self.tls.as_ref().and_then(|tls| tls.certificate);
        let subject = certificate.and_then(Subject::of);
        subject.is_some_and(|subject| patterns.iter().any(|pattern| subject.matches(pattern)))
    }
}

/// What is known of a client's TLS.
#[derive(Debug)]
pub(super) struct TlsFacts<'a> {
    /// Such as `TLSv1.3`.
    pub(super) version: &'static str,
    /// By its standard name.
    pub(super) cipher: &'static str,
    /// The certificate that it has shown, which was verified.
    pub(super) certificate: Option<&'a CertificateDer<'static>>,
    /// Whether that was in the session that it resumes.
    pub(super) resumed: bool,
}
