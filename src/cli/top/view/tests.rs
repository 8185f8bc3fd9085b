use std::time::{Duration, Instant};

use adit::metrics::{
    BackendState, BackendStats, CheckStats, CloseCount, ServiceStats, ShardStats, State, Stats,
    TimeCounts, Totals, TunnelId, TunnelList, TunnelOrder, TunnelState, TunnelStats,
};
use adit::tunnel::{Cause, CloseReason, Phase, Side};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;

use super::super::glyphs::Look;
use super::super::poller::Picture;
use super::super::state::Top;

/// What a server of so many shards shows in its second `n` of serving, at which
/// all that grows has grown `n` times.
fn picture(shards: usize, n: u64) -> Box<Picture> {
    let close = |phase, side, cause, count| CloseCount {
        reason: CloseReason::new(phase, side, cause),
        count,
    };
    let closed = |n| {
        vec![
            close(Phase::Handshake, Side::Client, Cause::NotTls, 12 * n),
            close(Phase::Connect, Side::Backend, Cause::Refused, 345),
            close(Phase::Relay, Side::Client, Cause::Eof, 100_000),
        ]
    };
    let shard = |shard: usize| ShardStats {
        shard,
        cpu: Some(shard + 2),
        answer_micros: 120,
        // 75 % of the first, a little of the others.
        cpu_seconds: n as f64 * if shard == 0 { 0.75 } else { 0.125 },
        thread: 100,
        running_on: Some(shard + 2),
        submissions_left_out: 0,
        totals: Totals {
            accepted: 600 * n,
            tunnels_open: 1172 + shard as u64,
            handshakes: 550 * n,
            handshakes_resumed: 200 * n,
            bytes_up: 3 * 1024 * 1024 * n,
            bytes_down: 40 * 1024 * 1024 * n,
            closed: closed(if shard == 0 { n } else { 0 }),
            ..Totals::default()
        },
    };
    let backend = |address: &str, state, passed: Option<bool>, connects| BackendStats {
        address: address.into(),
        state,
        backup: false,
        ejected_on_shards: 0,
        tunnels_open: connects,
        tunnels_total: connects * n,
        connect_failures: 0,
        max_connections: None,
        last_check: passed.map(|passed| CheckStats {
            passed,
            detail: String::new(),
            seconds_ago: 0.5,
            transitions: 0,
        }),
    };
    let tunnel = |shard, number, rate, client: &str, name: &str| TunnelStats {
        id: TunnelId { shard, number },
        state: TunnelState::Relay,
        client: client.parse().ok(),
        sni: Some(name.into()),
        listener: "web".into(),
        service: Some("app".into()),
        backend: Some("10.0.0.11:8080".into()),
        tls_version: Some("TLSv1.3".into()),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        group: Some("X25519MLKEM768".into()),
        resumed: Some(false),
        age_seconds: 7384.0,
        bytes_up: 12_345,
        bytes_down: 3 << 30,
        bytes_per_second: Some(rate),
    };
    Box::new(Picture {
        stats: Stats {
            version: "0.1.0".into(),
            pid: 17263,
            uptime_seconds: n as f64,
            state: State::Serving,
            services: vec![ServiceStats {
                name: "app".into(),
                waiting: 0,
                held: 0,
                queued_total: 0,
                queue_refused: 0,
                retries: 0,
                queue_length: 0,
                connect_times: TimeCounts::default(),
                backends: vec![
                    backend("10.0.0.11:8080", BackendState::Up, Some(true), 600),
                    backend("10.0.0.12:8080", BackendState::Down, Some(false), 0),
                    backend("10.0.0.13:8080", BackendState::Disabled, None, 12),
                ],
            }],
            total: Totals {
                tunnels_open: 2345,
                closed: closed(n),
                ..Totals::default()
            },
            shards: (0..shards).map(shard).collect(),
            ..Stats::default()
        },
        tunnels: TunnelList {
            tunnels: vec![
                tunnel(1, 184, 40 << 20, "192.0.2.7:50123", "shop.example.org"),
                tunnel(
                    0,
                    7,
                    1000,
                    "[2001:db8::17]:443",
                    "a.very.long.name.example.org",
                ),
                TunnelStats {
                    state: TunnelState::Handshake,
                    sni: None,
                    service: None,
                    backend: None,
                    tls_version: None,
                    bytes_up: 0,
                    bytes_down: 0,
                    age_seconds: 0.3,
                    ..tunnel(0, 9, 0, "192.0.2.8:1", "")
                },
            ],
            matching: 2345,
            open: 2345,
            silent_shards: vec![],
        },
    })
}

