use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::SealWith;

const LIFETIME: Duration = Duration::from_secs(3600);

fn ticketer(keys: &TicketKeys) -> Ticketer {
    Ticketer::new(keys, LIFETIME, b"").unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn a_ticket_opens_for_one_rotation_and_not_after_two() {
    let first = TicketKeys::fresh().unwrap();
    let second = first.rotated(limits::TICKET_LIFETIME).unwrap();
    let third = second.rotated(limits::TICKET_LIFETIME).unwrap();
    let ticket = ticketer(&first).encrypt(b"state").unwrap();
    for (keys, expected) in [
        (&first, Some(b"state".to_vec())),
        (&second, Some(b"state".to_vec())),
        (&third, None),
    ] {
        assert_eq!(ticketer(keys).decrypt(&ticket), expected);
    }
}

#[test]
fn keys_are_kept_for_as_long_as_tickets_last() {
    let first = TicketKeys::fresh().unwrap();
    let ticket = ticketer(&first).encrypt(b"state").unwrap();
    let mut keys = first;
    for turn in 1..=20 {
        keys = keys.rotated(limits::TICKET_LIFETIME_MAX).unwrap();
        // Seven days are fourteen rotations.
        assert_eq!(
            ticketer(&keys).decrypt(&ticket).is_some(),
            turn <= 14,
            "{turn}"
        );
    }
}

#[test]
fn what_was_not_sealed_by_us_does_not_open() {
    let ticketer = ticketer(&TicketKeys::fresh().unwrap());
    let ticket = ticketer.encrypt(b"state").unwrap();
    // In its very bits: name, version, nonce, state, tag.
    for bit in 0..ticket.len() * 8 {
        let mut changed = ticket.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ticketer.decrypt(&changed), None, "bit {bit}");
    }
    for cut in 0..ticket.len() {
        assert_eq!(ticketer.decrypt(&ticket[..cut]), None, "cut at {cut}");
    }
    assert_eq!(ticketer.decrypt(&[ticket, vec![0]].concat()), None);
}

#[test]
fn the_format_is_as_documented() {
    let file = TicketFile::parse(&key_bytes(48), Path::new("k")).unwrap();
    let name = file.into_keys()[0].name();
    let keys = from_file(&key_bytes(48), SealWith::Last);
    let ticket = ticketer(&keys).seal(b"state", now()).unwrap();
    assert_eq!(ticket.len(), 16 + 1 + 12 + 8 + 5 + 16);
    assert_eq!(ticket[..16], name);
    assert_eq!(ticket[..16], key_bytes(48)[..16]);
    assert_eq!(ticket[16], 1);
    // Sealed once by other means: what another version of adit must open.
    let key = {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let prk = sign(&Key::new(HMAC_SHA256, &[0; 32]), &key_bytes(48)[16..]);
        let info = [b"adit session ticket v1".as_slice(), b"bound", &[1]].concat();
        sign(&Key::new(HMAC_SHA256, prk.as_ref()), &info)
    };
    let aead = aws_lc_rs::aead::LessSafeKey::new(
        aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM, key.as_ref()).unwrap(),
    );
    let bound = Ticketer::new(&keys, LIFETIME, b"bound").unwrap();
    // A version that this adit does not know may be anything.
    for (version, expected) in [(1, Some(b"state".to_vec())), (2, None), (0, None)] {
        let mut sealed = [1_800_000_000_u64.to_be_bytes().as_slice(), b"state"].concat();
        let head = [&name[..], &[version]].concat();
        let nonce = Nonce::assume_unique_for_key([version; 12]);
        aead.seal_in_place_append_tag(nonce, Aad::from(&head), &mut sealed)
            .unwrap();
        let ticket = [head, vec![version; 12], sealed].concat();
        assert_eq!(bound.open(&ticket, now()), expected, "{version}");
    }
}

