//! Threads that resolve names, so that no shard ever waits for it.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::limits;

/// The threads that resolve names; a clone shares them.
///
/// They come into being with the first names that are asked for, and end when
/// the last clone is gone and what they are waiting for has answered.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    questions: flume::Sender<Name>,
    waiting: flume::Receiver<Name>,
    shared: Arc<Mutex<Shared>>,
    lookup: Lookup,
}

/// A host and a port.
type Name = (String, u16);

pub(super) type Answer = Result<Vec<SocketAddr>, String>;

type Lookup = fn(&str, u16) -> Answer;

#[derive(Debug, Default)]
struct Shared {
    threads: usize,
    /// Who asked for a name that is not answered yet. Shards ask for the same
    /// names at the same time, and one answer serves them all.
    askers: HashMap<Name, Vec<flume::Sender<Answer>>>,
}

impl Resolver {
    pub(crate) fn new() -> Self {
        Self::with(resolve)
    }

    pub(super) fn with(lookup: Lookup) -> Self {
        // Bounded by the number of names in the configuration.
        let (questions, waiting) = flume::unbounded();
        Self {
            questions,
            waiting,
            shared: Arc::default(),
            lookup,
        }
    }

    /// Every address that the system's resolver gives for a name, as
    /// getaddrinfo(3) orders them.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Answer {
        let (answer, answered) = flume::bounded(1);
        self.ask((host.to_owned(), port), answer);
        match answered.recv_async().await {
            Ok(answer) => answer,
            Err(_) => Err("the resolver has stopped".into()),
        }
    }

    fn ask(&self, name: Name, answer: flume::Sender<Answer>) {
        let mut shared = lock(&self.shared);
        let askers = shared.askers.entry(name.clone()).or_default();
        askers.push(answer);
        if askers.len() > 1 {
            return;
        }
        if shared.threads < limits::RESOLVES_IN_FLIGHT_MAX && self.start_thread(shared.threads) {
            shared.threads += 1;
        }
        if shared.threads == 0 {
            // Nobody will answer, and whoever asks learns it by that.
            shared.askers.remove(&name);
            return;
        }
        // It is received as long as this is there.
        let _ = self.questions.send(name);
    }

    fn start_thread(&self, number: usize) -> bool {
        let (waiting, shared, lookup) = (self.waiting.clone(), self.shared.clone(), self.lookup);
        thread::Builder::new()
            .name(format!("adit-resolve-{number}"))
            .spawn(move || answer_all(&waiting, &shared, lookup))
            .is_ok()
    }
}

/// One name at a time, so that one whose servers are silent keeps no other
/// waiting.
fn answer_all(waiting: &flume::Receiver<Name>, shared: &Mutex<Shared>, lookup: Lookup) {
    while let Ok(name) = waiting.recv() {
        let answer = lookup(&name.0, name.1);
        let askers = lock(shared).askers.remove(&name);
        for asker in askers.into_iter().flatten() {
            // Who went away needs no answer.
            let _ = asker.try_send(answer.clone());
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resolve(host: &str, port: u16) -> Answer {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let mut found: Vec<SocketAddr> = Vec::new();
            for address in addresses {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            found.truncate(limits::ADDRESSES_PER_NAME_MAX);
            if found.is_empty() {
                Err(format!("{host} has no addresses"))
            } else {
                Ok(found)
            }
        }
        Err(error) => Err(format!("{host} does not resolve: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    static SILENT: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

    fn lookup(host: &str, port: u16) -> Answer {
        if host == "silent" {
            let until = SILENT.lock().unwrap().take().unwrap();
            let _ = until.recv();
        }
        Ok(vec![([127, 0, 0, 1], port).into()])
    }

    #[test]
    fn a_silent_name_keeps_no_other_waiting_and_is_looked_up_once() {
        let (end, until) = mpsc::channel();
        *SILENT.lock().unwrap() = Some(until);
        let resolver = Resolver::with(lookup);
        block_on(async {
            // The lookup can be made but once: the second shares the answer.
            let silent = [resolver.resolve("silent", 1), resolver.resolve("silent", 1)];
            let [mut first, mut second] = silent.map(Box::pin);
            assert_eq!(poll_once(&mut first).await, None);
            assert_eq!(poll_once(&mut second).await, None);
            for port in 0..100 {
                let found = resolver.resolve("quick", port).await;
                assert_eq!(found, Ok(vec![([127, 0, 0, 1], port).into()]));
            }
            drop(end);
            assert!(first.await.is_ok() && second.await.is_ok());
        });
    }
}
