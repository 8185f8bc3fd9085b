//! The files that a configuration names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{CertSource, ClientTls, Config, ServerTls, ServerVerify};

impl Config {
    /// The files, and the directories of certificates, that are read when this
    /// configuration is taken up: each once, in no order that means anything.
    /// Keys and OCSP responses that are looked for beside a certificate are
    /// among them, whether or not they are there. The configuration's own file
    /// is not, since it need not have one.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for tls in self.listeners.iter().filter_map(|l| l.tls.as_ref()) {
            server_files(tls, &mut files);
        }
        for tls in self.services.iter().filter_map(|s| s.tls.as_ref()) {
            client_files(tls, &mut files);
        }
        files.sort_unstable();
        files.dedup();
        files
    }
}

fn server_files(tls: &ServerTls, files: &mut Vec<PathBuf>) {
    for source in &tls.certs {
        source_files(source, files);
    }
    files.extend(tls.tickets.keys.iter().map(|keys| keys.path.clone()));
    if let Some(verify) = &tls.client_verify {
        files.push(verify.ca.clone());
        files.extend(verify.crls.iter().cloned());
    }
}

fn client_files(tls: &ClientTls, files: &mut Vec<PathBuf>) {
    if let ServerVerify::Ca(path) = &tls.verify {
        files.push(path.clone());
    }
    if let Some(identity) = &tls.identity {
        source_files(identity, files);
    }
}

fn source_files(source: &CertSource, files: &mut Vec<PathBuf>) {
    files.push(source.cert.clone());
    match &source.key {
        Some(key) => files.push(key.clone()),
        None => files.extend(beside(&source.cert, "key")),
    }
    match &source.ocsp {
        Some(ocsp) => files.push(ocsp.clone()),
        None => files.extend(beside(&source.cert, "ocsp")),
    }
}

/// `site.key` and `site.pem.key` for `site.pem`.
fn beside(cert: &Path, extension: &str) -> [PathBuf; 2] {
    let mut longer = OsString::from(cert);
    longer.push(".");
    longer.push(extension);
    [cert.with_extension(extension), longer.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientVerify, SealWith, TicketKeyFile};

    #[test]
    fn everything_that_is_read_is_named_and_nothing_that_is_written() {
        let mut tls = ServerTls::of(vec![
            CertSource::new("/a.pem", "/a.pem"),
            CertSource {
                ocsp: Some("/b.der".into()),
                ..CertSource::new("/b.pem", "/b-key.pem")
            },
        ]);
        tls.tickets.keys = Some(TicketKeyFile {
            path: "/tickets".into(),
            seal_with: SealWith::Last,
        });
        tls.client_verify = Some(ClientVerify {
            required: true,
            ca: "/ca.pem".into(),
            crls: vec!["/one.crl".into(), "/two.crl".into()],
            allow: Vec::new(),
        });
        tls.key_log = Some("/key.log".into());
        let [listen, backend] = ["*:443", "b:80"].map(|text| text.parse().expect("an address"));
        let mut config = Config::single(listen, tls, backend);
        config.services[0].tls = Some(ClientTls {
            verify: ServerVerify::Ca("/ca.pem".into()),
            identity: Some(CertSource {
                ocsp: None,
                ..CertSource::new("/client.pem", "/client.key")
            }),
            ..ClientTls::default()
        });
        let files = config.files();
        let shown: Vec<_> = files.iter().filter_map(|file| file.to_str()).collect();
        assert_eq!(
            shown,
            [
                "/a.key",
                "/a.ocsp",
                "/a.pem",
                "/a.pem.key",
                "/a.pem.ocsp",
                "/b-key.pem",
                "/b.der",
                "/b.pem",
                "/ca.pem",
                "/client.key",
                "/client.ocsp",
                "/client.pem",
                "/client.pem.ocsp",
                "/one.crl",
                "/tickets",
                "/two.crl",
            ]
        );
    }
}
