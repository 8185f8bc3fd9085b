//! Plots as SVG. Their colours are the page's to say, in light and in dark.

use std::fmt::Write as _;

use adit::bench::Curve;

use crate::cli::human;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;

/// Latency over quantiles. Each nine takes as much room as the one before, so
/// that the rare and slow are seen as well as the usual.
pub(super) fn latencies(curves: &[&(&'static str, Curve)]) -> String {
    let points = || curves.iter().flat_map(|(_, curve)| &curve.points);
    let nines = points().map(|(q, _)| nines(*q)).fold(1.0, f64::max);
    let scale = Scale::latency(
        points().map(|(_, us)| *us).fold(f64::INFINITY, f64::min),
        points().map(|(_, us)| *us).fold(0.0, f64::max),
    );
    let across = |q: f64| LEFT + self::nines(q) / nines * (WIDTH - LEFT - RIGHT);
    let mut svg = open("Latency by percentile");
    for (at, label) in scale.ticks(micros) {
        horizontal(&mut svg, at, &label);
    }
    for (quantile, label) in quantile_ticks(nines) {
        vertical(&mut svg, across(quantile), &label);
    }
    for (name, curve) in curves {
        let line: Vec<_> = curve
            .points
            .iter()
            .map(|(q, us)| (across(*q), scale.place(*us)))
            .collect();
        polyline(&mut svg, name, &line);
        for (q, us) in &curve.points {
            let text = format!("{name}: {} at {}", human::micros(*us), percentile(*q));
            dot(&mut svg, name, across(*q), scale.place(*us), &text);
        }
    }
    svg + "</svg>\n"
}

/// Something counted for each step of time, from 0 on, and what its values are
/// counted in.
pub(super) fn course(values: &[f64], step_seconds: f64, unit: &str) -> String {
    let rate = |value: f64| format!("{} {unit}", number(value));
    let seconds = values.len() as f64 * step_seconds;
    let scale = Scale::from_zero(values.iter().copied().fold(0.0, f64::max));
    let across = |s: f64| LEFT + s / seconds.max(1e-9) * (WIDTH - LEFT - RIGHT);
    let mut svg = open("Rate over time");
    for (at, label) in scale.ticks(rate) {
        horizontal(&mut svg, at, &label);
    }
    let every = round_step(seconds / 8.0);
    let mut second = 0.0;
    while second <= seconds * 1.0001 {
        let label = format!("{} s", trimmed(&format!("{second:.3}")));
        vertical(&mut svg, across(second), &label);
        second += every;
    }
    let mut line = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let y = scale.place(*value);
        line.push((across(at as f64 * step_seconds), y));
        line.push((across((at + 1) as f64 * step_seconds), y));
    }
    if let (Some((first, _)), Some((last, _))) = (line.first(), line.last()) {
        let floor = HEIGHT - BOTTOM;
        let _ = write!(
            svg,
            "<path class=\"area operation\" d=\"M{first:.1} {floor:.1}"
        );
        for (x, y) in &line {
            let _ = write!(svg, "L{x:.1} {y:.1}");
        }
        let _ = writeln!(svg, "L{last:.1} {floor:.1}Z\"/>");
    }
    polyline(&mut svg, "operation", &line);
    for (at, value) in values.iter().enumerate() {
        let middle = (at as f64 + 0.5) * step_seconds;
        let text = format!("{} at {middle:.2} s", rate(*value));
        dot(
            &mut svg,
            "operation",
            across(middle),
            scale.place(*value),
            &text,
        );
    }
    svg + "</svg>\n"
}

/// How a value is placed between bottom and top.
enum Scale {
    Linear { top: f64, step: f64 },
    Log { low: f64, high: f64 },
}

impl Scale {
    /// Where latencies differ much, each decade takes as much room as the next.
    fn latency(least: f64, greatest: f64) -> Self {
        let least = least.max(1e-3);
        if greatest <= least * 20.0 {
            return Self::from_zero(greatest);
        }
        Self::Log {
            low: least.log10().floor(),
            high: greatest.log10().ceil(),
        }
    }

    fn from_zero(greatest: f64) -> Self {
        let step = round_step(greatest.max(1e-9) / 5.0);
        Self::Linear {
            top: (greatest.max(1e-9) / step).ceil() * step,
            step,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { top, .. } => value / top,
            Self::Log { low, high } => (value.max(1e-3).log10() - low) / (high - low),
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self {
            Self::Linear { top, step } => {
                let steps = (top / step).round() as u32;
                (0..=steps).map(|n| f64::from(n) * step).collect()
            }
            Self::Log { low, high } => {
                let between: &[f64] = if high - low > 3.0 {
                    &[1.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                let decades = (0..=(high - low).round() as u32).map(|n| low + f64::from(n));
                decades
                    .flat_map(|decade| between.iter().map(move |n| n * 10f64.powf(decade)))
                    .filter(|value| value.log10() <= high + 1e-9)
                    .collect()
            }
        };
        values
            .into_iter()
            .map(|v| (self.place(v), label(v)))
            .collect()
    }
}

/// 1, 2 or 5 of some power of ten, no less than this.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-12).log10().floor());
    let times = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|n| n * power >= least * 0.9999);
    times.unwrap_or(10.0) * power
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

fn quantile_ticks(most: f64) -> Vec<(f64, String)> {
    let mut ticks = vec![(0.0, "0 %".to_owned()), (0.5, "50 %".to_owned())];
    for n in 1..=(most + 1e-9) as i32 {
        let quantile = 1.0 - 10f64.powi(-n);
        ticks.push((quantile, percentile(quantile)));
    }
    ticks
}

/// `99.9 %`.
fn percentile(quantile: f64) -> String {
    format!("{} %", trimmed(&format!("{:.7}", quantile * 100.0)))
}

/// A latency without digits that say nothing: `1 ms` for `1.00 ms`.
fn micros(us: f64) -> String {
    let text = human::micros(us);
    match text.split_once(' ') {
        Some(_) if us == 0.0 => "0".into(),
        Some((number, unit)) => format!("{} {unit}", trimmed(number)),
        None => text,
    }
}

/// With thousands apart, or without digits that say nothing.
fn number(value: f64) -> String {
    if value < 999.5 {
        trimmed(&human::digits(value)).to_owned()
    } else {
        human::count(value.round() as u64)
    }
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

// Writing to a String cannot fail, so that its results are not looked at here.

fn open(what: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{what}\">\n")
}

fn horizontal(svg: &mut String, y: f64, label: &str) {
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
         <text class=\"left\" x=\"{}\" y=\"{:.1}\">{label}</text>",
        WIDTH - RIGHT,
        LEFT - 8.0,
        y + 4.0
    );
}

fn vertical(svg: &mut String, x: f64, label: &str) {
    let floor = HEIGHT - BOTTOM;
    // The last one is not to stick out.
    let kind = if x > WIDTH - RIGHT - 20.0 {
        "last"
    } else {
        "below"
    };
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{floor}\"/>\
         <text class=\"{kind}\" x=\"{:.1}\" y=\"{}\">{label}</text>",
        if kind == "last" { WIDTH - RIGHT } else { x },
        floor + 18.0
    );
}

fn polyline(svg: &mut String, class: &str, points: &[(f64, f64)]) {
    let _ = write!(svg, "<polyline class=\"line {class}\" points=\"");
    for (x, y) in points {
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    svg.push_str("\"/>\n");
}

/// Seen, with its text, where the mouse is.
fn dot(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\">\
         <title>{text}</title></circle>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        let Scale::Linear { top, step } = Scale::from_zero(873.0) else {
            panic!("linear");
        };
        assert_eq!((top, step), (1000.0, 200.0));
        let ticks = Scale::latency(90.0, 12_000.0).ticks(micros);
        assert_eq!(ticks.first().map(|t| t.1.as_str()), Some("10 µs"));
        assert_eq!(ticks.last().map(|t| t.1.as_str()), Some("100 ms"));
        let labels: Vec<_> = quantile_ticks(3.2).into_iter().map(|t| t.1).collect();
        assert_eq!(labels, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn nothing_and_a_single_value_are_drawn_too() {
        let empty = latencies(&[]);
        assert!(
            empty.ends_with("</svg>\n") && !empty.contains("NaN"),
            "{empty}"
        );
        let one = Curve {
            points: vec![(0.0, 5.0)],
        };
        assert!(!latencies(&[&("operation", one)]).contains("NaN"));
        let none = course(&[], 0.1, "/s");
        assert!(!none.contains("NaN") && !none.contains("inf"), "{none}");
    }
}
