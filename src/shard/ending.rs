//! What is said when a tunnel ends: a line in the log, and one in the access
//! log.

use std::net::SocketAddr;

use time::OffsetDateTime;

use super::Shard;
use crate::config::suites;
use crate::limits;
use crate::logging::access::{AccessLog, Entry, Sampling};
use crate::timer::Tick;
use crate::tunnel::{Cause, CloseReason, Phase, Record, Side, Summary, Terms, canonical};

/// The access log as one shard writes it.
#[derive(Debug)]
pub(super) struct Access {
    log: AccessLog,
    sampling: Sampling,
}

impl Access {
    /// One of so many shards'.
    pub(super) fn new(log: AccessLog, shards: usize) -> Self {
        Self {
            sampling: Sampling::new(log.config(), shards),
            log,
        }
    }
}

impl Shard {
    /// A tunnel has ended.
    pub(super) fn tell_end(&self, record: &Record, summary: &Summary) {
        self.log_end(record, summary);
        self.write_access(record, summary.reason, summary.detail.as_deref());
    }

    /// A connection has come to nothing before there was a tunnel.
    pub(super) fn tell_turned_away(
        &self,
        terms: &Terms,
        client: Option<SocketAddr>,
        reason: CloseReason,
    ) {
        if let Some(client) = client.map(canonical) {
            log::debug!("shard {}: {client} was turned away, {reason}", self.number);
        }
        if self.access.borrow().is_some() {
            let record = self.around.records.pass(terms.listener.clone(), client);
            self.write_access(&record, reason, None);
        }
    }

    fn write_access(&self, record: &Record, reason: CloseReason, detail: Option<&str>) {
        let access = self.access.borrow();
        let Some(Access { log, sampling }) = &*access else {
            return;
        };
        let counters = &self.around.counters;
        if !sampling.takes(is_everyday(reason), || self.around.timers.nanos()) {
            counters.access_lines_left_out.add(1);
            return;
        }
        if log.write(self.entry(record, reason, detail)) {
            counters.access_lines.add(1);
        } else {
            counters.access_lines_dropped.add(1);
        }
    }

    fn entry(&self, record: &Record, reason: CloseReason, detail: Option<&str>) -> Entry {
        let negotiated = record.negotiated();
        let service = record.service();
        let backend = record
            .backend()
            .and_then(|backend| service?.address(backend));
        Entry {
            time: OffsetDateTime::now_utc(),
            shard: self.number,
            number: record.number,
            listener: (*record.listener).into(),
            client: record.client(),
            sni: record.name().map(Into::into),
            alpn: record.protocol().map(Into::into),
            tls_version: negotiated.and_then(|n| n.version).map(suites::version_name),
            cipher: negotiated.and_then(|n| n.suite).map(suites::suite_name),
            resumed: negotiated.map(|n| n.resumed),
            client_cert: record.subject().map(Into::into),
            service: service.map(|service| service.name().into()),
            backend: backend.map(|address| address.to_string().into()),
            handshake: record.handshake_time(),
            connect: record.connect_time(),
            duration: record.accepted.elapsed(),
            bytes_up: record.bytes_up.get(),
            bytes_down: record.bytes_down.get(),
            phase: reason.phase.as_str(),
            side: reason.side.as_str(),
            cause: reason.cause.as_str(),
            detail: detail.map(Into::into),
        }
    }

    /// One line for a tunnel's end. What is out of the ordinary is a warning,
    /// but not more than one a second: a backend that is down ends tunnels by
    /// the thousand.
    fn log_end(&self, record: &Record, summary: &Summary) {
        let mut passed_over = 0;
        let level = if summary.reason.cause == Cause::Panic {
            log::Level::Error
        } else if summary.reason.is_ordinary() {
            log::Level::Debug
        } else {
            let now = self.around.timers.now();
            let (last, passed) = self.warned.get();
            if last == Tick::NEVER || now >= last.after(limits::WARNING_INTERVAL) {
                passed_over = passed;
                self.warned.set((now, 0));
                log::Level::Warn
            } else {
                self.warned.set((last, passed + 1));
                log::Level::Debug
            }
        };
        if !log::log_enabled!(level) {
            return;
        }
        let Summary { reason, detail } = summary;
        let service = record.service().map_or("?", |service| service.name());
        let (bytes_up, bytes_down) = (record.bytes_up.get(), record.bytes_down.get());
        let detail = detail.as_deref().unwrap_or("");
        let colon = if detail.is_empty() { "" } else { ": " };
        let since = match passed_over {
            0 => String::new(),
            n => format!(" ({n} more since the last such line)"),
        };
        log::log!(
            level,
            "shard {}: tunnel to {service} ended, {reason}{colon}{detail}; up {bytes_up} B, \
             down {bytes_down} B{since}",
            self.number,
        );
    }
}

impl Summary {
    pub(super) fn panicked() -> Self {
        Self {
            reason: CloseReason::new(Phase::Relay, Side::Server, Cause::Panic),
            detail: Some("a fault in adit; please report it".into()),
        }
    }
}

/// Whether a tunnel carried bytes and ended in the ordinary way: of those there
/// are the most, and each is like the other.
fn is_everyday(reason: CloseReason) -> bool {
    reason.phase == Phase::Relay
        && matches!(
            reason.cause,
            Cause::Eof | Cause::Truncated | Cause::Idle | Cause::HalfClose
        )
}
