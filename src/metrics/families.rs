//! Every metric that there is, from the figures of one moment.
//!
//! Figures are taken apart here without leaving any out, so that a new one is
//! missed by the compiler until it has a metric. Labels have few values: words
//! of adit's own, names of the configuration, numbers of shards. Nothing that
//! comes from the network is among them.

use super::openmetrics::{Family, Kind, Label, Text, TextFormat};
use super::{
    BackendState, BackendStats, ListenerStats, ListenerUse, NameCount, NegotiatedCounts,
    ServiceStats, ShardStats, State, Stats, TicketKeySource, Totals,
};
use crate::sys::process::{self, Process};
use crate::tunnel::{Cause, Phase};

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

fn gauge(
    t: &mut Text,
    name: &'static str,
    help: &'static str,
    value: impl Into<super::openmetrics::Value>,
) {
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

/// What happened before a TLS handshake began, so that none has failed.
fn is_before_handshake(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Denied | Cause::RateLimited | Cause::BadProxyHeader
    )
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

fn write_totals(t: &mut Text, total: &Totals) {
    let Totals {
        accepted,
        tunnels_open,
        handshakes_in_progress,
        handshakes_waiting,
        handshakes,
        handshakes_resumed,
        backend_handshakes,
        backend_handshakes_resumed,
        negotiated,
        backend_negotiated,
        backend_handshakes_failed,
        handshake_times,
        bytes_up,
        bytes_down,
        accept_pauses,
        accept_shed,
        limit_pauses,
        rate_pauses,
        memory_pauses,
        memory_held,
        handshakes_queued,
        handed_over,
        adopted,
        panics,
        closed,
        // Among the limits.
        tunnels_max: _,
        memory_max: _,
        handshakes_max: _,
        // By themselves.
        access_lines: _,
        access_lines_left_out: _,
        access_lines_dropped: _,
        listeners: _,
    } = total;
    gauge(
        t,
        "adit_tunnels_open",
        "Tunnels open now, in any phase.",
        *tunnels_open,
    );
    counter(
        t,
        "adit_connections_accepted",
        "Connections accepted from clients.",
        *accepted,
    );
    let mut family = t.family(
        Kind::Counter,
        "adit_connections_refused",
        None,
        "Connections closed at once: the access list denies the client, or its network comes in faster than it may.",
    );
    for cause in [Cause::Denied, Cause::RateLimited] {
        let of_cause = closed
            .iter()
            .filter(|c| c.reason.phase == Phase::Handshake && c.reason.cause == cause);
        let count: u64 = of_cause.map(|c| c.count).sum();
        family.series(&[("cause", cause.as_str())], count);
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_accept_pauses",
        None,
        "How often a shard ceased to accept for a while, by the limit that was reached; without-descriptors is the kernel's.",
    );
    family.series(&[("cause", "max-connections")], *limit_pauses);
    family.series(&[("cause", "connection-rate")], *rate_pauses);
    family.series(&[("cause", "memory-budget")], *memory_pauses);
    family.series(&[("cause", "without-descriptors")], *accept_pauses);
    counter(
        t,
        "adit_connections_shed",
        "Connections reset since there was no descriptor for them for longer than a pause.",
        *accept_shed,
    );
    t.family(
        Kind::Gauge,
        "adit_tunnel_memory_bytes",
        BYTES,
        "What tunnels hold in memory, as memory_budget counts it.",
    )
    .series(&[], *memory_held);
    counter(
        t,
        "adit_connections_handed_over",
        "Connections that a shard handed to one with fewer tunnels.",
        *handed_over,
    );
    counter(
        t,
        "adit_connections_adopted",
        "Connections that a shard took over from another.",
        *adopted,
    );
    let mut family = t.family(
        Kind::Counter,
        "adit_tunnel_closed",
        None,
        "Tunnels ended, by how far they had come, whose doing it was, and what happened.",
    );
    for close in closed {
        let reason = close.reason;
        let labels = [
            ("phase", reason.phase.as_str()),
            ("side", reason.side.as_str()),
            ("cause", reason.cause.as_str()),
        ];
        family.series(&labels, close.count);
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_tunnel_bytes",
        BYTES,
        "Plaintext bytes carried: up to backends, down to clients.",
    );
    family.series(&[("direction", "up")], *bytes_up);
    family.series(&[("direction", "down")], *bytes_down);
    counter(
        t,
        "adit_panics",
        "Tunnels ended by a fault in adit itself.",
        *panics,
    );

    let mut family = t.family(
        Kind::Counter,
        "adit_handshakes",
        None,
        "TLS handshakes with clients, by what became of them: full, resumed, or the cause of the failure.",
    );
    write_done(&mut family, *handshakes, *handshakes_resumed);
    for cause in Cause::ALL
        .iter()
        .filter(|cause| !is_before_handshake(**cause))
    {
        let of_cause = closed
            .iter()
            .filter(|c| c.reason.phase == Phase::Handshake && c.reason.cause == *cause);
        let count: u64 = of_cause.map(|c| c.count).sum();
        if count > 0 {
            family.series(&[("result", cause.as_str())], count);
        }
    }
    gauge(
        t,
        "adit_handshakes_in_progress",
        "TLS handshakes with clients that are in progress.",
        *handshakes_in_progress,
    );
    gauge(
        t,
        "adit_handshakes_waiting",
        "Clients that wait until another handshake may begin.",
        *handshakes_waiting,
    );
    counter(
        t,
        "adit_handshakes_queued",
        "Clients that had to wait until another handshake might begin.",
        *handshakes_queued,
    );
    t.family(
        Kind::Times,
        "adit_handshake_seconds",
        SECONDS,
        "From a connection's accept to the end of its TLS handshake, of those that succeeded.",
    )
    .times(&[], handshake_times);
    let mut family = t.family(
        Kind::Counter,
        "adit_backend_handshakes",
        None,
        "TLS handshakes with backends, by what became of them: full, resumed, or the cause of the failure.",
    );
    write_done(
        &mut family,
        *backend_handshakes,
        *backend_handshakes_resumed,
    );
    for failed in backend_handshakes_failed {
        family.series(&[("result", failed.cause.as_str())], failed.count);
    }
    write_negotiated(t, negotiated, backend_negotiated);
}

fn write_done(family: &mut Family<'_>, done: u64, resumed: u64) {
    family.series(&[("result", "full")], done.saturating_sub(resumed));
    family.series(&[("result", "resumed")], resumed);
}

fn write_negotiated(t: &mut Text, clients: &NegotiatedCounts, backends: &NegotiatedCounts) {
    type Of = fn(&NegotiatedCounts) -> &[NameCount];
    let families: [(&str, &str, &str, Of); 3] = [
        (
            "adit_handshake_versions",
            "version",
            "TLS handshakes done, by the version that was agreed on, with clients and with backends.",
            |counts| &counts.versions,
        ),
        (
            "adit_handshake_ciphers",
            "cipher",
            "TLS handshakes done, by the cipher suite that was agreed on.",
            |counts| &counts.ciphers,
        ),
        (
            "adit_handshake_groups",
            "group",
            "TLS handshakes done, by the group in which keys were exchanged, if any were.",
            |counts| &counts.groups,
        ),
    ];
    for (name, label, help, of) in families {
        let mut family = t.family(Kind::Counter, name, None, help);
        for (side, counts) in [("client", clients), ("backend", backends)] {
            for count in of(counts) {
                family.series(&[("side", side), (label, &count.name)], count.count);
            }
        }
    }
}

fn write_listeners(t: &mut Text, listeners: &[ListenerStats], uses: &[ListenerUse]) {
    let mut family = t.family(
        Kind::Info,
        "adit_listener",
        None,
        "Where clients come in, and the service that it leads to.",
    );
    for listener in listeners {
        family.series(
            &[
                ("listener", &listener.name),
                ("address", &listener.address),
                ("service", &listener.service),
            ],
            true,
        );
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_listener_tunnels_open",
        None,
        "Tunnels open now that came in at the listener.",
    );
    for listener in uses {
        family.series(&[("listener", &listener.name)], listener.tunnels_open);
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_listener_connections_accepted",
        None,
        "Connections accepted at the listener.",
    );
    for listener in uses {
        family.series(&[("listener", &listener.name)], listener.accepted);
    }
    let mut family = t.family(
        Kind::Counter,
        "adit_listener_accept_pauses",
        None,
        "How often a shard ceased to accept at the listener for a while, by the listener's limit that was reached.",
    );
    for listener in uses {
        let name = ("listener", &*listener.name);
        family.series(&[name, ("cause", "max-connections")], listener.limit_pauses);
        family.series(&[name, ("cause", "connection-rate")], listener.rate_pauses);
    }
    let shown = || {
        let all = listeners.iter();
        all.filter_map(|listener| Some((&*listener.name, listener.certificates.as_ref()?)))
    };
    let mut family = t.family(
        Kind::Gauge,
        "adit_certificates",
        None,
        "Certificates that the listener shows to clients.",
    );
    for (listener, certificates) in shown() {
        family.series(&[("listener", listener)], certificates.count);
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_certificates_left_out",
        None,
        "Certificates of a directory that the listener passes over since they have expired.",
    );
    for (listener, certificates) in shown() {
        family.series(&[("listener", listener)], certificates.left_out);
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_certificate_expiry_timestamp_seconds",
        SECONDS,
        "When a certificate expires: of each listener those that do first, ten at most.",
    );
    for (listener, certificates) in shown() {
        for expiry in &certificates.soonest {
            let labels = [
                ("listener", listener),
                ("file", &expiry.file),
                ("name", &expiry.name),
            ];
            family.series(&labels, expiry.expires_unix_seconds);
        }
    }
    let mut family = t.family(
        Kind::Gauge,
        "adit_ticket_key_timestamp_seconds",
        SECONDS,
        "Since when the listener has sealed session tickets with the present key; of a key from a file, when that was last written.",
    );
    for listener in listeners {
        let Some(key) = listener.ticket_key else {
            continue;
        };
        let source = match key.source {
            TicketKeySource::Process => "process",
            TicketKeySource::File => "file",
        };
        let labels = [("listener", &*listener.name), ("source", source)];
        family.series(&labels, key.since_unix_seconds);
    }
}

fn write_services(t: &mut Text, services: &[ServiceStats]) {
    type Of = fn(&ServiceStats) -> u64;
    let families: [(Kind, &str, &str, Of); 6] = [
        (
            Kind::Gauge,
            "adit_service_backends_up",
            "Backends of the service that are not down.",
            |s| s.backends.iter().filter(|b| is_up(b)).count() as u64,
        ),
        (
            Kind::Gauge,
            "adit_service_tunnels_waiting",
            "Tunnels that wait now for a backend with room.",
            |s| s.waiting,
        ),
        (
            Kind::Gauge,
            "adit_service_clients_held",
            "Clients that are held now until a backend comes up.",
            |s| s.held,
        ),
        (
            Kind::Counter,
            "adit_service_queued",
            "Tunnels that had to wait for a backend with room.",
            |s| s.queued_total,
        ),
        (
            Kind::Counter,
            "adit_service_queue_refused",
            "Tunnels refused since the queue was full, or there was no room in time.",
            |s| s.queue_refused,
        ),
        (
            Kind::Counter,
            "adit_service_retries",
            "Connects to another backend since one had failed.",
            |s| s.retries,
        ),
    ];
    for (kind, name, help, of) in families {
        let mut family = t.family(kind, name, None, help);
        for service in services {
            family.series(&[("service", &service.name)], of(service));
        }
    }
    let mut family = t.family(
        Kind::Times,
        "adit_backend_connect_seconds",
        SECONDS,
        "From the end of a client's handshake to a backend that is connected and ready, queue and other attempts included, of those that got one.",
    );
    for service in services {
        family.times(&[("service", &service.name)], &service.connect_times);
    }
}

fn is_up(backend: &BackendStats) -> bool {
    backend.state != BackendState::Down
}

fn write_backends(t: &mut Text, services: &[ServiceStats]) {
    type Of = fn(&BackendStats) -> Option<u64>;
    let families: [(Kind, &str, &str, Of); 8] = [
        (
            Kind::Gauge,
            "adit_backend_up",
            "Whether the backend is up: 0 if the health checks say that it is down.",
            |b| Some(is_up(b).into()),
        ),
        (
            Kind::Gauge,
            "adit_backend_ejected_shards",
            "Shards that leave the backend alone for a time, since its connects fail.",
            |b| Some(b.ejected_on_shards as u64),
        ),
        (
            Kind::Gauge,
            "adit_backend_backup",
            "Whether the backend gets tunnels only while none of the others is up.",
            |b| Some(b.backup.into()),
        ),
        (
            Kind::Gauge,
            "adit_backend_tunnels_open",
            "Tunnels that the backend has now, those being connected included.",
            |b| Some(b.tunnels_open),
        ),
        (
            Kind::Counter,
            "adit_backend_tunnels",
            "Tunnels that were connected to the backend.",
            |b| Some(b.tunnels_total),
        ),
        (
            Kind::Counter,
            "adit_backend_connect_failures",
            "Connects to the backend that failed, TLS handshakes included.",
            |b| Some(b.connect_failures),
        ),
        (
            Kind::Gauge,
            "adit_backend_check_passed",
            "Whether the last health check of the backend was good.",
            |b| b.last_check.as_ref().map(|check| check.passed.into()),
        ),
        (
            Kind::Counter,
            "adit_backend_check_transitions",
            "How often the health checks have changed their mind about the backend.",
            |b| b.last_check.as_ref().map(|check| check.transitions),
        ),
    ];
    for (kind, name, help, of) in families {
        let mut family = t.family(kind, name, None, help);
        for service in services {
            for backend in &service.backends {
                if let Some(value) = of(backend) {
                    let labels = [("service", &*service.name), ("backend", &backend.address)];
                    family.series(&labels, value);
                }
            }
        }
    }
}

/// One limit: its labels, how many there may be, and how many there are.
type Limit<'a> = (Vec<Label<'a>>, u64, u64);

