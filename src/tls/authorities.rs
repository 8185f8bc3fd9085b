//! Files of certificate authorities.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::pem::PemFile;
use crate::error::Error;

/// Reads the authorities in a PEM file, and shows each to `each`.
///
/// # Errors
///
/// [`Error::Identity`], with a text that names the file, the line and the
/// remedy.
pub(super) fn read(
    path: &Path,
    mut each: impl FnMut(&CertificateDer<'static>),
) -> Result<RootCertStore, Error> {
    let file = PemFile::read(path)?;
    let mut roots = RootCertStore::empty();
    for (line, certificate) in file.certificates()? {
        each(&certificate);
        roots.add(certificate).map_err(|error| {
            file.wrong_at(
                line,
                format_args!("the certificate authority cannot be used: {error}"),
            )
        })?;
    }
    if roots.is_empty() {
        return Err(file.wrong(
            "holds no certificate; put those of the authorities there that are trusted, each in \
             a block that begins with -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(roots)
}
