//! Why a tunnel ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The one reason for which a tunnel ended: its log line, its counter and what
/// tests assert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CloseReason {
    /// How far the tunnel had come.
    pub phase: Phase,
    /// Whose doing it was.
    pub side: Side,
    /// What happened.
    pub cause: Cause,
}

macro_rules! terms {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in log lines and metric labels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

terms! {
    /// How far a tunnel had come.
    Phase {
        /// Before the TLS handshake was done.
        Handshake = "handshake",
        /// Before a backend was connected.
        Connect = "connect",
        /// While bytes were carried.
        Relay = "relay",
    }
}

terms! {
    /// Whose doing the end of a tunnel was.
    Side {
        /// The client's.
        Client = "client",
        /// The backend's.
        Backend = "backend",
        /// Our own.
        Server = "server",
    }
}

terms! {
    /// What ended a tunnel.
    Cause {
        /// Both directions ended in order; the side is the one that ended last.
        Eof = "eof",
        /// The TCP stream of a peer that speaks TLS ended without close_notify
        /// (RFC 8446, section 6.1).
        Truncated = "truncated",
        /// The connection was reset, or broke.
        Reset = "reset",
        /// The phase's own time ran out.
        Timeout = "timeout",
        /// No byte moved for the idle time.
        Idle = "idle",
        /// No byte moved for the half-close time, one direction having ended.
        HalfClose = "half-close",
        /// What the peer sent at first is not TLS.
        NotTls = "not-tls",
        /// What came first is no header of the PROXY protocol, or a faulty one.
        BadProxyHeader = "bad-proxy-header",
        /// The access list keeps the client out.
        Denied = "denied",
        /// The client's network came in faster than it may.
        RateLimited = "rate-limited",
        /// No protocol version in common.
        NoVersion = "no-version",
        /// No cipher suite, group or signature in common.
        NoCipher = "no-cipher",
        /// No application protocol in common (RFC 7301, section 3.2).
        NoProtocol = "no-protocol",
        /// The client named a server that no certificate is for (RFC 6066,
        /// section 3).
        UnknownName = "unknown-name",
        /// The peer's certificate is missing, for another name, not valid now,
        /// revoked, of an unknown authority, or not let in.
        BadCertificate = "bad-certificate",
        /// The peer sent a fatal alert.
        Alert = "alert",
        /// The peer broke the TLS protocol.
        TlsError = "tls-error",
        /// Nothing listens at any of the backend's addresses.
        Refused = "refused",
        /// The backend cannot be reached.
        Unreachable = "unreachable",
        /// The backend's name does not resolve.
        Unresolved = "unresolved",
        /// The health checks say that every backend is down, or an operator has
        /// disabled it.
        NoBackend = "no-backend",
        /// Every backend has all the tunnels that it may have, and there was
        /// no room in the queue, or not in time.
        Full = "full",
        /// The drain time ran out, or the server was told to stop at once.
        Drained = "drained",
        /// An operator ended this tunnel (`adit close`).
        Closed = "closed",
        /// A limit of this process: descriptors, memory, ports.
        Resources = "resources",
        /// A fault in adit itself; the tunnel alone was ended.
        Panic = "panic",
    }
}

impl Cause {
    /// Whose doing an end for that cause is: our own where we were told to end
    /// it, and else that peer's.
    pub(super) fn doer(self, peer: Side) -> Side {
        match self {
            Self::Drained | Self::Closed => Side::Server,
            _ => peer,
        }
    }
}

impl CloseReason {
    /// The number of different reasons.
    pub const COUNT: usize = Phase::ALL.len() * Side::ALL.len() * Cause::ALL.len();

    /// A reason from its parts.
    pub fn new(phase: Phase, side: Side, cause: Cause) -> Self {
        Self { phase, side, cause }
    }

    /// A number below [`COUNT`](Self::COUNT), the same for equal reasons.
    pub fn index(self) -> usize {
        (self.phase as usize * Side::ALL.len() + self.side as usize) * Cause::ALL.len()
            + self.cause as usize
    }

    /// The reason with that [`index`](Self::index).
    pub fn from_index(index: usize) -> Option<Self> {
        let (rest, cause) = (index / Cause::ALL.len(), index % Cause::ALL.len());
        let (phase, side) = (rest / Side::ALL.len(), rest % Side::ALL.len());
        Some(Self::new(
            *Phase::ALL.get(phase)?,
            Side::ALL[side],
            Cause::ALL[cause],
        ))
    }

    /// Whether it is how a tunnel ends in everyday use, so that it is worth no
    /// more than a debug line.
    pub fn is_ordinary(self) -> bool {
        // Who asked for it is told, and a line is logged of that.
        if self.cause == Cause::Closed {
            return true;
        }
        match self.phase {
            // Port scans, health checks and clients of all kinds come and go
            // all day.
            Phase::Handshake => !matches!(self.cause, Cause::Resources | Cause::Panic),
            Phase::Connect => self.side == Side::Client,
            Phase::Relay => !matches!(self.cause, Cause::Panic | Cause::Resources),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.phase, self.side, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_reason_are_one_to_one() {
        for index in 0..CloseReason::COUNT {
            let reason = CloseReason::from_index(index).expect("in range");
            assert_eq!(reason.index(), index);
        }
        assert_eq!(CloseReason::from_index(CloseReason::COUNT), None);
    }
}
