//! Metrics as text: OpenMetrics 1.0, and the Prometheus text format 0.0.4.
//!
//! The two differ in little: where a counter's `_total` belongs, what an info
//! is, units, and the end. What is written here is in either, whole families
//! after one another, as both demand.

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use super::times::{TIME_BOUNDS_SECONDS, TimeCounts};
use crate::limits;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// What kind of thing a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only ever grows.
    Counter,
    /// It comes and goes.
    Gauge,
    /// Times, in buckets.
    Times,
    /// Labels that say something, with the value 1.
    Info,
}

/// Metrics that are being written.
#[derive(Debug)]
pub(super) struct Text {
    format: TextFormat,
    text: String,
    left_out: u64,
}

/// One metric with its series: what follows one `# TYPE`.
#[derive(Debug)]
pub(super) struct Family<'a> {
    to: &'a mut Text,
    kind: Kind,
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    /// The labels of the series so far.
    series: HashSet<String>,
}

/// A label's name and its value, which may hold anything.
pub(super) type Label<'a> = (&'static str, &'a str);

impl TextFormat {
    /// The media type, as RFC 9110 has it in Content-Type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Text {
    pub(super) fn new(format: TextFormat) -> Self {
        Self {
            format,
            text: String::with_capacity(32 * 1024),
            left_out: 0,
        }
    }

    /// Begins a family. `name` is without the ending that its kind demands, and
    /// ends with the unit if there is one. Nothing is written of it before its
    /// first series.
    pub(super) fn family(
        &mut self,
        kind: Kind,
        name: &'static str,
        unit: Option<&'static str>,
        help: &'static str,
    ) -> Family<'_> {
        debug_assert!(unit.is_none_or(|unit| name.ends_with(unit)), "{name}");
        Family {
            to: self,
            kind,
            name,
            unit,
            help,
            series: HashSet::new(),
        }
    }

    /// Series that there was no room for.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// All of it.
    pub(super) fn end(mut self) -> String {
        if self.format == TextFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

// Writing to a String cannot fail, so that its results are not looked at here.

impl Family<'_> {
    /// One series and its value.
    pub(super) fn series(&mut self, labels: &[Label<'_>], value: impl Into<Value>) {
        if let Some(labels) = self.open(labels) {
            let ending = self.ending();
            self.line(ending, &labels, value.into());
        }
    }

    /// One series of a histogram.
    pub(super) fn times(&mut self, labels: &[Label<'_>], times: &TimeCounts) {
        let Some(labels) = self.open(labels) else {
            return;
        };
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = TIME_BOUNDS_SECONDS.into_iter().chain(["+Inf"]);
        for (index, bound) in bounds.enumerate() {
            count += times.buckets.get(index).copied().unwrap_or(0);
            let labels = format!("{labels}{comma}le=\"{bound}\"");
            self.line("_bucket", &labels, count.into());
        }
        self.line("_count", &labels, count.into());
        let sum = times.sum_micros as f64 / 1e6;
        self.line("_sum", &labels, sum.into());
    }

    /// The labels as they are written, if there is room for another series and
    /// none has them yet.
    fn open(&mut self, labels: &[Label<'_>]) -> Option<String> {
        let mut text = String::new();
        for (name, value) in labels {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}=\"");
            escape(&mut text, clip(value));
            text.push('"');
        }
        if self.series.len() >= limits::METRICS_SERIES_MAX || self.series.contains(&text) {
            self.to.left_out += 1;
            return None;
        }
        if self.series.is_empty() {
            self.head();
        }
        self.series.insert(text.clone());
        Some(text)
    }

    fn head(&mut self) {
        let open = self.to.format == TextFormat::OpenMetrics;
        // OpenMetrics names the family, Prometheus what follows.
        let ending = if open { "" } else { self.ending() };
        let (name, text) = (self.name, &mut self.to.text);
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Info if open => "info",
            Kind::Gauge | Kind::Info => "gauge",
            Kind::Times => "histogram",
        };
        let _ = writeln!(text, "# TYPE {name}{ending} {kind}");
        if let (Some(unit), true) = (self.unit, open) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        // None of these texts, which are our own, needs an escape.
        debug_assert!(!self.help.contains(['\\', '\n', '"']), "{}", self.help);
        let _ = writeln!(text, "# HELP {name}{ending} {}", self.help);
    }

    fn ending(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Times => "",
        }
    }

    fn line(&mut self, ending: &str, labels: &str, value: Value) {
        let (name, text) = (self.name, &mut self.to.text);
        let _ = match labels {
            "" => writeln!(text, "{name}{ending} {value}"),
            labels => writeln!(text, "{name}{ending}{{{labels}}} {value}"),
        };
    }
}

