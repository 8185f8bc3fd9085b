//! The figures as a table that fits into 80 columns.

use std::fmt::Write as _;
use std::time::Duration;

use adit::metrics::{BackendState, BackendStats, NameCount, State, Stats, Totals};

use super::per_second;
use crate::cli::human;

/// The table; with rates if there are figures from a span of time before.
pub(super) fn render(stats: &Stats, before: Option<(Duration, &Stats)>) -> String {
    let mut text = String::new();
    write_process(&mut text, stats);
    write_shards(&mut text, stats);
    write_services(&mut text, stats);
    if let Some((span, then)) = before {
        write_rates(&mut text, &stats.total, &then.total, span);
    }
    write_handshakes(&mut text, &stats.total);
    write_closes(&mut text, &stats.total);
    write_troubles(&mut text, stats);
    text
}

// Writing to a String cannot fail, so that its results are not looked at here.

fn write_process(text: &mut String, stats: &Stats) {
    let state = match stats.state {
        State::Serving => "serving",
        State::Stopping => "stopping",
        State::Draining => "draining",
    };
    let uptime = Duration::try_from_secs_f64(stats.uptime_seconds).unwrap_or_default();
    let _ = write!(
        text,
        "adit {}  pid {}  {state}  up {}",
        stats.version,
        stats.pid,
        human::duration(uptime)
    );
    if stats.reloads + stats.reloads_failed > 0 {
        let _ = write!(text, "  reloads {}", stats.reloads);
    }
    text.push('\n');
    for listener in &stats.listeners {
        let _ = write!(text, "{} → {}", listener.address, listener.service);
        if listener.name != listener.address {
            let _ = write!(text, "  ({})", listener.name);
        }
        text.push('\n');
    }
    text.push('\n');
}

fn write_shards(text: &mut String, stats: &Stats) {
    let _ = writeln!(
        text,
        "{:>5} {:>4} {:>7} {:>11} {:>11} {:>7} {:>8} {:>8} {:>9}",
        "shard", "cpu", "open", "accepted", "handshakes", "resumed", "up", "down", "answer"
    );
    for shard in &stats.shards {
        let cpu = shard.cpu.map_or_else(|| "–".into(), |cpu| cpu.to_string());
        let answer = format!("{:.1} ms", shard.answer_micros as f64 / 1000.0);
        write_row(text, &shard.shard.to_string(), &cpu, &shard.totals, &answer);
    }
    if stats.shards.len() != 1 {
        write_row(text, "all", "", &stats.total, "");
    }
    text.push('\n');
}

fn write_row(text: &mut String, shard: &str, cpu: &str, totals: &Totals, answer: &str) {
    let row = format!(
        "{shard:>5} {cpu:>4} {:>7} {:>11} {:>11} {:>7} {:>8} {:>8} {answer:>9}",
        human::count(totals.tunnels_open),
        human::count(totals.accepted),
        human::count(totals.handshakes),
        human::share(totals.handshakes_resumed, totals.handshakes),
        human::bytes(totals.bytes_up),
        human::bytes(totals.bytes_down),
    );
    let _ = writeln!(text, "{}", row.trim_end());
}

fn write_services(text: &mut String, stats: &Stats) {
    if stats.services.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "{:<34} {:>8} {:>7} {:>10} {:>7}  check",
        "service, backends", "state", "open", "total", "failed"
    );
    for service in &stats.services {
        let mut line = service.name.clone();
        let mut add = |n: u64, what: &str| {
            if n > 0 {
                let _ = write!(line, "  {} {what}", human::count(n));
            }
        };
        add(service.waiting, "waiting");
        add(service.held, "held");
        add(service.queued_total, "queued in all");
        add(service.queue_refused, "refused, being full");
        add(service.retries, "retries");
        let _ = writeln!(text, "{line}");
        for backend in &service.backends {
            write_backend(text, backend, stats.shards.len());
        }
    }
    text.push('\n');
}

