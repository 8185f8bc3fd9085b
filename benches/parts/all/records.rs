//! Sealing and opening TLS records, by the calls that `src/tunnel/tls.rs`
//! makes; its sockets are left out.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io::Write as _;

use rustls::ClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::{Part, Work, again, tls};

const KIB: usize = 1024;

/// Bytes that begin with a cache line. Where they begin has a say in how they
/// are copied, and must not be left to chance.
struct Aligned {
    space: Vec<u8>,
    from: usize,
    len: usize,
}

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let len = bytes.len();
        let mut space = vec![0; len + 64];
        let from = space.as_ptr().align_offset(64);
        space[from..from + len].copy_from_slice(bytes);
        Self { space, from, len }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.space[self.from..self.from + self.len]
    }
}

/// Bytes to the client: `LEN` are sealed, in as many records as they need.
fn seal<const LEN: usize>() -> Box<dyn Work> {
    let (server, client) = tls::configs();
    let (mut server, _) = tls::pair(server, client);
    let mut plain = Aligned::new(&[0x5a; LEN]);
    let mut room = Aligned::new(&vec![0; LEN + 4 * KIB]);
    again(move || {
        let (plain, room) = (black_box(plain.as_mut()), room.as_mut());
        loop {
            let status = server.process_tls_records(&mut []);
            match status.state.expect("TLS") {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let sealed = traffic.encrypt(plain, room);
                    black_box(&room[..sealed.expect("sealed")]);
                    return;
                }
                // The keys are changed now and then (RFC 8446, section 5.5).
                ConnectionState::EncodeTlsData(mut data) => {
                    black_box(data.encode(room).expect("encoded"));
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                state => panic!("{state:?}"),
            }
        }
    })
}

/// Bytes from the client: `LEN` are opened, from as many records as they
/// needed.
struct Open<const LEN: usize> {
    server: UnbufferedServerConnection,
    client: ClientConnection,
    /// What the client has sealed, each the work of one run.
    sealed: VecDeque<Aligned>,
    bytes: Vec<u8>,
    plain: Aligned,
    room: Vec<u8>,
}

fn open<const LEN: usize>() -> Box<dyn Work> {
    let (server, client) = tls::configs();
    let (server, mut client) = tls::pair(server, client);
    client.set_buffer_limit(None);
    Box::new(Open::<LEN> {
        server,
        client,
        sealed: VecDeque::new(),
        bytes: vec![0x5a; LEN],
        plain: Aligned::new(&[0; LEN]),
        room: vec![0; 4 * KIB],
    })
}

impl<const LEN: usize> Work for Open<LEN> {
    fn supply(&mut self) {
        self.client.writer().write_all(&self.bytes).expect("taken");
        let mut sealed = Vec::with_capacity(LEN + KIB);
        while self.client.wants_write() {
            self.client.write_tls(&mut sealed).expect("written");
        }
        self.sealed.push_back(Aligned::new(&sealed));
    }

    fn run(&mut self) {
        let mut wire = self.sealed.pop_front().expect("a supply");
        let (wire, plain) = (wire.as_mut(), self.plain.as_mut());
        let (mut used, mut opened) = (0, 0);
        loop {
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.server.process_tls_records(&mut wire[used..]);
            match state.expect("TLS") {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.expect("a record");
                        let end = opened + record.payload.len();
                        plain[opened..end].copy_from_slice(record.payload);
                        opened = end;
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    black_box(data.encode(&mut self.room).expect("encoded"));
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => break,
            }
            used += discard;
        }
        assert_eq!(opened, LEN);
        black_box(plain);
    }
}

pub(super) fn parts() -> [Part; 6] {
    let of = |name, bytes: usize, make| Part {
        name,
        bytes: Some(bytes as u64),
        make,
    };
    [
        of("records: seal 1 KiB", KIB, seal::<KIB> as fn() -> _),
        of("records: seal 16 KiB", 16 * KIB, seal::<{ 16 * KIB }>),
        of("records: seal 48 KiB", 48 * KIB, seal::<{ 48 * KIB }>),
        of("records: open 1 KiB", KIB, open::<KIB>),
        of("records: open 16 KiB", 16 * KIB, open::<{ 16 * KIB }>),
        of("records: open 48 KiB", 48 * KIB, open::<{ 48 * KIB }>),
    ]
}
