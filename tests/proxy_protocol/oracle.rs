//! The same headers in the hands of another author's codec, the crate
//! `proxy-header`. It knows no Unix addresses and checks no checksum.

use std::net::SocketAddr;

use adit::proxy_protocol::{
    Command, Header, ParseError, Parsed, Route, Tlv, Transport, Version, parse, write_v1, write_v2,
};
use fastrand::Rng;
use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};

use crate::random;

const ROUNDS: u64 = 4_000;

fn theirs(bytes: &[u8]) -> Result<(ProxyHeader<'_>, usize), proxy_header::Error> {
    ProxyHeader::parse(bytes, ParseConfig::default())
}

/// The ends, as the other codec has them.
fn ends(command: &Command<'_>) -> Option<ProxiedAddress> {
    let (source, destination) = command.addresses()?;
    let protocol = match command {
        Command::Proxy(Route::Ip4 { transport, .. } | Route::Ip6 { transport, .. }) => {
            match transport {
                Transport::Stream => Protocol::Stream,
                Transport::Datagram => Protocol::Datagram,
            }
        }
        _ => return None,
    };
    Some(ProxiedAddress {
        protocol,
        source,
        destination,
    })
}

/// What both have read must be the same.
fn agree(ours: &Header<'_>, theirs: &(ProxyHeader<'_>, usize), seed: u64) {
    assert_eq!(ours.len, theirs.1, "seed {seed}");
    let proxied = theirs.0.proxied_address();
    assert_eq!(ends(&ours.command).as_ref(), proxied, "seed {seed}");
    if ours.command == Command::Local {
        return;
    }
    let mut others = theirs.0.tlvs();
    for tlv in ours.tlvs {
        let other = others.next().expect("as many TLVs");
        // It refuses texts that are not UTF-8.
        let Ok(other) = other else { continue };
        let other_parts = match &other {
            proxy_header::Tlv::Ssl(ssl) => Some((ssl.verify(), ssl.tlvs().count())),
            _ => None,
        };
        let mut raw = Vec::new();
        other.encode(&mut raw);
        match (tlv, other_parts) {
            (Tlv::Crc32c(sum), _) => assert_eq!(raw[3..], sum.to_be_bytes(), "seed {seed}"),
            // Repeated and unknown parts are not kept: compare what is.
            (Tlv::Ssl(ssl), Some((verify, _))) => {
                assert_eq!((ssl.client.0, ssl.verify), (raw[3], verify), "seed {seed}");
                let first = |kind| part(&raw[8..], kind);
                for (kind, ours) in [
                    (0x21, ssl.version),
                    (0x22, ssl.cn),
                    (0x23, ssl.cipher),
                    (0x24, ssl.sig_alg),
                    (0x25, ssl.key_alg),
                    (0x26, ssl.group),
                    (0x27, ssl.sig_scheme),
                    (0x28, ssl.client_cert),
                ] {
                    assert_eq!(ours, first(kind), "seed {seed}, part {kind:x}");
                }
            }
            _ => {
                let mut room = [0; 9000];
                let len = write_v2(&Command::Local, &[tlv], &mut room).expect("room");
                assert_eq!(room[16..len], raw, "seed {seed}");
            }
        }
    }
    assert!(others.next().is_none(), "seed {seed}");
}

/// The value of the first part of this type.
fn part(mut parts: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [kind, high, low, rest @ ..] = parts {
        let (value, behind) = rest.split_at(usize::from(*high) * 256 + usize::from(*low));
        if *kind == wanted {
            return Some(value);
        }
        parts = behind;
    }
    None
}

#[test]
fn it_reads_what_is_written_here() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::with_seed(seed);
        let command = random::command(&mut rng);
        let mut room = [0; 4096];
        let len = if rng.u8(..4) == 0 {
            write_v1(&command, &mut room)
        } else {
            write_v2(&command, &random::tlvs(&mut rng), &mut room)
        };
        let bytes = &room[..len.expect("room")];
        let Ok(Parsed::Whole(ours)) = parse(bytes) else {
            panic!("seed {seed}: {:?}", parse(bytes));
        };
        let theirs = theirs(bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        agree(&ours, &theirs, seed);
    }
}