fn write_backend(text: &mut String, backend: &BackendStats, shards: usize) {
    let backup = if backend.backup { " (backup)" } else { "" };
    let state = match backend.state {
        BackendState::Up => "up",
        BackendState::Ejected => "ejected",
        BackendState::Down => "down",
        BackendState::Disabled => "disabled",
    };
    let check = match &backend.last_check {
        None => "",
        Some(check) if check.passed => "ok",
        Some(_) => "bad",
    };
    let row = format!(
        "  {:<32} {state:>8} {:>7} {:>10} {:>7}  {check}",
        format!("{}{backup}", backend.address),
        human::count(backend.tunnels_open),
        human::count(backend.tunnels_total),
        human::count(backend.connect_failures),
    );
    let _ = writeln!(text, "{}", row.trim_end());
    if backend.ejected_on_shards > 0 && shards > 1 {
        let _ = writeln!(
            text,
            "    ejected on {} of {shards} shards",
            backend.ejected_on_shards
        );
    }
    if let Some(check) = backend.last_check.as_ref().filter(|check| !check.passed) {
        let _ = writeln!(text, "    {}", check.detail);
    }
}

fn write_rates(text: &mut String, now: &Totals, then: &Totals, span: Duration) {
    let bytes = |now, then| human::bytes(per_second(now, then, span) as u64);
    let _ = writeln!(
        text,
        "per second: {:.0} handshakes, {:.0} closed, {} up, {} down\n",
        per_second(now.handshakes, then.handshakes, span),
        per_second(closed(now), closed(then), span),
        bytes(now.bytes_up, then.bytes_up),
        bytes(now.bytes_down, then.bytes_down),
    );
}

fn closed(totals: &Totals) -> u64 {
    totals.closed.iter().map(|close| close.count).sum()
}

/// What was agreed on, a paragraph for each side that there were handshakes
/// with.
fn write_handshakes(text: &mut String, totals: &Totals) {
    let sides = [
        (
            "clients",
            totals.handshakes,
            totals.handshakes_resumed,
            &totals.negotiated,
        ),
        (
            "backends",
            totals.backend_handshakes,
            totals.backend_handshakes_resumed,
            &totals.backend_negotiated,
        ),
    ];
    for (side, done, resumed, negotiated) in sides {
        if done == 0 {
            continue;
        }
        let _ = writeln!(
            text,
            "handshakes with {side}  {}, {} resumed",
            human::count(done),
            human::share(resumed, done)
        );
        for counts in [
            &negotiated.versions,
            &negotiated.ciphers,
            &negotiated.groups,
        ] {
            for NameCount { name, count } in counts {
                let _ = writeln!(
                    text,
                    "  {name:<46} {:>12} {:>6}",
                    human::count(*count),
                    human::share(*count, done)
                );
            }
        }
        text.push('\n');
    }
}

fn write_closes(text: &mut String, totals: &Totals) {
    if totals.closed.is_empty() {
        return;
    }
    let mut closes = totals.closed.clone();
    closes.sort_by_key(|close| std::cmp::Reverse(close.count));
    let all = closed(totals);
    let _ = writeln!(text, "closed  {}", human::count(all));
    for close in closes {
        let _ = writeln!(
            text,
            "  {:<34} {:>12} {:>6}",
            close.reason.to_string(),
            human::count(close.count),
            human::share(close.count, all)
        );
    }
    text.push('\n');
}

/// What wants an operator's eye; nothing at all in good times.
fn write_troubles(text: &mut String, stats: &Stats) {
    let mut troubles = Vec::new();
    match stats.silent_shards.as_slice() {
        [] => {}
        [one] => troubles.push(format!("shard {one} did not answer in time")),
        several => {
            let numbers: Vec<String> = several.iter().map(usize::to_string).collect();
            troubles.push(format!(
                "shards {} did not answer in time",
                numbers.join(", ")
            ));
        }
    }
    let mut count = |n: u64, what: &str| {
        if n > 0 {
            troubles.push(format!("{} {what}", human::count(n)));
        }
    };
    count(stats.total.handshakes_in_progress, "handshakes in progress");
    count(stats.reloads_failed, "reloads failed");
    count(stats.log_lines_dropped, "log lines dropped");
    count(
        stats.total.accept_pauses,
        "pauses in accepting, for want of descriptors",
    );
    count(
        stats.total.limit_pauses,
        "pauses in accepting, at a limit on tunnels",
    );
    count(
        stats.total.accept_shed,
        "connections reset, for want of descriptors",
    );
    count(
        stats.total.rate_pauses,
        "pauses in accepting, at a limit on rates",
    );
    count(
        stats.total.memory_pauses,
        "pauses in accepting, at the limit on memory",
    );
    count(
        stats.total.handshakes_queued,
        "handshakes had to wait to begin",
    );
    count(
        stats.total.access_lines_dropped + stats.access_lines_lost,
        "access lines lost",
    );
    count(stats.total.panics, "tunnels ended by a fault in adit");
    for trouble in troubles {
        let _ = writeln!(text, "{trouble}");
    }
}

