//! Session tickets: what rustls has to remember of a session, sealed and
//! opened with a shard's keys.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use rustls::server::ProducesTickets;

use super::{Part, again, part, tls};

/// Keeps what it is given to seal.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<u8>>);

impl ProducesTickets for Recorder {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        *self.0.lock().ok()? = plain.to_vec();
        // Nobody will come back with it.
        Some(plain.to_vec())
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// A shard's tickets, and the state of a session of a client without a
/// certificate.
fn tickets() -> (Arc<dyn ProducesTickets>, Vec<u8>) {
    let (server, client) = tls::configs();
    let recorder = Arc::new(Recorder::default());
    let mut recording = (*server).clone();
    recording.ticketer = recorder.clone();
    tls::pair(Arc::new(recording), client);
    let state = recorder.0.lock().expect("no panic").clone();
    assert!(!state.is_empty(), "no ticket was made");
    (server.ticketer.clone(), state)
}

pub(super) fn parts() -> [Part; 2] {
    [
        part("tickets: seal", || {
            let (tickets, state) = tickets();
            again(move || {
                black_box(tickets.encrypt(black_box(&state)).expect("sealed"));
            })
        }),
        part("tickets: open", || {
            let (tickets, state) = tickets();
            let ticket = tickets.encrypt(&state).expect("sealed");
            again(move || {
                black_box(tickets.decrypt(black_box(&ticket)).expect("opened"));
            })
        }),
    ]
}