fn write_limits(t: &mut Text, stats: &Stats, process: &Process) {
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

fn write_shards(t: &mut Text, shards: &[ShardStats], silent: &[usize]) {
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

/// By the names that all programs give to them.
fn write_process(t: &mut Text, process: &Process) {
    let Process {
        cpu_time,
        started_unix_seconds,
        resident_bytes,
        virtual_bytes,
        open_descriptors,
        max_descriptors,
        threads,
    } = process;
    if let Some(time) = cpu_time {
        t.family(
            Kind::Counter,
            "process_cpu_seconds",
            SECONDS,
            "Processor time of the process, user and system.",
        )
        .series(&[], time.as_secs_f64());
    }
    if let Some(started) = started_unix_seconds {
        t.family(
            Kind::Gauge,
            "process_start_time_seconds",
            SECONDS,
            "When the process began, in Unix time.",
        )
        .series(&[], *started);
    }
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Memory that the process may refer to.",
            virtual_bytes,
        ),
    ] {
        if let Some(value) = value {
            t.family(Kind::Gauge, name, BYTES, help).series(&[], *value);
        }
    }
    for (name, help, value) in [
        (
            "process_open_fds",
            "Descriptors that are open.",
            open_descriptors,
        ),
        (
            "process_max_fds",
            "Descriptors that may be open.",
            max_descriptors,
        ),
        ("process_threads", "Threads of the process.", threads),
    ] {
        if let Some(value) = value {
            gauge(t, name, help, *value);
        }
    }
}
