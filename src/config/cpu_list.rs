//! Lists of CPUs, and of other numbered things, as operators write them.

use std::collections::HashSet;

use crate::limits;

/// Reads a list of CPUs in the form of cpuset(7) and taskset(1), such as
/// `0-3,8`, each CPU at most once. The order is kept.
///
/// # Errors
///
/// A sentence that says what to write instead.
pub fn parse_cpu_list(text: &str) -> Result<Vec<usize>, String> {
    parse_number_list(text, "CPU")
}

/// The same for what is numbered as CPUs are: each is a `noun` in messages.
///
/// # Errors
///
/// A sentence that says what to write instead.
pub fn parse_number_list(text: &str, noun: &str) -> Result<Vec<usize>, String> {
    let number = |digits: &str| -> Result<usize, String> {
        let digits = digits.trim();
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(number) if valid && number <= limits::CPU_MAX => Ok(number),
            _ => Err(format!(
                "\"{}\" is no {noun}; write numbers from 0 to {} and ranges, such as \"0-3,8\"",
                digits.chars().take(32).collect::<String>(),
                limits::CPU_MAX
            )),
        }
    };
    let mut numbers = Vec::new();
    let mut seen = HashSet::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!(
                "the range {first}-{last} runs backwards; write {last}-{first}"
            ));
        }
        for number in first..=last {
            if !seen.insert(number) {
                return Err(format!(
                    "{noun} {number} is named twice; name each {noun} once"
                ));
            }
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// Writes a list of CPUs so that [`parse_cpu_list`] reads the same.
pub fn format_cpu_list(cpus: &[usize]) -> String {
    let mut text = String::new();
    let mut rest = cpus;
    while let [first, ..] = rest {
        let run = rest
            .iter()
            .enumerate()
            .take_while(|&(i, &cpu)| cpu == first + i)
            .count();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if run > 1 {
            // Two neighbours read better apart than as a range.
            text.push(if run == 2 { ',' } else { '-' });
            text.push_str(&(first + run - 1).to_string());
        }
        rest = &rest[run..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_in_order_and_bad_ones_refused() {
        assert_eq!(parse_cpu_list("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cpu_list(" 5, 2 "), Ok(vec![5, 2]));
        assert_eq!(parse_cpu_list("4095").map(|cpus| cpus.len()), Ok(1));
        for (text, hint) in [
            ("", "is no CPU"),
            ("1,,2", "is no CPU"),
            ("+1", "is no CPU"),
            ("4096", "is no CPU"),
            ("99999999999999999999", "is no CPU"),
            ("3-1", "write 1-3"),
            ("0-3,2", "twice"),
        ] {
            let error = parse_cpu_list(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        for text in ["0", "0-3,8", "8,0-2", "4,5"] {
            assert_eq!(format_cpu_list(&parse_cpu_list(text).unwrap()), text);
        }
        assert_eq!(format_cpu_list(&[]), "");
    }
}
