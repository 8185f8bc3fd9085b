//! Any bytes, read as a header of the PROXY protocol: nothing panics, it makes
//! no difference how they are cut, and what is read is written and read again
//! as the same.

#![no_main]

// The codec alone, which needs nothing of adit but its bounds.
#[allow(dead_code)]
#[path = "../../src/limits.rs"]
mod limits;
#[allow(dead_code)]
#[path = "../../src/proxy_protocol/mod.rs"]
mod proxy_protocol;

use libfuzzer_sys::fuzz_target;
use proxy_protocol::{Command, Header, Parsed, Tlv, Version, parse, write_v1, write_v2};

/// Cut anywhere, the front of so many bytes is tried; beyond that, some cuts.
const CUT_EVERYWHERE: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let all = parse(bytes);
    let step = 1 + bytes.len() / CUT_EVERYWHERE;
    for cut in (0..bytes.len()).step_by(step) {
        match parse(&bytes[..cut]) {
            Ok(Parsed::Partial { needed }) => {
                assert!(needed > cut);
                match all {
                    Ok(Parsed::Whole(header)) => assert!(needed <= header.len),
                    Ok(Parsed::Partial { needed: later }) => assert!(needed <= later),
                    Err(_) => {}
                }
            }
            found => assert_eq!(found, all),
        }
    }
    match all {
        Ok(Parsed::Partial { needed }) => {
            assert!(needed > bytes.len() && needed <= limits::PROXY_HEADER_MAX);
        }
        Ok(Parsed::Whole(header)) => {
            assert!(header.len <= bytes.len());
            again(&header);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Whatever is read can be written, and is then read as the same.
fn again(header: &Header<'_>) {
    let mut room = [0; 2 * limits::PROXY_HEADER_MAX];
    let tlvs: Vec<Tlv<'_>> = header.tlvs.iter().collect();
    let len = match header.version {
        Version::One => write_v1(&header.command, &mut room),
        Version::Two => write_v2(&header.command, &tlvs, &mut room),
    };
    let len = len.expect("it is no longer than it was");
    let Ok(Parsed::Whole(read)) = parse(&room[..len]) else {
        panic!("{header:?} is not read again");
    };
    assert_eq!((read.command, read.len), (header.command, len));
    // What is said of nobody's connection is passed over.
    if header.version == Version::Two && header.command != Command::Local {
        assert_eq!(read.tlvs.iter().count(), tlvs.len());
        for (read, tlv) in read.tlvs.iter().zip(tlvs) {
            match (read, tlv) {
                (Tlv::Crc32c(_), Tlv::Crc32c(_)) => {}
                (read, tlv) => assert_eq!(read, tlv),
            }
        }
    }
}