#[test]
fn what_it_writes_is_read_here() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::with_seed(seed);
        let ends = loop {
            match ends(&random::command(&mut rng)) {
                Some(ends) => break ends,
                None if rng.u8(..8) == 0 => break ends_of_nobody(),
                None => {}
            }
        };
        let mut bytes = Vec::new();
        let is_stream = ends.protocol == Protocol::Stream;
        if rng.u8(..4) == 0 && is_stream {
            let header = ProxyHeader::with_address(ends.clone());
            header.encode_v1(&mut bytes).expect("encoded");
        } else {
            let text = String::from_utf8_lossy(&random::BYTES[rng.usize(..20)..60]).into_owned();
            let mut ssl = proxy_header::SslInfo::new(true, rng.bool(), rng.bool(), rng.u32(..));
            ssl.append_tlv(proxy_header::Tlv::SslVersion("TLSv1.3".into()));
            ssl.append_tlv(proxy_header::Tlv::SslCn(text.clone().into()));
            let tlvs = [
                proxy_header::Tlv::Alpn(text.as_bytes().to_vec().into()),
                proxy_header::Tlv::Authority(text.into()),
                proxy_header::Tlv::Noop(rng.usize(..5)),
                proxy_header::Tlv::Ssl(ssl),
                proxy_header::Tlv::UniqueId(vec![rng.u8(..); 128].into()),
            ];
            let count = rng.usize(..=tlvs.len());
            let header = ProxyHeader::with_tlvs(Some(ends.clone()), tlvs.into_iter().take(count));
            header.encode_v2(&mut bytes).expect("encoded");
        }
        let Ok(Parsed::Whole(ours)) = parse(&bytes) else {
            panic!("seed {seed}: {:?}", parse(&bytes));
        };
        assert_eq!(self::ends(&ours.command), Some(ends), "seed {seed}");
        agree(&ours, &theirs(&bytes).expect("its own"), seed);
    }
}

fn ends_of_nobody() -> ProxiedAddress {
    let nobody: SocketAddr = "0.0.0.0:0".parse().expect("an address");
    ProxiedAddress::stream(nobody, nobody)
}

/// Of damaged headers both say the same, but for what one of them is known to
/// be stricter about.
#[test]
fn both_find_the_same_damage() {
    let (mut whole, mut refused) = (0, 0);
    for seed in 0..4 * ROUNDS {
        let mut rng = Rng::with_seed(seed);
        let command = random::command(&mut rng);
        let mut room = [0; 4096];
        let len = if rng.bool() {
            write_v1(&command, &mut room)
        } else {
            write_v2(&command, &random::tlvs(&mut rng), &mut room)
        };
        let bytes = &mut room[..len.expect("room")];
        let at = rng.usize(..bytes.len().min(60));
        bytes[at] = match rng.u8(..3) {
            0 => rng.u8(..),
            1 => bytes[at] ^ (1 << rng.u8(..8)),
            _ => b" \r\n.:01P"[rng.usize(..8)],
        };
        match (parse(bytes), theirs(bytes)) {
            (Ok(Parsed::Whole(ours)), Ok(theirs)) => {
                whole += 1;
                agree(&ours, &theirs, seed);
            }
            (Ok(Parsed::Whole(ours)), Err(_)) => {
                // The specification lets a receiver pass these over.
                let family = bytes[13];
                let lenient = match ours.version {
                    Version::One => ours.command == Command::Proxy(Route::Unknown),
                    Version::Two => {
                        ours.command == Command::Local || family >> 4 == 0 || family & 15 == 0
                    }
                };
                assert!(lenient, "seed {seed}: {ours:?}");
            }
            (Ok(Parsed::Partial { .. }), theirs) => assert!(theirs.is_err(), "seed {seed}"),
            (Err(error), Ok(_)) => {
                // Ports such as +1 and 01, any byte behind "PROXY", a line of
                // any length, TLVs and checksums that nobody has looked at.
                let strict = matches!(
                    error,
                    ParseError::NotProxy
                        | ParseError::LineTooLong
                        | ParseError::Line(_)
                        | ParseError::Tlv { .. }
                        | ParseError::Checksum { .. }
                );
                assert!(strict, "seed {seed}: {error}");
            }
            (Err(_), Err(_)) => refused += 1,
        }
    }
    assert!(whole > 1000 && refused > 1000, "{whole}, {refused}");
}
