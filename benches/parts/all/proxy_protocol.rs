//! The PROXY protocol's codec.

use std::hint::black_box;

use adit::proxy_protocol::{
    ClientFlags, Command, Parsed, Route, Ssl, Tlv, parse, write_v1, write_v2,
};

use super::{Part, Work, again, part};

const IP4: [&str; 2] = ["192.0.2.1:56324", "198.51.100.7:443"];
const IP6: [&str; 2] = ["[2001:db8::1:2:3]:56324", "[2001:db8:4::5]:443"];

fn command([source, destination]: [&str; 2]) -> Command<'static> {
    let address = |text: &str| text.parse().expect("an address");
    Command::Proxy(Route::tcp(address(source), address(destination)))
}

/// What a proxy says of a client's TLS to the backend, with a checksum.
const TLVS: [Tlv<'static>; 5] = [
    Tlv::Alpn(b"h2"),
    Tlv::Authority(b"www.example.com"),
    Tlv::UniqueId(b"0123456789abcdef"),
    Tlv::Ssl(Ssl {
        client: ClientFlags(ClientFlags::SSL.0 | ClientFlags::CERT_CONN.0),
        verify: 0,
        version: Some(b"TLSv1.3"),
        cn: Some(b"client.example.com"),
        cipher: Some(b"TLS_AES_128_GCM_SHA256"),
        sig_alg: Some(b"ecdsa-with-SHA256"),
        key_alg: Some(b"EC256"),
        group: None,
        sig_scheme: None,
        client_cert: None,
    }),
    Tlv::Crc32c(0),
];

fn line(ends: [&str; 2]) -> Vec<u8> {
    let mut room = [0; 107];
    let len = write_v1(&command(ends), &mut room).expect("room");
    room[..len].to_vec()
}

fn binary(ends: [&str; 2], tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let mut room = [0; 512];
    let len = write_v2(&command(ends), tlvs, &mut room).expect("room");
    room[..len].to_vec()
}

/// Reads a header, and every TLV of it.
fn read(bytes: Vec<u8>) -> Box<dyn Work> {
    again(move || match parse(black_box(&bytes)) {
        Ok(Parsed::Whole(header)) => {
            black_box(header.command);
            for tlv in header.tlvs {
                black_box(tlv);
            }
        }
        other => panic!("{other:?}"),
    })
}

fn write_line(ends: [&str; 2]) -> Box<dyn Work> {
    let command = command(ends);
    let mut room = vec![0; 107];
    again(move || {
        let written = write_v1(black_box(&command), &mut room);
        black_box(&room[..written.expect("room")]);
    })
}

fn write_binary(ends: [&str; 2], tlvs: &'static [Tlv<'static>]) -> Box<dyn Work> {
    let command = command(ends);
    let mut room = vec![0; 512];
    again(move || {
        let written = write_v2(black_box(&command), black_box(tlvs), &mut room);
        black_box(&room[..written.expect("room")]);
    })
}

pub(super) fn parts() -> [Part; 8] {
    [
        part("PROXY: read a line, IPv4", || read(line(IP4))),
        part("PROXY: read a line, IPv6", || read(line(IP6))),
        part("PROXY: read a binary header", || read(binary(IP4, &[]))),
        part("PROXY: read a binary header with TLVs", || {
            read(binary(IP4, &TLVS))
        }),
        part("PROXY: write a line, IPv4", || write_line(IP4)),
        part("PROXY: write a line, IPv6", || write_line(IP6)),
        part("PROXY: write a binary header", || write_binary(IP4, &[])),
        part("PROXY: write a binary header with TLVs", || {
            write_binary(IP4, &TLVS)
        }),
    ]
}
