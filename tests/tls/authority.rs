//! A certificate authority of one test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority, with its own certificate.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

/// A certificate of an authority, with its key.
pub(crate) struct Issued {
    pub(crate) cert: Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::new_with(name, |_| {})
    }

    pub(crate) fn new_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = Self::params(name);
        change(&mut params);
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// An authority under this one.
    pub(crate) fn intermediate(&self, name: &str, serial: u64) -> Self {
        let (mut params, key) = Self::params(name);
        params.serial_number = Some(SerialNumber::from(serial));
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("an authority"))
    }

    /// An authority under this one, whose certificate ends then.
    pub(crate) fn intermediate_until(&self, name: &str, end: SystemTime) -> Self {
        let (mut params, key) = Self::params(name);
        params.not_after = end.into();
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("an authority"))
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().expect("a key"))
    }

    /// A certificate for these names with an ECDSA key.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
    }

    /// A certificate for these names with this kind of key.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate_for(kind).expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Issued { cert, key }
    }

    /// A client's certificate: its number, its common name, a DNS name and a
    /// URI.
    pub(crate) fn client(&self, serial: u64, name: &str) -> Issued {
        self.issue_with(&[name], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.serial_number = Some(SerialNumber::from(serial));
            params.distinguished_name.push(DnType::CommonName, name);
            let uri = format!("spiffe://example.org/{name}");
            let uri = uri.as_str().try_into().expect("a URI");
            params.subject_alt_names.push(SanType::URI(uri));
        })
    }

    /// A list of these numbers, in PEM, good until that year.
    pub(crate) fn revoke(&self, serials: &[u64], until: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.0).expect("a list");
        list.pem().expect("PEM")
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Issued {
    /// An authority's own, as its peers show it.
    pub(crate) fn itself(authority: &Authority) -> Self {
        let key = authority.0.key().serialize_der();
        Self {
            cert: authority.0.as_ref().clone(),
            key: KeyPair::try_from(key).expect("a key"),
        }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.cert.der().clone()
    }

    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }

    /// Key and certificate.
    pub(crate) fn pem(&self) -> String {
        self.key.serialize_pem() + &self.cert.pem()
    }
}

/// Writes a file that its owner alone can read.
pub(crate) fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    path
}
