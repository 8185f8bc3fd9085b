//! From the results of checks to whether a backend is up.

use crate::config::HealthCheck;

/// What the checks of one backend have found so far.
///
/// It is taken to be up until the first check has ended, which decides alone:
/// a process that has just begun should not send clients to a backend that is
/// known to be down for want of more checks.
#[derive(Debug)]
pub(super) struct Watch {
    up: bool,
    checked: bool,
    /// Results in a row that speak against what it is taken for.
    against: u32,
    transitions: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            up: true,
            checked: false,
            against: 0,
            transitions: 0,
        }
    }
}

impl Watch {
    /// Takes in a result. If it is news: whether the backend is up now.
    pub(super) fn take_in(&mut self, passed: bool, check: &HealthCheck) -> Option<bool> {
        let first = !std::mem::replace(&mut self.checked, true);
        if passed == self.up {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let enough = if passed { check.rise } else { check.fall };
        if !first && self.against < enough {
            return None;
        }
        self.up = passed;
        self.against = 0;
        self.transitions += 1;
        Some(passed)
    }

    /// How often it was news.
    pub(super) fn transitions(&self) -> u64 {
        self.transitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_as_many_in_a_row_as_it_should() {
        let check = HealthCheck {
            rise: 2,
            fall: 3,
            ..HealthCheck::default()
        };
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for passed in [
            true, false, false, true, false, false, false, false, true, false, true, true, true,
        ] {
            told.push(watch.take_in(passed, &check));
        }
        let mut expected = vec![None; 13];
        expected[6] = Some(false);
        expected[11] = Some(true);
        assert_eq!(told, expected);
        assert_eq!(watch.transitions(), 2);
    }

    #[test]
    fn the_first_result_decides_alone() {
        let check = HealthCheck::default();
        assert_eq!(Watch::default().take_in(false, &check), Some(false));
        assert_eq!(Watch::default().take_in(true, &check), None);
    }
}
