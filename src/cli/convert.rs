//! `adit convert`: the RON on standard output, remarks on standard error.

use adit::limits;

use super::args::ConvertArgs;
use super::exit::{Exit, Failure};
use super::{output, seams};

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
    let converted = seams::convert(&text, &shown.to_string(), plan.from)?;
    for note in &converted.notes {
        output::note(note);
    }
    output::print(&converted.ron)?;
    Ok(Exit::Clean)
}
