//! `adit stats`: finds a running server and shows its figures.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use adit::config::Address;
use adit::control::admin;
use adit::metrics::Stats;

use super::endpoint::Endpoint;
use super::exit::{Exit, Failure};
use super::output::{self, Reader};
use super::plan::{Format, StatsPlan, Target};

mod table;

pub(crate) fn run(plan: &StatsPlan) -> Result<Exit, Failure> {
    let endpoint = Endpoint::of(&plan.of)?;
    let mut before: Option<(Instant, Stats)> = None;
    loop {
        let asked = Instant::now();
        let (raw, stats) = endpoint.get("/stats")?;
        let reader = match plan.format {
            Format::Json if plan.every.is_some() => output::print_while_read(&format!("{raw}\n"))?,
            Format::Json => {
                let pretty = serde_json::to_string_pretty(&stats)
                    .map_err(|error| Failure::runtime(error.to_string()))?;
                output::print_while_read(&format!("{pretty}\n"))?
            }
            Format::Text => {
                let since = before
                    .as_ref()
                    .map(|(then, stats)| (asked.duration_since(*then), stats));
                show(&table::render(&stats, since), plan.every.is_some())?
            }
        };
        let (Some(every), Reader::Here) = (plan.every, reader) else {
            return Ok(Exit::Clean);
        };
        before = Some((asked, stats));
        std::thread::sleep(every.saturating_sub(asked.elapsed()));
    }
}

impl Target {
    /// Where that server answers.
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        if let Self::Socket(path) = self {
            return Ok(Address::Unix(path.clone()));
        }
        let folders = admin::folders();
        let mut found = admin::instances(&folders);
        // One that only sees its tunnels through is meant if it is named.
        if matches!(self, Self::TheOnlyOne) && found.iter().any(|instance| !instance.left) {
            found.retain(|instance| !instance.left);
        }
        let socket = match (self, found.as_slice()) {
            (Self::Pid(pid), _) => found
                .iter()
                .find(|instance| instance.pid == *pid)
                .map(|instance| instance.socket.clone())
                .ok_or_else(|| {
                    Failure::runtime(format!(
                        "process {pid} has no admin socket in {}; {}",
                        list(&folders),
                        running(&found)
                    ))
                })?,
            (_, [only]) => only.socket.clone(),
            (_, []) => {
                return Err(Failure::runtime(format!(
                    "no running server has an admin socket in {}; if it was started with another \
                     one, by another user or in another environment, give --admin PATH",
                    list(&folders)
                )));
            }
            (_, _) => {
                return Err(Failure::runtime(format!(
                    "{}; choose one with --pid",
                    running(&found)
                )));
            }
        };
        Ok(Address::Unix(socket))
    }
}

fn list(folders: &[impl AsRef<Path>]) -> String {
    let shown: Vec<String> = folders
        .iter()
        .map(|folder| folder.as_ref().display().to_string())
        .collect();
    shown.join(" or ")
}

fn running(found: &[admin::Instance]) -> String {
    match found {
        [] => "no server is running there".into(),
        _ => {
            let pids: Vec<String> = found.iter().map(|i| i.pid.to_string()).collect();
            format!("running are the processes {}", pids.join(", "))
        }
    }
}

fn show(table: &str, again_and_again: bool) -> Result<Reader, Failure> {
    if !again_and_again {
        output::print_while_read(table)
    } else if std::io::stdout().is_terminal() {
        // Home, the table with each line's rest cleared, then all below it.
        let lines = table.replace('\n', "\x1b[K\n");
        output::print_while_read(&format!("\x1b[H{lines}\x1b[J"))
    } else {
        output::print_while_read(&format!("{table}\n"))
    }
}

/// Rates want a span that a division can stand.
fn per_second(now: u64, then: u64, span: Duration) -> f64 {
    now.saturating_sub(then) as f64 / span.as_secs_f64().max(0.001)
}
