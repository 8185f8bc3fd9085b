//! The rows of the table: figures that are made of what was measured.

use std::sync::LazyLock;

use crate::crypto::Crypto;
use crate::results::Measured;

/// What a row says of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The proxy's CPU time for an operation, µs.
    CpuPerOperation,
    /// The proxy's CPU time for a KiB of plaintext, ns.
    CpuPerKib,
    /// The proxy's own memory for a tunnel, in units of 1000 bytes.
    MemoryPerTunnel,
    /// µs until a handshake is complete.
    Handshake(Quantile),
    /// µs until a new connection has its answer.
    Answer(Quantile),
    /// µs until an operation is complete.
    Operation(Quantile),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantile {
    P50,
    P99,
    P999,
}

impl Quantile {
    const ALL: [Self; 3] = [Self::P50, Self::P99, Self::P999];

    fn word(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }
}

impl Figure {
    /// The figure, if the sample has it.
    pub(crate) fn of(self, measured: &Measured) -> Option<f64> {
        let latency = |name: &str, quantile| {
            let found = measured.latency.get(name)?;
            Some(match quantile {
                Quantile::P50 => found.p50_us,
                Quantile::P99 => found.p99_us,
                Quantile::P999 => found.p999_us,
            })
        };
        match self {
            Self::CpuPerOperation => {
                let count = measured.operations as f64;
                (count > 0.0).then(|| measured.cpu_seconds * 1e6 / count)
            }
            Self::CpuPerKib => {
                let kib = measured.bytes as f64 / 1024.0;
                (kib > 0.0).then(|| measured.cpu_seconds * 1e9 / kib)
            }
            Self::MemoryPerTunnel => measured.memory_bytes_per_tunnel.map(|bytes| bytes / 1000.0),
            Self::Handshake(quantile) => latency("handshake", quantile),
            Self::Answer(quantile) => latency("answer", quantile),
            Self::Operation(quantile) => latency("operation", quantile),
        }
    }

    /// Whether it is a time that a client waits, rather than a cost.
    pub(crate) fn is_latency(self) -> bool {
        matches!(
            self,
            Self::Handshake(_) | Self::Answer(_) | Self::Operation(_)
        )
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) title: String,
    /// A word or two for it, beside a figure.
    pub(crate) short: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) figure: Figure,
    /// The scenario in which the plain TCP proxy does the like.
    pub(crate) floor: &'static str,
    pub(crate) crypto: Option<fn(&Crypto) -> f64>,
}

impl Row {
    /// All rows, costs first.
    pub(crate) fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Row>> = LazyLock::new(rows);
        &ALL
    }
}

fn rows() -> Vec<Row> {
    let cost = |scenario, title: &str, unit, figure, crypto| Row {
        title: title.into(),
        short: match figure {
            Figure::MemoryPerTunnel => "of memory",
            _ => "of CPU",
        },
        unit,
        scenario,
        figure,
        floor: match scenario {
            // Without TLS there is but one kind of connection.
            "resumed" | "rsa" => "handshake",
            other => other,
        },
        crypto,
    };
    let (operation, kib) = (Figure::CpuPerOperation, Figure::CpuPerKib);
    let mut rows = vec![
        cost(
            "handshake",
            "full handshake + 1 B echo",
            "µs",
            operation,
            Some(|c| c.handshake_us),
        ),
        cost(
            "handshake-1",
            "the same, one after another",
            "µs",
            operation,
            Some(|c| c.handshake_us),
        ),
        cost(
            "resumed",
            "resumed handshake + 1 B echo",
            "µs",
            operation,
            Some(|c| c.resumed_us),
        ),
        cost(
            "rsa",
            "full handshake, RSA-2048",
            "µs",
            operation,
            Some(|c| c.rsa_us),
        ),
        cost(
            "up",
            "client to backend, 1 stream",
            "ns/KiB",
            kib,
            Some(|c| c.open_ns_per_kib),
        ),
        cost(
            "down",
            "backend to client, 1 stream",
            "ns/KiB",
            kib,
            Some(|c| c.seal_ns_per_kib),
        ),
        cost(
            "up-64",
            "client to backend, 64 streams",
            "ns/KiB",
            kib,
            Some(|c| c.open_ns_per_kib),
        ),
        cost(
            "down-64",
            "backend to client, 64 streams",
            "ns/KiB",
            kib,
            Some(|c| c.seal_ns_per_kib),
        ),
        cost(
            "trip-1k",
            "1-KiB round trip, 64 tunnels",
            "µs",
            operation,
            Some(|c| c.trip_1k_us),
        ),
        cost(
            "trip-16k",
            "16-KiB round trip, 64 tunnels",
            "µs",
            operation,
            Some(|c| c.trip_16k_us),
        ),
        cost(
            "trip-1k-1",
            "1-KiB round trip, 1 tunnel",
            "µs",
            operation,
            Some(|c| c.trip_1k_us),
        ),
        cost(
            "trip-1k-rate",
            "1-KiB round trip, fixed rate",
            "µs",
            operation,
            Some(|c| c.trip_1k_us),
        ),
        cost("idle", "idle tunnel", "kB", Figure::MemoryPerTunnel, None),
    ];
    let connections = [
        ("handshake-1", "full handshake, one after another"),
        ("handshake", "full handshake, 8 at once"),
        ("resumed", "resumed handshake, 8 at once"),
        ("rsa", "full handshake, RSA-2048, 8 at once"),
    ];
    let trips = [
        ("trip-1k", "1-KiB round trip, 64 tunnels"),
        ("trip-16k", "16-KiB round trip, 64 tunnels"),
        ("trip-1k-1", "1-KiB round trip, 1 tunnel"),
        ("trip-1k-rate", "1-KiB round trip, fixed rate"),
    ];
    let mut wait = |scenario, title: &str, figure: fn(Quantile) -> Figure| {
        for quantile in Quantile::ALL {
            rows.push(Row {
                title: format!("{title}, {}", quantile.word()),
                short: quantile.word(),
                ..cost(scenario, "", "µs", figure(quantile), None)
            });
        }
    };
    for (scenario, title) in connections {
        wait(scenario, title, Figure::Handshake);
        wait(
            scenario,
            &format!("{title}, until the answer"),
            Figure::Answer,
        );
    }
    for (scenario, title) in trips {
        wait(scenario, title, Figure::Operation);
    }
    rows
}
