//! What the kernel says of the process.

use super::super::openmetrics::{Kind, Text};
use super::{BYTES, SECONDS, gauge};
use crate::sys::process::Process;

/// By the names that all programs give to them.
pub(super) fn write_process(t: &mut Text, process: &Process) {
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
