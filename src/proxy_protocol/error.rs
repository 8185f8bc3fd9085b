//! What is wrong with a header.

use std::fmt;

/// Why bytes are no header. All are the sender's fault, or that of whoever
/// expects a header from this sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// They begin like neither version: the sender does not speak the PROXY
    /// protocol.
    NotProxy,
    /// Version 1: no CRLF in the first 107 bytes.
    LineTooLong,
    /// Version 1: this part of the line is not as the specification has it.
    Line(LinePart),
    /// The binary signature, with a version that is not 2.
    Version(u8),
    /// Version 2: neither LOCAL (0) nor PROXY (1).
    Command(u8),
    /// Version 2: no such family and protocol, the high and the low four bits.
    Family(u8),
    /// Version 2: longer than is read, in bytes.
    TooLong(usize),
    /// Version 2: too short for the addresses of its family.
    AddressesCut,
    /// Version 2: what is said in this TLV is not well-formed.
    Tlv {
        /// Its type.
        kind: u8,
        /// What is wrong with it.
        fault: TlvFault,
    },
    /// Version 2: the bytes are not those that the sender has summed up.
    Checksum {
        /// As the sender states it.
        stated: u32,
        /// As the bytes are.
        computed: u32,
    },
}

/// The parts of a line of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinePart {
    /// TCP4, TCP6 or UNKNOWN, and what separates it from the rest.
    Protocol,
    /// Who made the connection.
    SourceAddress,
    /// To whom.
    DestinationAddress,
    /// The port at the source.
    SourcePort,
    /// The port at the destination.
    DestinationPort,
    /// The end: there is more than a line has.
    End,
}

/// What is wrong with a TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvFault {
    /// It is longer than the header, or than the TLV around it.
    Cut,
    /// Its value has a length that this type cannot have.
    Length,
    /// It may be there only once.
    Repeated,
}

/// Why a header cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The room ends before the header.
    NoRoom,
    /// A length is above what its 16 bits can say.
    TooLong,
    /// The name of a Unix socket has more than 108 bytes, or a path has a zero
    /// in it.
    UnixName,
    /// A unique id has more than 128 bytes.
    UniqueId,
    /// This type has a [`Tlv`](super::Tlv) of its own.
    Kind(u8),
    /// There is more than one checksum.
    TwoChecksums,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProxy => f.write_str("no PROXY header: is the sender configured to send one?"),
            Self::LineTooLong => f.write_str("PROXY line without CRLF in its first 107 bytes"),
            Self::Line(part) => write!(f, "PROXY line with a bad {part}"),
            Self::Version(version) => {
                write!(f, "PROXY header of version {version}; there are 1 and 2")
            }
            Self::Command(command) => write!(
                f,
                "PROXY header with command {command}; there are 0 (LOCAL) and 1 (PROXY)"
            ),
            Self::Family(byte) => write!(
                f,
                "PROXY header with unknown address family and protocol 0x{byte:02x}"
            ),
            Self::TooLong(len) => write!(
                f,
                "PROXY header of {len} bytes; at most {} are read",
                crate::limits::PROXY_HEADER_MAX
            ),
            Self::AddressesCut => f.write_str("PROXY header too short for its addresses"),
            Self::Tlv { kind, fault } => write!(f, "PROXY header with TLV 0x{kind:02x} {fault}"),
            Self::Checksum { stated, computed } => write!(
                f,
                "PROXY header with checksum {stated:08x}, but its bytes have {computed:08x}"
            ),
        }
    }
}

impl fmt::Display for LinePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "protocol; there are TCP4, TCP6 and UNKNOWN",
            Self::SourceAddress => "source address",
            Self::DestinationAddress => "destination address",
            Self::SourcePort => "source port",
            Self::DestinationPort => "destination port",
            Self::End => "end; it has four fields behind its protocol",
        })
    }
}

impl fmt::Display for TlvFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "cut short",
            Self::Length => "of an impossible length",
            Self::Repeated => "stated twice",
        })
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("the room is too small for the PROXY header"),
            Self::TooLong => f.write_str("a PROXY header cannot be that long"),
            Self::UnixName => {
                f.write_str("a Unix socket's name has at most 108 bytes, and a path no zero")
            }
            Self::UniqueId => f.write_str("a unique id has at most 128 bytes"),
            Self::Kind(kind) => write!(f, "TLV 0x{kind:02x} has a form of its own"),
            Self::TwoChecksums => f.write_str("a PROXY header has one checksum"),
        }
    }
}

impl std::error::Error for ParseError {}
impl std::error::Error for WriteError {}