/// A server that has been looked at for three seconds.
fn watched(shards: usize) -> Top {
    let mut top = Top::new(Duration::from_secs(1), TunnelOrder::Rate, Vec::new());
    let now = Instant::now();
    for n in 7260..7264 {
        top.take(Ok(picture(shards, n)), now);
    }
    top
}

fn render(top: &mut Top, width: u16, height: u16, look: Look) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal
        .draw(|frame| super::draw(frame, top, look))
        .expect("drawn");
    terminal
}

/// The lines that are shown, without blanks at their ends.
fn shown(top: &mut Top, width: u16, height: u16, look: Look) -> String {
    let terminal = render(top, width, height, look);
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(width.into());
    lines
        .map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned() + "\n"
        })
        .collect()
}

fn press(top: &mut Top, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            c => KeyCode::Char(c),
        };
        top.press(KeyEvent::from(code));
    }
}

const UNICODE: fn() -> Look = || Look::new(true, true);

#[track_caller]
fn assert_shown(shown: &str, expected: &str) {
    assert!(shown == expected, "shown is\n{shown}\nand not\n{expected}");
}

#[test]
fn everything_in_eighty_columns() {
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
connections        1,200/s         ███  up               6.0 MiB/s           ███
full handshakes      700/s         ███  down              80 MiB/s           ███
resumed              400/s         ███  failed handsh.        12/s           ███
 shards  2
shard  cpu  load             open  conn/s handsh/s     up/s   down/s   answer
    0    2  75 % ██████     1,172     600      550  3.0 MiB   40 MiB   0.1 ms
    1    3  12 % █          1,173     600      550  3.0 MiB   40 MiB   0.1 ms
 failures                            backends
cause        per s  total phase     backend         state     open service
not-tls         12 87,156 handshake 10.0.0.12:8080  down         0 app
refused          0    345 connect   10.0.0.13:8080  disabled    12 app
                                    10.0.0.11:8080  up         600 app
 tunnels by rate  2,345 open
id        per s       up     down    age client                name
1-184    40 MiB   12 KiB  3.0 GiB  2h03m 192.0.2.7:50123       shop.example.org
0-7      1000 B   12 KiB  3.0 GiB  2h03m [2001:db8::17]:443    a.very.long.name…
0-9         0 B      0 B      0 B     0s 192.0.2.8:1           –





1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut watched(2), 80, 24, UNICODE()), expected);
}

#[test]
fn many_shards_are_one_character_each() {
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
connections       38,400/s         ███  up               192 MiB/s           ███
full handshakes   22,400/s         ███  down             2.5 GiB/s           ███
resumed           12,800/s         ███  failed handsh.        12/s           ███
 shards  64  load 13 % on average, 75 % at most
load  ▆▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
open  ████████████████████████████████████████████████████████████████
 failures                            backends  and 1 more
cause        per s  total phase     backend         state     open service
not-tls         12 87,156 handshake 10.0.0.12:8080  down         0 app
refused          0    345 connect   10.0.0.13:8080  disabled    12 app
 tunnels by rate  2,345 open
id        per s       up     down    age client                name
1-184    40 MiB   12 KiB  3.0 GiB  2h03m 192.0.2.7:50123       shop.example.org
0-7      1000 B   12 KiB  3.0 GiB  2h03m [2001:db8::17]:443    a.very.long.name…
0-9         0 B      0 B      0 B     0s 192.0.2.8:1           –



1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut watched(64), 80, 20, UNICODE()), expected);
}

