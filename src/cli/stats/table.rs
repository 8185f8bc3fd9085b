//! The figures as a table that fits into 80 columns.

use std::fmt::Write as _;
use std::time::Duration;

use adit::metrics::{State, Stats, Totals};

use super::per_second;
use crate::cli::human;

/// The table; with rates if there are figures from a span of time before.
pub(super) fn render(stats: &Stats, before: Option<(Duration, &Stats)>) -> String {
    let mut text = String::new();
    write_process(&mut text, stats);
    write_shards(&mut text, stats);
    if let Some((span, then)) = before {
        write_rates(&mut text, &stats.total, &then.total, span);
    }
    write_closes(&mut text, &stats.total);
    write_troubles(&mut text, stats);
    text
}

// Writing to a String cannot fail, so that its results are not looked at here.

fn write_process(text: &mut String, stats: &Stats) {
    let state = match stats.state {
        State::Serving => "serving",
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
    count(stats.total.panics, "tunnels ended by a fault in adit");
    for trouble in troubles {
        let _ = writeln!(text, "{trouble}");
    }
}

#[cfg(test)]
mod tests {
    use adit::metrics::{CloseCount, ListenerStats, ShardStats};
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
            log_lines_dropped: 0,
            listeners: vec![ListenerStats {
                name: "web".into(),
                address: "*:443".into(),
                service: "app".into(),
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
            "relay/client/eof",
            "shards 2, 5 did not answer",
            "1 reloads failed",
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
