//! What an operator should know of a chain: what clients would stumble over
//! that know no more than is sent to them.

use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::oid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{days, moment};
use crate::limits;

/// Where the issuer's certificate can be had (RFC 5280, section 4.2.2.1).
const CA_ISSUERS: Oid<'static> = oid!(1.3.6.1.5.5.7.48.2);

/// What is to be said of the chain from `file`, whose first is the server's
/// own certificate. Of that alone, [`CertificateInfo`](super::CertificateInfo)
/// tells.
pub(super) fn warnings(
    file: &Path,
    leaf: &X509Certificate<'_>,
    issuers: &[CertificateDer<'_>],
    now: SystemTime,
) -> Vec<String> {
    let file = file.display();
    if issuers.is_empty() {
        let missing = leaf.issuer().as_raw() != leaf.subject().as_raw() && tells_of_issuer(leaf);
        return Vec::from_iter(missing.then(|| {
            format!(
                "{file}: the chain is one certificate alone, and many clients have not that of \
                 its issuer, {}; put it behind, as in fullchain.pem of ACME clients",
                leaf.issuer()
            )
        }));
    }
    let mut warnings = Vec::new();
    let mut wanted = leaf.issuer().as_raw().to_vec();
    for (place, issuer) in (2..).zip(issuers) {
        let Ok((_, issuer)) = X509Certificate::from_der(issuer) else {
            warnings.push(format!(
                "{file}: certificate {place} of the chain is malformed; replace it"
            ));
            break;
        };
        if issuer.subject().as_raw() != wanted {
            warnings.push(format!(
                "{file}: certificate {place} of the chain, {}, is not the issuer of the one \
                 before it; put each one's issuer behind it, and nothing else",
                issuer.subject()
            ));
            break;
        }
        let until = moment(issuer.validity().not_after.timestamp());
        let left = until.duration_since(now);
        if !left
            .as_ref()
            .is_ok_and(|left| *left >= limits::CERTIFICATE_EXPIRY_WARNING)
        {
            warnings.push(format!(
                "{file}: certificate {place} of the chain, {}, {}; replace it",
                issuer.subject(),
                match left {
                    Ok(left) => format!("expires in {}", days(left)),
                    Err(late) => format!("expired {} ago", days(late.duration())),
                }
            ));
        }
        wanted = issuer.issuer().as_raw().to_vec();
    }
    warnings
}

/// Whether it says where its issuer's certificate is, as those do that have
/// authorities between them and what clients know. A private authority's often
/// do not, and are known to its clients.
fn tells_of_issuer(leaf: &X509Certificate<'_>) -> bool {
    leaf.extensions().iter().any(|extension| {
        matches!(
            extension.parsed_extension(),
            ParsedExtension::AuthorityInfoAccess(access)
                if access.accessdescs.iter().any(|d| d.access_method == CA_ISSUERS)
        )
    })
}