#[test]
fn a_wide_terminal_shows_more() {
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels                                                              every 1 s
connections        1,200/s                                  ███  up               6.0 MiB/s                                    ███
full handshakes      700/s                                  ███  down              80 MiB/s                                    ███
resumed              400/s                                  ███  failed handsh.        12/s                                    ███
 shards  2
shard  cpu  load                                   open  conn/s handsh/s     up/s   down/s   answer
    0    2  75 % ██████████████████████▌          1,172     600      550  3.0 MiB   40 MiB   0.1 ms
    1    3  12 % ███▊                             1,173     600      550  3.0 MiB   40 MiB   0.1 ms
 failures  and 1 more                                      backends  and 2 more
cause        per s  total phase     side                  backend         state     open service  conn/s check failed
not-tls         12 87,156 handshake client                10.0.0.12:8080  down         0 app           0 bad        0
 tunnels by rate  2,345 open
id        per s       up     down    age client                name                     backend         state     service  tls
1-184    40 MiB   12 KiB  3.0 GiB  2h03m 192.0.2.7:50123       shop.example.org         10.0.0.11:8080  relay     app      TLSv1.3
0-7      1000 B   12 KiB  3.0 GiB  2h03m [2001:db8::17]:443    a.very.long.name.exampl… 10.0.0.11:8080  relay     app      TLSv1.3
0-9         0 B      0 B      0 B     0s 192.0.2.8:1           –                        –               handshake –        –



1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut watched(2), 130, 20, UNICODE()), expected);
}

#[test]
fn a_narrow_terminal_without_unicode() {
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,
connections        1,200/s                   ###
up               6.0 MiB/s                   ###
full handshakes      700/s                   ###
down              80 MiB/s                   ###
resumed              400/s                   ###
failed handsh.        12/s                   ###
 shards  2
shard  load             open  conn/s     up/s
    0  75 % ######..   1,172     600  3.0 MiB
    1  12 % #.......   1,173     600  3.0 MiB
 failures
cause        per s  total phase     side
not-tls         12 87,156 handshake client
refused          0    345 connect   backend
 backends  and 1 more
backend         state     open service  conn/s
10.0.0.12:8080  down         0 app           0
10.0.0.13:8080  disabled    12 app          12
 tunnels by rate  2,345 open
id        per s    age client
1-184    40 MiB  2h03m 192.0.2.7:50123
0-7      1000 B  2h03m [2001:db8::17]:443
0-9         0 B     0s 192.0.2.8:1

1-5 pages  s sort  r reverse  / filter  p pause~
";
    let plain = Look::new(false, false);
    assert_shown(&shown(&mut watched(2), 48, 26, plain), expected);
}

#[test]
fn each_page_has_the_screen_to_itself() {
    let mut top = watched(6);
    press(&mut top, "3");
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
 backends  3
backend         state     open service  conn/s check failed
10.0.0.12:8080  down         0 app           0 bad        0
10.0.0.13:8080  disabled    12 app          12 –          0
10.0.0.11:8080  up         600 app         600 ok         0
1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut top, 80, 7, UNICODE()), expected);
    press(&mut top, "4");
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
 failures  2 kinds
cause        per s  total phase     side
not-tls         12 87,156 handshake client
refused          0    345 connect   backend
1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut top, 80, 6, UNICODE()), expected);
    press(&mut top, "5");
    // As far as it goes: the last is on the last line.
    press(&mut top, "G");
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
connections        3,600/s         ███  up                18 MiB/s           ███
full handshakes    2,100/s         ███  down             240 MiB/s           ███
resumed            1,200/s         ███  failed handsh.        12/s           ███
 shards  6
shard  cpu  load             open  conn/s handsh/s     up/s   down/s   answer
    4    6  12 % █          1,176     600      550  3.0 MiB   40 MiB   0.1 ms
    5    7  12 % █          1,177     600      550  3.0 MiB   40 MiB   0.1 ms
1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut top, 80, 9, UNICODE()), expected);
    press(&mut top, "g");
    assert_eq!(top.scroll, 0);
}

