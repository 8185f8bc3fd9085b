//! What the files hold that a listener's TLS is made of.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ResolvesServerCert};
use rustls::time_provider::DefaultTimeProvider;

use super::certificate::CertificateInfo;
use super::client_verify::ClientPolicy;
use super::directory;
use super::identity::Identity;
use super::key_log::KeyLogFile;
use super::pem::wrong;
use super::resolver::Resolver;
use super::store::{Builder, Store};
use crate::config::{CertSource, ServerTls};
use crate::error::Error;
use crate::limits;

/// What the files hold that a listener's TLS is made of: plain data that every
/// shard reads and none changes.
#[derive(Debug)]
pub struct ServerParts {
    store: Arc<Store>,
    clients: Option<ClientPolicy>,
    key_log: Option<KeyLogFile>,
    warnings: Vec<String>,
}

impl ServerParts {
    /// Reads and checks the files of one listener, and tells of each
    /// certificate. [`Loader`] does it for several.
    ///
    /// # Errors
    ///
    /// [`Error::Identity`], with a text that names the file and the remedy.
    pub fn load(tls: &ServerTls, now: SystemTime) -> Result<(Self, Arc<[CertificateInfo]>), Error> {
        Loader::new(now).load(tls)
    }

    /// How many certificates there are for clients.
    pub fn certificates(&self) -> usize {
        self.store.len()
    }

    /// What an operator should know beside what is said of single certificates,
    /// in sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A digest of all that decides on which clients are let in; empty if they
    /// are not asked. A session made under one must not be resumed under
    /// another, for a resumed one is not judged anew, but for the end of the
    /// client's certificate.
    pub fn binding(&self) -> &[u8] {
        self.clients.as_ref().map_or(&[], ClientPolicy::binding)
    }

    /// Opens the file of secrets, if the configuration names one. Loading does
    /// not, so that `adit check` leaves no file behind.
    pub(crate) fn open_key_log(&mut self, tls: &ServerTls) -> Result<(), Error> {
        let path = tls.key_log.as_deref();
        self.key_log = path.map(KeyLogFile::open).transpose()?;
        Ok(())
    }

    /// One shard's choice of certificates.
    pub(super) fn resolver(&self, tls: &ServerTls) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver::new(
            self.store.clone(),
            tls.sni_nomatch,
            tls.policy.max,
            Box::new(DefaultTimeProvider),
        ))
    }

    /// One shard's judge of clients.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        match &self.clients {
            Some(policy) => policy.verifier(),
            None => Arc::new(NoClientAuth),
        }
    }

    /// One shard's hold on the file of secrets.
    pub(super) fn key_log(&self) -> Result<Option<KeyLogFile>, rustls::Error> {
        KeyLogFile::another(self.key_log.as_ref())
    }
}

/// Loads what several listeners' TLS is made of. Those with the same
/// certificates share them.
#[derive(Debug)]
pub struct Loader {
    now: SystemTime,
    loaded: HashMap<Vec<CertSource>, Loaded>,
}

type Loaded = (Arc<Store>, Arc<[CertificateInfo]>);

impl Loader {
    /// One that has loaded nothing. Certificates are to be good at `now`.
    pub fn new(now: SystemTime) -> Self {
        Self {
            now,
            loaded: HashMap::new(),
        }
    }

    /// As [`ServerParts::load`].
    ///
    /// # Errors
    ///
    /// Those of [`ServerParts::load`].
    pub fn load(
        &mut self,
        tls: &ServerTls,
    ) -> Result<(ServerParts, Arc<[CertificateInfo]>), Error> {
        let (store, infos) = match self.loaded.get(&tls.certs) {
            Some(loaded) => loaded.clone(),
            None => {
                let loaded = load(&tls.certs, self.now)?;
                self.loaded.insert(tls.certs.clone(), loaded.clone());
                loaded
            }
        };
        let clients = tls.client_verify.as_ref();
        let clients = clients
            .map(|verify| ClientPolicy::load(verify, self.now))
            .transpose()?;
        let mut warnings: Vec<_> = tls.key_log.iter().map(|p| KeyLogFile::warning(p)).collect();
        if let Some(clients) = &clients {
            warnings.extend(clients.warnings.iter().cloned());
        }
        let parts = ServerParts {
            store,
            clients,
            key_log: None,
            warnings,
        };
        Ok((parts, infos))
    }
}

fn load(sources: &[CertSource], now: SystemTime) -> Result<Loaded, Error> {
    let mut builder = Builder::default();
    let mut infos = Vec::new();
    for source in sources {
        let files = directory::expand(source)?;
        let alone = !source.cert.is_dir();
        let before = infos.len();
        for found in read_all(&files, alone, now)? {
            let Some(identity) = found else {
                continue;
            };
            let mut info = identity.info.clone();
            if !info.for_servers {
                let file = info.file.display();
                info.warnings.push(format!(
                    "{file}: the certificate's extended key usage is not that of a server \
                     (serverAuth), so that clients refuse it; get one that is"
                ));
            }
            if let Some(expired) = info.expired(now) {
                // One of a thousand must not keep the others from being served.
                info.left_out = true;
                let file = info.file.display();
                info.warnings
                    .push(format!("{file}: {expired}. It is left out until then"));
            } else if !builder.add(identity) {
                let file = info.file.display();
                info.warnings.push(format!(
                    "{file}: the certificate is shown to nobody: others before it, with the same \
                     kind of key, have all of its names; take one of them away"
                ));
            }
            infos.push(info);
        }
        if infos[before..].iter().all(|info| info.left_out) {
            return Err(wrong(
                &source.cert,
                "holds no certificate that could be shown to clients; all have expired, or there \
                 are only keys",
            ));
        }
    }
    Ok((Arc::new(builder.build()), infos.into()))
}

/// In the order of the files; `None` for what is no certificate and need be
/// none. Checking a key takes its time, so many are checked on several threads.
fn read_all(
    files: &[CertSource],
    alone: bool,
    now: SystemTime,
) -> Result<Vec<Option<Identity>>, Error> {
    let threads = thread::available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(limits::LOADER_THREADS_MAX)
        .min(files.len() / limits::CERTIFICATES_PER_LOADER)
        .max(1);
    let read_some = |files: &[CertSource]| -> Vec<_> {
        files
            .iter()
            .map(|file| read_one(file, alone, now))
            .collect()
    };
    let read = if threads == 1 {
        read_some(files)
    } else {
        thread::scope(|scope| {
            let running: Vec<_> = files
                .chunks(files.len().div_ceil(threads))
                .map(|files| scope.spawn(|| read_some(files)))
                .collect();
            let joined = running.into_iter().map(|thread| thread.join());
            joined
                // What it panicked with is this thread's as well.
                .flat_map(|read| read.unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
                .collect()
        })
    };
    let faults = read.iter().filter(|read| read.is_err()).count();
    read.into_iter()
        .collect::<Result<_, _>>()
        .map_err(|first| match faults {
            0 | 1 => first,
            _ => Error::Identity(format!(
                "{first}; and {} more of these files cannot be used",
                faults - 1
            )),
        })
}

fn read_one(source: &CertSource, alone: bool, now: SystemTime) -> Result<Option<Identity>, Error> {
    let found = if alone {
        Identity::load(source, now)
    } else {
        Identity::read(source, now)
    };
    match found {
        Ok(found) => Ok(Some(found)),
        Err(_) if !alone && directory::is_key_alone(&source.cert) => Ok(None),
        Err(error) => Err(error),
    }
}
