//! Headers byte by byte, right ones and wrong ones.

use std::net::SocketAddr;

use adit::limits;
use adit::proxy_protocol::{
    ClientFlags, Command, LinePart, ParseError, Parsed, Route, Ssl, Tlv, TlvFault, Transport,
    Version, WriteError, parse, write_v1, write_v2,
};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn tcp(source: &str, destination: &str) -> Command<'static> {
    Command::Proxy(Route::tcp(address(source), address(destination)))
}

/// Hexadecimal, with spaces where they help.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("a byte")
        })
        .collect()
}

/// A header of version 2 from its 13th byte, with the length that it has.
fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let len = u16::try_from(body.len()).expect("a length");
    bytes.extend([version_command, family]);
    bytes.extend(len.to_be_bytes());
    bytes.extend(body);
    bytes
}

const ENDS_4: &str = "c0000201 c6336407 dc04 01bb";

/// Version 2, TCP over IPv4, with these TLVs.
fn with_tlvs(tlvs: &str) -> Vec<u8> {
    v2(0x21, 0x11, &hex(&format!("{ENDS_4} {tlvs}")))
}

#[test]
fn lines_that_are_right() {
    let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), 104);
    let worst = longest.replace("TCP6", "UNKNOWN");
    assert_eq!(worst.len(), 107);
    let unknown = Command::Proxy(Route::Unknown);
    let all = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    for (line, command) in [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            tcp("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            tcp("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            tcp("0.0.0.0:0", "0.0.0.0:0"),
        ),
        ("PROXY TCP6 :: ::1 0 1\r\n", tcp("[::]:0", "[::1]:1")),
        (
            "PROXY TCP6 2001:DB8::a 2001:0db8:0:0:0:0:0:000B 1 2\r\n",
            tcp("[2001:db8::a]:1", "[2001:db8::b]:2"),
        ),
        (longest, tcp(all, all)),
        // As inet_ntop writes it, and so HAProxy and nginx.
        (
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::b 1 2\r\n",
            tcp("192.0.2.1:1", "[2001:db8::b]:2"),
        ),
        ("PROXY UNKNOWN\r\n", unknown),
        ("PROXY UNKNOWN \r\n", unknown),
        ("PROXY UNKNOWN what\rever\n, \0\r\n", unknown),
        (&worst, unknown),
    ] {
        let stream = format!("{line}\r\nGET / HTTP/1.1\r\n");
        let Ok(Parsed::Whole(header)) = parse(stream.as_bytes()) else {
            panic!("{line:?}: {:?}", parse(stream.as_bytes()));
        };
        assert_eq!(header.command, command, "{line:?}");
        assert_eq!(header.len, line.len(), "{line:?}");
        assert_eq!(header.version, Version::One, "{line:?}");
        assert_eq!(header.tlvs.iter().count(), 0, "{line:?}");
    }
}

#[test]
fn lines_that_are_wrong() {
    use LinePart::*;
    let bad = ParseError::Line;
    for (line, error) in [
        ("GET / HTTP/1.1\r\n", ParseError::NotProxy),
        ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", ParseError::NotProxy),
        ("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", ParseError::NotProxy),
        (" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", ParseError::NotProxy),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", bad(Protocol)),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", bad(Protocol)),
        ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", bad(Protocol)),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", bad(Protocol)),
        ("PROXY TCP4\r\n", bad(Protocol)),
        ("PROXY UNKNOWNS\r\n", bad(Protocol)),
        ("PROXY UNKNOWN\rX\r\n", bad(Protocol)),
        ("PROXY unknown\r\n", bad(Protocol)),
        ("PROXY TCP4 \r\n", bad(SourceAddress)),
        ("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP6 fe80::1%lo ::1 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP6 1::2::3 ::1 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP6 00001::2 ::1 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n", bad(SourceAddress)),
        ("PROXY TCP4 1.2.3.4\r\n", bad(DestinationAddress)),
        ("PROXY TCP4 1.2.3.4 host 1 2\r\n", bad(DestinationAddress)),
        (
            "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
            bad(DestinationAddress),
        ),
        ("PROXY TCP4 1.2.3.4 1.2.3.4\r\n", bad(SourcePort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", bad(SourcePort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", bad(SourcePort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", bad(SourcePort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", bad(DestinationPort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", bad(DestinationPort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n", bad(DestinationPort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n", bad(DestinationPort)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", bad(End)),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", bad(End)),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
        assert!(!error.to_string().is_empty());
    }
    // Neither a single LF nor a single CR ends a line, and nothing does behind
    // its 107th byte.
    for end in ["\n", "\r", "\r\r", "\n\r"] {
        let line = format!("PROXY TCP4 1.2.3.4 1.2.3.4 1 2{end}");
        let parsed = parse(line.as_bytes());
        assert!(matches!(parsed, Ok(Parsed::Partial { .. })), "{parsed:?}");
    }
    let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert!(matches!(parse(line.as_bytes()), Ok(Parsed::Whole(_))));
    let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16));
    assert_eq!(parse(line.as_bytes()), Err(ParseError::LineTooLong));
    assert_eq!(parse(&line.as_bytes()[..106]), Err(ParseError::LineTooLong));
}

