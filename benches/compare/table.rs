//! What was found, as tables: on the terminal, and in a Markdown file beside
//! the results.

use std::fmt::Write as _;
use std::path::Path;

use crate::args::Args;
use crate::peer::{FLOOR, Kind, Peer};
use crate::results::{Measured, Results, Sample};
use crate::row::Row;
use crate::spread::Spread;
use crate::text::{figure, ratio};
use crate::{plot, readme};

/// Prints the table, and writes table and plot beside the results file; into
/// the README too, if that is asked for.
pub(crate) fn publish(results: &Results, args: &Args, file: &Path) -> Result<(), String> {
    let table = Table::of(results);
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let markdown = file.with_extension("md");
    write(&markdown, &table.markdown())?;
    let (light, dark) = (
        file.with_extension("light.svg"),
        file.with_extension("dark.svg"),
    );
    write(&light, &plot::draw(&table, &plot::LIGHT))?;
    write(&dark, &plot::draw(&table, &plot::DARK))?;
    if args.readme {
        readme::update(Path::new("README.md"), &table, file)?;
    }
    println!("\n{}", table.plain());
    println!(
        "{}, and beside it .md, .light.svg and .dark.svg",
        file.display()
    );
    Ok(())
}

/// The figures of a run, row by row.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) results: &'a Results,
    /// Those with a column: all but the floor.
    pub(crate) peers: Vec<&'a Peer>,
    pub(crate) lines: Vec<Line>,
}

/// A row with its figures.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) row: &'static Row,
    /// One for each peer of the table.
    pub(crate) cells: Vec<Cell>,
    /// The plain TCP proxy.
    pub(crate) plain: Option<Spread>,
    pub(crate) crypto: Option<Spread>,
}

/// A peer's figures in one row.
#[derive(Debug)]
pub(crate) struct Cell {
    /// `None` if not a single round succeeded.
    pub(crate) spread: Option<Spread>,
    /// To the best, taken round by round.
    pub(crate) ratio: Option<Spread>,
    /// Rounds without a figure.
    pub(crate) failed: usize,
}

impl<'a> Table<'a> {
    /// Rows that nothing was measured for are left out.
    pub(crate) fn of(results: &'a Results) -> Self {
        let peers: Vec<_> = results
            .peers
            .iter()
            .filter(|p| p.kind != Kind::Floor)
            .collect();
        let lines = Row::all()
            .iter()
            .filter(|row| results.scenarios.contains_key(row.scenario))
            .map(|row| Line::of(results, &peers, row))
            .collect();
        Self {
            results,
            peers,
            lines,
        }
    }

