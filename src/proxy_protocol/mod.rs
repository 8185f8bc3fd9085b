//! The PROXY protocol: what a proxy says of a connection, ahead of its bytes.
//!
//! Both versions of HAProxy's specification (`doc/proxy-protocol.txt` in its
//! source, whose sections are named here), read and written. Pure: bytes in,
//! values out, no socket and no allocation.
//!
//! ```text
//!   bytes ─▶ parse ─▶ Partial: come again with `needed` bytes
//!                 └─▶ Whole: Header { command, tlvs, len } ─▶ what follows is the stream
//! ```
//!
//! [`parse`] is asked again with all that has arrived, until it has an answer;
//! it gives the same answer however the bytes were cut. A header is checked
//! whole before it is given out, so that what is in it can be taken as it is.
//! Whoever reads no more than `needed` bytes at a time never reads beyond the
//! header.
//!
//! A header is a claim: only a sender that is known and trusted may make it,
//! and whether one is to be expected is configured, never guessed (section 2).

mod error;
mod tlv;
mod v1;
mod v2;

pub use error::{LinePart, ParseError, TlvFault, WriteError};
pub use tlv::{ClientFlags, Ssl, Tlv, TlvIter, Tlvs};

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A header that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// In which of the two formats it came.
    pub version: Version,
    /// Whose connection it is.
    pub command: Command<'a>,
    /// What else is said of it. Version 1 says nothing else, and what
    /// [`Command::Local`] brings along is passed over.
    pub tlvs: Tlvs<'a>,
    /// Bytes of the header. What follows them is the stream.
    pub len: usize,
}

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text (section 2.1).
    One,
    /// Binary (section 2.2).
    Two,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The sender's own, such as a health check: its ends are those of the
    /// connection that the header came over.
    Local,
    /// Another's, on whose behalf it was made.
    Proxy(Route<'a>),
}

/// Between whom a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// The sender cannot tell, or has no words for it. The ends of the
    /// connection that the header came over may be taken instead.
    ///
    /// To be read rather than written in version 2: HAProxy refuses it there,
    /// and itself writes [`Command::Local`] where it has no addresses.
    Unknown,
    /// Over IPv4.
    Ip4 {
        /// TCP or UDP.
        transport: Transport,
        /// Who made the connection.
        source: SocketAddrV4,
        /// To whom.
        destination: SocketAddrV4,
    },
    /// Over IPv6. Flow labels and scopes are not passed on.
    Ip6 {
        /// TCP or UDP.
        transport: Transport,
        /// Who made the connection.
        source: SocketAddrV6,
        /// To whom.
        destination: SocketAddrV6,
    },
    /// Over a Unix socket. A name is a path, without its terminating zero, or
    /// begins with a zero and is an abstract one; it has at most 108 bytes,
    /// and is empty where there is none.
    Unix {
        /// Stream or datagram.
        transport: Transport,
        /// Who made the connection.
        source: &'a [u8],
        /// To whom.
        destination: &'a [u8],
    },
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, or a Unix stream socket.
    Stream,
    /// UDP, or a Unix datagram socket.
    Datagram,
}

/// What [`parse`] has to say of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// They may be the front of a header.
    Partial {
        /// Bytes, counted from the first, that the shortest header with this
        /// front has: more than there are, and never more than the header.
        needed: usize,
    },
    /// They begin with a header.
    Whole(Header<'a>),
}

/// Reads the header at the front of `bytes`, which are all that has arrived.
///
/// A header of version 1 has at most 107 bytes, one of version 2 at most
/// [`limits::PROXY_HEADER_MAX`](crate::limits::PROXY_HEADER_MAX).
///
/// # Errors
///
/// As soon as the bytes cannot be the front of a header any more. The
/// specification asks that the connection be dropped.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, ParseError> {
    match bytes.first() {
        None => Ok(Parsed::Partial {
            needed: v1::LINE_MIN,
        }),
        Some(b'P') => v1::parse(bytes),
        Some(b'\r') => v2::parse(bytes),
        Some(_) => Err(ParseError::NotProxy),
    }
}

/// Writes a header of version 1 to the front of `room` and gives its length, at
/// most 107 bytes. Whatever is not TCP over IP is written as `UNKNOWN`.
///
/// # Errors
///
/// [`WriteError::NoRoom`].
pub fn write_v1(command: &Command<'_>, room: &mut [u8]) -> Result<usize, WriteError> {
    v1::write(command, room)
}

/// Writes a header of version 2 to the front of `room` and gives its length.
/// With [`Tlv::Crc32c`] among the `tlvs` the checksum is computed, whatever
/// value it holds.
///
/// The specification wants it to fit into one segment of the least size, which
/// is 536 bytes; some receivers refuse much longer ones.
///
/// # Errors
///
/// `room` is too small, or something is longer than the protocol can say; see
/// [`WriteError`].
pub fn write_v2(
    command: &Command<'_>,
    tlvs: &[Tlv<'_>],
    room: &mut [u8],
) -> Result<usize, WriteError> {
    v2::write(command, tlvs, room)
}

impl Command<'_> {
    /// The ends of the connection, where they are IP addresses: who made it,
    /// and to whom.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match *self {
            Self::Proxy(Route::Ip4 {
                source,
                destination,
                ..
            }) => Some((source.into(), destination.into())),
            Self::Proxy(Route::Ip6 {
                source,
                destination,
                ..
            }) => Some((source.into(), destination.into())),
            _ => None,
        }
    }
}

impl Route<'static> {
    /// A TCP connection. IPv4 in IPv6 (RFC 4291, section 2.5.5.2) is taken for
    /// IPv4, unless the other end really has IPv6.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        let transport = Transport::Stream;
        let ends = (source.ip().to_canonical(), destination.ip().to_canonical());
        match ends {
            (IpAddr::V4(from), IpAddr::V4(to)) => Self::Ip4 {
                transport,
                source: SocketAddrV4::new(from, source.port()),
                destination: SocketAddrV4::new(to, destination.port()),
            },
            _ => Self::Ip6 {
                transport,
                source: over_ip6(source),
                destination: over_ip6(destination),
            },
        }
    }
}

fn over_ip6(address: SocketAddr) -> SocketAddrV6 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(source: &str, destination: &str) -> String {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let command = Command::Proxy(Route::tcp(address(source), address(destination)));
        let mut room = [0; 107];
        let len = write_v1(&command, &mut room).expect("room");
        String::from_utf8_lossy(&room[..len]).into_owned()
    }

    #[test]
    fn both_ends_are_of_one_family() {
        assert_eq!(
            route("1.2.3.4:5", "[::ffff:6.7.8.9]:10"),
            "PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n"
        );
        assert_eq!(
            route("1.2.3.4:5", "[2001:db8::1]:10"),
            "PROXY TCP6 ::ffff:102:304 2001:db8::1 5 10\r\n"
        );
    }
}
