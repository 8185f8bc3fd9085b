//! What stands behind the program: plaintext servers on threads.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use socket2::SockRef;

use super::pattern::{self, Check};
use super::{PATIENCE, raise_descriptors, turn};

/// A server that runs a script for each connection and collects what the
/// scripts return.
pub struct Backend<T> {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    results: Receiver<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Backend<T> {
    /// Starts it on a free port.
    pub fn start(script: impl Fn(TcpStream) -> T + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::start_on(listener, script)
    }

    /// Starts it on this listener.
    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(TcpStream) -> T + Send + Sync + 'static,
    ) -> Self {
        raise_descriptors();
        turn::take();
        let address = listener.local_addr().expect("an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let (results, receiver) = channel();
        let script = Arc::new(script);
        let stop = stopping.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    serve(stream, &script, &results);
                }
            }
        });
        Self {
            address,
            stopping,
            results: receiver,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the next script to end returned.
    #[track_caller]
    pub fn result(&self) -> T {
        self.results
            .recv_timeout(PATIENCE)
            .expect("a script of the backend that came to its end")
    }
}

/// Runs the script on a thread of its own. A script that panics gives no
/// result, and so fails the test that asks for it.
fn serve<T: Send + 'static>(
    stream: TcpStream,
    script: &Arc<impl Fn(TcpStream) -> T + Send + Sync + 'static>,
    results: &Sender<T>,
) {
    let (script, results) = (script.clone(), results.clone());
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    std::thread::spawn(move || {
        // The test may have ended.
        let _ = results.send(script(stream));
    });
}

impl<T> Drop for Backend<T> {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // It waits for a connection, so it gets one.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a stream ended for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With FIN.
    Eof,
    /// With RST.
    Reset,
    /// Not at all, within the time allowed.
    Not,
}

impl Ended {
    fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Not,
            _ => Self::Reset,
        }
    }
}

/// Reads to the end, and checks that it is the pattern from its beginning.
pub fn read_pattern(stream: &mut impl Read) -> (Check, Ended) {
    let mut check = Check::default();
    let ended = read_all(stream, |bytes| check.feed(bytes));
    (check, ended)
}

/// Reads to the end.
pub fn read_all(stream: &mut impl Read, mut each: impl FnMut(&[u8])) -> Ended {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ended::Eof,
            Ok(n) => each(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ended::from_error(&error),
        }
    }
}

/// Writes the pattern's first bytes.
pub fn write_pattern(stream: &mut impl Write, length: u64) -> io::Result<()> {
    let mut sent = 0;
    while sent < length {
        let next = pattern::at(sent, (length - sent).min(256 * 1024));
        stream.write_all(next)?;
        sent += next.len() as u64;
    }
    Ok(())
}

/// Closes the connection with RST.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("a socket");
}

/// Sends everything back, and the end too.
pub fn echo() -> Backend<()> {
    Backend::start(echo_script)
}

/// The script of [`echo`].
pub fn echo_script(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends this much of the pattern as soon as it is connected to, then ends;
/// gives what came from the other side.
pub fn source(length: u64) -> Backend<Ended> {
    Backend::start(move |mut stream| {
        let _ = write_pattern(&mut stream, length);
        let _ = stream.shutdown(Shutdown::Write);
        read_all(&mut stream, |_| ())
    })
}

/// Takes the pattern to its end and sends nothing.
pub fn sink() -> Backend<(Check, Ended)> {
    Backend::start(|mut stream| read_pattern(&mut stream))
}

/// A [`sink`] that says `!` at first, so that its client can see that the way
/// is open.
pub fn greeting_sink() -> Backend<(Check, Ended)> {
    Backend::start(|mut stream| {
        stream.write_all(b"!").expect("a greeting");
        read_pattern(&mut stream)
    })
}

/// Reads to the end, then answers with this much of the pattern; gives what it
/// has read.
pub fn answer_after_eof(length: u64) -> Backend<Vec<u8>> {
    Backend::start(move |mut stream| {
        let mut question = Vec::new();
        let ended = read_all(&mut stream, |bytes| question.extend_from_slice(bytes));
        if ended == Ended::Eof {
            let _ = write_pattern(&mut stream, length);
        }
        question
    })
}

/// A listener whose queue is full, so that a connection to it gets no answer
/// at all.
pub struct Silent {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl Silent {
    /// Starts it on a free port.
    pub fn start() -> Self {
        use socket2::{Domain, SockAddr, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("a listener");
        let address = listener.local_addr().expect("an address");
        // It is full when a connection stays unanswered for so long as no
        // answer over loopback takes.
        let mut queued = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let wait = std::time::Duration::from_millis(300);
            let to = SockAddr::from(address.as_socket().expect("an address"));
            let answered = socket.connect_timeout(&to, wait).is_ok();
            queued.push(socket);
            if !answered {
                break;
            }
        }
        Self {
            address: address.as_socket().expect("an address"),
            _listener: listener,
            _queued: queued,
        }
    }

    /// Where it does not answer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A port of loopback at which nothing listens, kept from being given to
/// anybody else.
pub struct Refusing {
    address: SocketAddr,
    _bound: socket2::Socket,
}

impl Refusing {
    /// Binds a port and does not listen.
    pub fn start() -> Self {
        use socket2::{Domain, Socket, Type};
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        bound.bind(&any.into()).expect("a port");
        let address = bound.local_addr().expect("an address");
        Self {
            address: address.as_socket().expect("an address"),
            _bound: bound,
        }
    }

    /// Where nothing listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A server at a Unix socket, for one connection after the other.
pub struct UnixBackend<T> {
    path: PathBuf,
    results: Receiver<T>,
}

impl<T: Send + 'static> UnixBackend<T> {
    /// Starts it at this path. It runs until the test's process ends.
    pub fn start(path: &Path, script: impl Fn(UnixStream) -> T + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (results, receiver) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                if results.send(script(stream)).is_err() {
                    return;
                }
            }
        });
        Self {
            path: path.to_owned(),
            results: receiver,
        }
    }

    /// Its address, as the program is told it.
    pub fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// What the next script to end returned.
    #[track_caller]
    pub fn result(&self) -> T {
        self.results.recv_timeout(PATIENCE).expect("a script's end")
    }
}