#[test]
fn a_ticket_lasts_for_its_lifetime_and_is_not_from_the_future() {
    let ticketer = ticketer(&TicketKeys::fresh().unwrap());
    assert_eq!(ticketer.lifetime(), 3600);
    let ticket = ticketer.seal(b"state", now()).unwrap();
    let opens = |at| ticketer.open(&ticket, at).is_some();
    assert!(opens(now()) && opens(now() + LIFETIME));
    assert!(!opens(now() + LIFETIME + Duration::from_secs(1)));
    assert!(opens(now() - limits::TICKET_CLOCK_SKEW));
    assert!(!opens(
        now() - limits::TICKET_CLOCK_SKEW - Duration::from_secs(1)
    ));
}

#[test]
fn a_ticket_opens_only_where_the_binding_is_the_same() {
    let keys = TicketKeys::fresh().unwrap();
    let bound = |binding| Ticketer::new(&keys, LIFETIME, binding).unwrap();
    let ticket = bound(b"one").encrypt(b"state").unwrap();
    assert!(bound(b"one").decrypt(&ticket).is_some());
    for other in [b"".as_slice(), b"on", b"two", b"one\0"] {
        assert_eq!(bound(other).decrypt(&ticket), None, "{other:?}");
    }
}

/// A key that is the same in every run: bytes that differ, some not ASCII.
fn key_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 37 + 200) as u8).collect()
}

fn other_key_bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n * 37 + 200 + (n + 1) * seed) as u8)
        .collect()
}

fn from_file(bytes: &[u8], seal_with: SealWith) -> TicketKeys {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, bytes).unwrap();
    TicketKeys::read(&path, seal_with).unwrap().0
}

fn parse(bytes: &[u8]) -> Result<TicketFile, String> {
    TicketFile::parse(bytes, Path::new("keys")).map_err(|error| error.to_string())
}

#[test]
fn one_key_seals_and_all_open() {
    let bytes: Vec<u8> = (1..4).flat_map(|n| other_key_bytes(80, n)).collect();
    let (last, first) = (
        from_file(&bytes, SealWith::Last),
        from_file(&bytes, SealWith::First),
    );
    let by_last = ticketer(&last).encrypt(b"a").unwrap();
    let by_first = ticketer(&first).encrypt(b"b").unwrap();
    assert_eq!(by_last[..16], bytes[160..176]);
    assert_eq!(by_first[..16], bytes[..16]);
    for keys in [last, first] {
        assert_eq!(ticketer(&keys).decrypt(&by_last), Some(b"a".to_vec()));
        assert_eq!(ticketer(&keys).decrypt(&by_first), Some(b"b".to_vec()));
    }
}

#[test]
fn a_key_is_the_same_in_binary_and_in_base64() {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    for len in [48, 80] {
        let binary = [other_key_bytes(len, 1), other_key_bytes(len, 2)].concat();
        let text = format!(
            "# the old one\n{}\r\n\n  {}",
            encode(&binary[..len]),
            encode(&binary[len..])
        );
        let [a, b] = [binary.as_slice(), text.as_bytes()].map(|bytes| parse(bytes).unwrap());
        assert_eq!(
            (a.encoding(), b.encoding()),
            (Encoding::Binary, Encoding::Base64)
        );
        assert_eq!((a.len(), a.fingerprints()), (2, b.fingerprints()));
        let ticket = ticketer(&from_file(&binary, SealWith::Last))
            .encrypt(b"a")
            .unwrap();
        assert!(
            ticketer(&from_file(text.as_bytes(), SealWith::Last))
                .decrypt(&ticket)
                .is_some()
        );
    }
}

#[test]
fn lengths_that_could_be_either_are_keys_of_80() {
    let bytes: Vec<u8> = (1..4).flat_map(|n| other_key_bytes(80, n)).collect();
    assert_eq!(parse(&bytes).unwrap().len(), 3);
    let four: Vec<u8> = (1..5).flat_map(|n| other_key_bytes(48, n)).collect();
    assert_eq!(parse(&four).unwrap().len(), 4);
    // And so nobody writes five of 48.
    let five = TicketFile::fresh(5, KeySize::Bytes48, Encoding::Binary).unwrap();
    let error = five.format(Path::new("keys")).unwrap_err().to_string();
    assert!(error.contains("base64"), "{error}");
    let fine = TicketFile::fresh(5, KeySize::Bytes48, Encoding::Base64).unwrap();
    assert!(fine.format(Path::new("keys")).is_ok());
}

