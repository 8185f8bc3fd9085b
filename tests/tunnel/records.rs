//! Whatever way the bytes are cut into records, and whatever records stand
//! between them.

use rustls::{AlertDescription, Error};

use crate::support::adit::Adit;
use crate::support::backend::{self, Ended};
use crate::support::client::{Client, End};
use crate::support::forge::{ALERT, DATA, Forger, HANDSHAKE};
use crate::support::pattern;

#[test]
fn records_of_one_byte() {
    let backend = backend::sink();
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    client
        .send_in_records(&pattern::bytes(20_000), 1)
        .expect("sent");
    client.close_notify();
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (20_000, Ended::Eof));
    drop(client);
    adit.closes(1);
}

#[test]
fn records_of_odd_and_of_full_size() {
    let backend = backend::sink();
    let adit = Adit::start(backend.address());
    for size in [3, 1021, 16_381, 16_383, 16_384] {
        let client = Client::connect(&adit);
        client
            .send_in_records(&pattern::bytes(600_000), size)
            .expect("sent");
        client.close_notify();
        let (check, ended) = backend.result();
        assert_eq!((check.seen, ended), (600_000, Ended::Eof), "size {size}");
    }
}

#[test]
fn records_that_arrive_a_byte_at_a_time() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let client = Client::connect(&adit);
    let bytes = pattern::bytes(500);
    for byte in client.seal(&bytes) {
        client.send_raw(&[byte]).expect("sent");
    }
    assert_eq!(client.receive_exact(500), bytes);
}

/// A KeyUpdate may be the last record of what has arrived, or may have others
/// before and behind it.
#[test]
fn key_updates_between_data() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    for requested in [false, true] {
        let mut forger = Forger::connect(&adit);
        for round in 0..20 {
            let update = forger.key_update(requested);
            forger.client().send_raw(&update).expect("sent");
            // An answer shows that the update has arrived alone in most rounds.
            forger.send(DATA, &[round; 10]).expect("sent");
            assert_eq!(forger.client().receive_exact(10), [round; 10]);
            let mut together = forger.record(DATA, b"before", 0);
            together.extend(forger.key_update(requested));
            together.extend(forger.record(DATA, b"behind", 0));
            together.extend(forger.key_update(requested));
            forger.client().send_raw(&together).expect("sent");
            assert_eq!(forger.client().receive_exact(12), b"beforebehind");
        }
    }
}

#[test]
fn empty_and_padded_records() {
    let backend = backend::echo();
    let adit = Adit::start(backend.address());
    let mut forger = Forger::connect(&adit);
    for round in 0..10 {
        // Alone, so that nothing but it is in one read.
        forger.send(DATA, b"").expect("sent");
        forger.send(DATA, &[round]).expect("sent");
        assert_eq!(forger.client().receive_exact(1), [round]);
        let padded = forger.record(DATA, &[round; 5], 3000);
        forger.client().send_raw(&padded).expect("sent");
        assert_eq!(forger.client().receive_exact(5), [round; 5]);
    }
}

/// Every update costs a key derivation: there has to be an end to them.
#[test]
fn key_updates_without_end_are_cut_off() {
    let backend = backend::greeting_sink();
    let adit = Adit::start(backend.address());
    let mut forger = Forger::connect(&adit);
    assert_eq!(forger.client().receive_exact(1), b"!");
    for _ in 0..1000 {
        let update = forger.key_update(true);
        if forger.client().send_raw(&update).is_err() {
            break;
        }
    }
    let (_, end) = forger.client().receive_all();
    assert_ne!(end, End::CloseNotify);
    adit.assert_closes(1, "relay/client/tls-error");
}

#[test]
fn a_record_that_does_not_open_is_answered_with_an_alert() {
    let backend = backend::greeting_sink();
    let adit = Adit::start(backend.address());
    let mut forger = Forger::connect(&adit);
    assert_eq!(forger.client().receive_exact(1), b"!");
    forger.send(DATA, &pattern::bytes(1000)).expect("sent");
    let mut record = forger.record(DATA, b"changed on its way", 0);
    record[10] ^= 1;
    forger.client().send_raw(&record).expect("sent");
    let (bytes, end) = forger.client().receive_all();
    assert!(bytes.is_empty());
    assert_eq!(
        end,
        End::Tls(Error::AlertReceived(AlertDescription::BadRecordMac))
    );
    // What came before is the backend's, but not as an orderly end.
    let (check, ended) = backend.result();
    assert_eq!((check.seen, ended), (1000, Ended::Reset));
    adit.assert_closes(1, "relay/client/tls-error");
}

