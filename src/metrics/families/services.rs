//! Where they lead to: services and their backends.

use super::super::openmetrics::{Kind, Text};
use super::super::{BackendState, BackendStats, ServiceStats};
use super::SECONDS;

pub(super) fn write_services(t: &mut Text, services: &[ServiceStats]) {
    type Of = fn(&ServiceStats) -> u64;
    let families: [(Kind, &str, &str, Of); 6] = [
        (
            Kind::Gauge,
            "adit_service_backends_up",
            "Backends of the service that are neither down nor disabled.",
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
    !matches!(backend.state, BackendState::Down | BackendState::Disabled)
}

pub(super) fn write_backends(t: &mut Text, services: &[ServiceStats]) {
    type Of = fn(&BackendStats) -> Option<u64>;
    let families: [(Kind, &str, &str, Of); 8] = [
        (
            Kind::Gauge,
            "adit_backend_up",
            "Whether the backend is up: 0 if the health checks say that it is down, or an operator has disabled it.",
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
