//! A directory of certificates.

use std::fs;
use std::path::{Path, PathBuf};

use super::pem::{PemFile, wrong};
use crate::config::CertSource;
use crate::error::Error;
use crate::limits;

/// What a file of certificates may end in.
const ENDINGS: [&str; 3] = ["pem", "crt", "cer"];

/// The files that a source stands for: itself, or those of its directory.
///
/// # Errors
///
/// [`Error::Identity`] for a directory that cannot be read, or has no such
/// files, or more than [`limits::CERTIFICATES_MAX`].
pub(super) fn expand(source: &CertSource) -> Result<Vec<CertSource>, Error> {
    if !source.cert.is_dir() {
        return Ok(vec![source.clone()]);
    }
    let folder = &source.cert;
    for (named, what) in [(&source.key, "key"), (&source.ocsp, "ocsp")] {
        if named.is_some() {
            return Err(wrong(
                folder,
                format_args!(
                    "is a directory, in which each certificate's {what} lies beside it; leave \
                     {what} out, or name one PEM file"
                ),
            ));
        }
    }
    let files = list(folder)?;
    if files.is_empty() {
        return Err(wrong(
            folder,
            "holds no certificate; in a directory, adit reads the files *.pem, *.crt and *.cer",
        ));
    }
    Ok(files
        .into_iter()
        .map(|cert| CertSource {
            cert,
            key: None,
            ocsp: None,
        })
        .collect())
}

/// Whether there is nothing but a private key in a file, which then belongs to
/// a certificate elsewhere.
pub(super) fn is_key_alone(path: &Path) -> bool {
    let Ok(file) = PemFile::read(path) else {
        return false;
    };
    // One that is encrypted is none that could be used: an error all the same.
    file.certificates().is_ok_and(|found| found.is_empty()) && matches!(file.key(), Ok(Some(_)))
}

/// In order of their names. Hidden ones are left out, and with them what
/// Kubernetes keeps in `..data`; links are followed.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |error| wrong(folder, format_args!("cannot be read: {error}"));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().and_then(|ending| ending.to_str());
        if hidden || !ending.is_some_and(|ending| ENDINGS.contains(&ending)) || path.is_dir() {
            continue;
        }
        if files.len() == limits::CERTIFICATES_MAX {
            return Err(wrong(
                folder,
                format_args!("holds more than {} certificates", limits::CERTIFICATES_MAX),
            ));
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_stands_for_its_files_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("..data")).expect("a folder");
        fs::create_dir(at("sub.pem")).expect("a folder");
        for name in [
            "..data/c.crt",
            "b.pem",
            "a.cer",
            ".hidden.pem",
            "b.key",
            "notes",
        ] {
            fs::write(at(name), "").expect("a file");
        }
        symlink("..data/c.crt", at("c.crt")).expect("a link");
        let source = CertSource {
            cert: folder.path().into(),
            key: None,
            ocsp: None,
        };
        let found: Vec<_> = expand(&source)
            .expect("files")
            .into_iter()
            .map(|source| source.cert)
            .collect();
        assert_eq!(found, [at("a.cer"), at("b.pem"), at("c.crt")]);
        let refused = expand(&CertSource {
            key: Some("x".into()),
            ..source
        });
        let error = refused.expect_err("no key for a directory").to_string();
        assert!(error.contains("leave key out"), "{error}");
    }
}
