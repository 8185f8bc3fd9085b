//! Why a listener could not be bound.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::Address;

/// Why a listener could not be bound. The text names the address, the cause,
/// and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Another socket, of this or another program, listens there.
    InUse(Address),
    /// This server listens there itself, at an address that takes this one in,
    /// or is taken in by it.
    Ours {
        /// What was to be bound.
        address: Address,
        /// What this server has bound.
        held: Address,
    },
    /// Two listeners of one configuration are the same in the end.
    Twice {
        /// What both are bound to.
        bound: Address,
        /// The later of the two, as written.
        written: Address,
        /// The earlier of the two, as written.
        earlier: Address,
    },
    /// This process may not bind there.
    Denied(Address),
    /// The address is not one of this machine's.
    NotHere(Address),
    /// The name has no address.
    Unresolved {
        /// What was to be bound.
        address: Address,
        /// What the resolver said.
        error: io::Error,
    },
    /// A Unix socket's path is taken by something that is no socket.
    NotASocket(PathBuf),
    /// The process has no descriptor left.
    NoDescriptors {
        /// What was to be bound.
        address: Address,
        /// How many sockets were wanted for it.
        count: usize,
    },
    /// systemd passed no socket of that name.
    NotPassed {
        /// What was to be listened on.
        address: Address,
        /// What was passed, by name.
        passed: Vec<String>,
    },
    /// Anything else that the kernel refused.
    Other {
        /// What was to be bound.
        address: Address,
        /// What the kernel said.
        error: io::Error,
    },
}