#[test]
fn a_filter_is_seen_while_it_is_typed_and_when_it_is_used() {
    let mut top = watched(1);
    press(&mut top, "2/state=open\n");
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
 tunnels by rate  2,345 open
id        per s       up     down    age client                name
1-184    40 MiB   12 KiB  3.0 GiB  2h03m 192.0.2.7:50123       shop.example.org
0-7      1000 B   12 KiB  3.0 GiB  2h03m [2001:db8::17]:443    a.very.long.name…
state: write handshake, connect, relay, closing, not \"open\"
filter: state=open_
";
    assert_shown(&shown(&mut top, 80, 7, UNICODE()), expected);
    top.press(KeyEvent::from(KeyCode::Esc));
    press(&mut top, "/state=relay age=5m\nr");
    let expected = "\
adit 0.1.0  pid 17263  serving  up 2 h 1 min  2,345 tunnels            every 1 s
 tunnels by rate, reversed  2,345 of 2,345 fit  state=relay age=5m
id        per s       up     down    age client                name
1-184    40 MiB   12 KiB  3.0 GiB  2h03m 192.0.2.7:50123       shop.example.org
1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut top, 80, 5, UNICODE()), expected);
}

#[test]
fn what_is_wrong_with_the_server_is_on_the_screen() {
    let mut top = watched(1);
    press(&mut top, "2");
    let now = Instant::now();
    let mut sick = picture(2, 7264);
    sick.stats.state = State::Draining;
    sick.stats.silent_shards = vec![3];
    sick.stats.total.limit_pauses = 1234;
    top.take(Ok(sick), now);
    let expected = "\
adit 0.1.0  pid 17263  draining  up 2 h 1 min  2,345 tunnels           every 1 s
no answer of shards 3; 1,234 pauses at a limit on tunnels
 tunnels by rate  2,345 open
id        per s       up     down    age client                name
1-184    40 MiB   12 KiB  3.0 GiB  2h03m 192.0.2.7:50123       shop.example.org
1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut top, 80, 6, UNICODE()), expected);
    top.take(Err("/run/adit/admin.sock does not answer".into()), now);
    top.tick(now + Duration::from_secs(65));
    press(&mut top, "p");
    let expected = "\
adit 0.1.0  pid 17263  gone  up 2 h 1 min  2,345 tunnels                  PAUSED
no answer of shards 3; 1,234 pauses at a limit on tunnels
 tunnels by rate  2,345 open
id        per s       up     down    age client                name
no answer for 65 s: /run/adit/admin.sock does not answer
";
    assert_shown(&shown(&mut top, 80, 5, UNICODE()), expected);
}

#[test]
fn before_the_first_answer_and_with_help() {
    let mut top = Top::new(Duration::from_secs(1), TunnelOrder::Rate, Vec::new());
    let expected = "\
adit top: waiting for the server's answer

1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit
";
    assert_shown(&shown(&mut top, 80, 3, UNICODE()), expected);
    press(&mut top, "?");
    let help = shown(&mut top, 80, 24, UNICODE());
    for (key, what) in super::KEYS {
        assert!(help.contains(key) && help.contains(what), "{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let colours = |look| {
        let terminal = render(&mut watched(2), 80, 24, look);
        let buffer = terminal.backend().buffer();
        let colours = buffer.content().iter().map(|cell| (cell.fg, cell.bg));
        colours.collect::<Vec<_>>()
    };
    let plain = colours(Look::new(false, true));
    assert!(
        plain
            .iter()
            .all(|colours| *colours == (Color::Reset, Color::Reset))
    );
    let coloured = colours(UNICODE());
    for colour in [Color::Red, Color::Green, Color::Yellow, Color::Cyan] {
        assert!(coloured.contains(&(colour, Color::Reset)), "{colour}");
    }
}

/// Whatever the size, nothing is drawn outside of it, which would panic.
#[test]
fn every_size_can_be_drawn() {
    for shards in [1, 3, 1000] {
        let mut top = watched(shards);
        for keys in ["1", "2", "3", "4", "5", "?", "x/"] {
            press(&mut top, keys);
            for (width, height) in [
                (1, 1),
                (2, 40),
                (9, 3),
                (33, 2),
                (71, 5),
                (72, 9),
                (300, 90),
            ] {
                render(&mut top, width, height, UNICODE());
            }
        }
    }
}
