//! The CPUs that this process may run on, and lists of CPUs as operators write
//! them.

use std::io;

use crate::limits::CPU_MAX;

/// The CPUs in this thread's affinity mask, ascending
/// (sched_getaffinity(2)). A container's or `taskset`'s restriction is in it;
/// a CPU quota is not.
pub fn allowed() -> io::Result<Vec<usize>> {
    const WORD_BITS: usize = u64::BITS as usize;
    // A mask smaller than the kernel's own gets EINVAL: then a larger one is
    // tried, up to far more than any kernel is built for.
    const WORDS_MAX: usize = 1 << 14;

    let mut words = vec![0u64; 1024 / WORD_BITS];
    loop {
        // SAFETY: the kernel writes at most as many bytes as the vector holds.
        let outcome = unsafe {
            libc::sched_getaffinity(
                0,
                words.len() * size_of::<u64>(),
                words.as_mut_ptr().cast::<libc::cpu_set_t>(),
            )
        };
        if outcome == 0 {
            let is_set = |cpu: &usize| words[cpu / WORD_BITS] >> (cpu % WORD_BITS) & 1 == 1;
            return Ok((0..words.len() * WORD_BITS).filter(is_set).collect());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) || words.len() >= WORDS_MAX {
            return Err(error);
        }
        words = vec![0; words.len() * 2];
    }
}

/// Reads a list of CPUs: numbers and ranges, such as `0-3,8`. The order is
/// kept.
///
/// # Errors
///
/// A sentence that says what to write instead: for what is no number, a range
/// that runs backwards, a CPU that is named twice, and one beyond [`CPU_MAX`].
pub fn parse_list(text: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(text, first)?, number(text, last)?),
            None => {
                let only = number(text, part)?;
                (only, only)
            }
        };
        if first > last {
            return Err(format!("\"{part}\" runs backwards: write {last}-{first}"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!(
                    "\"{text}\" names CPU {cpu} twice: write it once, since each CPU takes one shard"
                ));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

fn number(text: &str, digits: &str) -> Result<usize, String> {
    let digits = digits.trim();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "\"{text}\" is no list of CPUs (\"{digits}\" is no number): write numbers and ranges, \
             such as 0-3,8"
        ));
    }
    match digits.parse() {
        Ok(cpu) if cpu <= CPU_MAX => Ok(cpu),
        _ => Err(format!(
            "CPU {digits} is beyond {CPU_MAX}, the highest that may be named; `lscpu` lists those \
             of this machine"
        )),
    }
}

/// Writes a list of CPUs so that [`parse_list`] reads the same.
pub fn format_list(cpus: &[usize]) -> String {
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
    fn lists_are_read_and_written_back() {
        for (text, cpus) in [
            ("0", vec![0]),
            ("0-3,8", vec![0, 1, 2, 3, 8]),
            ("8,0-2", vec![8, 0, 1, 2]),
            ("4,5", vec![4, 5]),
            ("4095", vec![4095]),
        ] {
            assert_eq!(parse_list(text).unwrap(), cpus, "{text}");
            assert_eq!(format_list(&cpus), text);
        }
        assert_eq!(parse_list("0 - 2, 5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(parse_list("3-3").unwrap(), [3]);
        assert_eq!(format_list(&[]), "");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        for (text, hint) in [
            ("", "such as 0-3,8"),
            ("a", "\"a\" is no number"),
            ("1,,2", "such as 0-3,8"),
            ("1-", "such as 0-3,8"),
            ("-1", "such as 0-3,8"),
            ("+1", "such as 0-3,8"),
            ("3-0", "write 0-3"),
            ("0-3,2", "CPU 2 twice"),
            ("4096", "beyond 4095"),
            ("0-99999999999999999999", "beyond 4095"),
        ] {
            let error = parse_list(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn the_mask_is_the_one_that_proc_shows() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let shown = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap();
        assert_eq!(allowed().unwrap(), parse_list(shown.trim()).unwrap());
    }
}
