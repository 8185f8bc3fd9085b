//! Whether the files that a configuration comes from, and those that it names,
//! have changed since it was last read.
//!
//! [`Watched`] knows what was read, and is asked again and again; [`look`]
//! tells what files hold; [`Watcher`] is the thread that asks.

mod look;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adit::{Config, limits};

use super::exit::Failure;
use super::plan::RunPlan;
use super::source::Source;
use look::{Look, View};

/// What was read last, and what has been seen since.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    look: Look,
    files: Vec<PathBuf>,
    /// What the files held when they were last read, for good or ill.
    read: View,
    /// What they were seen to hold since, if it is something else.
    seen: Option<View>,
    every: Option<Duration>,
}

impl Watched {
    /// The configuration of this moment, and what its files hold. From now on
    /// [`change`](Self::change) is about those.
    pub(crate) fn config(&mut self, plan: &RunPlan) -> Result<Config, Failure> {
        let own = match &plan.source {
            Source::File(path) => Some(path.clone()),
            Source::Server { .. } | Source::Client { .. } => None,
        };
        if self.files.is_empty() {
            self.files.extend(own.clone());
        }
        self.seen = None;
        // Before they are read: what changes after this is a change.
        self.read = self.look.at(&self.files);
        let config = plan.config()?;
        self.every = config.watch;
        self.files = config.files();
        self.files.extend(own.clone());
        let mut read = View::new();
        if config.watch.is_some() {
            read = self.look.at(&self.files);
            if let Some(own) = own
                && let Some(content) = self.read.remove(&own)
            {
                read.insert(own, content);
            }
        }
        self.read = read;
        Ok(config)
    }

    /// The files that were read, and that are looked at.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Takes up what has become unreadable since, this process having given up
    /// rights: that is no change of a file.
    pub(crate) fn look_again(&mut self) {
        let now = Look::default().at(&self.files);
        for (path, content) in now {
            if File::open(&path).is_err() || fs::read_dir(&path).is_ok() {
                self.read.insert(path, content);
            }
        }
        self.look = Look::default();
    }

    /// How often to ask; `None`: not at all.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.every
    }

    /// A file that has changed since the configuration was last read. `None`
    /// while that may still be going on: what was seen has to be seen twice, so
    /// that a certificate and its key, written one after the other, are taken
    /// together.
    pub(crate) fn change(&mut self) -> Option<PathBuf> {
        let now = self.look.at(&self.files);
        if now == self.read {
            self.seen = None;
            return None;
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return None;
        }
        let changed = now
            .iter()
            .find(|(path, content)| self.read.get(*path) != Some(content));
        changed.map(|(path, _)| path.clone())
    }
}

/// The thread `adit-watch`. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Looks again and again, as often as the look before has said; if it said
    /// never, it asks whether that still holds.
    pub(crate) fn start(
        look: impl Fn() -> Option<Duration> + Send + 'static,
        first: Option<Duration>,
    ) -> Result<Self, Failure> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("adit-watch".into())
            .spawn(move || {
                let mut every = first;
                loop {
                    let pause = every.unwrap_or(limits::WATCH_INTERVAL);
                    match stopped.recv_timeout(pause) {
                        Err(RecvTimeoutError::Timeout) => every = look(),
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            })
            .map_err(|error| Failure::runtime(format!("no thread to watch files: {error}")))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plan::Overrides;

    #[test]
    fn a_change_counts_once_it_has_been_seen_twice() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        let ron = |backend: &str| {
            format!(
                "(listeners: [(address: \"*:1\", tls: (cert: \"a.pem\", key: \"a.key\"), \
                 backend: \"{backend}\")])"
            )
        };
        write("adit.ron", &ron("b:1"));
        write("a.pem", "1");
        write("a.key", "1");
        let plan = RunPlan {
            source: Source::File(at("adit.ron")),
            overrides: Overrides::default(),
        };
        let mut watched = Watched::default();
        watched.config(&plan).unwrap();
        assert_eq!(watched.change(), None);
        // A look between the two of them.
        write("a.pem", "2");
        assert_eq!(watched.change(), None);
        write("a.key", "2");
        assert_eq!(watched.change(), None);
        assert_eq!(watched.change(), Some(at("a.key")));
        // Until it is read, whatever comes of that.
        assert_eq!(watched.change(), Some(at("a.key")));
        watched.config(&plan).unwrap();
        assert_eq!(watched.change(), None);
        // There and back is no change.
        write("a.pem", "3");
        assert_eq!(watched.change(), None);
        write("a.pem", "2");
        assert_eq!((watched.change(), watched.change()), (None, None));

        write("adit.ron", "(");
        assert_eq!(watched.change(), None);
        assert_eq!(watched.change(), Some(at("adit.ron")));
        assert!(watched.config(&plan).is_err());
        assert_eq!((watched.change(), watched.change()), (None, None));
        // What a configuration that cannot be read named is still looked at.
        write("a.key", "3");
        assert_eq!(watched.change(), None);
        assert_eq!(watched.change(), Some(at("a.key")));
        write("adit.ron", &ron("b:2"));
        watched.config(&plan).unwrap();
        assert_eq!((watched.change(), watched.change()), (None, None));
    }
}