/// A number, in the words that both formats have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) if value.is_nan() => f.write_str("NaN"),
            Self::Real(f64::INFINITY) => f.write_str("+Inf"),
            Self::Real(f64::NEG_INFINITY) => f.write_str("-Inf"),
            Self::Real(value) => write!(f, "{value}"),
        }
    }
}

/// What there is room for of a label's value.
fn clip(value: &str) -> &str {
    if value.len() <= limits::METRICS_LABEL_MAX {
        return value;
    }
    let end = (0..=limits::METRICS_LABEL_MAX)
        .rev()
        .find(|end| value.is_char_boundary(*end));
    &value[..end.unwrap_or(0)]
}

/// As both formats have it within quotes.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::times::TimeCells;
    use super::*;

    fn written(format: TextFormat, write: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::new(format);
        write(&mut text);
        text.end()
    }

    #[test]
    fn each_format_has_its_endings() {
        let write = |text: &mut Text| {
            let mut family = text.family(Kind::Counter, "a_bytes", Some("bytes"), "Bytes.");
            family.series(&[("side", "client")], 7_u64);
            family.series(&[], 0.5);
            text.family(Kind::Info, "b", None, "It is so.")
                .series(&[("v", "1")], true);
            // Nothing was seen of it.
            text.family(Kind::Gauge, "c", None, "Nothing.");
        };
        assert_eq!(
            written(TextFormat::OpenMetrics, write),
            "# TYPE a_bytes counter\n# UNIT a_bytes bytes\n# HELP a_bytes Bytes.\n\
             a_bytes_total{side=\"client\"} 7\na_bytes_total 0.5\n\
             # TYPE b info\n# HELP b It is so.\nb_info{v=\"1\"} 1\n# EOF\n"
        );
        assert_eq!(
            written(TextFormat::Prometheus, write),
            "# TYPE a_bytes_total counter\n# HELP a_bytes_total Bytes.\n\
             a_bytes_total{side=\"client\"} 7\na_bytes_total 0.5\n\
             # TYPE b_info gauge\n# HELP b_info It is so.\nb_info{v=\"1\"} 1\n"
        );
    }

    #[test]
    fn buckets_hold_all_that_is_below_them() {
        let cells = TimeCells::default();
        for micros in [50, 200, 200, 20_000_000] {
            cells.count(Duration::from_micros(micros));
        }
        let text = written(TextFormat::OpenMetrics, |text| {
            text.family(Kind::Times, "t_seconds", Some("seconds"), "Times.")
                .times(&[("s", "x")], &cells.counts());
        });
        for line in [
            "t_seconds_bucket{s=\"x\",le=\"0.0001\"} 1\n",
            "t_seconds_bucket{s=\"x\",le=\"0.00025\"} 3\n",
            "t_seconds_bucket{s=\"x\",le=\"10.0\"} 3\n",
            "t_seconds_bucket{s=\"x\",le=\"+Inf\"} 4\n",
            "t_seconds_count{s=\"x\"} 4\nt_seconds_sum{s=\"x\"} 20.00045\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }

    #[test]
    fn label_values_cannot_break_out_of_their_quotes() {
        let long = "ä".repeat(limits::METRICS_LABEL_MAX);
        let text = written(TextFormat::Prometheus, |text| {
            let mut family = text.family(Kind::Gauge, "g", None, "A gauge.");
            family.series(&[("l", "a\"} 1\nb{c=\"\\")], 1_u64);
            family.series(&[("l", &long)], 1_u64);
        });
        assert!(
            text.contains("g{l=\"a\\\"} 1\\nb{c=\\\"\\\\\"} 1\n"),
            "{text}"
        );
        let kept = "ä".repeat(limits::METRICS_LABEL_MAX / 2);
        assert!(text.contains(&format!("g{{l=\"{kept}\"}} 1\n")), "{text}");
    }

    #[test]
    fn no_series_comes_twice_and_there_are_no_more_than_so_many() {
        let mut text = Text::new(TextFormat::Prometheus);
        let mut family = text.family(Kind::Gauge, "g", None, "A gauge.");
        for number in 0..limits::METRICS_SERIES_MAX + 10 {
            family.series(&[("n", &number.to_string())], number);
        }
        family.series(&[("n", "0")], 0_u64);
        assert_eq!(text.left_out(), 11);
        assert_eq!(text.end().lines().count(), 2 + limits::METRICS_SERIES_MAX);
    }

    #[test]
    fn numbers_are_in_the_formats_words() {
        for (value, shown) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (1.25, "1.25"),
            (0.0, "0"),
        ] {
            assert_eq!(Value::from(value).to_string(), shown);
        }
    }
}
