//! Which of several media types a client would like best (RFC 9110, section
//! 12.5.1).

/// How much a client wants a media type, in thousandths; 0: not at all.
///
/// `accept` is what it sent; `kind` and `subtype` are the two halves of the
/// type, and `version` what its parameter of that name is. The most specific
/// range that fits counts. A range whose own `version` is another does not fit;
/// other parameters do not matter.
pub fn weight(accept: &str, kind: &str, subtype: &str, version: &str) -> u16 {
    let ranges = accept.split(',').filter_map(Range::parse);
    ranges
        .filter_map(|range| {
            let specific = range.fits(kind, subtype, version)?;
            Some((specific, range.weight))
        })
        .max()
        .map_or(0, |(_, weight)| weight)
}

struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    weight: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self {
            kind,
            subtype,
            version: None,
            weight: 1000,
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if name.eq_ignore_ascii_case("version") {
                range.version = Some(value.trim_matches('"'));
            } else if name.eq_ignore_ascii_case("q") {
                range.weight = thousandths(value)?;
            }
        }
        Some(range)
    }

    /// How specific it is, if it fits.
    fn fits(&self, kind: &str, subtype: &str, version: &str) -> Option<u8> {
        if (self.kind, self.subtype) == ("*", "*") {
            return Some(0);
        }
        if !self.kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        if self.subtype == "*" {
            return Some(1);
        }
        if !self.subtype.eq_ignore_ascii_case(subtype) {
            return None;
        }
        match self.version {
            None => Some(2),
            Some(wanted) => (wanted == version).then_some(3),
        }
    }
}

/// `0.5`, `1`, `1.000`: at most three digits follow the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.len() == 1 && rest.len() <= 3;
    if !digits || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    let weight = whole.parse::<u16>().ok()?.checked_mul(1000)? + rest;
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(accept: &str) -> u16 {
        weight(accept, "text", "plain", "0.0.4")
    }

    #[test]
    fn the_most_specific_range_counts() {
        for (accept, expected) in [
            ("text/plain", 1000),
            ("*/*;q=0.1", 100),
            ("text/*;q=0.3, */*;q=0.9", 300),
            ("Text/Plain; Q=0.25; x=y", 250),
            ("text/plain;version=0.0.4;q=0.5,text/plain;q=0.2", 500),
            ("text/plain;version=\"0.0.4\"", 1000),
            ("text/plain;version=1.0.0,*/*;q=0.01", 10),
            ("text/plain;q=0", 0),
            ("application/json", 0),
            ("", 0),
        ] {
            assert_eq!(text(accept), expected, "{accept}");
        }
    }

    #[test]
    fn what_is_no_range_or_no_weight_counts_for_nothing() {
        for accept in [
            "text",
            "/",
            ",,;",
            "text/plain;q=2",
            "text/plain;q=1.5",
            "text/plain;q=0.1234",
            "text/plain;q=-1",
            "text/plain;q=",
            "text/plain;q=.5",
            "text/plain;q=1.0.0",
        ] {
            assert_eq!(text(accept), 0, "{accept}");
        }
    }
}
