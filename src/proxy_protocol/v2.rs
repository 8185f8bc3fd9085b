//! Version 2: binary (section 2.2).
//!
//! ```text
//!   signature (12) | version, command (1) | family, transport (1) | length (2)
//!   | addresses, as long as the family's are | TLVs to the end
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use super::error::{ParseError, WriteError};
use super::tlv::{self, Room};
use super::{Command, Header, Parsed, Route, Tlv, Tlvs, Transport, Version};
use crate::limits;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes up to and with the length.
const HEAD: usize = 16;

/// `sun_path` of a Unix socket's address.
const UNIX_NAME: usize = 108;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, ParseError> {
    // In the order of the bytes, so that the first that is wrong decides,
    // whether or not those behind it are there.
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return Err(ParseError::NotProxy);
    }
    let Some(&version_command) = bytes.get(12) else {
        return Ok(Parsed::Partial { needed: HEAD });
    };
    if version_command >> 4 != 2 {
        return Err(ParseError::Version(version_command >> 4));
    }
    let local = match version_command & 0x0f {
        0 => true,
        1 => false,
        command => return Err(ParseError::Command(command)),
    };
    let Some(&family) = bytes.get(13) else {
        return Ok(Parsed::Partial { needed: HEAD });
    };
    // LOCAL has a family to be passed over, whatever it is.
    let shape = match local {
        true => None,
        false => Some(Shape::of(family)?),
    };
    let Some(&[_, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low]) = bytes.first_chunk::<HEAD>()
    else {
        return Ok(Parsed::Partial { needed: HEAD });
    };
    let len = HEAD + usize::from(u16::from_be_bytes([high, low]));
    if len > limits::PROXY_HEADER_MAX {
        return Err(ParseError::TooLong(len));
    }
    let tlvs_at = HEAD + shape.map_or(0, Shape::addresses_len);
    if tlvs_at > len {
        return Err(ParseError::AddressesCut);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Parsed::Partial { needed: len });
    };
    let (command, tlvs) = match shape {
        None => (Command::Local, Tlvs::default()),
        Some(shape) => {
            let (tlvs, checksum_at) = Tlvs::check(&header[tlvs_at..])?;
            if let Some(at) = checksum_at {
                verify(header, tlvs_at + at)?;
            }
            (Command::Proxy(shape.route(&header[HEAD..tlvs_at])), tlvs)
        }
    };
    Ok(Parsed::Whole(Header {
        version: Version::Two,
        command,
        tlvs,
        len,
    }))
}

/// Family and transport.
#[derive(Clone, Copy)]
struct Shape {
    family: Family,
    transport: Option<Transport>,
}

#[derive(Clone, Copy)]
enum Family {
    Unspecified,
    Ip4,
    Ip6,
    Unix,
}

impl Shape {
    fn of(byte: u8) -> Result<Self, ParseError> {
        let family = match byte >> 4 {
            0 => Family::Unspecified,
            1 => Family::Ip4,
            2 => Family::Ip6,
            3 => Family::Unix,
            _ => return Err(ParseError::Family(byte)),
        };
        let transport = match byte & 0x0f {
            0 => None,
            1 => Some(Transport::Stream),
            2 => Some(Transport::Datagram),
            _ => return Err(ParseError::Family(byte)),
        };
        Ok(Self { family, transport })
    }

    fn addresses_len(self) -> usize {
        match self.family {
            Family::Unspecified => 0,
            Family::Ip4 => 2 * (4 + 2),
            Family::Ip6 => 2 * (16 + 2),
            Family::Unix => 2 * UNIX_NAME,
        }
    }

    /// What the addresses say, of which there are [`addresses_len`] bytes.
    ///
    /// [`addresses_len`]: Self::addresses_len
    fn route(self, addresses: &[u8]) -> Route<'_> {
        let Some(transport) = self.transport else {
            return Route::Unknown;
        };
        let read = match self.family {
            Family::Unspecified => None,
            Family::Ip4 => ip4(transport, addresses),
            Family::Ip6 => ip6(transport, addresses),
            Family::Unix => addresses.split_at_checked(UNIX_NAME).map(|(from, to)| {
                let (source, destination) = (unix_name(from), unix_name(to));
                Route::Unix {
                    transport,
                    source,
                    destination,
                }
            }),
        };
        read.unwrap_or(Route::Unknown)
    }
}

fn ip4(transport: Transport, addresses: &[u8]) -> Option<Route<'static>> {
    let (source, rest) = addresses.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (from, to) = ports(rest)?;
    Some(Route::Ip4 {
        transport,
        source: SocketAddrV4::new(Ipv4Addr::from(*source), from),
        destination: SocketAddrV4::new(Ipv4Addr::from(*destination), to),
    })
}

