//! Headers that are cut anywhere, and headers with random damage.

use adit::limits;
use adit::proxy_protocol::{
    Command, Header, ParseError, Parsed, Route, Tlv, TlvFault, Transport, Version, parse, write_v1,
    write_v2,
};
use fastrand::Rng;

use crate::random;

/// Random headers in an ordinary run of the tests.
const ROUNDS: u64 = 4_000;

fn seeds() -> impl Iterator<Item = u64> {
    let one = std::env::var("ADIT_SEED").ok();
    let one = one.map(|seed| seed.parse::<u64>().expect("ADIT_SEED is a number"));
    one.map_or(0..ROUNDS, |seed| seed..seed + 1)
}

/// A header of either version, and what it must be read as.
fn written(rng: &mut Rng, room: &mut Vec<u8>) -> (Command<'static>, Vec<Tlv<'static>>) {
    let command = random::command(rng);
    let mut space = [0; 4096];
    let (len, command, tlvs) = if rng.u8(..3) == 0 {
        let len = write_v1(&command, &mut space).expect("room");
        let is_tcp = matches!(
            command,
            Command::Proxy(
                Route::Ip4 {
                    transport: Transport::Stream,
                    ..
                } | Route::Ip6 {
                    transport: Transport::Stream,
                    ..
                }
            )
        );
        let unknown = Command::Proxy(Route::Unknown);
        (len, if is_tcp { command } else { unknown }, Vec::new())
    } else {
        let tlvs = random::tlvs(rng);
        let len = write_v2(&command, &tlvs, &mut space).expect("room");
        (len, command, tlvs)
    };
    *room = space[..len].to_vec();
    (command, tlvs)
}

/// A header as values that can be compared, the checksum's aside.
fn whole<'a>(parsed: Result<Parsed<'a>, ParseError>, seed: u64) -> (Header<'a>, Vec<Tlv<'a>>) {
    match parsed {
        Ok(Parsed::Whole(header)) => {
            let unsummed = |tlv| match tlv {
                Tlv::Crc32c(_) => Tlv::Crc32c(0),
                other => other,
            };
            (header, header.tlvs.iter().map(unsummed).collect())
        }
        other => panic!("ADIT_SEED={seed}: {other:?}"),
    }
}

/// What is found must not depend on how much of it is there already.
fn cut_everywhere(bytes: &[u8], seed: u64) {
    let all = parse(bytes);
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut]) {
            Ok(Parsed::Partial { needed }) => {
                assert!(needed > cut, "ADIT_SEED={seed}: cut at {cut}, {needed}");
                match all {
                    Ok(Parsed::Whole(header)) => {
                        assert!(needed <= header.len, "ADIT_SEED={seed}: cut at {cut}");
                    }
                    Ok(Parsed::Partial { needed: later }) => {
                        assert!(needed <= later, "ADIT_SEED={seed}: cut at {cut}");
                    }
                    Err(_) => {}
                }
            }
            found => assert_eq!(found, all, "ADIT_SEED={seed}: cut at {cut}"),
        }
    }
}

#[test]
fn what_is_written_is_read_again_however_it_is_cut() {
    for seed in seeds() {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = Vec::new();
        let (command, tlvs) = written(&mut rng, &mut bytes);
        let len = bytes.len();
        // What follows belongs to the stream, even if it looks like a header.
        bytes.extend_from_slice(&random::BYTES[..rng.usize(..30)]);
        let (header, read) = whole(parse(&bytes), seed);
        assert_eq!((header.len, header.command), (len, command), "{seed}");
        let passed_over = header.version == Version::One || command == Command::Local;
        let expected = if passed_over { Vec::new() } else { tlvs };
        assert_eq!(read, expected, "ADIT_SEED={seed}");
        cut_everywhere(&bytes, seed);
    }
}

