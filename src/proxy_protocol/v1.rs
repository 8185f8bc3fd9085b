//! Version 1: a line of text (section 2.1).
//!
//! ```text
//!   PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n
//! ```

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::str::{self, FromStr};

use super::error::{LinePart, ParseError, WriteError};
use super::{Command, Header, Parsed, Route, Tlvs, Transport, Version};

/// The shortest line: `PROXY UNKNOWN` and CRLF.
pub(super) const LINE_MIN: usize = 15;

/// The longest line, CRLF included.
const LINE_MAX: usize = 107;

#[derive(Clone, Copy)]
enum Protocol {
    Tcp4,
    Tcp6,
    Unknown,
}

/// How a line begins.
const FRONTS: [(&[u8], Protocol); 3] = [
    (b"PROXY TCP4 ", Protocol::Tcp4),
    (b"PROXY TCP6 ", Protocol::Tcp6),
    (b"PROXY UNKNOWN", Protocol::Unknown),
];

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let front = front(bytes)?;
    let window = &bytes[..bytes.len().min(LINE_MAX)];
    let end = window.windows(2).position(|pair| pair == b"\r\n");
    let (Some((protocol, from)), Some(end)) = (front, end) else {
        return more(window);
    };
    let route = match protocol {
        // Whatever else the line says is to be passed over.
        Protocol::Unknown => Route::Unknown,
        Protocol::Tcp4 => {
            let ends = ends(&bytes[from..end])?;
            Route::Ip4 {
                transport: Transport::Stream,
                source: SocketAddrV4::new(ends.source, ends.source_port),
                destination: SocketAddrV4::new(ends.destination, ends.destination_port),
            }
        }
        Protocol::Tcp6 => {
            let ends = ends(&bytes[from..end])?;
            Route::Ip6 {
                transport: Transport::Stream,
                source: SocketAddrV6::new(ends.source, ends.source_port, 0, 0),
                destination: SocketAddrV6::new(ends.destination, ends.destination_port, 0, 0),
            }
        }
    };
    Ok(Parsed::Whole(Header {
        version: Version::One,
        command: Command::Proxy(route),
        tlvs: Tlvs::default(),
        len: end + 2,
    }))
}

/// The protocol, and where what follows it begins; `None` if the bytes end
/// before that is known.
fn front(bytes: &[u8]) -> Result<Option<(Protocol, usize)>, ParseError> {
    for (front, protocol) in FRONTS {
        let common = front.len().min(bytes.len());
        if bytes[..common] != front[..common] {
            continue;
        }
        if common < front.len() {
            return Ok(None);
        }
        return match (protocol, &bytes[common..]) {
            (Protocol::Unknown, [] | [b'\r']) => Ok(None),
            (Protocol::Unknown, [b' ', ..] | [b'\r', b'\n', ..])
            | (Protocol::Tcp4 | Protocol::Tcp6, _) => Ok(Some((protocol, common))),
            _ => Err(ParseError::Line(LinePart::Protocol)),
        };
    }
    Err(if bytes.starts_with(b"PROXY ") {
        ParseError::Line(LinePart::Protocol)
    } else {
        ParseError::NotProxy
    })
}

/// A line that has not ended: whether it may.
fn more(window: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let missing = match window.last() {
        Some(b'\r') => 1,
        _ => 2,
    };
    let needed = (window.len() + missing).max(LINE_MIN);
    if needed > LINE_MAX {
        return Err(ParseError::LineTooLong);
    }
    Ok(Parsed::Partial { needed })
}

struct Ends<A> {
    source: A,
    destination: A,
    source_port: u16,
    destination_port: u16,
}

/// The four fields, with one space between each two.
fn ends<A: FromStr>(fields: &[u8]) -> Result<Ends<A>, ParseError> {
    let mut fields = fields.split(|byte| *byte == b' ');
    let mut field = |part| fields.next().ok_or(ParseError::Line(part));
    let ends = Ends {
        source: address(field(LinePart::SourceAddress)?, LinePart::SourceAddress)?,
        destination: address(
            field(LinePart::DestinationAddress)?,
            LinePart::DestinationAddress,
        )?,
        source_port: port(field(LinePart::SourcePort)?, LinePart::SourcePort)?,
        destination_port: port(field(LinePart::DestinationPort)?, LinePart::DestinationPort)?,
    };
    match fields.next() {
        None => Ok(ends),
        Some(_) => Err(ParseError::Line(LinePart::End)),
    }
}

/// The standard library takes what the specification does: no leading zeros in
/// IPv4, no zone in IPv6. It takes IPv4 in the tail of IPv6 as well, which the
/// specification does not name but HAProxy and nginx write.
fn address<A: FromStr>(field: &[u8], part: LinePart) -> Result<A, ParseError> {
    let text = str::from_utf8(field).map_err(|_| ParseError::Line(part))?;
    text.parse().map_err(|_| ParseError::Line(part))
}

fn port(field: &[u8], part: LinePart) -> Result<u16, ParseError> {
    let bad = Err(ParseError::Line(part));
    if !(1..=5).contains(&field.len()) || (field.len() > 1 && field[0] == b'0') {
        return bad;
    }
    let mut port: u32 = 0;
    for digit in field {
        if !digit.is_ascii_digit() {
            return bad;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    u16::try_from(port).or(bad)
}

pub(super) fn write(command: &Command<'_>, room: &mut [u8]) -> Result<usize, WriteError> {
    let before = room.len();
    let mut rest = room;
    match command {
        Command::Proxy(Route::Ip4 {
            transport: Transport::Stream,
            source,
            destination,
        }) => write!(
            rest,
            "PROXY TCP4 {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        ),
        Command::Proxy(Route::Ip6 {
            transport: Transport::Stream,
            source,
            destination,
        }) => write!(
            rest,
            "PROXY TCP6 {} {} {} {}\r\n",
            Groups(*source.ip()),
            Groups(*destination.ip()),
            source.port(),
            destination.port()
        ),
        _ => rest.write_all(b"PROXY UNKNOWN\r\n"),
    }
    .map_err(|_| WriteError::NoRoom)?;
    Ok(before - rest.len())
}

/// An IPv6 address in hexadecimal groups to its end, which is the only form
/// that the specification names.
struct Groups(Ipv6Addr);

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.to_ipv4_mapped(), self.0.segments()) {
            (Some(_), [.., high, low]) => write!(f, "::ffff:{high:x}:{low:x}"),
            (None, _) => fmt::Display::fmt(&self.0, f),
        }
    }
}
