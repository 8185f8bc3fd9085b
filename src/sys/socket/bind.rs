//! Listeners, bound once per shard.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::bind_error::BindError;
use super::options::prepare_for_accepting;
use super::patience::bind_patiently;
use super::socket_file::{SocketFile, remove_stale};
use crate::config::{Address, Host};
use crate::limits;

/// One address, bound once per shard. Nothing can connect to it before
/// [`listen`](Self::listen).
#[derive(Debug)]
pub struct Bound {
    /// One socket for each shard, in non-blocking mode. Those of TCP are
    /// separate sockets, among which the kernel spreads connections
    /// (SO_REUSEPORT, socket(7)). Those of a Unix listener are one socket,
    /// duplicated.
    pub fds: Vec<OwnedFd>,
    /// What is bound: with the port that the kernel chose if 0 was asked for,
    /// and with an address in place of a name.
    pub address: Address,
    /// The file of a Unix listener, removed when this is dropped.
    pub file: Option<SocketFile>,
    backlog: u32,
}

impl Bound {
    /// One socket that another process has bound, and that listens already.
    pub fn left(address: Address, fd: OwnedFd) -> Self {
        Self {
            fds: vec![fd],
            address,
            file: None,
            backlog: limits::BACKLOG_DEFAULT,
        }
    }

    /// Lets clients in, up to the backlog waiting for each socket. Call it when
    /// everything is bound. Called again it only sets the backlog anew.
    ///
    /// # Errors
    ///
    /// [`BindError::InUse`] if another socket began to listen there since this
    /// one was bound.
    pub fn listen(&self) -> Result<(), BindError> {
        let backlog = i32::try_from(self.backlog).unwrap_or(i32::MAX);
        for fd in &self.fds {
            if let Address::Tcp { .. } = self.address {
                prepare_for_accepting(fd.as_fd());
            }
            SockRef::from(fd)
                .listen(backlog)
                .map_err(|error| BindError::new(&self.address, self.fds.len(), error))?;
        }
        Ok(())
    }
}

/// Binds every listener, given as its address and its backlog, `count` times.
/// None of them listens yet. If one fails, all are closed again. Where another
/// socket is in the way, and none of this server's at `held`, it waits a while
/// ([`bind_patiently`]).
///
/// # Errors
///
/// Those of [`bind_group`], and [`BindError::Twice`] for two listeners that
/// come to the same in the end, such as `localhost:443` and `127.0.0.1:443`:
/// the kernel would spread connections between them.
pub fn bind_all<'a>(
    listeners: impl IntoIterator<Item = (&'a Address, u32)>,
    count: usize,
    held: &[Address],
) -> Result<Vec<Vec<Bound>>, BindError> {
    let mut all: Vec<Vec<Bound>> = Vec::new();
    let mut written: Vec<&Address> = Vec::new();
    for (address, backlog) in listeners {
        let group = bind_patiently(held, || bind_group(address, count, backlog))?;
        for bound in &group {
            let same = |other: &Vec<Bound>| other.iter().any(|o| o.address == bound.address);
            if let Some(earlier) = all.iter().position(same) {
                return Err(BindError::Twice {
                    bound: bound.address.clone(),
                    written: address.clone(),
                    earlier: written[earlier].clone(),
                });
            }
        }
        all.push(group);
        written.push(address);
    }
    Ok(all)
}

/// Binds `count` sockets to `address`; to each of its addresses, if it is a
/// name. None of them listens yet.
///
/// `*` is one dual-stack IPv6 socket, or an IPv4 one if the machine has no
/// IPv6. An IPv6 address is IPv6 only, `[::]` too. Addresses of a name that
/// this machine does not have (`::1` of `localhost` where there is no IPv6) are
/// left out, with a warning in the log, if another of them could be bound. Port
/// 0 stands for one free port, the same for all.
///
/// A Unix socket's file that nobody listens on any more is replaced.
///
/// # Errors
///
/// [`BindError::InUse`] if any socket listens on the port: also one that has
/// SO_REUSEPORT, as another instance's do, with which the kernel would silently
/// share connections. (Two instances that both bind before either listens are
/// not told apart.) The others as their names say.
pub fn bind_group(address: &Address, count: usize, backlog: u32) -> Result<Vec<Bound>, BindError> {
    let bound = |address: SocketAddr, fds| Bound {
        fds,
        address: ip_address(address),
        file: None,
        backlog,
    };
    match address {
        Address::Unix(path) => {
            let (fds, file) = bind_unix(path, count)?;
            Ok(vec![Bound {
                fds,
                address: address.clone(),
                file: Some(file),
                backlog,
            }])
        }
        // It is passed, and never bound by us.
        Address::Systemd(_) => Err(BindError::NotPassed {
            address: address.clone(),
            passed: Vec::new(),
        }),
        Address::Tcp {
            host: Host::Any,
            port,
        } => {
            let (at, fds) =
                bind_any(*port, count).map_err(|error| BindError::new(address, count, error))?;
            Ok(vec![Bound {
                address: address.with_port(at.port()),
                ..bound(at, fds)
            }])
        }
        Address::Tcp {
            host: Host::Ip(ip),
            port,
        } => {
            let (at, fds) = bind_tcp(SocketAddr::new(*ip, *port), Stack::Own, count)
                .map_err(|error| BindError::new(address, count, error))?;
            Ok(vec![bound(at, fds)])
        }
        Address::Tcp {
            host: Host::Name(name),
            port,
        } => {
            let addresses = resolve(name, *port).map_err(|error| BindError::Unresolved {
                address: address.clone(),
                error,
            })?;
            let groups = bind_each(address, &addresses, count)?;
            Ok(groups.into_iter().map(|(at, fds)| bound(at, fds)).collect())
        }
    }
}

