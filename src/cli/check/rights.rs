//! As whom a server would act, in a report.

use std::fmt::Write as _;
use std::path::PathBuf;

use adit::Config;
use adit::sys::account::Account;
use serde::Serialize;

use super::super::plan::RunPlan;
use super::super::privileges;
use super::super::source::Source;
use super::line;

/// As whom a server would act that is started as this check is.
#[derive(Debug, Default, Serialize)]
pub(super) struct RightsReport {
    /// Whom the configuration names; none if nobody.
    user: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    chroot: Option<PathBuf>,
    /// Files that a reload could not read.
    pub(super) warnings: Vec<String>,
    /// It would not start as root, which this check is made as.
    pub(super) not_as_root: bool,
    /// Why it would not start.
    pub(super) error: Option<String>,
}

impl RightsReport {
    /// `of_start`: whoever makes the check would start it.
    pub(super) fn new(plan: &RunPlan, config: &Config, of_start: bool) -> Self {
        let asked = &config.privileges;
        let mut report = Self {
            user: asked.user.clone(),
            chroot: asked.chroot.clone(),
            ..Self::default()
        };
        match privileges::whom(config, Some(&plan.source)) {
            // A check is often made as root for a service that is not.
            Err(privileges::Refused::Root(failure)) if !of_start => {
                report.not_as_root = true;
                report.warnings.push(format!(
                    "started as root, as this check is, it would refuse: {}",
                    failure.message
                ));
            }
            Err(privileges::Refused::Root(failure) | privileges::Refused::Other(failure)) => {
                report.error = Some(failure.message)
            }
            Ok(whom) => {
                if let Some(user) = whom.user {
                    let mut files = config.files();
                    if let Source::File(own) = &plan.source {
                        files.push(own.clone());
                    }
                    report.warnings = privileges::unreadable_to(&user, config, &files);
                    report.name(&user);
                } else if let Some(user) = &asked.user
                    && let Ok(user) = Account::find(user, asked.group.as_deref())
                {
                    report.name(&user);
                }
            }
        }
        report
    }

    fn name(&mut self, user: &Account) {
        self.uid = Some(user.uid);
        self.gid = Some(user.gid);
    }

    /// Whether there is anything to say.
    fn is_plain(&self) -> bool {
        self.user.is_none() && self.warnings.is_empty() && self.error.is_none()
    }

    pub(super) fn write(&self, text: &mut String) {
        if self.is_plain() {
            return;
        }
        let _ = writeln!(text, "rights");
        if let Some(user) = &self.user {
            match (self.uid, self.gid) {
                (Some(uid), Some(gid)) => {
                    line(text, "user", format_args!("{user} ({uid}), group {gid}"));
                }
                _ => line(text, "user", user),
            }
        }
        if let Some(folder) = &self.chroot {
            line(text, "chroot", folder.display());
        }
        for warning in &self.warnings {
            line(text, "warning", warning);
        }
        if let Some(error) = &self.error {
            line(text, "ERROR", error);
        }
        text.push('\n');
    }
}
