//! `adit shards`: how each shard is doing.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use adit::limits;
use adit::metrics::{RingStats, ShardStats, Stats};
use serde::Serialize;

use super::ShardsArgs;
use crate::cli::endpoint::Endpoint;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{human, output};

#[derive(Debug, Serialize)]
struct Shards {
    /// Each shard that answered.
    shards: Vec<Shard>,
    silent_shards: Vec<usize>,
    rings: RingStats,
}

#[derive(Debug, Serialize)]
struct Shard {
    /// The part of a CPU that its thread has used lately, from 0 to 1.
    load: f64,
    #[serde(flatten)]
    stats: ShardStats,
}

pub(super) fn run(args: ShardsArgs) -> Result<Exit, Failure> {
    let endpoint = Endpoint::of(&args.of.into())?;
    let (_, before): (_, Stats) = endpoint.get("/stats")?;
    let began = Instant::now();
    thread::sleep(limits::SAMPLE_SPAN);
    let (_, now): (_, Stats) = endpoint.get("/stats")?;
    let shards = Shards::between(&before, now, began.elapsed());
    if args.json {
        super::print_json(&shards)?;
    } else {
        output::print(&render(&shards))?;
        super::note_silent(&shards.silent_shards);
    }
    Ok(Exit::Clean)
}

impl Shards {
    fn between(before: &Stats, now: Stats, span: Duration) -> Self {
        let shard = |stats: ShardStats| {
            let earlier = before.shards.iter().find(|e| e.shard == stats.shard);
            let used = earlier.map_or(0.0, |e| stats.cpu_seconds - e.cpu_seconds);
            Shard {
                load: (used / span.as_secs_f64().max(0.001)).clamp(0.0, 1.0),
                stats,
            }
        };
        Self {
            shards: now.shards.into_iter().map(shard).collect(),
            silent_shards: now.silent_shards,
            rings: now.rings,
        }
    }
}

fn render(shards: &Shards) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:>5} {:>6} {:>8} {:>5} {:>9} {:>7} {:>7} {:>11} {:>7} {:>7}",
        "shard", "cpu", "thread", "load", "answer", "open", "shaking", "accepted", "given", "taken"
    );
    for Shard { load, stats } in &shards.shards {
        // One that is not pinned is wherever the kernel puts it.
        let cpu = match (stats.cpu, stats.running_on) {
            (Some(cpu), _) => cpu.to_string(),
            (None, Some(cpu)) => format!("({cpu})"),
            (None, None) => "–".into(),
        };
        let totals = &stats.totals;
        let _ = writeln!(
            text,
            "{:>5} {cpu:>6} {:>8} {:>5} {:>9} {:>7} {:>7} {:>11} {:>7} {:>7}",
            stats.shard,
            stats.thread,
            format!("{:.0} %", load * 100.0),
            format!("{:.1} ms", stats.answer_micros as f64 / 1000.0),
            human::count(totals.tunnels_open),
            human::count(totals.handshakes_in_progress),
            human::count(totals.accepted),
            human::count(totals.handed_over),
            human::count(totals.adopted),
        );
    }
    let RingStats { cooperative, plain } = shards.rings;
    let _ = match (cooperative, plain) {
        (0, 0) => Ok(()),
        (all, 0) => writeln!(text, "rings: {all}, none of which interrupts its CPU"),
        (some, plain) => writeln!(
            text,
            "rings: {}, of which {plain} interrupt their CPU at each completion (kernel before 5.19)",
            some + plain
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use adit::metrics::Totals;

    use super::*;

    #[test]
    fn the_load_is_what_was_used_in_between() {
        let shard = |shard, cpu, cpu_seconds| ShardStats {
            shard,
            cpu,
            answer_micros: 123,
            cpu_seconds,
            thread: 4242 + shard as u32,
            running_on: Some(9),
            submissions_left_out: 7,
            totals: Totals {
                accepted: 1_234_567,
                tunnels_open: 2_345,
                handed_over: 17,
                ..Totals::default()
            },
        };
        let stats = |first, second| Stats {
            shards: vec![shard(0, Some(2), first), shard(1, None, second)],
            rings: RingStats {
                cooperative: 6,
                plain: 0,
            },
            ..Stats::default()
        };
        let span = Duration::from_millis(500);
        let shards = Shards::between(&stats(1.0, 5.0), stats(1.25, 5.005), span);
        let expected = "\
shard    cpu   thread  load    answer    open shaking    accepted   given   taken
    0      2     4242  50 %    0.1 ms   2,345       0   1,234,567      17       0
    1    (9)     4243   1 %    0.1 ms   2,345       0   1,234,567      17       0
rings: 6, none of which interrupts its CPU
";
        assert_eq!(render(&shards), expected);
        let json = serde_json::to_value(&shards).expect("JSON");
        assert_eq!(json["shards"][0]["load"], 0.5);
        assert_eq!(json["shards"][1]["thread"], 4243);
        assert_eq!(json["shards"][0]["tunnels_open"], 2345);
    }
}