/// What an IPv6 socket takes beside IPv6.
#[derive(Clone, Copy, PartialEq)]
enum Stack {
    /// Nothing.
    Own,
    /// IPv4 too.
    Dual,
}

type Group = (SocketAddr, Vec<OwnedFd>);

fn bind_tcp(address: SocketAddr, stack: Stack, count: usize) -> io::Result<Group> {
    // The probe fails if any socket listens there, even one that would share
    // the port: it has no SO_REUSEPORT. SO_REUSEADDR lets it pass connections
    // that a process before us left in TIME_WAIT, and lets our own sockets be
    // bound beside it. Meanwhile it holds the port that it chose.
    let probe = tcp_socket(address, stack)?;
    probe.bind(&address.into())?;
    let chosen = probe.local_addr()?;
    let port = chosen.as_socket().map_or(address.port(), |a| a.port());
    let address = SocketAddr::new(address.ip(), port);
    let fds = (0..count)
        .map(|_| {
            let socket = tcp_socket(address, stack)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            Ok(socket.into())
        })
        .collect::<io::Result<_>>()?;
    Ok((address, fds))
}

fn tcp_socket(address: SocketAddr, stack: Stack) -> io::Result<Socket> {
    // Close-on-exec from the start, as socket2 makes them.
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(stack == Stack::Own)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_any(port: u16, count: usize) -> io::Result<Group> {
    let ipv6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bind_tcp(ipv6, Stack::Dual, count) {
        Err(error) if is_absent(&error) => {
            bind_tcp((Ipv4Addr::UNSPECIFIED, port).into(), Stack::Own, count)
        }
        outcome => outcome,
    }
}

/// Whether the machine does not have the address, or its whole family.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// The addresses of a name, each once, in the resolver's order.
fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (name, port).to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::other("it has no addresses"));
    }
    Ok(addresses)
}

/// Binds each of a name's addresses, all with one port.
fn bind_each(
    name: &Address,
    addresses: &[SocketAddr],
    count: usize,
) -> Result<Vec<Group>, BindError> {
    /// A port that the first address had free may be taken at the second: then
    /// another one is chosen, this many times.
    const PORT_ATTEMPTS: usize = 16;

    let mut attempt = 1;
    'attempt: loop {
        let mut groups: Vec<Group> = Vec::new();
        let mut absent: Vec<(SocketAddr, io::Error)> = Vec::new();
        for &address in addresses {
            let mut address = address;
            let chosen = groups.first().map(|(first, _)| first.port());
            let choosing = address.port() == 0;
            if let (true, Some(port)) = (choosing, chosen) {
                address.set_port(port);
            }
            match bind_tcp(address, Stack::Own, count) {
                Ok(group) => groups.push(group),
                Err(error) if is_absent(&error) => absent.push((address, error)),
                Err(error)
                    if error.raw_os_error() == Some(libc::EADDRINUSE)
                        && choosing
                        && attempt < PORT_ATTEMPTS =>
                {
                    attempt += 1;
                    continue 'attempt;
                }
                Err(error) => return Err(BindError::new(&ip_address(address), count, error)),
            }
        }
        return match absent.pop() {
            Some((address, error)) if groups.is_empty() => {
                Err(BindError::new(&ip_address(address), count, error))
            }
            last => {
                for (address, _) in absent.iter().chain(&last) {
                    log::warn!(
                        "{name}: left out {}, which this machine has not",
                        address.ip()
                    );
                }
                Ok(groups)
            }
        };
    }
}

