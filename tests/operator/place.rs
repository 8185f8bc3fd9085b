//! A server, and the commands that are given to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use adit::metrics::{TunnelList, TunnelStats};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::program::{self, Ended, Program, trust};
use crate::support::certificate::Certificate;
use crate::support::wait_for;

pub(crate) struct Place {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Certificate,
    pub(crate) trust: Arc<ClientConfig>,
    folder: TempDir,
}

impl Place {
    /// A server with these lines of RON beside its listener, which leads to
    /// this: `backend: "…"` or `service: "…"`.
    #[track_caller]
    pub(crate) fn start(leads_to: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::make(folder.path());
        let ron = config(&certificate, leads_to, settings);
        let (program, addresses) = Program::serve(folder.path(), &ron);
        Self {
            address: addresses[0],
            trust: trust(&certificate),
            program,
            certificate,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is in the configuration from now on, once it is reloaded.
    pub(crate) fn configure(&self, leads_to: &str, settings: &str) {
        // The port was chosen by the kernel, and the address is as it was.
        program::configure(
            self.folder(),
            &config(&self.certificate, leads_to, settings),
        );
    }

    /// Runs adit with these words to its end, as the same user.
    #[track_caller]
    pub(crate) fn adit(&self, words: &[&str]) -> Ended {
        program::run(self.folder(), words)
    }

    /// The same, which has to go well.
    #[track_caller]
    pub(crate) fn say(&self, words: &[&str]) -> String {
        let ended = self.adit(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.err);
        ended.out
    }

    /// The same, which has to fail with exit code 1 and this in its words.
    #[track_caller]
    pub(crate) fn fail(&self, words: &[&str], part: &str) {
        let ended = self.adit(words);
        assert_eq!(ended.code, Some(1), "{words:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{words:?}: {}", ended.err);
    }

    /// What it answers in JSON.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self, words: &[&str]) -> T {
        let out = self.say(&[words, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// The tunnels that fit.
    #[track_caller]
    pub(crate) fn tunnels(&self, words: &[&str]) -> Vec<TunnelStats> {
        let list: TunnelList = self.json(&[&["tunnels"], words].concat());
        list.tunnels
    }

    /// The one tunnel that fits, waited for.
    #[track_caller]
    pub(crate) fn tunnel(&self, words: &[&str]) -> TunnelStats {
        wait_for(&format!("a tunnel that fits {words:?}"), || {
            let mut tunnels = self.tunnels(words);
            (tunnels.len() == 1).then(|| tunnels.remove(0))
        })
    }

    /// Waits until so many tunnels have ended for that reason.
    #[track_caller]
    pub(crate) fn wait_closed(&self, reason: &str, count: u64) {
        wait_for(&format!("{count} of {reason}"), || {
            let stats = self.program.stats();
            let mut closed = stats.total.closed.iter();
            let found = closed.find(|close| close.reason.to_string() == reason);
            found.filter(|close| close.count == count).map(|_| ())
        });
    }
}

fn config(certificate: &Certificate, leads_to: &str, settings: &str) -> String {
    format!(
        "(\n  listeners: [(address: \"127.0.0.1:0\", tls: (cert: {:?}, key: {:?}), {leads_to})],\n\
         {settings}\n)\n",
        certificate.cert, certificate.key
    )
}
