//! A report as a page that needs nothing beside itself.

use std::fmt::Write as _;

use adit::bench::{Distribution, Figures, RateFigures, Report, ServerFigures};
use serde_json::Value;

use super::{json, plot};
use crate::cli::exit::Failure;
use crate::cli::human;

const STYLE: &str = include_str!("page.css");

/// Steps of time in a plot, at the most.
const STEPS_MAX: usize = 150;

/// The page.
pub(super) fn render(report: &Report) -> Result<String, Failure> {
    let mut page = String::new();
    write_head(&mut page, report);
    write_cards(&mut page, report);
    if report.parts.is_empty() {
        write_figures(&mut page, report.scenario, &report.total, report.seconds);
    }
    for (name, part) in &report.parts {
        let _ = writeln!(page, "<h2>{name}</h2>");
        write_part_cards(&mut page, part);
        write_figures(&mut page, name, part, report.seconds);
    }
    write_errors(&mut page, &report.total);
    page.push_str("<div class=\"two\">\n");
    if let Some(server) = &report.server {
        write_server(&mut page, report, server);
    }
    write_machine(&mut page, report);
    write_options(&mut page, &report.options);
    page.push_str("</div>\n");
    let all = escaped(&json(report)?);
    let _ = writeln!(
        page,
        "<details><summary>All figures as JSON</summary><pre>{all}</pre></details>\n</body>\n</html>"
    );
    Ok(page)
}

// Writing to a String cannot fail, so that its results are not looked at here.

fn write_head(page: &mut String, report: &Report) {
    let (scenario, target) = (report.scenario, escaped(&report.target));
    let tls = match &report.total.tls {
        Some(tls) => {
            let group = tls.group.as_deref().unwrap_or("");
            escaped(format!("{} {} {group}", tls.version, tls.cipher).trim_end())
        }
        None if report.options["tls"].is_null() => "plain TCP".into(),
        None => "no handshake".into(),
    };
    let _ = writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>adit bench {scenario}: {target}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>adit bench {scenario}</h1>\n\
         <p><code>{target}</code> · {tls}</p>\n\
         <p class=\"soft\">{} · {} s measured</p>",
        escaped(&report.started),
        human::digits(report.seconds),
    );
    let (class, verdict) = if report.generator.bottleneck {
        ("verdict bad", "The generator was the bottleneck")
    } else {
        ("verdict", "The generator was not the bottleneck")
    };
    let _ = writeln!(
        page,
        "<div class=\"{class}\"><b>{verdict}</b>: {}.",
        with_options(&report.generator.why)
    );
    for note in &report.notes {
        let _ = writeln!(page, "<br>Note: {}.", escaped(note));
    }
    page.push_str("</div>\n");
}

fn card(page: &mut String, value: &str, unit: &str, label: &str, bad: bool) {
    let class = if bad { "card bad" } else { "card" };
    let _ = writeln!(
        page,
        "<div class=\"{class}\"><b>{} <small>{}</small></b><span>{}</span></div>",
        escaped(value),
        escaped(unit),
        escaped(label)
    );
}