#[test]
fn binary_headers_that_are_right() {
    let ends_6 = format!("{:032x} {:032x} 0001 0002", 0x0a_u8, 0x0b_u8);
    let mut unix = [0; 216];
    unix[..9].copy_from_slice(b"/run/x\0yz");
    unix[108..113].copy_from_slice(b"\0ab\0c");
    let udp_4 = Command::Proxy(Route::Ip4 {
        transport: Transport::Datagram,
        source: "192.0.2.1:56324".parse().expect("an address"),
        destination: "198.51.100.7:443".parse().expect("an address"),
    });
    let unknown = Command::Proxy(Route::Unknown);
    let unix_as = |transport| {
        Command::Proxy(Route::Unix {
            transport,
            source: b"/run/x",
            destination: b"\0ab\0c",
        })
    };
    for (bytes, command) in [
        (with_tlvs(""), tcp("192.0.2.1:56324", "198.51.100.7:443")),
        (v2(0x21, 0x12, &hex(ENDS_4)), udp_4),
        (v2(0x21, 0x21, &hex(&ends_6)), tcp("[::a]:1", "[::b]:2")),
        (v2(0x21, 0x31, &unix), unix_as(Transport::Stream)),
        (v2(0x21, 0x32, &unix), unix_as(Transport::Datagram)),
        // Some of it is unspecified: so are the ends.
        (v2(0x21, 0x00, b""), unknown),
        (v2(0x21, 0x01, b""), unknown),
        (v2(0x21, 0x10, &hex(ENDS_4)), unknown),
        (v2(0x21, 0x30, &unix), unknown),
        // LOCAL, with whatever behind it.
        (v2(0x20, 0x00, b""), Command::Local),
        (v2(0x20, 0x11, &hex(ENDS_4)), Command::Local),
        (v2(0x20, 0x11, b"\x01"), Command::Local),
        (v2(0x20, 0xff, b"\x01\xff\xff\x03"), Command::Local),
    ] {
        let len = bytes.len();
        let stream = [&bytes[..], b"\r\n\r\n"].concat();
        let Ok(Parsed::Whole(header)) = parse(&stream) else {
            panic!("{bytes:x?}: {:?}", parse(&stream));
        };
        assert_eq!((header.command, header.len), (command, len), "{bytes:x?}");
        assert_eq!(header.version, Version::Two);
        assert_eq!(header.tlvs.iter().count(), 0, "{bytes:x?}");
    }
}

