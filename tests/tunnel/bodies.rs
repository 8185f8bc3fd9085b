//! What goes in comes out, whatever its length, in either direction.

use crate::support::adit::{Adit, Setup};
use crate::support::backend::{self, Ended};
use crate::support::client::{Client, End};

fn down(adit: &Adit, length: u64) {
    let client = Client::connect(adit);
    assert_eq!(client.receive_pattern(), (length, End::CloseNotify));
    assert_eq!(client.tcp_end(), Ended::Eof);
    client.close_notify();
}

#[test]
fn nothing_one_byte_and_a_mebibyte_down() {
    for length in [0, 1, 1 << 20] {
        let backend = backend::source(length);
        let adit = Adit::start(backend.address());
        down(&adit, length);
        adit.assert_closes(1, "relay/client/eof");
        assert_eq!(backend.result(), Ended::Eof);
    }
}

#[test]
fn nothing_one_byte_and_a_mebibyte_up() {
    let backend = backend::sink();
    let adit = Setup::new(backend.address()).from_file().start();
    for length in [0, 1, 1 << 20] {
        let client = Client::connect(&adit);
        client.send_pattern(length).expect("sent");
        client.close_notify();
        assert_eq!(client.receive_all(), (vec![], End::CloseNotify));
        let (check, ended) = backend.result();
        assert_eq!((check.seen, ended), (length, Ended::Eof));
    }
    adit.assert_closes(3, "relay/backend/eof");
}

#[test]
fn a_quarter_of_a_gibibyte_down() {
    let length = 256 << 20;
    let backend = backend::source(length);
    let adit = Adit::start(backend.address());
    down(&adit, length);
    assert_eq!(adit.stats().total.bytes_down, length);
}

#[test]
fn a_quarter_of_a_gibibyte_up() {
    let length = 256 << 20;
    let backend = backend::sink();
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client.send_pattern(length).expect("sent");
    client.close_notify();
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (length, Ended::Eof));
    assert_eq!(adit.stats().total.bytes_up, length);
}
