//! Limits and their use, each by the same two metrics.

use super::super::Stats;
use super::super::openmetrics::{Kind, Label, Text};
use crate::sys::process::Process;

/// One limit: its labels, how many there may be, and how many there are.
type Limit<'a> = (Vec<Label<'a>>, u64, u64);

pub(super) fn write_limits(t: &mut Text, stats: &Stats, process: &Process) {
    let total = &stats.total;
    let mut limits: Vec<Limit<'_>> = Vec::new();
    let mut add = |labels: Vec<Label<'static>>, most: Option<u64>, used: Option<u64>| {
        limits.extend(most.zip(used).map(|(most, used)| (labels, most, used)));
    };
    add(
        vec![("limit", "descriptors")],
        stats.descriptors_max.or(process.max_descriptors),
        stats.descriptors_open.or(process.open_descriptors),
    );
    add(
        vec![("limit", "connections")],
        total.tunnels_max,
        Some(total.tunnels_open),
    );
    add(
        vec![("limit", "handshakes")],
        Some(total.handshakes_max),
        Some(total.handshakes_in_progress),
    );
    add(
        vec![("limit", "memory-bytes")],
        total.memory_max,
        Some(total.memory_held),
    );
    for listener in &total.listeners {
        if let Some(most) = listener.tunnels_max {
            let labels = vec![
                ("limit", "listener-connections"),
                ("listener", &*listener.name),
            ];
            limits.push((labels, most, listener.tunnels_open));
        }
    }
    for service in &stats.services {
        let labels = vec![("limit", "queue"), ("service", &*service.name)];
        limits.push((labels, service.queue_length, service.waiting));
        for backend in &service.backends {
            if let Some(most) = backend.max_connections {
                let labels = vec![
                    ("limit", "backend-connections"),
                    ("service", &*service.name),
                    ("backend", &*backend.address),
                ];
                limits.push((labels, most, backend.tunnels_open));
            }
        }
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_limit_max",
        None,
        "How many there may be at once of what is limited, over all shards.",
    );
    for (labels, most, _) in &limits {
        family.series(labels, *most);
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_limit_used",
        None,
        "How many there are now of what is limited, over all shards.",
    );
    for (labels, _, used) in &limits {
        family.series(labels, *used);
    }
}
