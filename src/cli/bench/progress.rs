//! The bar on a terminal.

use std::time::Duration;

use adit::bench::{Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::human;

/// A bar on standard error, if that is a terminal; else nothing.
pub(super) struct Bar {
    bar: ProgressBar,
    phase: Option<Phase>,
}

impl Bar {
    const STEPS: u64 = 1000;

    pub(super) fn new(quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self {
            bar: ProgressBar::with_draw_target(Some(Self::STEPS), target),
            phase: None,
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        if self.bar.is_hidden() {
            return;
        }
        if self.phase != Some(progress.phase) {
            self.phase = Some(progress.phase);
            // Both are known to be well formed.
            let template = match progress.done {
                Some(_) => "{prefix:>9} {bar:32} {msg}",
                None => "{prefix:>9} {spinner} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            self.bar.set_prefix(match progress.phase {
                Phase::Preparing => "opening",
                Phase::Warming => "warm-up",
                Phase::Measuring => "measuring",
                Phase::Holding => "holding",
            });
        }
        if let Some(done) = progress.done {
            self.bar.set_position((done * Self::STEPS as f64) as u64);
        }
        self.bar.set_message(message(progress));
        self.bar.tick();
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn message(progress: &Progress) -> String {
    let per_second =
        |n: u64| n as f64 / progress.elapsed.max(Duration::from_millis(1)).as_secs_f64();
    let mut parts = vec![human::duration(progress.elapsed)];
    if progress.operations > 0 {
        parts.push(format!(
            "{}/s",
            human::count(per_second(progress.operations) as u64)
        ));
    }
    if progress.bytes > 0 {
        parts.push(format!(
            "{}/s",
            human::bytes(per_second(progress.bytes) as u64)
        ));
    }
    if progress.errors > 0 {
        parts.push(format!("{} failed", human::count(progress.errors)));
    }
    parts.join("  ")
}