impl BindError {
    /// What it means that binding `count` sockets to `address`, or listening on
    /// them, failed with `error`.
    pub(super) fn new(address: &Address, count: usize, error: io::Error) -> Self {
        let address = address.clone();
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Self::InUse(address),
            Some(libc::EACCES | libc::EPERM) => Self::Denied(address),
            Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => Self::NotHere(address),
            Some(libc::EMFILE | libc::ENFILE) => Self::NoDescriptors { address, count },
            _ => Self::Other { address, error },
        }
    }

    /// The same, if whoever has it may be this server, which has these bound.
    pub fn among<'a>(self, held: impl IntoIterator<Item = &'a Address>) -> Self {
        let Self::InUse(address) = self else {
            return self;
        };
        match held.into_iter().find(|held| held.conflicts_with(&address)) {
            Some(held) => Self::Ours {
                held: held.clone(),
                address,
            },
            None => Self::InUse(address),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(address) => write!(
                f,
                "{address} is in use by another socket; find it by `{}`",
                finder(address)
            ),
            Self::Ours { address, held } => write!(
                f,
                "{address} cannot be bound while this server listens at {held} itself; move that \
                 to another port first and here by a second reload, or restart adit"
            ),
            Self::Twice {
                bound,
                written,
                earlier,
            } => write!(
                f,
                "the listeners {earlier} and {written} are both {bound}; remove one of them"
            ),
            Self::Denied(address @ Address::Tcp { port, .. }) => write!(
                f,
                "{address} may not be bound by this user: ports below {} need the capability \
                 CAP_NET_BIND_SERVICE. Give it by `setcap cap_net_bind_service=+ep {}` or by \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or lower the bound \
                 by `sysctl net.ipv4.ip_unprivileged_port_start={port}`",
                unprivileged_port_start(),
                std::env::current_exe()
                    .unwrap_or_else(|_| "adit".into())
                    .display()
            ),
            Self::Denied(address) => write!(
                f,
                "{address} may not be bound by this user: it needs permission to write to the \
                 directory, and to the socket if there is one"
            ),
            Self::NotHere(address @ Address::Tcp { port, .. }) => write!(
                f,
                "{address} is not an address of this machine: `ip address` lists those that are, \
                 and *:{port} is all of them (with net.ipv4.ip_nonlocal_bind=1 an address may be \
                 bound before it arrives)"
            ),
            Self::NotHere(address) => {
                write!(f, "{address}: this kernel has no Unix sockets")
            }
            Self::Unresolved { address, error } => write!(
                f,
                "{address} does not resolve ({error}); write an address of this machine, or * for \
                 all of them"
            ),
            Self::NotASocket(path) => write!(
                f,
                "{} exists and is no socket; remove it or name another path",
                path.display()
            ),
            Self::NoDescriptors { address, count } => write!(
                f,
                "no file descriptor left for {address}, which takes {count}; raise the limit by \
                 `ulimit -n`, or LimitNOFILE= in the systemd unit"
            ),
            Self::NotPassed { address, passed } if passed.is_empty() => write!(
                f,
                "{address}: systemd has passed no socket to this process; start it by its socket \
                 unit, with FileDescriptorName= and Accept=no, or write an address to bind"
            ),
            Self::NotPassed { address, passed } => write!(
                f,
                "{address}: systemd has passed no socket of that name; it has passed {}",
                passed.join(", ")
            ),
            Self::Other { address, error } => match (address, error.raw_os_error()) {
                (Address::Unix(path), Some(libc::ENOENT)) => write!(
                    f,
                    "{address}: the directory {} does not exist; create it",
                    path.parent().unwrap_or(path).display()
                ),
                _ => write!(f, "{address} cannot be bound: {error}"),
            },
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unresolved { error, .. } | Self::Other { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The command that shows who has it.
fn finder(address: &Address) -> String {
    match address {
        Address::Tcp { port, .. } => format!("ss -ltnp 'sport = :{port}'"),
        Address::Unix(path) => format!("ss -lxp | grep {}", path.display()),
        Address::Systemd(_) => "systemctl list-sockets".into(),
    }
}

/// The first port that needs no privilege (ip(7)).
pub fn unprivileged_port_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: &str, errno: i32) -> String {
        let address = address.parse().unwrap();
        BindError::new(&address, 4, io::Error::from_raw_os_error(errno)).to_string()
    }

    #[test]
    fn what_this_server_has_itself_is_told_apart() {
        let [star, one, two]: [Address; 3] =
            ["*:443", "127.0.0.1:443", "127.0.0.2:443"].map(|text| text.parse().unwrap());
        let in_use = |address: &Address| BindError::InUse(address.clone());
        for (wanted, held) in [(&star, &one), (&one, &star), (&one, &one)] {
            let error = in_use(wanted).among([&two, held]);
            let text = error.to_string();
            assert!(matches!(error, BindError::Ours { .. }), "{error:?}");
            assert!(text.starts_with(&format!("{wanted} cannot")), "{text}");
        }
        let other = in_use(&one).among([&two]);
        assert!(matches!(other, BindError::InUse(_)), "{other:?}");
    }

    #[test]
    fn every_text_names_the_address_and_the_remedy() {
        for (address, errno, hint) in [
            (
                "127.0.0.1:8443",
                libc::EADDRINUSE,
                "127.0.0.1:8443 is in use by another socket; find it by `ss -ltnp 'sport = :8443'`",
            ),
            ("unix:/run/x", libc::EADDRINUSE, "ss -lxp | grep /run/x"),
            ("*:443", libc::EACCES, "setcap cap_net_bind_service=+ep /"),
            ("*:443", libc::EACCES, "ip_unprivileged_port_start=443"),
            ("unix:/run/x", libc::EACCES, "write to the directory"),
            ("192.0.2.1:443", libc::EADDRNOTAVAIL, "*:443 is all of them"),
            ("192.0.2.1:443", libc::EMFILE, "LimitNOFILE="),
            (
                "unix:/nope/x",
                libc::ENOENT,
                "directory /nope does not exist",
            ),
            ("192.0.2.1:443", libc::ENOBUFS, "cannot be bound: "),
        ] {
            let text = text(address, errno);
            assert!(text.contains(hint), "{text}");
            assert!(text.contains(address), "{text}");
        }
    }
}
