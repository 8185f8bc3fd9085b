//! Callgrind, as far as it is needed here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::RUNS;

/// Instructions of one run of this part. The error says why there is no count.
pub(crate) fn count(part: &str) -> Result<f64, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("a folder: {error}"))?;
    let file = folder.path().join("counts");
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(&file);
    let output = Command::new(valgrind()?)
        // The environment lies on the stack, whose bytes a count may turn on.
        .env_clear()
        .arg("--tool=callgrind")
        .args([
            "--collect-atstart=no",
            "--toggle-collect=*counted_from_here*",
        ])
        .arg(out)
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .args(["--run", part])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    match total(&file) {
        Some(total) if output.status.success() => Ok(total / RUNS as f64),
        _ => Err(format!(
            "no count of {part:?}, {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// The file's last word is a line "totals: COUNT".
fn total(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "))?;
    let total: f64 = total.trim().parse().ok()?;
    (total > 0.0).then_some(total)
}

fn valgrind() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("valgrind"))
        .find(|file| file.is_file())
        .ok_or_else(|| "valgrind is not installed: `apt-get install valgrind`".into())
}
