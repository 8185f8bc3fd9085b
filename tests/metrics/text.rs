//! A strict reader of both formats, written after their specifications and not
//! after the code that writes them: the text format of Prometheus, version
//! 0.0.4, and OpenMetrics 1.0.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

pub(crate) type Labels = BTreeMap<String, String>;

/// All that a scrape held.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) families: Vec<Family>,
}

#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

impl Scrape {
    /// Reads all of it; anything out of order is a panic.
    #[track_caller]
    pub(crate) fn read(bytes: &[u8], format: Format) -> Self {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut scrape = Self::default();
        let mut lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.pop(), Some(""), "it does not end with a line's end");
        if format == Format::OpenMetrics {
            assert_eq!(lines.pop(), Some("# EOF"), "it does not end with # EOF");
        }
        for line in lines {
            scrape.take(line, format);
        }
        scrape.check(format);
        scrape
    }

    fn take(&mut self, line: &str, format: Format) {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name) = (words.next(), words.next().expect("a name"));
            let value = words.next().unwrap_or_default().to_owned();
            if self.families.last().is_none_or(|last| last.name != name) {
                let known = self.families.iter().any(|family| family.name == name);
                assert!(!known, "{name} comes in two places");
                self.families.push(Family {
                    name: name.to_owned(),
                    ..Family::default()
                });
            }
            let family = self.families.last_mut().expect("it was added");
            assert!(family.samples.is_empty(), "after samples: {line}");
            match what {
                Some("TYPE") => {
                    assert!(family.kind.is_empty(), "twice: {line}");
                    family.kind = value;
                }
                Some("HELP") => {
                    assert!(!value.is_empty(), "{line}");
                    assert!(family.help.replace(value).is_none(), "twice: {line}");
                }
                Some("UNIT") => {
                    assert_eq!(format, Format::OpenMetrics, "{line}");
                    assert!(name.ends_with(&format!("_{value}")), "{line}");
                    assert!(family.unit.replace(value).is_none(), "twice: {line}");
                }
                _ => panic!("what is this: {line}"),
            }
            return;
        }
        let sample = Sample::read(line);
        let family = self.families.last_mut().expect("a family");
        assert!(
            family
                .endings(format)
                .iter()
                .any(|ending| { sample.name.strip_suffix(ending) == Some(family.name.as_str()) }),
            "{line} is not one of {} ({})",
            family.name,
            family.kind
        );
        family.samples.push(sample);
    }

    fn check(&self, format: Format) {
        let mut seen = BTreeSet::new();
        for family in &self.families {
            assert!(is_name(&family.name), "{}", family.name);
            assert!(family.help.is_some(), "{} has no help", family.name);
            assert!(!family.samples.is_empty(), "{} is empty", family.name);
            for sample in &family.samples {
                let key = format!("{} {:?}", sample.name, sample.labels);
                assert!(seen.insert(key), "twice: {sample:?}");
                match family.kind.as_str() {
                    "counter" => assert!(sample.value >= 0.0, "{sample:?}"),
                    "info" => assert_eq!(sample.value, 1.0, "{sample:?}"),
                    "gauge" | "histogram" => {}
                    other => panic!("{} is a {other}", family.name),
                }
            }
            if family.kind == "histogram" {
                family.check_histogram();
            }
            if format == Format::Prometheus && family.kind == "counter" {
                assert!(family.name.ends_with("_total"), "{}", family.name);
            }
        }
    }

    /// The value of the one sample with that name and, among others, these
    /// labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }

    /// The same, where there may be none.
    #[track_caller]
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.all(name, labels);
        assert!(found.len() <= 1, "several: {found:?}");
        found.first().map(|sample| sample.value)
    }

    /// All samples with that name and, among others, these labels.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<Sample> {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let fits = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| {
                sample.labels.get(*name).map(String::as_str) == Some(value)
            };
            sample.name == name && labels.iter().all(has)
        };
        samples.filter(fits).cloned().collect()
    }
}

