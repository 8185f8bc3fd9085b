//! How many instructions the parts of the program execute, counted by
//! callgrind and compared with the counts in `counts.json`. `ci/instructions`
//! runs it; ../parts/README.md says more.
//!
//! ```text
//!   (no argument)    count every part; exit code 1 if one has grown, 2 if
//!                    one cannot be counted
//!   --bless          write the counts down as those to be expected
//!   --run NAME       run one part: what callgrind is started with
//! ```

#[path = "../parts/all/mod.rs"]
#[allow(dead_code, reason = "what only the other benchmark needs")]
mod all;
mod callgrind;
mod counts;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use all::Work;
use counts::Counts;

/// Runs before the count begins: what is only done once is done then.
const RUNS_BEFORE: usize = 20;

/// Runs that are counted.
pub(crate) const RUNS: usize = 100;

fn main() -> ExitCode {
    // cargo adds "--bench" of its own.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["--bless"] => bless(),
        ["--run", name] => run(name),
        _ => Err("usage: instructions [--bless]".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(name: &str) -> Result<bool, String> {
    let part = all::parts().into_iter().find(|part| part.name == name);
    let part = part.ok_or_else(|| format!("there is no part {name:?}"))?;
    let mut work = (part.make)();
    for _ in 0..RUNS_BEFORE + RUNS {
        work.supply();
    }
    for _ in 0..RUNS_BEFORE {
        work.run();
    }
    counted_from_here(&mut *work);
    Ok(true)
}

/// What callgrind counts, which knows it by its name.
#[inline(never)]
fn counted_from_here(work: &mut dyn Work) {
    for _ in 0..RUNS {
        work.run();
    }
}

fn bless() -> Result<bool, String> {
    let seen = count_all()?;
    seen.write()?;
    println!("{} counts are written to {}", seen.len(), counts::FILE);
    Ok(true)
}

/// False if a count is not as it should be.
fn compare() -> Result<bool, String> {
    let expected = Counts::read()?;
    let seen = count_all()?;
    println!("{}", expected.tools_beside(&seen));
    if !expected.is_comparable(&seen) {
        println!("passed over: counts of another architecture cannot be compared");
        return Ok(true);
    }
    let verdicts = expected.compare(&seen);
    for (name, verdict) in &verdicts {
        println!("{name:<52}{verdict}");
    }
    let failed = verdicts.iter().filter(|(_, verdict)| verdict.fails());
    let failed: Vec<_> = failed.map(|(name, _)| name.as_str()).collect();
    if failed.is_empty() {
        return Ok(true);
    }
    eprintln!("not as {} has it: {}", counts::FILE, failed.join("; "));
    eprintln!("if it is meant: `ci/instructions --bless`, and commit it with the reason");
    Ok(false)
}

/// Counts every part, as many at once as there are CPUs: a count does not
/// depend on what else runs.
fn count_all() -> Result<Counts, String> {
    let parts = all::parts();
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(Ok(Counts::of_this_machine()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counted = callgrind::count(part.name);
                    // Nobody panics who holds it.
                    let mut counts = counts.lock().expect("no panic");
                    match (&mut *counts, counted) {
                        (Ok(counts), Ok(count)) => counts.insert(part.name, count),
                        (_, Ok(_)) => return,
                        (_, Err(error)) => {
                            *counts = Err(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    counts.into_inner().expect("no panic")
}
