use super::filter::is_like;
use super::*;
use crate::metrics::{TunnelId, TunnelState};

fn tunnel(number: u64) -> TunnelStats {
    TunnelStats {
        id: TunnelId { shard: 1, number },
        state: TunnelState::Relay,
        client: "192.0.2.7:5000".parse().ok(),
        sni: Some("Shop.example.org".into()),
        listener: "web".into(),
        service: Some("app".into()),
        backend: Some("10.0.0.11:8080".into()),
        tls_version: Some("TLSv1.3".into()),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        group: Some("X25519MLKEM768".into()),
        resumed: Some(false),
        age_seconds: 400.0,
        bytes_up: 1000,
        bytes_down: 2 << 20,
        bytes_per_second: Some(100),
    }
}

fn fits(filter: &str, tunnel: &TunnelStats) -> bool {
    let filter: TunnelFilter = filter.parse().unwrap_or_else(|error| panic!("{error}"));
    filter.fits(&tunnel.view())
}

#[test]
fn each_filter_fits_what_it_should_and_nothing_else() {
    let one = tunnel(7);
    for (yes, no) in [
        ("shop", "shopping"),
        ("1-7", "1-8"),
        ("192.0.2.7:5", "192.0.2.8"),
        ("id=1-7", "id=1-70"),
        ("client=192.0.2.0/24", "client=192.0.3.0/24"),
        ("client!=unix", "client=unix"),
        ("sni=*.example.org", "sni=example.org"),
        ("sni=SHOP.example.org", "sni="),
        ("listener=w*b", "listener=we"),
        ("service=app,other", "service!=app,other"),
        ("backend=10.0.0.11:*", "backend=10.0.0.1:*"),
        ("state=relay", "state=closing,handshake"),
        ("tls=1.3", "tls=1.2,none"),
        ("cipher=*128*", "cipher=*384"),
        ("group=*mlkem*", "group=x25519"),
        ("age=5m", "age=10m"),
        ("age=..7m", "age=..5m"),
        ("age=6m..7m", "age=7m..8m"),
        ("up=1000", "up=1001"),
        ("down=2MiB", "down=2.1MiB"),
        ("bytes=..3MiB", "bytes=..2MiB"),
        ("rate=..100", "rate=101"),
    ] {
        assert!(fits(yes, &one), "{yes}");
        assert!(!fits(no, &one), "{no}");
    }
    let bare = TunnelStats {
        client: None,
        sni: None,
        service: None,
        backend: None,
        tls_version: None,
        cipher: None,
        group: None,
        bytes_per_second: None,
        ..tunnel(1)
    };
    for yes in ["client=unix", "sni=", "backend=", "tls=none", "cipher="] {
        assert!(fits(yes, &bare), "{yes}");
    }
    for no in ["client=0.0.0.0/0", "sni=a*", "tls=1.3"] {
        assert!(!fits(no, &bare), "{no}");
    }
}

#[test]
fn what_is_no_filter_is_told_what_to_write() {
    for (text, part) in [
        ("", "1 to"),
        ("colour=red", "one of id, client, sni"),
        ("id=7", "3-1842"),
        ("client=example.org", "192.0.2.0/24"),
        ("state=open", "handshake, connect, relay, closing"),
        ("tls=1.1", "1.2, 1.3 or none"),
        ("age=5", "5m..1h"),
        ("age=..", "5m..1h"),
        ("up=many", "1MiB..1GiB"),
    ] {
        let error = text.parse::<TunnelFilter>().unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!("x".repeat(10_000).parse::<TunnelFilter>().is_err());
    assert!("speed".parse::<TunnelOrder>().unwrap_err().contains("rate"));
}

#[test]
fn patterns_with_stars() {
    for (pattern, text, like) in [
        ("", "", true),
        ("*", "", true),
        ("*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abcb", false),
        ("*ab", "aab", true),
        ("a**", "a", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("abc", "ab", false),
    ] {
        assert_eq!(
            is_like(text.as_bytes(), pattern.as_bytes()),
            like,
            "{pattern} {text}"
        );
    }
}

#[test]
fn the_first_of_all_shards_are_the_first_of_each() {
    let list = |amounts: &[u64]| -> Vec<TunnelStats> {
        let with = |(number, up): (usize, &u64)| TunnelStats {
            bytes_up: *up,
            ..tunnel(number as u64)
        };
        amounts.iter().enumerate().map(with).collect()
    };
    let query = TunnelQuery::default().order(TunnelOrder::Up).limit(3);
    let ups = |query: &TunnelQuery| {
        let mut joined = Vec::new();
        query.join(&mut joined, list(&[5, 1, 9]));
        query.join(&mut joined, list(&[7, 2]));
        joined.iter().map(|one| one.bytes_up).collect::<Vec<_>>()
    };
    assert_eq!(ups(&query), [9, 7, 5]);
    assert_eq!(ups(&query.reversed(true)), [1, 2, 5]);
}

#[test]
fn addresses_are_ordered_as_numbers() {
    let query = TunnelQuery::default().order(TunnelOrder::Client);
    let mut joined = Vec::new();
    for client in ["10.0.0.1:1", "9.0.0.1:80", "9.0.0.1:9", "[::1]:1"] {
        let one = TunnelStats {
            client: client.parse().ok(),
            ..tunnel(1)
        };
        query.join(&mut joined, vec![one]);
    }
    let clients: Vec<_> = joined.iter().flat_map(|one| one.client).collect();
    let shown: Vec<_> = clients.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["9.0.0.1:9", "9.0.0.1:80", "10.0.0.1:1", "[::1]:1"]);
}

#[test]
fn a_query_survives_its_way_to_the_server() {
    let query = TunnelQuery::default()
        .filter("sni=*.a&b%c.org".parse().expect("a filter"))
        .filter("grün".parse().expect("a filter"))
        .order(TunnelOrder::Rate)
        .reversed(true)
        .with_rates()
        .limit(7);
    let head = format!(
        "GET /tunnels?{} HTTP/1.1\r\nHost: a\r\n\r\n",
        query.to_url()
    );
    let Ok(http::message::Parsed::Whole(request, _)) = http::Request::parse(head.as_bytes()) else {
        panic!("{head}");
    };
    assert_eq!(TunnelQuery::from_request(&request), Ok(query));
}
