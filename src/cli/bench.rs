//! `adit bench`: a load generator, and the backend behind what it measures.

mod args;
mod page;
mod plan;
mod plot;
mod progress;
mod table;

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use adit::bench::backend::Backend;
use adit::bench::{self, BenchError, Report};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

pub(crate) use args::BenchArgs;
pub(crate) use plan::BenchPlan;
use plan::{BackendPlan, MeasurePlan};
use progress::Bar;

use super::exit::{Exit, Failure};
use super::output;

pub(crate) fn run(plan: BenchPlan) -> Result<Exit, Failure> {
    match plan {
        BenchPlan::Measure(plan) => measure(*plan),
        BenchPlan::Backend(plan) => backend(&plan),
    }
}

fn measure(plan: MeasurePlan) -> Result<Exit, Failure> {
    let stop = stop_on_signals()?;
    if plan.unverified && !plan.quiet {
        output::note(
            "without --ca FILE no certificate is verified; --insecure says that this is meant",
        );
    }
    let mut bar = Bar::new(plan.quiet);
    let measured = bench::measure(plan.options, &stop, &mut |progress| bar.show(progress));
    bar.clear();
    let report = measured?;
    if let Some(file) = &plan.json {
        write(file, &json(&report)?)?;
    }
    if let Some(file) = &plan.html {
        write(file, &page::render(&report)?)?;
    }
    // What a program is to read has nothing else beside it.
    let taken = plan.json.is_some_and(|file| file.as_os_str() == "-");
    if !plan.quiet && !taken {
        output::print(&table::render(&report))?;
    }
    let nothing = report.interrupted && report.seconds == 0.0;
    Ok(if report.total.failed() > 0 || nothing {
        Exit::Failure
    } else {
        Exit::Clean
    })
}

/// Set by the first SIGINT or SIGTERM; the second ends the process.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, i32::from(Exit::Failure as u8), stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()))
            .map_err(no_signals)?;
    }
    Ok(stop)
}

fn json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string_pretty(report)
        .map(|json| json + "\n")
        .map_err(|error| Failure::runtime(error.to_string()))
}

/// Writes to a file; `-` is standard output.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if file.as_os_str() == "-" {
        return output::print(text);
    }
    std::fs::write(file, text)
        .map_err(|error| Failure::runtime(format!("{}: {error}", file.display())))
}

fn backend(plan: &BackendPlan) -> Result<Exit, Failure> {
    // Before anything is bound: from here on a signal is an order.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(no_signals)?;
    let backend = Backend::start(&plan.listeners, plan.threads, plan.cpus.as_deref())
        .map_err(Failure::runtime)?;
    for (role, address) in backend.listening() {
        output::note(&format!("{role} on {address}"));
    }
    output::print("ready\n")?;
    signals.forever().next();
    // Open connections are closed by the end of the process.
    let _ = io::stdout().flush();
    drop(backend);
    Ok(Exit::Clean)
}

fn no_signals(error: io::Error) -> Failure {
    Failure::runtime(format!("signals cannot be handled: {error}"))
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Usage(text) => Self::usage(text),
            BenchError::System(text) => Self::runtime(text),
        }
    }
}
