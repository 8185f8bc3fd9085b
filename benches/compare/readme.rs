//! The part of the README that a run writes.

use std::fmt::Write as _;
use std::path::Path;

use crate::table::Table;

const BEGIN: &str = "<!-- compare: written by `ci/compare --readme` -->";
const END: &str = "<!-- compare: end -->";

/// Puts plot and short table between the markers.
pub(crate) fn update(file: &Path, table: &Table<'_>, results: &Path) -> Result<(), String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let wrong = || format!("{shown}: the lines {BEGIN} and {END} are not there");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(wrong)?;
    let (_, after) = rest.split_once(END).ok_or_else(wrong)?;
    let text = format!("{before}{BEGIN}\n{}\n{END}{after}", part(table, results));
    std::fs::write(file, text).map_err(|error| format!("{shown}: {error}"))
}

fn part(table: &Table<'_>, results: &Path) -> String {
    let path = |ending: &str| results.with_extension(ending).display().to_string();
    let mut text = format!(
        "<picture>
  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{dark}\">
  <img alt=\"CPU time and memory of adit beside its peers, as bars\" src=\"{light}\">
</picture>

| |",
        dark = path("dark.svg"),
        light = path("light.svg"),
    );
    for peer in &table.peers {
        let _ = write!(text, " {} |", peer.name);
    }
    text += " plain TCP | crypto |\n|---|";
    text += &"---:|".repeat(table.peers.len() + 2);
    for line in table
        .lines
        .iter()
        .filter(|line| !line.row.figure.is_latency())
    {
        let _ = write!(text, "\n| {}, {} |", line.row.title, line.row.unit);
        for cell in &line.cells {
            let _ = write!(text, " {} |", cell.brief());
        }
        for floor in [&line.plain, &line.crypto] {
            let figure = floor.map(|spread| crate::text::figure(spread.median));
            let _ = write!(text, " {} |", figure.unwrap_or_else(|| "–".into()));
        }
    }
    let _ = write!(
        text,
        "\n\nThe proxy's own CPU time and memory, one worker on one CPU: the median of {} rounds, \
         and the ratio to the best peer that is not adit. {} With spreads, latencies and versions: \
         [{md}]({md}).",
        table.results.rounds,
        table.machine(),
        md = path("md"),
    );
    text
}
