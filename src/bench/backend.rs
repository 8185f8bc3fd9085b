//! What stands behind a server that is measured: plaintext, and as cheap as
//! can be.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;

use futures_lite::FutureExt as _;

use super::pulse;
use crate::config::Address;
use crate::later::Later;
use crate::limits;
use crate::runtime::{self, Queues, Socket};
use crate::sys::rlimit;
use crate::sys::socket::{self, Bound, bind_group};

/// What a listener of the backend does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends everything back, and the end too.
    Echo,
    /// Reads to the end, then closes.
    Sink,
    /// Sends until the connection is closed.
    Source,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Sink => "sink",
            Self::Source => "source",
        })
    }
}

/// A backend at work. Dropping it ends it; connections that are open then stay
/// so until the process ends.
#[derive(Debug)]
pub struct Backend {
    listening: Vec<(Role, Address)>,
    /// The files of Unix listeners are removed with it.
    _bound: Vec<Bound>,
    stops: Vec<flume::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Backend {
    /// Binds everything, and serves it on so many executors, each on its CPU if
    /// there are any named.
    ///
    /// # Errors
    ///
    /// A sentence: an address that cannot be bound, executors that do not
    /// start.
    pub fn start(
        listeners: &[(Role, Address)],
        threads: usize,
        cpus: Option<&[usize]>,
    ) -> Result<Self, String> {
        let _ = (rlimit::raise_nofile(), rlimit::raise_memlock());
        let mut doors: Vec<Vec<(Role, OwnedFd)>> = (0..threads).map(|_| Vec::new()).collect();
        let (mut bounds, mut listening) = (Vec::new(), Vec::new());
        for (role, address) in listeners {
            let group = bind_group(address, threads, limits::BACKLOG_MAX)
                .map_err(|error| error.to_string())?;
            for mut bound in group {
                bound.listen().map_err(|error| error.to_string())?;
                listening.push((*role, bound.address.clone()));
                for (of_thread, fd) in doors.iter_mut().zip(bound.fds.drain(..)) {
                    of_thread.push((*role, fd));
                }
                bounds.push(bound);
            }
        }
        let mut backend = Self {
            listening,
            _bound: bounds,
            stops: Vec::new(),
            threads: Vec::new(),
        };
        let (ready, started) = flume::bounded(threads);
        for (number, doors) in doors.into_iter().enumerate() {
            let (stop, stopped) = flume::bounded(1);
            let cpu = cpus.and_then(|cpus| cpus.get(number).copied());
            let ready = ready.clone();
            let thread = std::thread::Builder::new()
                .name(format!("adit-backend-{number}"))
                .spawn(move || match runtime::executor(cpu) {
                    Ok(executor) => executor.run(async move {
                        let _ = ready.send(Ok(()));
                        serve(doors, stopped).await;
                    }),
                    Err(cause) => {
                        let _ = ready.send(Err(cause));
                    }
                })
                .map_err(|error| format!("no thread: {error}"))?;
            backend.stops.push(stop);
            backend.threads.push(thread);
        }
        for _ in 0..threads {
            let start = started.recv_timeout(limits::SHARD_START_TIMEOUT);
            start.map_err(|_| "an executor does not start".to_owned())??;
        }
        Ok(backend)
    }

    /// What it listens on, with the ports that the kernel chose.
    pub fn listening(&self) -> &[(Role, Address)] {
        &self.listening
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        for stop in &self.stops {
            let _ = stop.try_send(());
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What the connections of an executor share.
struct Shared {
    incoming: RefCell<Box<[u8]>>,
    /// What sources send.
    outgoing: Box<[u8]>,
    later: Later,
}

async fn serve(doors: Vec<(Role, OwnedFd)>, stopped: flume::Receiver<()>) {
    let queues = Queues::new();
    let shared = Rc::new(Shared {
        incoming: RefCell::new(vec![0; limits::BENCH_BUFFER].into_boxed_slice()),
        // Not all the same, so that nothing on the way can make it less.
        outgoing: (0..limits::BENCH_BUFFER).map(|i| (i % 251) as u8).collect(),
        later: Later::default(),
    });
    let attending = shared.clone();
    let mut jobs = vec![queues.spawn_job(async move { attending.later.attend().await })];
    jobs.extend(pulse::start(&queues));
    for (role, door) in doors {
        let shared = shared.clone();
        jobs.push(queues.spawn_job(async move { attend(role, &door, &queues, &shared).await }));
    }
    let _ = stopped.recv_async().await;
    for job in jobs {
        job.cancel().await;
    }
}

async fn attend(role: Role, door: &OwnedFd, queues: &Queues, shared: &Rc<Shared>) {
    loop {
        if runtime::acceptable(door.as_fd()).await.is_err() {
            runtime::sleep(limits::ACCEPT_PAUSE).await;
        }
        for _ in 0..limits::ACCEPTS_PER_TURN {
            match socket::accept(door.as_fd()) {
                Ok(fd) => {
                    prepare(fd.as_fd());
                    let shared = shared.clone();
                    queues.spawn_data(async move {
                        // Whoever breaks off has had enough.
                        let _ = carry(role, Socket::new(fd), &shared).await;
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    runtime::sleep(limits::ACCEPT_PAUSE).await;
                    break;
                }
            }
        }
    }
}

fn prepare(fd: BorrowedFd<'_>) {
    // It is inherited from the listener over TCP, and unknown over Unix
    // sockets.
    let _ = socket::set_nodelay(fd);
}

async fn carry(role: Role, mut socket: Socket, shared: &Shared) -> io::Result<()> {
    match role {
        Role::Echo => {
            let mut unsent = Vec::new();
            let mut sent = 0;
            poll_fn(|cx| echo(cx, &mut socket, shared, &mut unsent, &mut sent)).await?;
            socket.shutdown_write()
        }
        Role::Sink => {
            poll_fn(|cx| {
                let buffer = &mut shared.incoming.borrow_mut()[..];
                for _ in 0..limits::BENCH_TURNS {
                    if ready!(socket.poll_recv(cx, buffer))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                shared.later.give_way(cx);
                Poll::Pending
            })
            .await
        }
        Role::Source => {
            // Both at once: it sends, and sees the end.
            let fd = socket.as_fd().try_clone_to_owned()?;
            let mut ear = Socket::new(fd);
            let sending = poll_fn(|cx| {
                for _ in 0..limits::BENCH_TURNS {
                    ready!(socket.poll_send(cx, &shared.outgoing))?;
                }
                shared.later.give_way(cx);
                Poll::Pending
            });
            let ended = poll_fn(|cx| {
                let mut space = [0; 4096];
                while ready!(ear.poll_recv(cx, &mut space))? > 0 {}
                Poll::Ready(Ok(()))
            });
            sending.or(ended).await
        }
    }
}

/// Ready at the end of the stream, all of it being sent back.
fn echo(
    cx: &mut Context<'_>,
    socket: &mut Socket,
    shared: &Shared,
    unsent: &mut Vec<u8>,
    sent: &mut usize,
) -> Poll<io::Result<()>> {
    let buffer = &mut shared.incoming.borrow_mut()[..];
    for _ in 0..limits::BENCH_TURNS {
        while *sent < unsent.len() {
            *sent += ready!(socket.poll_send(cx, &unsent[*sent..]))?;
        }
        *unsent = Vec::new();
        *sent = 0;
        let received = ready!(socket.poll_recv(cx, buffer))?;
        if received == 0 {
            return Poll::Ready(Ok(()));
        }
        let taken = match socket.poll_send(cx, &buffer[..received]) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        if taken < received {
            unsent.extend_from_slice(&buffer[taken..received]);
        }
    }
    shared.later.give_way(cx);
    Poll::Pending
}