/// A number and its unit, apart.
fn halves(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

fn write_cards(page: &mut String, report: &Report) {
    let total = &report.total;
    page.push_str("<div class=\"cards\">\n");
    if moves_bytes(report.scenario) {
        write_throughput(page, total);
    } else {
        write_speed(page, total);
    }
    if let Some(server) = &report.server {
        if let Some(each) = server.memory_bytes_per_tunnel {
            card(
                page,
                &human::digits(each / 1e3),
                "kB",
                "memory per idle tunnel",
                false,
            );
        } else if moves_bytes(report.scenario)
            && let Some(ns) = server.cpu_ns_per_kib
        {
            card(page, &human::digits(ns), "ns", "server CPU per KiB", false);
        } else if let Some(us) = server.cpu_us_per_operation {
            let text = human::micros(us);
            let (value, unit) = halves(&text);
            card(page, value, unit, "server CPU per operation", false);
        }
        let share = server.cpu_seconds * 100.0 / report.seconds.max(1e-9);
        card(
            page,
            &format!("{share:.0}"),
            "%",
            "of a CPU used by the server",
            false,
        );
        let text = human::bytes(server.memory_bytes);
        let (value, unit) = halves(&text);
        card(page, value, unit, "server memory", false);
    }
    let failed = total.failed();
    card(
        page,
        &human::count(failed),
        "",
        "failed operations",
        failed > 0,
    );
    page.push_str("</div>\n");
}

fn write_part_cards(page: &mut String, part: &Figures) {
    page.push_str("<div class=\"cards\">\n");
    if part.operations == 0 || part.latency.operation.is_none_or(|d| d.count < 10) {
        write_throughput(page, part);
    } else {
        write_speed(page, part);
    }
    page.push_str("</div><br>\n");
}

fn moves_bytes(scenario: &str) -> bool {
    scenario == "bulk"
}

fn write_throughput(page: &mut String, figures: &Figures) {
    let both = (figures.bytes_up + figures.bytes_down).max(1) as f64;
    for (label, bytes) in [("up", figures.bytes_up), ("down", figures.bytes_down)] {
        if bytes > 0 {
            let rate = figures.bytes_per_second * bytes as f64 / both;
            let text = bytes_a_second(rate);
            let (value, unit) = halves(&text);
            card(page, value, unit, label, false);
        }
    }
    card(
        page,
        &human::count(figures.connections),
        "",
        "connections",
        false,
    );
}

fn write_speed(page: &mut String, figures: &Figures) {
    let per_second = rate(figures.operations_per_second);
    let (value, unit) = halves(&per_second);
    card(page, value, unit, "operations", false);
    if let Some(latency) = &figures.latency.operation {
        for (us, label) in [
            (latency.p50_us, "latency, median"),
            (latency.p99_us, "99 % within"),
            (latency.p999_us, "99.9 % within"),
        ] {
            let text = human::micros(us);
            let (value, unit) = halves(&text);
            card(page, value, unit, label, false);
        }
    }
}

fn write_figures(page: &mut String, name: &str, figures: &Figures, seconds: f64) {
    // A few values make no distribution.
    let curves: Vec<_> = figures
        .curves
        .iter()
        .filter(|(_, curve)| curve.points.len() > 12)
        .collect();
    if !curves.is_empty() {
        page.push_str("<h2>Latency</h2>\n<figure><figcaption>latency by percentile");
        for (name, _) in &curves {
            let _ = write!(page, "<span class=\"key {name}\">{}</span>", meaning(name));
        }
        let plot = plot::latencies(&curves);
        let _ = writeln!(page, "</figcaption>\n{plot}</figure><br>");
    }
    write_latencies(page, figures);
    let steps = &figures.rate;
    let (counts, caption) = if moves_bytes(name) {
        (&steps.bytes, "bytes a second")
    } else {
        (&steps.operations, "operations a second")
    };
    let (mut values, step) = smoothed(steps, counts, seconds);
    let mut unit = "/s";
    if moves_bytes(name) {
        let most = values.iter().copied().fold(0.0, f64::max);
        let (divisor, name) = byte_unit(most);
        values.iter_mut().for_each(|value| *value /= divisor);
        unit = name;
    }
    if values.len() > 1 {
        let plot = plot::course(&values, step, unit);
        let _ = writeln!(
            page,
            "<h2>Rate</h2>\n<figure><figcaption>{caption}, over time</figcaption>\n{plot}</figure>"
        );
    }
}

/// What so many bytes a second are best counted in.
fn byte_unit(most: f64) -> (f64, &'static str) {
    let units = ["B/s", "KiB/s", "MiB/s", "GiB/s"];
    let mut divisor = 1.0;
    for unit in units {
        if most < divisor * 1024.0 {
            return (divisor, unit);
        }
        divisor *= 1024.0;
    }
    (divisor, "TiB/s")
}

fn meaning(curve: &str) -> &'static str {
    match curve {
        "service" => "service: from the send itself",
        "handshake" => "connect and handshake",
        "answer" => "connect, handshake and answer",
        _ => "operation",
    }
}

/// Counts as rates, in few enough steps. One that was not over is left out.
fn smoothed(steps: &RateFigures, counts: &[u64], seconds: f64) -> (Vec<f64>, f64) {
    let whole = counts
        .len()
        .min((seconds / steps.step_seconds + 0.01) as usize);
    let together = whole.div_ceil(STEPS_MAX).max(1);
    let length = steps.step_seconds * together as f64;
    let chunks = counts[..whole].chunks_exact(together);
    let rates = chunks.map(|chunk| chunk.iter().sum::<u64>() as f64 / length);
    (rates.collect(), length)
}

fn rate(per_second: f64) -> String {
    if per_second < 999.5 {
        format!("{} /s", human::digits(per_second))
    } else {
        format!("{} /s", human::count(per_second as u64))
    }
}

fn bytes_a_second(per_second: f64) -> String {
    format!("{}/s", human::bytes(per_second as u64))
}