fn ip6(transport: Transport, addresses: &[u8]) -> Option<Route<'static>> {
    let (source, rest) = addresses.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (from, to) = ports(rest)?;
    Some(Route::Ip6 {
        transport,
        source: SocketAddrV6::new(Ipv6Addr::from(*source), from, 0, 0),
        destination: SocketAddrV6::new(Ipv6Addr::from(*destination), to, 0, 0),
    })
}

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let (source, rest) = bytes.split_first_chunk::<2>()?;
    let destination = rest.first_chunk::<2>()?;
    Some((
        u16::from_be_bytes(*source),
        u16::from_be_bytes(*destination),
    ))
}

/// A path up to its zero, or an abstract name without the zeros behind it.
fn unix_name(field: &[u8]) -> &[u8] {
    let len = match field.first() {
        Some(0) => field.iter().rposition(|byte| *byte != 0).map(|at| at + 1),
        _ => Some(
            field
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(field.len()),
        ),
    };
    &field[..len.unwrap_or(0)]
}

/// Compares the checksum, whose four bytes are at `at`, with that of the
/// header with zeros in their place (section 2.2.3).
fn verify(header: &[u8], at: usize) -> Result<(), ParseError> {
    let Some((front, rest)) = header.split_at_checked(at) else {
        return Ok(());
    };
    let Some((stated, back)) = rest.split_first_chunk::<4>() else {
        return Ok(());
    };
    let stated = u32::from_be_bytes(*stated);
    let computed = checksum(front, back);
    if stated == computed {
        Ok(())
    } else {
        Err(ParseError::Checksum { stated, computed })
    }
}

fn checksum(front: &[u8], back: &[u8]) -> u32 {
    let sum = crc32c::crc32c(front);
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    crc32c::crc32c_append(sum, back)
}

pub(super) fn write(
    command: &Command<'_>,
    tlvs: &[Tlv<'_>],
    room: &mut [u8],
) -> Result<usize, WriteError> {
    let mut room = Room::new(room);
    room.put(&SIGNATURE)?;
    match command {
        Command::Local => room.put(&[0x20, 0x00, 0, 0])?,
        Command::Proxy(route) => {
            room.put(&[0x21, family(route), 0, 0])?;
            put_addresses(route, &mut room)?;
        }
    }
    let checksum_at = tlv::write_all(tlvs, &mut room)?;
    let written = room.written();
    let len = u16::try_from(written.len() - HEAD).map_err(|_| WriteError::TooLong)?;
    written[HEAD - 2..HEAD].copy_from_slice(&len.to_be_bytes());
    if let Some(at) = checksum_at {
        let sum = checksum(&written[..at], &written[at + 4..]);
        written[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(written.len())
}

fn family(route: &Route<'_>) -> u8 {
    let (family, transport) = match route {
        Route::Unknown => return 0,
        Route::Ip4 { transport, .. } => (0x10, transport),
        Route::Ip6 { transport, .. } => (0x20, transport),
        Route::Unix { transport, .. } => (0x30, transport),
    };
    family
        | match transport {
            Transport::Stream => 1,
            Transport::Datagram => 2,
        }
}

fn put_addresses(route: &Route<'_>, room: &mut Room<'_>) -> Result<(), WriteError> {
    let ports = match route {
        Route::Unknown => return Ok(()),
        Route::Ip4 {
            source,
            destination,
            ..
        } => {
            room.put(&source.ip().octets())?;
            room.put(&destination.ip().octets())?;
            [source.port(), destination.port()]
        }
        Route::Ip6 {
            source,
            destination,
            ..
        } => {
            room.put(&source.ip().octets())?;
            room.put(&destination.ip().octets())?;
            [source.port(), destination.port()]
        }
        Route::Unix {
            source,
            destination,
            ..
        } => {
            put_unix_name(source, room)?;
            return put_unix_name(destination, room);
        }
    };
    for port in ports {
        room.put(&port.to_be_bytes())?;
    }
    Ok(())
}

fn put_unix_name(name: &[u8], room: &mut Room<'_>) -> Result<(), WriteError> {
    let is_path = name.first().is_some_and(|byte| *byte != 0);
    if name.len() > UNIX_NAME || (is_path && name.contains(&0)) {
        return Err(WriteError::UnixName);
    }
    room.put(name)?;
    room.put(&[0; UNIX_NAME][name.len()..])
}