#[test]
fn damage_is_found_or_harmless_however_it_is_cut() {
    let mut found = [0; 3];
    for seed in seeds() {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = Vec::new();
        let (_, _) = written(&mut rng, &mut bytes);
        for _ in 0..rng.usize(1..4) {
            damage(&mut rng, &mut bytes);
        }
        match parse(&bytes) {
            Ok(Parsed::Partial { needed }) => {
                found[0] += 1;
                assert!(needed <= limits::PROXY_HEADER_MAX, "ADIT_SEED={seed}");
            }
            Ok(Parsed::Whole(header)) => {
                found[1] += 1;
                again(&header, seed);
            }
            Err(_) => found[2] += 1,
        }
        cut_everywhere(&bytes, seed);
    }
    // Damage that is never found, or always, would prove nothing.
    let enough = std::env::var_os("ADIT_SEED").is_some() || found.iter().all(|n| *n > 100);
    assert!(enough, "{found:?}");
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.usize(..bytes.len());
    match rng.u8(..8) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = rng.u8(..),
        2 => bytes[at] = b" \r\n:.0:P"[rng.usize(..8)],
        3 => bytes.insert(at, rng.u8(..)),
        4 => bytes.insert(at, b" \r\n:.0:P"[rng.usize(..8)]),
        5 => drop(bytes.remove(at)),
        6 => bytes.truncate(at),
        // The fields that say how long others are.
        _ => {
            if let Some(byte) = bytes.get_mut(rng.usize(12..20)) {
                *byte = rng.u8(..64);
            }
        }
    }
}

/// Whatever is read can be written, and is then read as the same.
fn again(header: &Header<'_>, seed: u64) {
    let mut space = [0; 2 * limits::PROXY_HEADER_MAX];
    let tlvs: Vec<Tlv<'_>> = header.tlvs.iter().collect();
    let len = match header.version {
        Version::One => write_v1(&header.command, &mut space),
        Version::Two => write_v2(&header.command, &tlvs, &mut space),
    };
    let len = len.unwrap_or_else(|error| panic!("ADIT_SEED={seed}: {error}, {header:?}"));
    let (read, read_tlvs) = whole(parse(&space[..len]), seed);
    assert_eq!(read.command, header.command, "ADIT_SEED={seed}");
    let (_, tlvs) = whole(Ok(Parsed::Whole(*header)), seed);
    assert_eq!(read_tlvs, tlvs, "ADIT_SEED={seed}");
}

/// One wrong bit anywhere in a header with a checksum is found, though it may
/// make of the checksum something else.
#[test]
fn a_checksum_finds_every_wrong_bit() {
    let mut rng = Rng::with_seed(1);
    let source = "192.0.2.1:1000".parse().expect("an address");
    let destination = "198.51.100.1:443".parse().expect("an address");
    let command = Command::Proxy(Route::tcp(source, destination));
    let mut tlvs = random::tlvs(&mut rng);
    tlvs.retain(|tlv| !matches!(tlv, Tlv::Crc32c(_)));
    tlvs.insert(tlvs.len() / 2, Tlv::Crc32c(0));
    let mut space = [0; 1024];
    let len = write_v2(&command, &tlvs, &mut space).expect("room");
    let mut sums = 0;
    for bit in 0..len * 8 {
        let mut bytes = space[..len].to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match parse(&bytes) {
            Err(ParseError::Checksum { .. }) => sums += 1,
            Err(_) | Ok(Parsed::Partial { .. }) => {}
            // Its type says then that it is none, or the command that nothing
            // of all this counts.
            Ok(Parsed::Whole(header)) => {
                let sums = header
                    .tlvs
                    .iter()
                    .filter(|tlv| matches!(tlv, Tlv::Crc32c(_)));
                let hidden = sums.count() == 0;
                assert!(hidden || header.len != len, "bit {bit}: {header:?}");
            }
        }
    }
    assert!(sums > len * 5, "{sums} of {}", len * 8);
    let twice = [Tlv::Crc32c(0), Tlv::Noop(1)];
    let len = write_v2(&command, &twice, &mut space).expect("room");
    space[len - 4..len].copy_from_slice(&[3, 0, 0, 0]);
    assert_eq!(
        parse(&space[..len]),
        Err(ParseError::Tlv {
            kind: 3,
            fault: TlvFault::Length
        })
    );
}
