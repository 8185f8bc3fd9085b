//! Serves a listener with blocking threads, a few at a time.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::message::{Body, Method, Parsed, Request, Response};
use super::stream::Stream;
use crate::limits;
use crate::sys::peer::Peer;

/// What is served: a socket that listens already.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix stream socket.
    Unix(UnixListener),
}

/// A server at work. Dropping it stops it: the listener is closed, idle
/// connections are cut, and after a second those that are not idle, every thread
/// is joined, and the Unix path, if one was entrusted to
/// it, is removed.
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    unlink: Mutex<Option<Place>>,
}

/// Where a Unix socket is, and the device and inode of its file: another one
/// that has taken its place is not removed.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Place {
    fn new(path: PathBuf) -> Self {
        let identity = identity(&path);
        Self { path, identity }
    }

    fn is_ours(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Serves every connection to `listener` by `handler`, on a thread of that
/// name and one more for each connection.
///
/// At most [`limits::ADMIN_CONNECTIONS_MAX`] connections are served at once;
/// more wait in the listener's backlog. For one that waits, that which has been
/// without a request for longest is closed, once that is
/// [`limits::ADMIN_SILENCE`]: no number of silent clients keeps a probe out. Once
/// half as many are open, each is closed after one answer, so that all get their
/// turn. A request may take [`limits::ADMIN_TIMEOUT`] to arrive, and its answer
/// [`limits::HTTP_ANSWER_TIMEOUT`] to be taken; a streamed body may wait
/// [`limits::HTTP_STREAM_TIMEOUT`] for each write. A handler that panics costs its
/// connection a 500.
pub fn serve<H>(listener: impl Into<Listener>, name: &str, handler: H) -> io::Result<Running>
where
    H: Fn(&Request) -> Response + Send + Sync + 'static,
{
    let listener = listener.into();
    listener.set_nonblocking()?;
    let (woken, wake) = io::pipe()?;
    let shared = Arc::new(Shared {
        listener,
        woken,
        wake: Mutex::new(Some(wake)),
        state: Mutex::default(),
        freed: Condvar::new(),
    });
    let thread = thread::Builder::new().name(name.to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || shared.accept_all(&handler)
    })?;
    Ok(Running {
        shared,
        thread: Some(thread),
        unlink: Mutex::default(),
    })
}

impl Running {
    /// Entrusts it with the path of its Unix socket, to be removed at the end,
    /// unless another socket is there by then.
    pub fn unlink_at_end(self, path: impl Into<PathBuf>) -> Self {
        *self.place() = Some(Place::new(path.into()));
        self
    }

    /// The path of its Unix socket, if it was entrusted with it.
    pub fn path(&self) -> Option<PathBuf> {
        self.place().as_ref().map(|place| place.path.clone())
    }