#[test]
fn what_is_no_file_of_keys_is_refused_by_file_and_line() {
    let long = [b"AAAA".repeat(25).as_slice(), b"\n"].concat();
    let blank = format!("{}\n", "A".repeat(64));
    let twice = [key_bytes(48), key_bytes(48)].concat();
    let many: Vec<u8> = (0..=limits::TICKET_KEYS_MAX)
        .flat_map(|_| {
            TicketFile::fresh(1, KeySize::Bytes48, Encoding::Base64)
                .unwrap()
                .format(Path::new("k"))
                .unwrap()
                .to_vec()
        })
        .collect();
    for (bytes, parts) in [
        (b"".as_slice(), ["keys: ", "ticket-keys new"]),
        (b"# nothing\n\n", ["keys: ", "no ticket key"]),
        (b"\n-----BEGIN X-----\n", ["keys:2: ", "base64"]),
        (&long, ["keys:1: ", "75 bytes"]),
        (blank.as_bytes(), ["keys:1: ", "no secret"]),
        (&[0; 48], ["keys: key 1", "no secret"]),
        (&key_bytes(49), ["keys: ", "49 bytes long"]),
        (&twice, ["keys: key 2", "of key 1"]),
        (&many, ["keys: ", "remove the oldest"]),
    ] {
        let error = parse(bytes).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part:?} not in {error:?}");
        }
        // An error may be copied to anywhere.
        assert!(!error.contains("AAAA"), "{error}");
    }
}

#[test]
fn a_rotation_keeps_comments_and_retires_the_oldest() {
    for seal_with in [SealWith::Last, SealWith::First] {
        let fresh = TicketFile::fresh(3, KeySize::Bytes48, Encoding::Base64).unwrap();
        let text = fresh.format(Path::new("k")).unwrap();
        let mut file = parse(&[b"# ours\n".as_slice(), &text].concat()).unwrap();
        let before = file.fingerprints();
        assert_eq!(file.rotate(3, seal_with).unwrap(), 1);
        let after = file.fingerprints();
        match seal_with {
            SealWith::Last => assert_eq!(after[..2], before[1..]),
            SealWith::First => assert_eq!(after[1..], before[..2]),
        }
        assert_eq!(after.len(), 3);
        let text = file.format(Path::new("k")).unwrap();
        assert!(text.starts_with(b"# ours\n") && text.ends_with(b"\n"));
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 4);
        assert_eq!(file.rotate(1, seal_with).unwrap(), 3);
        assert_eq!(file.len(), 1);
    }
}

#[test]
fn a_listener_with_a_file_does_not_follow_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, key_bytes(80)).unwrap();
    let mut tickets = Tickets::default();
    let load = |tickets: &Tickets| TicketTerms::load(tickets, b"").unwrap().unwrap().0;
    let following = load(&tickets);
    tickets.keys = Some(crate::config::TicketKeyFile {
        path,
        seal_with: SealWith::Last,
    });
    let own = load(&tickets);
    let [one, two] = [(); 2].map(|()| TicketKeys::fresh().unwrap());
    for (terms, same) in [(&following, false), (&own, true)] {
        assert_eq!(terms.follow_the_process(), !same);
        let ticket = terms.ticketer(&one).unwrap().encrypt(b"state").unwrap();
        let opened = terms.ticketer(&two).unwrap().decrypt(&ticket);
        assert_eq!(opened.is_some(), same);
    }
    tickets.count = 0;
    assert!(TicketTerms::load(&tickets, b"").unwrap().is_none());
}
