//! Numbers as people read them.

use std::time::Duration;

/// Bytes in binary units, at most eight characters: `812 B`, `1.4 KiB`,
/// `987 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    // What would be printed as 1024 goes up to the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A number with thousands apart: `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 tunnel was cut`, `1,234 tunnels were cut`.
pub(crate) fn tunnels_cut(n: u64) -> String {
    match n {
        1 => "1 tunnel was cut".into(),
        n => format!("{} tunnels were cut", count(n)),
    }
}

/// A part of a whole: `34 %`, or a dash when there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".into();
    }
    format!("{:.0} %", part as f64 * 100.0 / whole as f64)
}

/// A time in its two greatest units: `3 d 4 h`, `12 min 5 s`, `7 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    if days > 0 {
        format!("{days} d {hours} h")
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {seconds} s")
    } else {
        format!("{seconds} s")
    }
}

/// A latency given in microseconds, to three digits: `812 ns`, `12.3 µs`,
/// `1.23 ms`, `41.0 s`.
pub(crate) fn micros(us: f64) -> String {
    let (mut value, mut unit) = (us * 1e3, "ns");
    for larger in ["µs", "ms", "s"] {
        // What would be printed as 1000 goes up to the next unit.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1e3, larger);
    }
    format!("{} {unit}", digits(value))
}

/// A number to three digits, or to the last one before the point.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 * 1024, "10 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(n), text);
            assert!(bytes(n).len() <= 8);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        for (us, text) in [
            (0.0, "0.00 ns"),
            (0.812, "812 ns"),
            (12.34, "12.3 µs"),
            (999.6, "1.00 ms"),
            (41_000_000.0, "41.0 s"),
            (3_600_000_000.0, "3600 s"),
        ] {
            assert_eq!(micros(us), text);
        }
        assert_eq!(share(1, 3), "33 %");
        assert_eq!(share(0, 0), "–");
        for (seconds, text) in [
            (7, "7 s"),
            (725, "12 min 5 s"),
            (7265, "2 h 1 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