    /// Moves its Unix socket there. Whoever is connected stays so.
    ///
    /// # Errors
    ///
    /// Those of rename(2), and NotFound if it is not where it was.
    pub fn move_to(&self, path: PathBuf) -> io::Result<()> {
        let mut place = self.place();
        match &mut *place {
            Some(place) if place.is_ours() => {
                std::fs::rename(&place.path, &path)?;
                place.path = path;
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.unlink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A duplicate of the socket that is listened on, for another process.
    ///
    /// # Errors
    ///
    /// Those of dup(2).
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.shared.listener.as_fd().try_clone_to_owned()
    }

    /// Leaves the socket, and its path, to another process that has it too: takes
    /// no more connections. Those that are open go on.
    pub fn leave(&self) {
        *self.place() = None;
        let mut state = self.shared.lock();
        state.stopping = true;
        state.left = true;
        drop(state);
        self.shared.freed.notify_all();
        self.shared.wake();
    }

    /// Takes no more requests, and lets those that have been taken be answered,
    /// within [`limits::ADMIN_TIMEOUT`].
    pub fn finish(&self) {
        self.shared.finish();
    }

    /// The TCP address that is listened on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.shared.listener {
            Listener::Tcp(listener) => listener.local_addr(),
            Listener::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("listener", &self.shared.listener)
            .finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Before the listener closes, so that nobody finds a path that leads
        // nowhere.
        if let Some(place) = self.place().take()
            && place.is_ours()
        {
            let _ = std::fs::remove_file(&place.path);
        }
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic, which cannot be ours to mend, was reported already.
            let _ = thread.join();
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Self::Unix(listener) => Stream::Unix(listener.accept()?.0),
        })
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// What the accepting thread, the connections' threads and [`Running`] share.
struct Shared {
    /// Another process may accept at the same socket: it is waited for, and then
    /// asked whether there is a connection; and it is never shut down, which
    /// would be for the other as well.
    listener: Listener,
    /// Readable once `wake` is gone: nobody is accepted any more.
    woken: PipeReader,
    wake: Mutex<Option<PipeWriter>>,
    state: Mutex<State>,
    /// Told whenever a connection ends or the server stops.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// Another process accepts at the socket now. Who was accepted here in the
    /// last moment cannot know that, and has its request on its way.
    left: bool,
    /// Every open connection.
    open: HashMap<u64, Open>,
}

struct Open {
    /// A second hold on it, by which it can be cut.
    stream: Stream,
    /// Since when it waits for a whole request; `None`: it has one.
    silent_since: Option<Instant>,
}

impl State {
    /// Cuts the connection that has been silent for longest, if it has been so
    /// for long enough. Gives how long it is until one will have been.
    fn cut_silent(&mut self) -> Option<Duration> {
        let silent = self.open.values_mut().filter(|o| o.silent_since.is_some());
        let first = silent.min_by_key(|open| open.silent_since)?;
        let silence = first.silent_since?.elapsed();
        if silence < limits::ADMIN_SILENCE {
            return Some(limits::ADMIN_SILENCE - silence);
        }
        // Its thread reads an end, and releases it; but if a request has come in
        // this moment, that is answered.
        let _ = first.stream.shutdown(Shutdown::Read);
        first.silent_since = None;
        None
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for Open { stream, .. } in state.open.values() {
            // Who waits for a request has nothing more to wait for; an answer
            // that is being given is still given: to an order to stop, too.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.freed.notify_all();
        self.wake();
        let (state, _) = self
            .freed
            .wait_timeout_while(state, LINGER, |state| !state.open.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        for Open { stream, .. } in state.open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Has the accepting thread look whether the server stops.
    fn wake(&self) {
        drop(
            self.wake
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// Waits for a connection, or the server's end.
    fn wait_for_caller(&self) -> io::Result<()> {
        let mut both = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.woken, PollFlags::IN),
        ];
        match poll(&mut both, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a connection. `None`: there is none after all.
    fn accept(&self) -> io::Result<Option<Stream>> {
        // Under the lock: once that it stops is set, nobody is taken away from
        // another process.
        let state = self.lock();
        if state.stopping {
            return Ok(None);
        }
        match self.listener.accept() {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn finish(&self) {
        let mut state = self.lock();
        state.stopping = true;
        if state.left {
            let waited = self
                .freed
                .wait_timeout_while(state, limits::ADMIN_LEAVE, |state| !state.open.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        for Open { stream, .. } in state.open.values() {
            // It reads an end, and writes what it has to write.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.wake();
        let _ = self
            .freed
            .wait_timeout_while(state, limits::ADMIN_TIMEOUT, |state| !state.open.is_empty());
    }

    fn accept_all<H>(&self, handler: &H)
    where
        H: Fn(&Request) -> Response + Send + Sync,
    {
        // The scope's end joins every connection's thread.
        thread::scope(|scope| {
            let mut number = 0_u64;
            loop {
                let called = self.wait_for_caller();
                if !self.wait_for_room() {
                    break;
                }
                let stream = match called.and_then(|()| self.accept()) {
                    Ok(Some(stream)) => stream,
                    Ok(None) => continue,
                    Err(error) => {
                        self.rest_after(&error);
                        continue;
                    }
                };
                number += 1;
                if !self.admit(number, &stream) {
                    continue;
                }
                let spawned = thread::Builder::new().spawn_scoped(scope, move || {
                    Connection {
                        shared: self,
                        number,
                        peer: stream.peer(),
                        stream,
                    }
                    .run(handler);
                    self.release(number);
                });
                if let Err(error) = spawned {
                    log::warn!("no thread for a control connection: {error}");
                    self.release(number);
                }
            }
        });
    }

    /// Waits until another connection may be served, and makes room for it if
    /// it can. False: none will be.
    fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        while !state.stopping && state.open.len() >= limits::ADMIN_CONNECTIONS_MAX {
            let soon = state.cut_silent().unwrap_or(limits::ADMIN_SILENCE);
            let waited = self.freed.wait_timeout(state, soon);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.stopping
    }

    /// A connection has a whole request, or waits for another.
    fn set_silent(&self, number: u64, is_silent: bool) {
        if let Some(open) = self.lock().open.get_mut(&number) {
            open.silent_since = is_silent.then(Instant::now);
        }
    }

    /// Out of descriptors, most likely: ask again a little later.
    fn rest_after(&self, error: &io::Error) {
        let state = self.lock();
        if state.stopping || error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        log::warn!("control connection not accepted: {error}");
        let _ = self
            .freed
            .wait_timeout_while(state, limits::ACCEPT_PAUSE, |state| !state.stopping);
    }

    fn admit(&self, number: u64, stream: &Stream) -> bool {
        let Ok(hold) = stream.try_clone() else {
            return false;
        };
        let mut state = self.lock();
        let is_admitted = !state.stopping || state.left;
        if is_admitted {
            let open = Open {
                stream: hold,
                silent_since: Some(Instant::now()),
            };
            state.open.insert(number, open);
        }
        is_admitted
    }

    fn release(&self, number: u64) {
        self.lock().open.remove(&number);
        self.freed.notify_all();
    }

    /// Whether connections may stay open between requests.
    fn is_roomy(&self) -> bool {
        let state = self.lock();
        !state.stopping && state.open.len() < limits::ADMIN_CONNECTIONS_MAX / 2
    }
}

/// One client.
struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    stream: Stream,
    peer: Option<Peer>,
}

/// How one exchange left the connection.
enum Next {
    /// Another request may follow.
    Again,
    /// An answer was the last thing said.
    Over,
    /// There is nobody to talk to.
    Gone,
}

impl Connection<'_> {
    fn run<H>(mut self, handler: &H)
    where
        H: Fn(&Request) -> Response,
    {
        let mut received = Vec::new();
        loop {
            match self.exchange(&mut received, handler) {
                Ok(Next::Again) => {}
                Ok(Next::Over) => return self.linger(),
                Ok(Next::Gone) | Err(_) => return,
            }
        }
    }

    /// One request and its answer. An error is the connection's, and its end.
    fn exchange<H>(&mut self, received: &mut Vec<u8>, handler: &H) -> io::Result<Next>
    where
        H: Fn(&Request) -> Response,
    {
        let deadline = Instant::now() + limits::ADMIN_TIMEOUT;
        let (mut request, used) = loop {
            match Request::parse(received) {
                Ok(Parsed::Whole(request, used)) => break (request, used),
                Ok(Parsed::Partial) => {}
                Err(bad) => {
                    self.answer(bad.response(), Method::Get, false)?;
                    return Ok(Next::Over);
                }
            }
            let mut chunk = [0; 2048];
            match self.stream.read_until(&mut chunk, deadline) {
                Ok(0) => return Ok(Next::Gone),
                Ok(n) => received.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::TimedOut && !received.is_empty() => {
                    let late = Response::text(408, "the request took too long\n");
                    self.answer(late, Method::Get, false)?;
                    return Ok(Next::Over);
                }
                Err(error) => return Err(error),
            }
        };
        self.shared.set_silent(self.number, false);
        received.drain(..used);
        request.peer = self.peer;

        let response = catch_unwind(AssertUnwindSafe(|| handler(&request)))
            .unwrap_or_else(|_| Response::text(500, "a fault in adit; see its log\n"));
        let keep_alive = request.keep_alive && self.shared.is_roomy();
        self.answer(response, request.method, keep_alive)?;
        if !keep_alive {
            return Ok(Next::Over);
        }
        self.shared.set_silent(self.number, true);
        Ok(Next::Again)
    }

    fn answer(&mut self, response: Response, method: Method, keep_alive: bool) -> io::Result<()> {
        let deadline = Instant::now() + limits::HTTP_ANSWER_TIMEOUT;
        let mut head = response.head(keep_alive);
        if method == Method::Head {
            return self.stream.write_until(&head, deadline);
        }
        match response.into_body() {
            // One segment for what fits into one.
            Body::Bytes(bytes) => {
                head.extend_from_slice(&bytes);
                self.stream.write_until(&head, deadline)
            }
            Body::Stream { length, reader } => {
                self.stream.write_until(&head, deadline)?;
                self.stream.set_write_timeout(limits::HTTP_STREAM_TIMEOUT)?;
                copy_exactly(reader, &mut self.stream, length)
            }
        }
    }

    /// Closes so that the answer is not lost: a socket closed with unread bytes
    /// would reset the connection (RFC 9112, section 9.6).
    fn linger(mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + LINGER;
        let mut sink = [0; 4096];
        for _ in 0..LINGER_READS {
            if !matches!(self.stream.read_until(&mut sink, deadline), Ok(n) if n > 0) {
                return;
            }
        }
    }
}

/// How long, and for how many reads, a closing connection hears the client out.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 64;

fn copy_exactly(mut reader: impl Read, stream: &mut Stream, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = reader.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&buffer[..n])?;
        left -= n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
