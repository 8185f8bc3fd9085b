//! The certificate that every peer of a run shows: one for each kind of key.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The kind of key in the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    P256,
    Rsa2048,
}

impl Key {
    /// The word that the generator knows it by, and that its files are named by.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa",
            Self::Rsa2048 => "rsa",
        }
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::Rsa2048 => &PKCS_RSA_SHA256,
        }
    }
}

/// A self-signed certificate for `localhost`, in memory and, once
/// [written](Self::write), in files.
#[derive(Debug)]
pub(crate) struct Certificate {
    made: rcgen::Certificate,
    key: KeyPair,
}

impl Certificate {
    pub(crate) fn make(key: Key) -> Result<Self, String> {
        let made = KeyPair::generate_for(key.algorithm()).and_then(|key| {
            let params = CertificateParams::new(["localhost".to_owned()])?;
            Ok(Self {
                made: params.self_signed(&key)?,
                key,
            })
        });
        made.map_err(|error| format!("cannot make a certificate: {error}"))
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.made.der().clone()]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Writes it into the folder, in the three shapes that programs ask for.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<Files, String> {
        let (cert, key) = (self.made.pem(), self.key.serialize_pem());
        let file = |ending: &str, text: &str| {
            let path = folder.join(format!("{name}{ending}"));
            std::fs::write(&path, text)
                .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o600)))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(path)
        };
        Ok(Files {
            cert: file(".pem", &cert)?,
            key: file(".key", &key)?,
            both: file(".both.pem", &format!("{key}{cert}"))?,
        })
    }
}

/// Where a certificate stands, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Key and certificate in one file.
    pub(crate) both: PathBuf,
}
