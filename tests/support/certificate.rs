//! A certificate for `localhost`, made for one test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// A self-signed certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate in PEM.
    pub cert: PathBuf,
    /// The private key in PEM, readable by its owner alone.
    pub key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes one in this folder, for `localhost` and 127.0.0.1.
    pub fn make(folder: &Path) -> Self {
        Self::make_with(folder, |_| {})
    }

    /// One that is also an authority's, as `openssl req -x509` makes it.
    pub fn of_authority(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::make_with(folder, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            change(params);
        })
    }

    fn make_with(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let pair = KeyPair::generate().expect("a key");
        let made = params.self_signed(&pair).expect("a certificate");
        let (cert, key) = (folder.join("site.pem"), folder.join("site.key"));
        std::fs::write(&cert, made.pem()).expect("the certificate's file");
        std::fs::write(&key, pair.serialize_pem()).expect("the key's file");
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("its mode");
        Self {
            cert,
            key,
            der: made.der().clone(),
        }
    }

    /// Trust in this certificate and no other.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a trust anchor");
        Arc::new(roots)
    }
}
