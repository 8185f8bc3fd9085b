//! What each shard has to do.

use super::super::ShardStats;
use super::super::openmetrics::{Kind, Text};
use super::{BYTES, SECONDS};
use crate::sys::process;

pub(super) fn write_shards(t: &mut Text, shards: &[ShardStats], silent: &[usize]) {
    let names: Vec<String> = shards.iter().map(|s| s.shard.to_string()).collect();
    let named = || shards.iter().zip(&names);
    let mut family = t.family(
        Kind::Gauge,
        "adit_shard_up",
        None,
        "Whether the shard answers.",
    );
    for (_, name) in named() {
        family.series(&[("shard", name)], true);
    }
    for shard in silent {
        family.series(&[("shard", &shard.to_string())], false);
    }
    let mut family = t.family(
        Kind::Info,
        "adit_shard",
        None,
        "The CPU that the shard is pinned to; empty if it is to none.",
    );
    for (shard, name) in named() {
        let cpu = shard.cpu.map_or_else(String::new, |cpu| cpu.to_string());
        family.series(&[("shard", name), ("cpu", &cpu)], true);
    }
    type Of = fn(&ShardStats) -> u64;
    let families: [(Kind, &str, &str, Of); 4] = [
        (
            Kind::Gauge,
            "adit_shard_tunnels_open",
            "Tunnels open now on the shard.",
            |s| s.totals.tunnels_open,
        ),
        (
            Kind::Gauge,
            "adit_shard_handshakes_in_progress",
            "TLS handshakes with clients that are in progress on the shard.",
            |s| s.totals.handshakes_in_progress,
        ),
        (
            Kind::Counter,
            "adit_shard_connections_accepted",
            "Connections that the shard accepted.",
            |s| s.totals.accepted,
        ),
        (
            Kind::Counter,
            "adit_shard_handshakes",
            "TLS handshakes with clients that the shard has done.",
            |s| s.totals.handshakes,
        ),
    ];
    for (kind, metric, help, of) in families {
        let mut family = t.family(kind, metric, None, help);
        for (shard, name) in named() {
            family.series(&[("shard", name)], of(shard));
        }
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_shard_bytes",
        BYTES,
        "Plaintext bytes that the shard has carried, in both directions.",
    );
    for (shard, name) in named() {
        let bytes = shard.totals.bytes_up + shard.totals.bytes_down;
        family.series(&[("shard", name)], bytes);
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_shard_cpu_seconds",
        SECONDS,
        "Processor time of the shard's thread: a rate of 1 is a CPU that does nothing else.",
    );
    for (shard, name) in named() {
        family.series(&[("shard", name)], shard.cpu_seconds);
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_shard_cpu_wait_seconds",
        SECONDS,
        "Time for which the shard's thread could have run while something else had its CPU.",
    );
    for (shard, name) in named() {
        if let Some(waited) = process::thread_waited(shard.thread) {
            family.series(&[("shard", name)], waited.as_secs_f64());
        }
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_shard_answer_seconds",
        SECONDS,
        "How long the shard took to answer for this scrape.",
    );
    for (shard, name) in named() {
        family.series(&[("shard", name)], shard.answer_micros as f64 / 1e6);
    }
}
