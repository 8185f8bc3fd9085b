//! `adit convert`: the RON on standard output, remarks on standard error.

use adit::config::convert::{self, Source};
use adit::limits;

use super::args::{ConvertArgs, ProgramArg};
use super::exit::{Exit, Failure};
use super::output;

pub(crate) fn run(plan: &ConvertArgs) -> Result<Exit, Failure> {
    let shown = plan.file.display();
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{shown}: {error}"));
    let size = std::fs::metadata(&plan.file)
        .map_err(|error| wrong(&error))?
        .len();
    if size > limits::FILE_SIZE_MAX {
        return Err(wrong(&format!(
            "{size} bytes are no configuration; at most {} are read",
            limits::FILE_SIZE_MAX
        )));
    }
    let bytes = std::fs::read(&plan.file).map_err(|error| wrong(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        wrong(&format!(
            "not UTF-8 at byte {good}; convert the file's encoding first"
        ))
    })?;
    let name = shown.to_string();
    let source = match plan.from {
        Some(ProgramArg::Tunnel) => Source::Tunnel,
        Some(ProgramArg::Hitch) => Source::Hitch,
        None => convert::detect(&name, &text).ok_or_else(|| {
            wrong(&"whose configuration this is cannot be told; say so with --from tunnel or --from hitch")
        })?,
    };
    let converted = convert::convert(&text, &name, source)
        .map_err(|error| Failure::usage(error.to_string()))?;
    for note in &converted.notes {
        output::note(&note.to_string());
    }
    output::print(&converted.ron)?;
    Ok(Exit::Clean)
}