fn write_latencies(page: &mut String, figures: &Figures) {
    let latency = &figures.latency;
    let rows: Vec<(&str, &Distribution)> = [
        ("operation", &latency.operation),
        ("service", &latency.service),
        ("handshake", &latency.handshake),
        ("answer", &latency.answer),
    ]
    .into_iter()
    .filter_map(|(name, row)| Some((name, row.as_ref()?)))
    .collect();
    if rows.is_empty() {
        return;
    }
    page.push_str("<div class=\"table\"><table class=\"numbers\"><tr><th>latency</th>");
    for head in [
        "count", "min", "mean", "50 %", "90 %", "99 %", "99.9 %", "max",
    ] {
        let _ = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr>\n");
    for (name, row) in rows {
        let count = human::count(row.count);
        let _ = write!(page, "<tr><th class=\"{name}\">{name}</th><td>{count}</td>");
        for us in [
            row.min_us,
            row.mean_us,
            row.p50_us,
            row.p90_us,
            row.p99_us,
            row.p999_us,
            row.max_us,
        ] {
            let _ = write!(page, "<td>{}</td>", human::micros(us));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

fn write_errors(page: &mut String, total: &Figures) {
    page.push_str("<h2>Errors</h2>\n");
    let Some(most) = total.errors.values().max() else {
        page.push_str("<p class=\"soft\">none</p>\n");
        return;
    };
    let mut errors: Vec<_> = total.errors.iter().collect();
    errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    page.push_str("<div class=\"table\"><table class=\"numbers\">\n");
    for (cause, count) in errors {
        let _ = writeln!(
            page,
            "<tr><th>{}</th><td>{}</td><td class=\"bar\"><i style=\"width: {:.1}%\"></i></td></tr>",
            escaped(cause),
            human::count(*count),
            *count as f64 * 100.0 / *most as f64
        );
    }
    page.push_str("</table></div>\n");
}

fn write_table(page: &mut String, title: &str, rows: &[(&str, String)]) {
    let _ = writeln!(page, "<div><h2>{title}</h2>\n<div class=\"table\"><table>");
    for (name, value) in rows {
        let _ = writeln!(
            page,
            "<tr><th>{}</th><td>{}</td></tr>",
            escaped(name),
            escaped(value)
        );
    }
    page.push_str("</table></div></div>\n");
}

fn write_server(page: &mut String, report: &Report, server: &ServerFigures) {
    let pids: Vec<String> = server.pids.iter().map(u32::to_string).collect();
    let dash = || "–".to_owned();
    let rows = [
        ("processes", pids.join(", ")),
        (
            "CPU",
            format!(
                "{} s, {:.0} % of a CPU",
                human::digits(server.cpu_seconds),
                server.cpu_seconds * 100.0 / report.seconds.max(1e-9)
            ),
        ),
        (
            "user, system",
            format!(
                "{:.2} s, {:.2} s",
                server.user_seconds, server.system_seconds
            ),
        ),
        (
            "waited for a CPU",
            format!("{} s", human::digits(server.waiting_seconds)),
        ),
        (
            "CPU per operation",
            server.cpu_us_per_operation.map_or_else(dash, human::micros),
        ),
        (
            "CPU per KiB",
            server
                .cpu_ns_per_kib
                .map_or_else(dash, |ns| human::micros(ns / 1e3)),
        ),
        ("memory before", human::bytes(server.memory_before_bytes)),
        (
            if report.scenario == "idle" {
                "memory held"
            } else {
                "memory after"
            },
            human::bytes(server.memory_bytes),
        ),
        ("threads", human::count(server.threads)),
        (
            "descriptors",
            server.descriptors.map_or_else(dash, human::count),
        ),
    ];
    write_table(page, "Server", &rows);
}

fn write_machine(page: &mut String, report: &Report) {
    let machine = &report.machine;
    let rows = [
        ("processor", machine.cpu.clone()),
        ("CPUs", machine.cpus.to_string()),
        ("memory", human::bytes(machine.memory_bytes)),
        (
            "kernel",
            format!("{} {}", machine.kernel, machine.architecture),
        ),
        ("adit", machine.adit.to_owned()),
        (
            "generator's CPU",
            format!(
                "{} s; its busiest thread {:.0} %",
                human::digits(report.generator.cpu_seconds),
                report.generator.cpu_share * 100.0
            ),
        ),
    ];
    write_table(page, "Machine", &rows);
}

fn write_options(page: &mut String, options: &Value) {
    let mut rows = Vec::new();
    flatten(&mut rows, "", options);
    let rows: Vec<(&str, String)> = rows
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    write_table(page, "Options", &rows);
}

/// What is left to its default is left out.
fn flatten(rows: &mut Vec<(String, String)>, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let inner = match name {
                    "" => field.clone(),
                    name => format!("{name}.{field}"),
                };
                flatten(rows, &inner, value);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            rows.push((name.to_owned(), items.join(", ")));
        }
        Value::String(text) => rows.push((name.to_owned(), text.clone())),
        other => rows.push((name.to_owned(), other.to_string())),
    }
}

/// A sentence in which options of the command line are not broken.
fn with_options(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.starts_with("--") {
        true => format!("<code>{}</code>", escaped(word)),
        false => escaped(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
