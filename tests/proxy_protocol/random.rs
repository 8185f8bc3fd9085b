//! Headers made from a seed.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use adit::proxy_protocol::{ClientFlags, Command, Route, Ssl, Tlv, Transport};
use fastrand::Rng;

/// Bytes for values, which random headers borrow from.
pub(crate) const BYTES: &[u8] =
    b"www.example.com h2 \xc3\xa4\xff /run/app.sock TLSv1.3 \r\n TLS_AES_128_GCM_SHA256 0123456789";

pub(crate) fn command(rng: &mut Rng) -> Command<'static> {
    let transport = if rng.bool() {
        Transport::Stream
    } else {
        Transport::Datagram
    };
    Command::Proxy(match rng.u8(..6) {
        0 => return Command::Local,
        1 => Route::Unknown,
        2 | 3 => {
            let mut end = || SocketAddrV4::new(Ipv4Addr::from(rng.u32(..)), rng.u16(..));
            Route::Ip4 {
                transport,
                source: end(),
                destination: end(),
            }
        }
        4 => Route::Ip6 {
            transport,
            source: end6(rng),
            destination: end6(rng),
        },
        _ => Route::Unix {
            transport,
            source: b"/run/app.sock",
            destination: b"\0abstract\0name",
        },
    })
}

fn end6(rng: &mut Rng) -> SocketAddrV6 {
    let ip = match rng.u8(..4) {
        0 => Ipv4Addr::from(rng.u32(..)).to_ipv6_mapped(),
        1 => Ipv6Addr::from(rng.u128(..) & rng.u128(..) & rng.u128(..) & rng.u128(..)),
        2 => Ipv6Addr::from(u128::from(rng.u16(..))),
        _ => Ipv6Addr::from(rng.u128(..)),
    };
    SocketAddrV6::new(ip, rng.u16(..), 0, 0)
}

/// Up to seven TLVs, of which at most one is a checksum.
pub(crate) fn tlvs(rng: &mut Rng) -> Vec<Tlv<'static>> {
    let mut tlvs: Vec<Tlv<'_>> = (0..rng.usize(..7)).map(|_| tlv(rng)).collect();
    if rng.bool() {
        tlvs.insert(rng.usize(..=tlvs.len()), Tlv::Crc32c(0));
    }
    tlvs
}

fn tlv(rng: &mut Rng) -> Tlv<'static> {
    match rng.u8(..7) {
        0 => Tlv::Alpn(value(rng)),
        1 => Tlv::Authority(value(rng)),
        2 => Tlv::Noop(rng.usize(..9)),
        3 => Tlv::UniqueId(value(rng)),
        4 => Tlv::Netns(value(rng)),
        5 => Tlv::Ssl(Ssl {
            client: ClientFlags(rng.u8(..8)),
            verify: rng.u32(..),
            version: rng.bool().then(|| value(rng)),
            cn: rng.bool().then(|| value(rng)),
            cipher: rng.bool().then(|| value(rng)),
            sig_alg: rng.bool().then(|| value(rng)),
            key_alg: rng.bool().then(|| value(rng)),
            group: rng.bool().then(|| value(rng)),
            sig_scheme: rng.bool().then(|| value(rng)),
            client_cert: rng.bool().then(|| value(rng)),
        }),
        _ => Tlv::Other {
            kind: rng.u8(0xe0..=0xef),
            value: value(rng),
        },
    }
}

fn value(rng: &mut Rng) -> &'static [u8] {
    let from = rng.usize(..BYTES.len());
    let to = rng.usize(from..=BYTES.len().min(from + 40));
    &BYTES[from..to]
}