    /// Medians and ratios, in columns.
    fn plain(&self) -> String {
        let mut rows = vec![self.head("the proxy's own CPU and memory")];
        let mut waits = false;
        for line in &self.lines {
            if line.row.figure.is_latency() && !std::mem::replace(&mut waits, true) {
                rows.push(vec![]);
                rows.push(self.head("what a client waits"));
            }
            let mut cells = vec![format!("{} [{}]", line.row.title, line.row.unit)];
            cells.extend(line.cells.iter().map(Cell::brief));
            cells.extend([&line.plain, &line.crypto].map(|floor| of_floor(floor.as_ref())));
            rows.push(cells);
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate();
            let line: Vec<_> = cells
                .map(|(at, (cell, width))| match at {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            let _ = writeln!(text, "{}", line.join("  ").trim_end());
        }
        text += "\nmedian and ratio to the best peer that is not adit";
        if let Some(name) = &self.results.baseline {
            let _ = write!(text, "; here to {name}");
        }
        text + &failures(self.results)
    }

    fn head(&self, title: &str) -> Vec<String> {
        let mut cells = vec![title.to_owned()];
        cells.extend(self.peers.iter().map(|peer| peer.name.clone()));
        cells.extend(["plain TCP".to_owned(), "crypto".to_owned()]);
        cells
    }

    /// The whole of it, with spreads.
    fn markdown(&self) -> String {
        let results = self.results;
        let mut text = format!("# {}, {}\n\n", results.name, &results.started[..10]);
        let _ = writeln!(
            text,
            "{} rounds in {} minutes, proxy on CPU {}, generator and backend on CPU {}. {}\n",
            results.rounds,
            results.minutes,
            results.server_cpu,
            results.load_cpu,
            self.machine()
        );
        text += "Each cell: the median of the rounds, (least to greatest), and the **ratio** to the \
                 best peer that is not adit, the median of the ratios within each round.";
        if let Some(name) = &results.baseline {
            let _ = write!(text, " Here the ratios are to {name}.");
        }
        for (title, waits) in [
            ("The proxy's own CPU time and memory", false),
            ("What a client waits", true),
        ] {
            let _ = write!(text, "\n\n## {title}\n\n| |");
            for cell in &self.head("")[1..] {
                let _ = write!(text, " {cell} |");
            }
            text += "\n|---|";
            text += &"---:|".repeat(self.peers.len() + 2);
            for line in &self.lines {
                if line.row.figure.is_latency() == waits {
                    let _ = write!(text, "\n| {}, {} |", line.row.title, line.row.unit);
                    for cell in &line.cells {
                        let _ = write!(text, " {} |", cell.full());
                    }
                    for floor in [&line.plain, &line.crypto] {
                        let _ = write!(text, " {} |", of_floor(floor.as_ref()));
                    }
                }
            }
        }
        text += &self.fine_print();
        text
    }

    /// What was measured, how, and what failed.
    fn fine_print(&self) -> String {
        let mut text = String::from("\n\n## Peers\n\n");
        for peer in &self.results.peers {
            let _ = writeln!(
                text,
                "- **{}**: {}. {}",
                peer.name, peer.version, peer.notes
            );
            for line in &peer.build {
                let _ = writeln!(text, "  - {line}");
            }
        }
        text += "\nTheir configurations are in the results file.\n\n## Load\n\n";
        for (name, line) in &self.results.scenarios {
            let _ = writeln!(text, "- {name}: `adit {line}`");
        }
        let runs: Vec<_> = self.results.samples.iter().collect();
        let count = |what: fn(&Measured) -> bool| {
            let measured = runs.iter().filter_map(|run| run.measured.as_ref());
            measured.filter(|measured| what(measured)).count()
        };
        let threads = |run: &&Sample| {
            let mut peers = self.results.peers.iter();
            peers.any(|peer| peer.name == run.peer && peer.kind == Kind::Stunnel)
        };
        let crowded = runs
            .iter()
            .filter(|run| !threads(run) && run.measured.as_ref().is_some_and(Measured::is_crowded));
        let _ = writeln!(
            text,
            "\nThe generator was at its own limit in {} of {} runs; that bounds rates and adds to \
             waits, and says nothing against CPU per operation. In {} runs the proxy waited for \
             its CPU for more than 2 % of the time, since something else ran there (stunnel, whose \
             threads wait for each other, left out).",
            count(|measured| measured.generator_bottleneck),
            runs.len(),
            crowded.count(),
        );
        text + &failures(self.results)
    }

    /// The machine, in a sentence.
    pub(crate) fn machine(&self) -> String {
        let machine = &self.results.machine;
        format!(
            "{}, {} CPUs{}, {} GiB, {}, Linux {}; adit at {}, {}.",
            machine.cpu,
            machine.cpus,
            match machine.virtual_machine {
                true => " of a virtual machine",
                false => "",
            },
            (machine.memory_mib + 512) / 1024,
            machine.system,
            machine.kernel,
            machine.commit,
            machine.rustc.split(" (").next().unwrap_or_default(),
        )
    }
}

impl Line {
    fn of(results: &Results, peers: &[&Peer], row: &'static Row) -> Self {
        let value = |sample: &Sample| row.figure.of(sample.measured.as_ref()?);
        let spread =
            |scenario: &str, name: &str| Spread::of(results.of(scenario, name).filter_map(value));
        let spreads: Vec<_> = peers
            .iter()
            .map(|peer| spread(row.scenario, &peer.name))
            .collect();
        let candidates = peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| match &results.baseline {
                Some(name) => peer.name == *name,
                None => peer.kind != Kind::Adit,
            });
        let best = candidates
            .filter_map(|(at, _)| Some((at, spreads[at]?.median)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(at, _)| at);
        let cell = |at: usize, peer: &Peer| {
            let ratio = best.and_then(|best| {
                let best = &peers[best].name;
                let ratios = results.of(row.scenario, &peer.name).filter_map(|sample| {
                    let mut others = results.of(row.scenario, best);
                    let other = others.find(|other| other.round == sample.round)?;
                    Some(value(sample)? / value(other)?)
                });
                Spread::of(ratios)
            });
            Cell {
                spread: spreads[at],
                ratio,
                failed: results
                    .of(row.scenario, &peer.name)
                    .filter(|sample| value(sample).is_none())
                    .count(),
            }
        };
        Self {
            row,
            cells: peers
                .iter()
                .enumerate()
                .map(|(at, peer)| cell(at, peer))
                .collect(),
            plain: spread(row.floor, FLOOR),
            crypto: row
                .crypto
                .and_then(|of| Spread::of(results.crypto.iter().map(of))),
        }
    }
}

impl Cell {
    /// `205 0.70`.
    pub(crate) fn brief(&self) -> String {
        let Some(spread) = &self.spread else {
            return "failed".into();
        };
        let ratio = self.ratio.as_ref().map(|spread| ratio(spread.median));
        format!(
            "{}{} {}",
            figure(spread.median),
            if self.failed > 0 { "!" } else { "" },
            ratio.unwrap_or_else(|| "–".into())
        )
    }

    /// `205 (198–221) **0.70**`.
    fn full(&self) -> String {
        let Some(spread) = &self.spread else {
            return "failed".into();
        };
        let mut text = format!(
            "{} ({}–{})",
            figure(spread.median),
            figure(spread.min),
            figure(spread.max)
        );
        if let Some(spread) = &self.ratio {
            let _ = write!(text, " **{}**", ratio(spread.median));
        }
        if self.failed > 0 {
            let _ = write!(text, ", failed in {} rounds", self.failed);
        }
        text
    }
}

fn of_floor(spread: Option<&Spread>) -> String {
    spread.map_or_else(|| "–".into(), |spread| figure(spread.median))
}

/// What failed, one line each, and on what.
fn failures(results: &Results) -> String {
    let mut text = String::new();
    for sample in &results.samples {
        if let Some(error) = &sample.error {
            let _ = write!(
                text,
                "\n- failed: {} in {}, round {}: {error}",
                sample.peer, sample.scenario, sample.round
            );
        }
    }
    match text.is_empty() {
        true => "\n".into(),
        false => text + "\n",
    }
}
