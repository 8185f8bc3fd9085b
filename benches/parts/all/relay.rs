//! The relay's own work, without the ends': they move no byte.

use std::hint::black_box;
use std::task::Poll;

use adit::tunnel::relay::{End, Pulled, Relay};

use super::{Part, again, part};

/// What a turn takes at most.
const TURN: usize = 64 * 1024;

const MESSAGE: Poll<Pulled> = Poll::Ready(Pulled::Bytes(1024));
const EOF: Poll<Pulled> = Poll::Ready(Pulled::Eof);

/// A peer that does what is written down, and then nothing.
struct Scripted {
    pulls: std::slice::Iter<'static, Poll<Pulled>>,
}

fn peer(pulls: &'static [Poll<Pulled>]) -> Scripted {
    Scripted {
        pulls: black_box(pulls).iter(),
    }
}

impl End for Scripted {
    type Error = ();

    fn pull(&mut self, plain: &mut [u8]) -> Poll<Result<Pulled, ()>> {
        black_box(plain);
        self.pulls.next().map_or(Poll::Pending, |pull| pull.map(Ok))
    }

    fn push(&mut self, plain: &[u8]) -> Result<(), ()> {
        black_box(plain);
        Ok(())
    }

    fn flush(&mut self) -> Poll<Result<(), ()>> {
        black_box(Poll::Ready(Ok(())))
    }

    fn finish(&mut self) -> Poll<Result<(), ()>> {
        black_box(Poll::Ready(Ok(())))
    }
}

pub(super) fn parts() -> [Part; 3] {
    [
        part("relay: a turn in which nothing happens", || {
            let mut plain = vec![0; TURN];
            let (mut client, mut backend) = (peer(&[]), peer(&[]));
            let mut relay = Relay::default();
            again(move || {
                let _ = black_box(relay.turn(&mut client, &mut backend, &mut plain));
            })
        }),
        // Each message wakes the tunnel, which then finds that there is no
        // more.
        part("relay: a request and its answer", || {
            let mut plain = vec![0; TURN];
            let mut relay = Relay::default();
            again(move || {
                let (mut client, mut backend) = (peer(&[MESSAGE]), peer(&[]));
                for _ in 0..2 {
                    let _ = black_box(relay.turn(&mut client, &mut backend, &mut plain));
                }
                backend = peer(&[MESSAGE]);
                for _ in 0..2 {
                    let _ = black_box(relay.turn(&mut client, &mut backend, &mut plain));
                }
            })
        }),
        part("relay: a tunnel of one request, from start to end", || {
            let mut plain = vec![0; TURN];
            again(move || {
                let mut relay = Relay::default();
                let mut client = peer(&[MESSAGE, EOF]);
                let mut backend = peer(&[Poll::Pending, MESSAGE, EOF]);
                let ended = loop {
                    let (_, outcome) = relay.turn(&mut client, &mut backend, &mut plain);
                    if let Poll::Ready(outcome) = outcome {
                        break outcome;
                    }
                };
                black_box(ended);
            })
        }),
    ]
}
