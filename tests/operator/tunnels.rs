//! The list of what is open.

use std::net::TcpStream;

use adit::metrics::{TunnelList, TunnelState};

use crate::place::Place;
use crate::program::echo_at;
use crate::support::{backend, client, pattern};

#[test]
fn each_open_tunnel_is_told_of_with_all_that_is_known() {
    let backend = backend::echo();
    let place = Place::start(
        "service: \"app\"",
        &format!(
            "  services: {{\"app\": (backends: [\"{}\"])}}, shards: 2,",
            backend.address()
        ),
    );
    let client = echo_at(place.address, &place.trust);
    client.send(&pattern::bytes(999)).expect("sent");
    client.receive_exact(999);
    let silent = TcpStream::connect(place.address).expect("a connection");

    let open = place.tunnel(&["state=relay"]);
    assert_eq!(open.client, client.tcp().local_addr().ok());
    assert_eq!(open.sni.as_deref(), Some("localhost"));
    assert_eq!(open.service.as_deref(), Some("app"));
    assert_eq!(open.backend, Some(backend.address().to_string()));
    assert_eq!((open.bytes_up, open.bytes_down), (1000, 1000));
    assert_eq!(open.tls_version.as_deref(), Some("TLSv1.3"));
    assert!(open.cipher.is_some_and(|cipher| cipher.starts_with("TLS_")));
    assert!(open.group.is_some());
    assert_eq!(open.resumed, Some(false));
    assert_eq!(open.bytes_per_second, None);
    assert!(open.age_seconds > 0.0);

    let shaking = place.tunnel(&["state=handshake"]);
    assert_eq!(shaking.client, silent.local_addr().ok());
    assert_eq!(shaking.state, TunnelState::Handshake);
    assert_eq!((shaking.service, shaking.backend), (None, None));
    assert_eq!((shaking.sni, shaking.tls_version), (None, None));
    assert_ne!(shaking.id, open.id);

    let shown = place.say(&["tunnels", "state=relay"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].starts_with("id "), "{shown}");
    assert!(lines[1].starts_with(&open.id.to_string()), "{shown}");
    for part in ["1000 B", "localhost", "app", "TLSv1.3"] {
        assert!(lines[1].contains(part), "{shown}");
    }
}

#[test]
fn filters_orders_and_limits_hold_over_all_shards() {
    let backend = backend::echo();
    let place = Place::start(
        &format!("backend: \"{}\"", backend.address()),
        "  shards: 3,",
    );
    // The first has sent least.
    let clients: Vec<_> = (1..=6)
        .map(|number| {
            let client = client::Client::shake(client::tcp(place.address), &place.trust);
            let client = client.expect("a handshake");
            client.send(&pattern::bytes(number * 1000)).expect("sent");
            client.receive_exact(number * 1000);
            client
        })
        .collect();
    let ups = |words: &[&str]| -> Vec<u64> {
        let tunnels = place.tunnels(words);
        tunnels.iter().map(|tunnel| tunnel.bytes_up).collect()
    };
    assert_eq!(ups(&["--sort", "up"]), [6000, 5000, 4000, 3000, 2000, 1000]);
    assert_eq!(ups(&["--sort", "up", "-n", "2"]), [6000, 5000]);
    assert_eq!(
        ups(&["--sort", "down", "--reverse", "-n", "2"]),
        [1000, 2000]
    );
    // The oldest first.
    assert_eq!(ups(&["-n", "3"]), [1000, 2000, 3000]);
    assert_eq!(ups(&["up=2500..4500", "--sort=up"]), [4000, 3000]);
    assert_eq!(ups(&["--filter", "bytes=..4000", "-f", "up=1500"]), [2000]);
    assert_eq!(ups(&["client!=127.0.0.0/8"]), [0; 0]);
    let third = clients[2].tcp().local_addr().expect("an address");
    assert_eq!(ups(&[&third.to_string()]), [3000]);
    assert_eq!(ups(&["--sort", "rate", "rate=..1GiB", "-n", "1"]).len(), 1);

    let list: TunnelList = place.json(&["tunnels", "up=2500", "-n", "1"]);
    assert_eq!((list.tunnels.len(), list.matching, list.open), (1, 4, 6));
    let ids: Vec<_> = place.tunnels(&[]).iter().map(|tunnel| tunnel.id).collect();
    for id in &ids {
        let found = place.tunnels(&[&format!("id={id}")]);
        assert_eq!(found.iter().map(|t| t.id).collect::<Vec<_>>(), [*id]);
    }
}

#[test]
fn what_is_no_filter_or_order_is_refused_before_anybody_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    for (words, part) in [
        (&["tunnels", "colour=red"][..], "nothing to filter by"),
        (&["tunnels", "--filter", "age=old"], "5m..1h"),
        (&["tunnels", "--sort", "speed"], "rate"),
        (&["tunnels", "--limit", "0"], "from 1 to"),
        (&["close"], "<ID>"),
        (&["close", "seven"], "3-1842"),
        (&["backend", "disable", "web"], "<BACKEND>"),
    ] {
        let ended = crate::program::run(folder.path(), words);
        assert_eq!(ended.code, Some(2), "{words:?}: {}", ended.err);
        let err = ended.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(err.contains(part), "{words:?}: {err}");
    }
}
