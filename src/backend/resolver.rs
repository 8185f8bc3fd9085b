//! Threads that resolve names, so that no shard ever waits for it.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::limits;

/// The threads that resolve names; a clone shares them.
///
/// They come into being with the first name that is asked for, and end when
/// the last clone is gone and what they are waiting for has answered.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    questions: flume::Sender<Question>,
    waiting: flume::Receiver<Question>,
    threads: Arc<Mutex<usize>>,
}

type Answer = Result<Vec<SocketAddr>, String>;

#[derive(Debug)]
struct Question {
    host: String,
    port: u16,
    answer: flume::Sender<Answer>,
}

impl Resolver {
    pub(crate) fn new() -> Self {
        // Bounded by the number of names in the configuration times shards:
        // each shard has at most one question per name open.
        let (questions, waiting) = flume::unbounded();
        Self {
            questions,
            waiting,
            threads: Arc::new(Mutex::new(0)),
        }
    }

    /// Every address that the system's resolver gives for a name, as
    /// getaddrinfo(3) orders them.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Answer {
        let (answer, answered) = flume::bounded(1);
        let question = Question {
            host: host.to_owned(),
            port,
            answer,
        };
        self.start_thread();
        if self.questions.send(question).is_err() {
            return Err("the resolver has stopped".into());
        }
        match answered.recv_async().await {
            Ok(answer) => answer,
            Err(_) => Err("the resolver has stopped".into()),
        }
    }

    /// One more thread, if there may be one.
    fn start_thread(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if *threads >= limits::RESOLVES_IN_FLIGHT_MAX {
            return;
        }
        let waiting = self.waiting.clone();
        let name = format!("adit-resolve-{threads}");
        if thread::Builder::new()
            .name(name)
            .spawn(move || answer_all(&waiting))
            .is_ok()
        {
            *threads += 1;
        }
    }
}

fn answer_all(waiting: &flume::Receiver<Question>) {
    while let Ok(question) = waiting.recv() {
        // Shards ask for the same names at the same time; one answer serves
        // all that wait by then.
        let mut same: HashMap<(String, u16), Vec<flume::Sender<Answer>>> = HashMap::new();
        for question in std::iter::once(question).chain(waiting.try_iter()) {
            same.entry((question.host, question.port))
                .or_default()
                .push(question.answer);
        }
        for ((host, port), askers) in same {
            let answer = resolve(&host, port);
            for asker in askers {
                // Who went away needs no answer.
                let _ = asker.try_send(answer.clone());
            }
        }
    }
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
