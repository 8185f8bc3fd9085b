//! Backends that say their number, and can be killed and revived; clients that
//! ask for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use adit::Config;
use adit::config::{Backend, Listener, ServerTls, Service};
use adit::metrics::{BackendState, BackendStats, ServiceStats};
use socket2::{Domain, Socket, Type};

use crate::support::place::{Place, anywhere, at};
use crate::support::{PATIENCE, wait_for};

/// A backend that says its number and then sends back what it receives. Its
/// port stays its own while it is dead: nobody else is given it.
pub(crate) struct Numbered {
    number: u8,
    address: SocketAddr,
    _held: Socket,
    alive: Option<Alive>,
    /// Connections open now.
    pub(crate) open: Arc<AtomicUsize>,
    /// The most that were open at once.
    pub(crate) most: Arc<AtomicUsize>,
}

struct Alive {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn shared(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("a shared port");
    socket.set_reuse_address(true).expect("a shared address");
    socket.bind(&address.into()).expect("a port");
    socket
}

impl Numbered {
    /// A dead one.
    pub(crate) fn dead(number: u8) -> Self {
        let held = shared(([127, 0, 0, 1], 0).into());
        let address = held.local_addr().expect("an address");
        Self {
            number,
            address: address.as_socket().expect("an address"),
            _held: held,
            alive: None,
            open: Arc::default(),
            most: Arc::default(),
        }
    }

    /// One that listens.
    pub(crate) fn start(number: u8) -> Self {
        let mut backend = Self::dead(number);
        backend.revive();
        backend
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.is_some()
    }

    pub(crate) fn revive(&mut self) {
        if self.alive.is_some() {
            return;
        }
        let socket = shared(self.address);
        socket.listen(1024).expect("a listener");
        let listener: TcpListener = socket.into();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let (number, open, most) = (self.number, self.open.clone(), self.most.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever was in the queue is served, or it would be cut.
                let Ok(stream) = stream else { continue };
                let last = stop.load(Ordering::SeqCst);
                let (open, most) = (open.clone(), most.clone());
                std::thread::spawn(move || serve(stream, number, &open, &most));
                if last {
                    return;
                }
            }
        });
        self.alive = Some(Alive { stopping, thread });
    }

    /// It refuses connections from now on; those that it has go on.
    pub(crate) fn kill(&mut self) {
        if let Some(alive) = self.alive.take() {
            alive.stopping.store(true, Ordering::SeqCst);
            // It waits for a connection, so it gets one.
            let _ = TcpStream::connect(self.address);
            alive.thread.join().expect("no panic");
        }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(mut stream: TcpStream, number: u8, open: &AtomicUsize, most: &AtomicUsize) {
    let _ = stream.set_nodelay(true);
    let now = open.fetch_add(1, Ordering::SeqCst) + 1;
    most.fetch_max(now, Ordering::SeqCst);
    if stream.write_all(&[number]).is_ok() {
        let mut buffer = [0; 4096];
        while let Ok(taken @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..taken]).is_err() {
                break;
            }
        }
    }
    open.fetch_sub(1, Ordering::SeqCst);
}

/// That many that listen, numbered from 0.
pub(crate) fn fleet(count: u8) -> Vec<Numbered> {
    (0..count).map(Numbered::start).collect()
}

/// One plaintext listener, and one service with these backends.
pub(crate) fn config(backends: &[Numbered]) -> Config {
    let backends = backends
        .iter()
        .map(|backend| Backend::new(at(backend.address())));
    let service = Service::new("app", backends.collect(), None);
    let mut config = Config::single(anywhere(), ServerTls::new("no.pem", "no.pem"), anywhere());
    config.listeners = vec![Listener::new(anywhere(), None, 0)];
    config.services = vec![service];
    config
}

/// A tunnel that a backend has answered.
pub(crate) struct Tunnel {
    pub(crate) number: u8,
    pub(crate) stream: TcpStream,
}

impl Tunnel {
    /// Opens one; `None`: it was closed before any backend answered.
    pub(crate) fn try_open(place: &Place) -> Option<Self> {
        Self::greeted(place.connect())
    }

    /// The tunnel of a client that has connected.
    pub(crate) fn greeted(mut stream: TcpStream) -> Option<Self> {
        let mut number = [0];
        // Which goes on after a signal, as a plain read does not.
        stream.read_exact(&mut number).ok()?;
        let [number] = number;
        Some(Self { number, stream })
    }

    #[track_caller]
    pub(crate) fn open(place: &Place) -> Self {
        let closed = || place.stats().total.closed;
        Self::try_open(place).unwrap_or_else(|| panic!("no backend's answer: {:?}", closed()))
    }

    /// Whether bytes still go there and back.
    pub(crate) fn works(&mut self) -> bool {
        let mut back = [0; 4];
        self.stream.write_all(b"ping").is_ok()
            && self.stream.read_exact(&mut back).is_ok()
            && &back == b"ping"
    }
}

/// Opens so many tunnels, each closed before the next, and counts by backend.
pub(crate) fn tally(place: &Place, backends: usize, tunnels: usize) -> Vec<usize> {
    let mut counts = vec![0; backends];
    for _ in 0..tunnels {
        counts[usize::from(Tunnel::open(place).number)] += 1;
    }
    counts
}

pub(crate) fn service(place: &Place) -> ServiceStats {
    place.stats().services.remove(0)
}

pub(crate) fn backend(place: &Place, index: usize) -> BackendStats {
    service(place).backends.remove(index)
}

pub(crate) fn wait_state(place: &Place, index: usize, state: BackendState) {
    wait_for(&format!("backend {index} to be {state:?}"), || {
        (backend(place, index).state == state).then_some(())
    });
}

/// Whether no byte and no end comes for a time that a held client's must not.
pub(crate) fn is_silent(stream: &TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).expect("a timeout");
    let silent = loop {
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
            Ok(_) => break false,
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    silent
}