fn bind_unix(path: &Path, count: usize) -> Result<(Vec<OwnedFd>, SocketFile), BindError> {
    let failed = |error| BindError::new(&Address::Unix(path.to_owned()), count, error);
    remove_stale(path)?;
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // From here on the file is ours to remove.
        let file = SocketFile::own(path)?;
        let first = OwnedFd::from(socket);
        let mut fds = (1..count)
            .map(|_| first.try_clone())
            .collect::<io::Result<Vec<_>>>()?;
        fds.insert(0, first);
        Ok((fds, file))
    };
    bind().map_err(failed)
}

fn ip_address(address: SocketAddr) -> Address {
    let ip: IpAddr = address.ip();
    Address::Tcp {
        host: Host::Ip(ip),
        port: address.port(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::accept;
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};

    fn bind(address: &str, count: usize) -> Result<Vec<Bound>, BindError> {
        bind_group(&address.parse().unwrap(), count, 64)
    }

    fn bind_one(address: &str, count: usize) -> Bound {
        let mut group = bind(address, count).unwrap();
        assert_eq!(group.len(), 1, "{group:?}");
        group.remove(0)
    }

    fn port(bound: &Bound) -> u16 {
        match bound.address {
            Address::Tcp { port, .. } => port,
            _ => panic!("{bound:?}"),
        }
    }

    fn has_ipv6() -> bool {
        UdpSocket::bind("[::1]:0").is_ok()
    }

    /// Connections waiting at each socket.
    fn accepted(bound: &Bound) -> Vec<usize> {
        let drain = |fd: &OwnedFd| {
            let mut taken = 0;
            loop {
                match accept(fd.as_fd()) {
                    Ok(_) => taken += 1,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break taken,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        bound.fds.iter().map(drain).collect()
    }

    #[test]
    fn one_port_and_connections_spread_over_its_sockets() {
        let bound = bind_one("127.0.0.1:0", 4);
        let at = ("127.0.0.1", port(&bound));
        let refused = TcpStream::connect(at).unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::ConnectionRefused,
            "before listen"
        );
        bound.listen().unwrap();
        let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(at).unwrap()).collect();
        let taken = accepted(&bound);
        assert_eq!(taken.iter().sum::<usize>(), clients.len());
        // Each is missed by all with a chance of 0.75^100.
        assert!(taken.iter().all(|&n| n > 0), "{taken:?}");
    }

    #[test]
    fn what_is_accepted_sends_at_once_and_probes_the_silent() {
        let bound = bind_one("127.0.0.1:0", 1);
        bound.listen().unwrap();
        let _client = TcpStream::connect(("127.0.0.1", port(&bound))).unwrap();
        let fd = accept(bound.fds[0].as_fd()).unwrap();
        let socket = SockRef::from(&fd);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), limits::KEEPALIVE_IDLE);
    }

    #[test]
    fn a_port_that_another_instance_serves_is_in_use() {
        let first = bind_one("127.0.0.1:0", 2);
        first.listen().unwrap();
        let address = first.address.to_string();
        let error = bind(&address, 2).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error:?}");
        let text = error.to_string();
        let hint = format!("ss -ltnp 'sport = :{}'", port(&first));
        assert!(text.contains(&address) && text.contains(&hint), "{text}");
        // `*` takes in the address of the other.
        let any = bind(&format!("*:{}", port(&first)), 2).unwrap_err();
        assert!(matches!(any, BindError::InUse(_)), "{any:?}");
        // Nothing was left behind that would take part of its connections.
        let client = TcpStream::connect(("127.0.0.1", port(&first))).unwrap();
        assert_eq!(accepted(&first).iter().sum::<usize>(), 1);
        drop((client, first));
        bind(&address, 2).unwrap();
    }

    #[test]
    fn a_port_whose_connections_linger_can_be_bound_again() {
        let first = bind_one("127.0.0.1:0", 1);
        first.listen().unwrap();
        let client = TcpStream::connect(("127.0.0.1", port(&first))).unwrap();
        let server = accept(first.fds[0].as_fd()).unwrap();
        // Closed first by the server, the connection is in TIME_WAIT there.
        drop(server);
        drop(client);
        let address = first.address.to_string();
        drop(first);
        bind_one(&address, 1).listen().unwrap();
    }

    #[test]
    fn a_listener_that_comes_between_bind_and_listen_is_seen() {
        let bound = bind_one("127.0.0.1:0", 2);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], port(&bound)));
        socket.bind(&at.into()).unwrap();
        socket.listen(1).unwrap();
        let error = bound.listen().unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error:?}");
    }

    #[test]
    fn a_star_is_every_address_of_both_families() {
        let bound = bind_one("*:0", 2);
        assert!(bound.address.to_string().starts_with("*:"));
        bound.listen().unwrap();
        TcpStream::connect(("127.0.0.1", port(&bound))).unwrap();
        TcpStream::connect(("127.0.0.2", port(&bound))).unwrap();
        let mut clients = 2;
        if has_ipv6() {
            TcpStream::connect(("::1", port(&bound))).unwrap();
            clients += 1;
        }
        assert_eq!(accepted(&bound).iter().sum::<usize>(), clients);
    }

    #[test]
    fn an_ipv6_address_leaves_ipv4_alone() {
        if !has_ipv6() {
            return;
        }
        let bound = bind_one("[::]:0", 1);
        bound.listen().unwrap();
        let refused = TcpStream::connect(("127.0.0.1", port(&bound))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_name_is_each_of_its_addresses_with_one_port() {
        let group = bind("localhost:0", 2).unwrap();
        let ports: Vec<_> = group.iter().map(port).collect();
        assert!(ports.iter().all(|&p| p == ports[0] && p != 0), "{ports:?}");
        for bound in &group {
            bound.listen().unwrap();
            let Address::Tcp {
                host: Host::Ip(ip), ..
            } = bound.address
            else {
                panic!("{bound:?}");
            };
            TcpStream::connect((ip, port(bound))).unwrap();
            assert_eq!(accepted(bound).iter().sum::<usize>(), 1);
        }
    }

    #[test]
    fn addresses_that_this_machine_lacks_are_left_out_of_a_name() {
        let name: Address = "two.example:0".parse().unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        // Documentation addresses (RFC 5737), which no machine has.
        let absent = SocketAddr::from(([192, 0, 2, 1], 0));
        let groups = bind_each(&name, &[absent, here], 1).unwrap();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].0.ip(), here.ip());
        let error = bind_each(&name, &[absent], 1).unwrap_err();
        assert!(matches!(error, BindError::NotHere(_)), "{error:?}");
    }

    #[test]
    fn what_cannot_be_bound_is_named() {
        let error = bind("192.0.2.1:1", 1).unwrap_err();
        assert!(matches!(error, BindError::NotHere(_)), "{error:?}");
        // A top-level domain that never resolves (RFC 6761, section 6.4).
        let error = bind("adit.invalid:1", 1).unwrap_err();
        assert!(error.to_string().contains("adit.invalid:1"), "{error}");
        assert!(matches!(error, BindError::Unresolved { .. }), "{error:?}");
    }

    #[test]
    fn two_listeners_that_come_to_the_same_are_refused() {
        let held = bind_one("127.0.0.1:0", 1);
        let port = port(&held);
        drop(held);
        let first: Address = format!("127.0.0.1:{port}").parse().unwrap();
        let second: Address = format!("localhost:{port}").parse().unwrap();
        let error = bind_all([(&first, 64), (&second, 64)], 2, &[]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("127.0.0.1:{port} and localhost:{port}")),
            "{text}"
        );
        let other: Address = "127.0.0.1:0".parse().unwrap();
        let all = bind_all([(&other, 64), (&other, 64)], 2, &[]).unwrap();
        assert_ne!(all[0][0].address, all[1][0].address);
    }

    #[test]
    fn if_one_cannot_be_bound_none_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix: Address = format!("unix:{}", path.display()).parse().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp: Address = taken.local_addr().unwrap().to_string().parse().unwrap();
        let error = bind_all([(&unix, 64), (&tcp, 64)], 2, &[]).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error:?}");
        assert!(!path.exists());
    }

    #[test]
    fn a_unix_listener_is_shared_and_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let address = format!("unix:{}", path.display());
        let bound = bind_one(&address, 3);
        bound.listen().unwrap();
        assert_eq!(bound.fds.len(), 3);
        let client = UnixStream::connect(&path).unwrap();
        accept(bound.fds[2].as_fd()).unwrap();
        assert_eq!(
            accept(bound.fds[0].as_fd()).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        drop(client);

        let error = bind(&address, 3).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error:?}");
        drop(bound);
        assert!(!path.exists());

        // One that is about to go is waited for: it goes when it is asked.
        let going = UnixListener::bind(&path).unwrap();
        let asked = std::thread::spawn(move || drop(going.accept().map(|_| going)));
        bind_all([(&address.parse().unwrap(), 64)], 1, &[]).unwrap();
        asked.join().unwrap();
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let address = format!("unix:{}", path.display());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "stale");
        let bound = bind_one(&address, 1);
        bound.listen().unwrap();
        UnixStream::connect(&path).unwrap();

        // Another socket that took the place is not ours to remove.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = bind(&address, 1).unwrap_err();
        assert!(error.to_string().contains("is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        let nowhere = format!("unix:{}/no/s", dir.path().display());
        let error = bind(&nowhere, 1).unwrap_err().to_string();
        assert!(error.contains("/no does not exist"), "{error}");
    }

    #[test]
    fn a_socket_file_that_is_left_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut bound = bind_one(&format!("unix:{}", path.display()), 1);
        bound.file.take().unwrap().leave();
        drop(bound);
        assert!(path.exists());
    }
}
