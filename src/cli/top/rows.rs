//! The lists that are shown: their columns, and a row for each thing.

use adit::metrics::{BackendState, BackendStats, ServiceStats, ShardStats, TunnelStats};
use ratatui::style::Style;

use super::columns::Column;
use super::glyphs::Look;
use super::poller::Picture;
use super::rates::{Failures, Rates, is_failure};
use super::state::Top;
use crate::cli::human;
use crate::cli::operator;

/// Cells, and how they look.
pub(super) type Row = (Vec<String>, Style);

pub(super) const SHARDS: [Column; 10] = [
    Column::amount("shard", 5, 0),
    Column::amount("cpu", 4, 5),
    Column::amount("load", 5, 1),
    Column::text("", 8, 2),
    Column::amount("open", 7, 1),
    Column::amount("conn/s", 7, 3),
    Column::amount("handsh/s", 8, 6),
    Column::amount("up/s", 8, 4),
    Column::amount("down/s", 8, 4),
    Column::amount("answer", 8, 7),
];

pub(super) fn load_of(rates: Option<&Rates>, shard: usize) -> Option<f64> {
    Some(rates?.shard(shard)?.load)
}

pub(super) fn shard_rows(top: &Top, picture: &Picture, look: Look, width: usize) -> Vec<Row> {
    // Whatever the other columns leave, and no more than can be read.
    let bar = width.saturating_sub(72).clamp(8, 30);
    let row = |shard: &ShardStats| {
        let rates = top
            .rates
            .as_ref()
            .and_then(|rates| rates.shard(shard.shard));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let flow = rates.map(|rates| rates.flow);
        let load = rates.map(|rates| rates.load);
        let cells = vec![
            shard.shard.to_string(),
            or_dash(shard.cpu.map(|cpu| cpu.to_string())),
            or_dash(load.map(|load| format!("{:.0} %", load * 100.0))),
            look.bar_of(load.unwrap_or(0.0), bar),
            human::count(shard.totals.tunnels_open),
            or_dash(flow.map(|flow| number(flow.connections))),
            or_dash(flow.map(|flow| number(flow.full + flow.resumed))),
            or_dash(flow.map(|flow| bytes(flow.up))),
            or_dash(flow.map(|flow| bytes(flow.down))),
            format!("{:.1} ms", shard.answer_micros as f64 / 1000.0),
        ];
        let style = match load {
            Some(load) if load >= 0.9 => look.bad(),
            Some(load) if load >= 0.7 => look.doubtful(),
            _ => look.bar(),
        };
        (cells, style)
    };
    picture.stats.shards.iter().map(row).collect()
}

pub(super) const FAILURES: [Column; 5] = [
    Column::text("cause", 12, 0),
    Column::amount("per s", 5, 1),
    Column::amount("total", 6, 2),
    Column::text("phase", 9, 3),
    Column::text("side", 7, 4),
];

pub(super) const BACKENDS: [Column; 7] = [
    Column::text("backend", 15, 0),
    Column::text("state", 8, 1),
    Column::amount("open", 5, 2),
    Column::text("service", 8, 3),
    Column::amount("conn/s", 6, 4),
    Column::text("check", 5, 5),
    Column::amount("failed", 6, 6),
];

pub(super) fn failure_rows(top: &Top, picture: &Picture, look: Look) -> Vec<Row> {
    // Before there are rates there are totals.
    let totals = || {
        let closed = picture.stats.total.closed.iter();
        let mut totals: Vec<Failures> = closed
            .filter(|close| is_failure(close.reason))
            .map(|close| Failures {
                reason: close.reason,
                per_second: 0.0,
                total: close.count,
            })
            .collect();
        totals.sort_by_key(|one| std::cmp::Reverse(one.total));
        totals
    };
    let failures = match &top.rates {
        Some(rates) => rates.failures.clone(),
        None => totals(),
    };
    let row = |one: Failures| {
        let cells = vec![
            one.reason.cause.to_string(),
            number(one.per_second),
            human::count(one.total),
            one.reason.phase.to_string(),
            one.reason.side.to_string(),
        ];
        let style = match one.per_second > 0.0 {
            true => look.doubtful(),
            false => Style::new(),
        };
        (cells, style)
    };
    failures.into_iter().map(row).collect()
}

pub(super) fn backend_rows(top: &Top, picture: &Picture, look: Look) -> Vec<Row> {
    let row = |service: &ServiceStats, backend: &BackendStats| {
        let rates = top.rates.as_ref();
        let rates = rates.and_then(|rates| rates.backend(&service.name, &backend.address));
        let cells = vec![
            backend.address.clone(),
            operator::state(backend.state).to_owned(),
            human::count(backend.tunnels_open),
            service.name.clone(),
            rates.map_or_else(|| "–".into(), |rates| number(rates.connects)),
            operator::check(backend).to_owned(),
            human::count(backend.connect_failures),
        ];
        let fails = rates.is_some_and(|rates| rates.failures > 0.0);
        let style = match backend.state {
            BackendState::Down => look.bad(),
            BackendState::Ejected => look.doubtful(),
            BackendState::Up if fails => look.doubtful(),
            BackendState::Up => look.good(),
            BackendState::Disabled => look.faint(),
        };
        (cells, style)
    };
    let mut rows: Vec<(bool, (Vec<String>, Style))> = Vec::new();
    for service in &picture.stats.services {
        for backend in &service.backends {
            let well = backend.state == BackendState::Up;
            rows.push((well, row(service, backend)));
        }
    }
    // What is not well is not to be scrolled to; else as they are configured.
    rows.sort_by_key(|(well, _)| *well);
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(super) const TUNNELS: [Column; 11] = [
    Column::text("id", 6, 0),
    Column::amount("per s", 8, 1),
    Column::amount("up", 8, 5),
    Column::amount("down", 8, 6),
    Column::amount("age", 6, 3),
    // An IPv4 address and its port.
    Column::text("client", 21, 2),
    Column::text("name", 8, 4),
    Column::text("backend", 15, 7),
    Column::text("state", 9, 8),
    Column::text("service", 8, 9),
    Column::text("tls", 7, 10),
];

pub(super) fn tunnel_row(tunnel: &TunnelStats) -> Row {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
    let cells = vec![
        tunnel.id.to_string(),
        human::bytes(tunnel.bytes_per_second.unwrap_or(0)),
        human::bytes(tunnel.bytes_up),
        human::bytes(tunnel.bytes_down),
        age(tunnel.age_seconds),
        tunnel
            .client
            .map_or_else(|| "unix".into(), |client| client.to_string()),
        or_dash(&tunnel.sni),
        or_dash(&tunnel.backend),
        tunnel.state.to_string(),
        or_dash(&tunnel.service),
        or_dash(&tunnel.tls_version),
    ];
    (cells, Style::new())
}

/// An amount a second.
pub(super) fn number(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".into(),
        value if value < 9.95 => format!("{value:.1}"),
        value => human::count(value.round() as u64),
    }
}

pub(super) fn bytes(value: f64) -> String {
    human::bytes(value as u64)
}

/// An age in six characters at most.
fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 => format!("{minutes}m{:02}s", seconds % 60),
        600..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        86_400..864_000 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}
