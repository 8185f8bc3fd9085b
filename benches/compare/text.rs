//! Figures as text.

/// A figure with three digits or so: `1373`, `17.3`, `0.52`.
pub(crate) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A ratio: `0.68`.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// What must be escaped in XML and in the cells of Markdown that hold HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
