//! A report as a table that fits into 80 columns.

use std::fmt::Write as _;

use adit::bench::{Distribution, Figures, Report, ServerFigures};

use crate::cli::human;

/// The table.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    write_head(&mut text, report);
    if report.parts.is_empty() {
        write_figures(&mut text, &report.total);
    } else {
        for (name, part) in &report.parts {
            let _ = writeln!(text, "{name}");
            write_figures(&mut text, part);
        }
        let _ = writeln!(text, "all");
        write_counts(&mut text, &report.total);
        text.push('\n');
    }
    write_errors(&mut text, &report.total);
    if let Some(server) = &report.server {
        write_server(&mut text, report, server);
    }
    let verdict = if report.generator.bottleneck {
        "THE BOTTLENECK"
    } else {
        "not the bottleneck"
    };
    write_wrapped(
        &mut text,
        "generator",
        &format!("{verdict}: {}", report.generator.why),
    );
    for note in &report.notes {
        write_wrapped(&mut text, "note", note);
    }
    text
}

// Writing to a String cannot fail, so that its results are not looked at here.

fn write_head(text: &mut String, report: &Report) {
    let _ = write!(text, "{} on {}", report.scenario, report.target);
    let _ = match &report.total.tls {
        Some(tls) => writeln!(
            text,
            ", {} {}{}",
            tls.version,
            tls.cipher,
            tls.group
                .as_ref()
                .map_or(String::new(), |group| format!(" {group}"))
        ),
        None if report.options["tls"].is_null() => writeln!(text, ", plain TCP"),
        None => writeln!(text),
    };
    let _ = writeln!(text, "{} s measured\n", human::digits(report.seconds));
}

fn write_figures(text: &mut String, figures: &Figures) {
    write_counts(text, figures);
    text.push('\n');
    write_latencies(text, figures);
}

fn write_counts(text: &mut String, figures: &Figures) {
    let mut line = |label: &str, count: &str, rate: &str| {
        let _ = writeln!(
            text,
            "{}",
            format!("{label:<12} {count:>14} {rate:>14}").trim_end()
        );
    };
    line(
        "operations",
        &human::count(figures.operations),
        &format!("{} /s", rate(figures.operations_per_second)),
    );
    if figures.unsent > 0 {
        line("unsent", &human::count(figures.unsent), "");
    }
    if figures.abandoned > 0 {
        line("abandoned", &human::count(figures.abandoned), "");
    }
    line("connections", &human::count(figures.connections), "");
    if figures.tls.is_some() {
        line("full", &human::count(figures.handshakes_full), "handshakes");
        if figures.handshakes_resumed > 0 {
            line(
                "resumed",
                &human::count(figures.handshakes_resumed),
                "handshakes",
            );
        }
    }
    let seconds = match figures.bytes_per_second {
        0.0 => f64::INFINITY,
        per_second => (figures.bytes_up + figures.bytes_down) as f64 / per_second,
    };
    for (label, bytes) in [("up", figures.bytes_up), ("down", figures.bytes_down)] {
        if bytes > 0 {
            let per_second = human::bytes((bytes as f64 / seconds) as u64);
            line(label, &human::bytes(bytes), &format!("{per_second}/s"));
        }
    }
}

fn rate(per_second: f64) -> String {
    if per_second < 999.5 {
        human::digits(per_second)
    } else {
        human::count(per_second as u64)
    }
}

fn write_latencies(text: &mut String, figures: &Figures) {
    let latency = &figures.latency;
    let rows = [
        ("operation", &latency.operation),
        ("service", &latency.service),
        ("handshake", &latency.handshake),
        ("answer", &latency.answer),
    ];
    if rows.iter().all(|(_, row)| row.is_none()) {
        return;
    }
    let _ = writeln!(
        text,
        "{:<9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "latency", "min", "mean", "p50", "p90", "p99", "p99.9", "max"
    );
    for (name, row) in rows {
        let Some(row) = row else { continue };
        let Distribution {
            min_us,
            mean_us,
            p50_us,
            p90_us,
            p99_us,
            p999_us,
            max_us,
            ..
        } = *row;
        let _ = write!(text, "{name:<9}");
        for us in [min_us, mean_us, p50_us, p90_us, p99_us, p999_us, max_us] {
            let _ = write!(text, " {:>9}", human::micros(us));
        }
        text.push('\n');
    }
    text.push('\n');
}

fn write_errors(text: &mut String, total: &Figures) {
    if total.errors.is_empty() {
        let _ = writeln!(text, "{:<12} none", "errors");
        return;
    }
    let mut errors: Vec<_> = total.errors.iter().collect();
    errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let _ = writeln!(
        text,
        "{:<12} {:>14}",
        "errors",
        human::count(total.failed())
    );
    for (cause, count) in errors {
        let _ = writeln!(text, "  {cause:<40} {:>12}", human::count(*count));
    }
}

fn write_server(text: &mut String, report: &Report, server: &ServerFigures) {
    let share = server.cpu_seconds * 100.0 / report.seconds.max(1e-9);
    let mut each = Vec::new();
    // Each scenario by what it counts.
    if report.scenario == "bulk" {
        let ns = server.cpu_ns_per_kib;
        each.extend(ns.map(|ns| format!("{} ns a KiB", human::digits(ns))));
    } else {
        let us = server.cpu_us_per_operation;
        each.extend(us.map(|us| format!("{} µs an operation", human::digits(us))));
    }
    each.push(format!(
        "{} s, {share:.0} % of a CPU",
        human::digits(server.cpu_seconds)
    ));
    if server.waiting_seconds > 0.05 * report.seconds {
        each.push(format!(
            "waited {} s for it while something else ran there",
            human::digits(server.waiting_seconds)
        ));
    }
    write_wrapped(text, "server CPU", &each.join("; "));
    let mut memory = format!(
        "{} before, {} {}",
        human::bytes(server.memory_before_bytes),
        human::bytes(server.memory_bytes),
        if report.scenario == "idle" {
            "held"
        } else {
            "after"
        }
    );
    if let Some(each) = server.memory_bytes_per_tunnel {
        let _ = write!(memory, "; {} kB a tunnel", human::digits(each / 1e3));
    }
    write_wrapped(text, "memory", &memory);
    let processes = match server.pids.as_slice() {
        [one] => format!("process {one}"),
        several => format!("{} processes", several.len()),
    };
    let mut holds = format!("{processes}, {} threads", server.threads);
    if let Some(descriptors) = server.descriptors {
        let _ = write!(holds, ", {} descriptors", human::count(descriptors));
    }
    write_wrapped(text, "server", &holds);
}

/// A label, and a text in as many lines as it needs.
fn write_wrapped(text: &mut String, label: &str, what: &str) {
    const WIDTH: usize = 80;
    const INDENT: usize = 13;
    let mut line = format!("{label:<INDENT$}");
    let mut length = INDENT;
    for word in what.split(' ') {
        let word_length = word.chars().count();
        if length > INDENT && length + word_length > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(INDENT);
            length = INDENT;
        }
        line += word;
        line.push(' ');
        length += word_length + 1;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}
