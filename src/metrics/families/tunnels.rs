//! What became of connections, handshakes and tunnels, over all shards.

use super::super::openmetrics::{Family, Kind, Text};
use super::super::{NameCount, NegotiatedCounts, Totals};
use super::{BYTES, SECONDS, counter, gauge};
use crate::close::{Cause, Phase};

pub(super) fn write_totals(t: &mut Text, total: &Totals) {
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

/// What happened before a TLS handshake began, so that none has failed.
fn is_before_handshake(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Denied | Cause::RateLimited | Cause::BadProxyHeader
    )
}