#[cfg(test)]
mod tests {
    use adit::metrics::{
        CheckStats, CloseCount, ListenerStats, NegotiatedCounts, RingStats, ServiceStats,
        ShardStats, TimeCounts,
    };
    use adit::tunnel::{Cause, CloseReason, Phase, Side};

    use super::*;

    fn totals(scale: u64) -> Totals {
        Totals {
            accepted: 1_234_567 * scale,
            tunnels_open: 2_345 * scale,
            handshakes: 1_200_000 * scale,
            handshakes_resumed: 400_000 * scale,
            bytes_up: 3_456_789_012 * scale,
            bytes_down: 98_765_432_109 * scale,
            negotiated: NegotiatedCounts {
                ciphers: vec![NameCount {
                    name: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".into(),
                    count: 300_000 * scale,
                }],
                ..NegotiatedCounts::default()
            },
            closed: vec![CloseCount {
                reason: CloseReason::new(Phase::Relay, Side::Client, Cause::Eof),
                count: 1_100_000 * scale,
            }],
            ..Totals::default()
        }
    }

    fn stats() -> Stats {
        let shard = |shard| ShardStats {
            shard,
            cpu: Some(shard + 127),
            answer_micros: 123_456,
            cpu_seconds: 1.5,
            thread: 7,
            running_on: None,
            submissions_left_out: 0,
            totals: totals(20),
        };
        Stats {
            version: "0.1.0".into(),
            pid: 4_194_304,
            started_unix_seconds: 1_700_000_000,
            uptime_seconds: 7265.5,
            state: State::Draining,
            reloads: 12,
            reloads_failed: 1,
            configured_unix_seconds: 1_700_000_000,
            reload_refused: true,
            log_lines_dropped: 0,
            rings: RingStats::default(),
            access_lines_lost: 3,
            descriptors_open: None,
            descriptors_max: None,
            listeners: vec![ListenerStats {
                name: "web".into(),
                address: "*:443".into(),
                service: "app".into(),
                certificates: None,
                ticket_key: None,
            }],
            services: vec![ServiceStats {
                name: "app".into(),
                waiting: 3,
                held: 0,
                queued_total: 1200,
                queue_refused: 0,
                retries: 7,
                queue_length: 1024,
                connect_times: TimeCounts::default(),
                backends: vec![BackendStats {
                    address: "192.168.100.100:8080".into(),
                    state: BackendState::Down,
                    backup: true,
                    ejected_on_shards: 1,
                    tunnels_open: 54_321,
                    tunnels_total: 7_654_321,
                    connect_failures: 1_234,
                    max_connections: None,
                    last_check: Some(CheckStats {
                        passed: false,
                        detail: "it answers 503, not 200 to 399".into(),
                        seconds_ago: 1.0,
                        transitions: 3,
                    }),
                }],
            }],
            total: totals(40),
            shards: vec![shard(0), shard(1)],
            silent_shards: vec![2, 5],
        }
    }

    #[test]
    fn large_figures_fit_into_eighty_columns_and_line_up() {
        let text = render(&stats(), Some((Duration::from_secs(1), &stats())));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let column = |needle: &str| {
            let line = text
                .lines()
                .find(|line| line.contains(needle))
                .expect(needle);
            line.chars().count()
        };
        assert_eq!(column("answer"), column("123.5 ms"), "{text}");
    }

    #[test]
    fn everything_an_operator_needs_is_said() {
        let text = render(&stats(), None);
        for part in [
            "pid 4194304",
            "draining",
            "up 2 h 1 min",
            "*:443 → app  (web)",
            "24,691,340",
            "33 %",
            "handshakes with clients  48,000,000, 33 % resumed",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256    12,000,000   25 %",
            "relay/client/eof",
            "app  3 waiting  1,200 queued in all  7 retries",
            "192.168.100.100:8080 (backup)",
            "down  54,321  7,654,321   1,234  bad",
            "it answers 503, not 200 to 399",
            "shards 2, 5 did not answer",
            "1 reloads failed",
            "3 access lines lost",
        ] {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }

    #[test]
    fn rates_come_from_two_pictures() {
        let mut then = stats();
        then.total.handshakes -= 500;
        let text = render(&stats(), Some((Duration::from_millis(500), &then)));
        assert!(text.contains("per second: 1000 handshakes"), "{text}");
    }
}