#[test]
fn a_record_of_more_than_the_longest_is_answered_with_an_alert() {
    let backend = backend::greeting_sink();
    let adit = Adit::start(backend.address());
    for padding in [0, 20_000] {
        let mut forger = Forger::connect(&adit);
        assert_eq!(forger.client().receive_exact(1), b"!");
        let length = if padding > 0 { 1 } else { 16 * 1024 + 200 };
        let record = forger.record(DATA, &vec![0; length], padding);
        forger.client().send_raw(&record).expect("sent");
        let (_, end) = forger.client().receive_all();
        // RFC 8446, section 5.2, asks for record_overflow.
        assert!(
            matches!(
                end,
                End::Tls(Error::AlertReceived(
                    AlertDescription::RecordOverflow | AlertDescription::DecodeError
                ))
            ),
            "{end:?}"
        );
        assert_eq!(backend.result().1, Ended::Reset);
    }
    adit.assert_closes(2, "relay/client/tls-error");
}

#[test]
fn a_handshake_message_after_the_handshake_is_refused() {
    let backend = backend::greeting_sink();
    let adit = Adit::start(backend.address());
    // A Finished; a message that never ends.
    let endless = [&[24, 0xff, 0xff, 0xff][..], &[0; 16_000]].concat();
    for message in [vec![20, 0, 0, 1, 0], endless] {
        let mut forger = Forger::connect(&adit);
        assert_eq!(forger.client().receive_exact(1), b"!");
        // A hundred such records are 1.6 MB.
        for _ in 0..100 {
            if forger.send(HANDSHAKE, &message).is_err() {
                break;
            }
        }
        let (_, end) = forger.client().receive_all();
        // An alert, or nothing at all; no orderly end.
        assert!(matches!(end, End::Tls(_) | End::Fin), "{end:?}");
        assert_eq!(backend.result().1, Ended::Reset);
    }
    adit.assert_closes(2, "relay/client/tls-error");
}

/// What breaks TLS behind our own close_notify ends that tunnel, and does no
/// more.
#[test]
fn what_is_wrong_behind_our_close_notify_ends_the_tunnel() {
    let backend = backend::source(10);
    let adit = Adit::start(backend.address());
    let messages: [(u8, &[u8]); 4] = [
        // A warning, which TLS 1.3 has not (RFC 8446, section 6).
        (ALERT, &[1, 80]),
        (ALERT, &[]),
        (HANDSHAKE, &[20, 0, 0, 1, 0]),
        // No content type (RFC 8446, section 5.4).
        (0, &[]),
    ];
    for (kind, content) in messages {
        let mut forger = Forger::connect(&adit);
        assert_eq!(forger.client().receive_pattern(), (10, End::CloseNotify));
        forger.send(kind, content).expect("sent");
        drop(forger);
        assert_eq!(backend.result(), Ended::Reset);
    }
    let expected = [("relay/client/alert", 1), ("relay/client/tls-error", 3)];
    let expected = expected.map(|(reason, count)| (reason.to_owned(), count));
    assert_eq!(adit.closes(4), expected.into());
}

/// What comes behind close_notify is ignored (RFC 8446, section 6.1), and the
/// answer arrives nonetheless.
#[test]
fn data_after_close_notify_is_ignored() {
    let backend = backend::answer_after_eof(4 << 20);
    let adit = Adit::start(backend.address());
    let mut forger = Forger::connect(&adit);
    let mut bytes = forger.record(DATA, b"question", 0);
    bytes.extend(forger.record(ALERT, &[1, 0], 0));
    bytes.extend(forger.record(DATA, &[0; 1000], 0));
    bytes.extend([0xff; 1000]);
    forger.client().send_raw(&bytes).expect("sent");
    let (seen, end) = forger.client().receive_pattern();
    assert_eq!((seen, end), (4 << 20, End::CloseNotify));
    assert_eq!(backend.result(), b"question");
    adit.assert_closes(1, "relay/backend/eof");
}