impl Family {
    /// What follows the family's name in the names of its samples.
    fn endings(&self, format: Format) -> &'static [&'static str] {
        match (self.kind.as_str(), format) {
            ("counter", Format::OpenMetrics) => &["_total", "_created"],
            ("info", Format::OpenMetrics) => &["_info"],
            ("histogram", _) => &["_bucket", "_count", "_sum"],
            _ => &[""],
        }
    }

    /// Buckets by ascending bounds, each with all below it, and then the whole.
    fn check_histogram(&self) {
        let mut series: BTreeMap<String, Histogram> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le");
            let entry = series.entry(format!("{labels:?}")).or_default();
            match sample.name.rsplit_once('_').map(|(_, ending)| ending) {
                Some("bucket") => {
                    let bound = bound.expect("le");
                    let bound = match bound.as_str() {
                        "+Inf" => f64::INFINITY,
                        text => {
                            // The canonical form of OpenMetrics.
                            assert!(text.contains('.'), "{text}");
                            text.parse().expect("a bound")
                        }
                    };
                    assert!(entry.1.is_empty(), "a bucket after the whole");
                    entry.0.push((bound, sample.value));
                }
                Some("count" | "sum") => entry.1.push(sample.value),
                _ => panic!("{sample:?}"),
            }
        }
        for (labels, (buckets, whole)) in series {
            assert!(buckets.is_sorted(), "{labels}: {buckets:?}");
            let distinct = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0);
            let ascending = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
            assert!(distinct && ascending, "{labels}: {buckets:?}");
            let last = buckets.last().expect("buckets");
            assert_eq!(last.0, f64::INFINITY, "{labels}");
            assert_eq!(whole.len(), 2, "{labels}");
            assert_eq!(whole[0], last.1, "{labels}");
            assert!(whole[1] >= 0.0 && (whole[0] > 0.0) == (whole[1] > 0.0));
        }
    }
}

/// Bounds and counts of buckets, and then count and sum.
type Histogram = (Vec<(f64, f64)>, Vec<f64>);

impl Sample {
    fn read(line: &str) -> Self {
        let end = line.find(['{', ' ']).expect("a value");
        let (name, rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest),
            None => (Labels::new(), rest),
        };
        let value = rest.strip_prefix(' ').expect("one blank");
        assert!(!value.contains(' '), "more than a value: {line}");
        let value = match value {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            "NaN" => f64::NAN,
            text => {
                let plain = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
                assert!(text.chars().all(plain), "{line}");
                text.parse().expect("a number")
            }
        };
        Self {
            name: name.to_owned(),
            labels,
            value,
        }
    }
}

/// Labels up to and with the closing brace, and what follows.
fn read_labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name) && !name.contains(':'), "{text}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("an end") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    other => panic!("\\{other} in {text}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        rest = &after[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        rest = rest.strip_prefix(',').expect("a comma");
    }
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[test]
fn the_reader_finds_fault() {
    let good = "# TYPE a counter\n# HELP a A.\na_total{l=\"x\\\"}\"} 1\n# EOF\n";
    let scrape = Scrape::read(good.as_bytes(), Format::OpenMetrics);
    assert_eq!(scrape.value("a_total", &[("l", "x\"}")]), 1.0);
    for (from, to) in [
        ("# EOF\n", ""),
        ("a_total", "a"),
        ("} 1\n", "} 1\n\n"),
        ("} 1\n", "} 1\na_total{l=\"x\\\"}\"} 1\n"),
        ("} 1", "} -1"),
        ("} 1", "} one"),
        ("\\\"", "\\q"),
        ("# HELP a A.\n", ""),
        ("# HELP a A.\n", "# HELP a A.\n# UNIT a seconds\n"),
        ("counter", "counters"),
        ("{l", "{2"),
    ] {
        let bad = good.replacen(from, to, 1);
        let read = || Scrape::read(bad.as_bytes(), Format::OpenMetrics);
        assert!(std::panic::catch_unwind(read).is_err(), "{bad}");
    }
}