#[test]
fn binary_headers_that_are_wrong() {
    let too_long = limits::PROXY_HEADER_MAX + 1;
    let tlv = |kind, fault| ParseError::Tlv { kind, fault };
    let ssl = "20 000d 01 00000000";
    for (bytes, error) in [
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), ParseError::NotProxy),
        (b"\r\n\r\n\n".to_vec(), ParseError::NotProxy),
        (v2(0x11, 0x11, &hex(ENDS_4)), ParseError::Version(1)),
        (v2(0x31, 0x11, &hex(ENDS_4)), ParseError::Version(3)),
        (v2(0x22, 0x11, &hex(ENDS_4)), ParseError::Command(2)),
        (v2(0x21, 0x41, &hex(ENDS_4)), ParseError::Family(0x41)),
        (v2(0x21, 0x13, &hex(ENDS_4)), ParseError::Family(0x13)),
        (v2(0x21, 0x11, &[0; 11]), ParseError::AddressesCut),
        (v2(0x21, 0x21, &[0; 35]), ParseError::AddressesCut),
        (v2(0x21, 0x31, &[0; 215]), ParseError::AddressesCut),
        (
            v2(0x21, 0x11, &vec![4; too_long - 16]),
            ParseError::TooLong(too_long),
        ),
        (with_tlvs("04"), tlv(4, TlvFault::Cut)),
        (with_tlvs("04 00"), tlv(4, TlvFault::Cut)),
        (with_tlvs("04 0001"), tlv(4, TlvFault::Cut)),
        (with_tlvs("02 0001 61 01 0002 68"), tlv(1, TlvFault::Cut)),
        (with_tlvs("03 0003 000000"), tlv(3, TlvFault::Length)),
        (with_tlvs("03 0005 0000000000"), tlv(3, TlvFault::Length)),
        (
            with_tlvs("03 0004 00000000 03 0004 00000000"),
            tlv(3, TlvFault::Repeated),
        ),
        (with_tlvs("20 0004 01000000"), tlv(0x20, TlvFault::Length)),
        (
            with_tlvs(&format!("{ssl} 21 0006 544c5376 31")),
            tlv(0x20, TlvFault::Cut),
        ),
        (
            with_tlvs(&format!("05 0081 {}", "ab".repeat(129))),
            tlv(5, TlvFault::Length),
        ),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{bytes:x?}");
        assert!(!error.to_string().is_empty());
    }
    let longest = v2(0x20, 0x00, &vec![0; limits::PROXY_HEADER_MAX - 16]);
    assert!(matches!(parse(&longest), Ok(Parsed::Whole(_))));
}

#[test]
fn what_is_said_beside_the_addresses() {
    let ssl = "20 0034 07 00000012 21 0007 544c5376312e33 22 0002 c3a4 23 0001 43 24 0001 53 \
        25 0001 4b 7f 0001 3f 26 0001 47 27 0001 48 28 0002 3082 22 0000";
    let id = "ab".repeat(128);
    let bytes = with_tlvs(&format!(
        "01 0002 6832 02 0001 ff 04 0003 000000 {ssl} 05 0080 {id} 30 0003 6e6574 ee 0000 04 0000"
    ));
    let Ok(Parsed::Whole(header)) = parse(&bytes) else {
        panic!("{:?}", parse(&bytes));
    };
    let expected = [
        Tlv::Alpn(b"h2"),
        Tlv::Authority(b"\xff"),
        Tlv::Noop(3),
        Tlv::Ssl(Ssl {
            client: ClientFlags::SSL | ClientFlags::CERT_CONN | ClientFlags::CERT_SESS,
            verify: 18,
            version: Some(b"TLSv1.3"),
            cn: Some("ä".as_bytes()),
            cipher: Some(b"C"),
            sig_alg: Some(b"S"),
            key_alg: Some(b"K"),
            group: Some(b"G"),
            sig_scheme: Some(b"H"),
            client_cert: Some(b"\x30\x82"),
        }),
        Tlv::UniqueId(&[0xab; 128]),
        Tlv::Netns(b"net"),
        Tlv::Other {
            kind: 0xee,
            value: b"",
        },
        Tlv::Noop(0),
    ];
    assert!(header.tlvs.iter().eq(expected), "{:?}", header.tlvs);
    assert!((ClientFlags::SSL | ClientFlags::CERT_SESS).contains(ClientFlags::SSL));
    assert!(!ClientFlags::SSL.contains(ClientFlags::CERT_CONN));
}

