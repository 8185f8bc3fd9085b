//! Where clients come in: listeners, their certificates and ticket keys.

use super::super::openmetrics::{Kind, Text};
use super::super::{ListenerStats, ListenerUse, TicketKeySource};
use super::SECONDS;

pub(super) fn write_listeners(t: &mut Text, listeners: &[ListenerStats], uses: &[ListenerUse]) {
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
