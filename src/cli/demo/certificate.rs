//! A certificate for localhost, made on the spot and kept.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit::limits;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};

use crate::cli::exit::Failure;

/// The files of a certificate and its key.
#[derive(Debug)]
pub(super) struct Identity {
    cert: PathBuf,
    key: PathBuf,
    /// A folder that goes with the process.
    temporary: Option<PathBuf>,
}

impl Identity {
    /// The one that is kept, if it is good for another month; else a new one.
    /// Where nothing can be kept, one for this time only.
    pub(super) fn at_hand() -> Result<Self, Failure> {
        let now = SystemTime::now();
        let kept = state_folder().map(|folder| {
            let identity = Self::kept_in(&folder, now);
            identity.map_err(|error| format!("{}: {error}", folder.display()))
        });
        match kept {
            Some(Ok(identity)) => return Ok(identity),
            Some(Err(why)) => log::info!("the certificate will not be kept: {why}"),
            None => {}
        }
        Self::temporary(now)
            .map_err(|error| Failure::runtime(format!("no certificate can be made: {error}")))
    }

    pub(super) fn cert(&self) -> &Path {
        &self.cert
    }

    pub(super) fn key(&self) -> &Path {
        &self.key
    }

    fn kept_in(folder: &Path, now: SystemTime) -> io::Result<Self> {
        let identity = Self::files_in(folder);
        if !identity.is_good(now) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            identity.make(now)?;
        }
        Ok(identity)
    }

    fn temporary(now: SystemTime) -> io::Result<Self> {
        let nanos = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let name = format!("adit-demo-{}-{nanos:x}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Fails if it is there already, whosever it may be.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let mut identity = Self::files_in(&folder);
        identity.temporary = Some(folder);
        identity.make(now)?;
        Ok(identity)
    }

    fn files_in(folder: &Path) -> Self {
        Self {
            cert: folder.join("demo.crt"),
            key: folder.join("demo.key"),
            temporary: None,
        }
    }

    /// Whether both files are there, belong together, and will do for a month.
    fn is_good(&self, now: SystemTime) -> bool {
        let (Ok(cert), Ok(key)) = (fs::read(&self.cert), fs::read_to_string(&self.key)) else {
            return false;
        };
        let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&cert) else {
            return false;
        };
        let (Ok(cert), Ok(key)) = (pem.parse_x509(), KeyPair::from_pem(&key)) else {
            return false;
        };
        let enough = now + limits::CERTIFICATE_EXPIRY_WARNING;
        let enough = enough
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        cert.public_key().raw == key.subject_public_key_info()
            && u64::try_from(cert.validity().not_after.timestamp()).is_ok_and(|end| end > enough)
    }

    fn make(&self, now: SystemTime) -> io::Result<()> {
        let (cert, key) = make(now).map_err(io::Error::other)?;
        // The key first: should only one be written, the pair is seen not to
        // match, and is made anew.
        write_whole(&self.key, key.as_bytes(), 0o600)?;
        write_whole(&self.cert, cert.as_bytes(), 0o644)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// `$XDG_STATE_HOME/adit`, or `~/.local/state/adit`.
fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("adit"))
}

/// Certificate and key in PEM. It is no CA, so that browsers take it for what
/// it is.
fn make(now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "adit demonstration");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of virtual machines and their hosts differ a little.
    params.not_before = (now - Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + limits::DEMO_CERTIFICATE_LIFETIME).into();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let cert = params.self_signed(&key)?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// Nobody sees half a file, nor the key with another mode.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_is_kept_until_a_month_before_its_end() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = base.path().join("state/adit");
        let now = SystemTime::now();
        let first = Identity::kept_in(&folder, now).expect("made");
        let bytes = |identity: &Identity| fs::read(identity.cert()).expect("there");
        let original = bytes(&first);
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(first.key()), mode(&folder)), (0o600, 0o700));

        let day = Duration::from_secs(24 * 3600);
        let kept = Identity::kept_in(&folder, now + 334 * day).expect("kept");
        assert_eq!(bytes(&kept), original);
        let renewed = Identity::kept_in(&folder, now + 336 * day).expect("made");
        assert_ne!(bytes(&renewed), original);
    }

    #[test]
    fn what_is_broken_or_does_not_match_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let identity = Identity::kept_in(folder.path(), now).expect("made");
        let stranger = Identity::kept_in(other.path(), now).expect("made");
        for damage in [
            &|| fs::copy(stranger.key(), identity.key()).map(drop),
            &|| fs::write(identity.cert(), "no PEM"),
            &|| fs::remove_file(identity.key()),
        ] as [&dyn Fn() -> io::Result<()>; 3]
        {
            damage().expect("damaged");
            assert!(!identity.is_good(now));
            Identity::kept_in(folder.path(), now).expect("made anew");
            assert!(identity.is_good(now));
        }
    }

    #[test]
    fn it_is_for_every_name_of_this_machine() {
        let (cert, _) = make(SystemTime::now()).expect("made");
        let (_, pem) = x509_parser::pem::parse_x509_pem(cert.as_bytes()).expect("PEM");
        let cert = pem.parse_x509().expect("X.509");
        let names = cert
            .subject_alternative_name()
            .expect("once")
            .expect("there");
        assert_eq!(names.value.general_names.len(), 3);
        assert!(!cert.is_ca());
    }

    #[test]
    fn a_temporary_one_leaves_nothing_behind() {
        let identity = Identity::temporary(SystemTime::now()).expect("made");
        let folder = identity.cert().parent().expect("a folder").to_owned();
        assert!(identity.is_good(SystemTime::now()));
        drop(identity);
        assert!(!folder.exists());
    }
}