/// The sum of this header was taken with another program (Python, bit by bit
/// with the polynomial 0x82f63b78), not with the code under test.
#[test]
fn a_checksum_is_that_of_the_header_with_zeros_in_its_place() {
    let right = with_tlvs(&format!("02 0003 612e62 03 0004 {SUM} 04 0001 00"));
    let Ok(Parsed::Whole(header)) = parse(&right) else {
        panic!("{:?}", parse(&right));
    };
    let sum = u32::from_str_radix(SUM, 16).expect("a number");
    assert!(header.tlvs.iter().any(|tlv| tlv == Tlv::Crc32c(sum)));
    let wrong = with_tlvs(&format!("02 0003 612e63 03 0004 {SUM} 04 0001 00"));
    assert!(matches!(
        parse(&wrong),
        Err(ParseError::Checksum { stated, .. }) if stated == sum
    ));
    let mut room = [0; 64];
    let tlvs = [Tlv::Authority(b"a.b"), Tlv::Crc32c(0), Tlv::Noop(1)];
    let command = tcp("192.0.2.1:56324", "198.51.100.7:443");
    let len = write_v2(&command, &tlvs, &mut room).expect("room");
    assert_eq!(room[..len], right);
}

const SUM: &str = "e67fc8dd";

#[test]
fn what_is_written_to_the_byte() {
    let mut room = [0xaa; 512];
    for (command, line) in [
        (
            tcp("192.0.2.1:1", "198.51.100.7:65535"),
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 65535\r\n",
        ),
        (
            tcp("[2001:db8::1]:1", "[::]:0"),
            "PROXY TCP6 2001:db8::1 :: 1 0\r\n",
        ),
        (Command::Local, "PROXY UNKNOWN\r\n"),
        (Command::Proxy(Route::Unknown), "PROXY UNKNOWN\r\n"),
    ] {
        let len = write_v1(&command, &mut room).expect("room");
        assert_eq!(room[..len], *line.as_bytes());
        for room in [0, 1, len - 1] {
            let written = write_v1(&command, &mut vec![0; room]);
            assert_eq!(written, Err(WriteError::NoRoom));
        }
        assert_eq!(write_v1(&command, &mut vec![0; len]), Ok(len));
    }
    let unix = Command::Proxy(Route::Unix {
        transport: Transport::Datagram,
        source: b"",
        destination: &[b'/'; 108],
    });
    let mut unix_body = [0; 216];
    unix_body[108..].fill(b'/');
    for (command, tlvs, bytes) in [
        (
            tcp("192.0.2.1:56324", "198.51.100.7:443"),
            &[Tlv::Alpn(b"h2"), Tlv::Noop(2)][..],
            with_tlvs("01 0002 6832 04 0002 0000"),
        ),
        (Command::Local, &[], v2(0x20, 0, b"")),
        (Command::Proxy(Route::Unknown), &[], v2(0x21, 0, b"")),
        (unix, &[], v2(0x21, 0x32, &unix_body)),
    ] {
        let len = write_v2(&command, tlvs, &mut room).expect("room");
        assert_eq!(room[..len], bytes);
        for room in 0..len {
            let written = write_v2(&command, tlvs, &mut vec![0; room]);
            assert_eq!(written, Err(WriteError::NoRoom), "{room}");
        }
    }
}

#[test]
fn what_cannot_be_said_is_not_written() {
    let mut room = vec![0; 200_000];
    let long = vec![b'x'; 65_536];
    let most = vec![b'x'; 65_535];
    let unix = |source| {
        Command::Proxy(Route::Unix {
            transport: Transport::Stream,
            source,
            destination: b"",
        })
    };
    let local = Command::Local;
    let reserved = |kind| Tlv::Other { kind, value: b"" };
    for (command, tlvs, error) in [
        (local, &[Tlv::Authority(&long)][..], WriteError::TooLong),
        (local, &[Tlv::Noop(65_536)], WriteError::TooLong),
        // It fits, but the header around it does not.
        (local, &[Tlv::Authority(&most)], WriteError::TooLong),
        (local, &[Tlv::UniqueId(&[0; 129])], WriteError::UniqueId),
        (local, &[reserved(3)], WriteError::Kind(3)),
        (local, &[reserved(0x20)], WriteError::Kind(0x20)),
        (
            local,
            &[Tlv::Crc32c(0), Tlv::Crc32c(0)],
            WriteError::TwoChecksums,
        ),
        (unix(&[b'x'; 109]), &[], WriteError::UnixName),
        (unix(b"/run\0/x"), &[], WriteError::UnixName),
    ] {
        assert_eq!(write_v2(&command, tlvs, &mut room), Err(error));
        assert!(!error.to_string().is_empty());
    }
}
