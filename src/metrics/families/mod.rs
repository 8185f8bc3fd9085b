//! Every metric that there is, from the figures of one moment.
//!
//! Figures are taken apart here without leaving any out, so that a new one is
//! missed by the compiler until it has a metric. Labels have few values: words
//! of adit's own, names of the configuration, numbers of shards. Nothing that
//! comes from the network is among them.

mod limits;
mod listeners;
mod process;
mod services;
mod shards;
mod tunnels;

use super::openmetrics::{Kind, Text, TextFormat, Value};
use super::{State, Stats, Totals};
use crate::sys::process::Process;
use limits::write_limits;
use listeners::write_listeners;
use process::write_process;
use services::{write_backends, write_services};
use shards::write_shards;
use tunnels::write_totals;

const SECONDS: Option<&str> = Some("seconds");
const BYTES: Option<&str> = Some("bytes");

/// The metrics of one moment, as text. `ready`: what `/readyz` says of it.
pub fn expose(stats: &Stats, process: &Process, ready: bool, format: TextFormat) -> String {
    let mut text = Text::new(format);
    let Stats {
        version,
        pid: _,
        // That of the process is there.
        started_unix_seconds: _,
        uptime_seconds: _,
        state,
        reloads,
        reloads_failed,
        configured_unix_seconds,
        reload_refused,
        log_lines_dropped,
        access_lines_lost,
        // Settled at the start; adit shards shows it.
        rings: _,
        // Among the limits.
        descriptors_open: _,
        descriptors_max: _,
        listeners,
        services,
        total,
        shards,
        silent_shards,
    } = stats;
    let t = &mut text;
    t.family(Kind::Info, "adit_build", None, "Which adit it is.")
        .series(&[("version", version)], true);
    write_state(t, *state, ready);
    write_totals(t, total);
    write_listeners(t, listeners, &total.listeners);
    write_services(t, services);
    write_backends(t, services);
    write_limits(t, stats, process);
    write_shards(t, shards, silent_shards);
    let mut family = t.family(
        Kind::Counter,
        "adit_reloads",
        None,
        "Reloads of the configuration, by what became of them.",
    );
    family.series(&[("result", "success")], *reloads);
    family.series(&[("result", "refused")], *reloads_failed);
    gauge(
        t,
        "adit_reload_successful",
        "Whether the configuration in use is the one that was read last: 0 once a reload was refused.",
        !*reload_refused,
    );
    t.family(
        Kind::Gauge,
        "adit_reload_success_timestamp_seconds",
        SECONDS,
        "When a configuration was last taken up, that of the start included.",
    )
    .series(&[], *configured_unix_seconds);
    counter(
        t,
        "adit_log_lines_dropped",
        "Log lines given up because the writer could not keep pace.",
        *log_lines_dropped,
    );
    write_access_lines(t, total, *access_lines_lost);
    write_process(t, process);
    let left_out = t.left_out();
    gauge(
        t,
        "adit_metrics_series_left_out",
        "Series that this scrape had no room for.",
        left_out,
    );
    text.end()
}

fn counter(t: &mut Text, name: &'static str, help: &'static str, value: u64) {
    t.family(Kind::Counter, name, None, help).series(&[], value);
}

fn gauge(t: &mut Text, name: &'static str, help: &'static str, value: impl Into<Value>) {
    t.family(Kind::Gauge, name, None, help).series(&[], value);
}

fn write_state(t: &mut Text, state: State, ready: bool) {
    let mut family = t.family(
        Kind::Gauge,
        "adit_server_state",
        None,
        "What the server is doing: 1 for the state that it is in.",
    );
    for (word, which) in [
        ("serving", State::Serving),
        ("stopping", State::Stopping),
        ("draining", State::Draining),
    ] {
        family.series(&[("state", word)], state == which);
    }
    gauge(
        t,
        "adit_ready",
        "Whether /readyz says that clients may be sent here.",
        ready,
    );
}

fn write_access_lines(t: &mut Text, total: &Totals, lost: u64) {
    let mut family = t.family(
        Kind::Counter,
        "adit_access_lines",
        None,
        "Lines of the access log, by what became of them: handed to the writer, left out by sampling, dropped because its queue was full, or lost since no sink took them.",
    );
    for (result, count) in [
        ("written", total.access_lines),
        ("left-out", total.access_lines_left_out),
        ("dropped", total.access_lines_dropped),
        ("lost", lost),
    ] {
        family.series(&[("result", result)], count);
    }
}
