//! The plot: a panel for each kind of cost, a bar for each peer, as SVG. There
//! is one drawing for light pages and one for dark ones, with nothing behind.

use std::fmt::Write as _;

use crate::peer::Kind;
use crate::row::{Figure, Quantile};
use crate::spread::Spread;
use crate::table::{Line, Table};
use crate::text::{escape, figure, ratio};

/// Colours for one kind of page.
#[derive(Debug)]
pub(crate) struct Theme {
    text: &'static str,
    faint: &'static str,
    adit: &'static str,
    peer: &'static str,
    floor: &'static str,
    floor_crypto: &'static str,
    whisker: &'static str,
}

pub(crate) const LIGHT: Theme = Theme {
    text: "#1f2328",
    faint: "#59636e",
    adit: "#bc4c00",
    peer: "#b6c2cf",
    floor: "#8c959f",
    floor_crypto: "#c8d1da",
    whisker: "#1f2328",
};

pub(crate) const DARK: Theme = Theme {
    text: "#f0f6fc",
    faint: "#9198a1",
    adit: "#db6d28",
    peer: "#48515c",
    floor: "#6e7681",
    floor_crypto: "#353c45",
    whisker: "#f0f6fc",
};

/// What has a panel, and its title there.
const PANELS: [(&str, Figure, &str); 12] = [
    ("handshake", Figure::CpuPerOperation, "full handshake"),
    ("resumed", Figure::CpuPerOperation, "resumed handshake"),
    ("rsa", Figure::CpuPerOperation, "full handshake, RSA-2048"),
    ("up", Figure::CpuPerKib, "upload, 1 stream"),
    ("down", Figure::CpuPerKib, "download, 1 stream"),
    (
        "trip-1k-1",
        Figure::CpuPerOperation,
        "1-KiB round trip, 1 tunnel",
    ),
    ("up-64", Figure::CpuPerKib, "upload, 64 streams"),
    ("down-64", Figure::CpuPerKib, "download, 64 streams"),
    (
        "trip-1k",
        Figure::CpuPerOperation,
        "1-KiB round trip, 64 tunnels",
    ),
    (
        "trip-16k",
        Figure::CpuPerOperation,
        "16-KiB round trip, 64 tunnels",
    ),
    (
        "trip-1k-rate",
        Figure::Operation(Quantile::P99),
        "p99 at a fixed rate",
    ),
    ("idle", Figure::MemoryPerTunnel, "idle tunnel"),
];

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 312.0;
const GAP: f64 = 22.0;
const NAMES_WIDTH: f64 = 106.0;
const FIGURES_WIDTH: f64 = 78.0;
const BAR: f64 = 13.0;
const STEP: f64 = 19.0;
const TITLE: f64 = 26.0;
const HEAD: f64 = 64.0;

/// Draws the table's figures.
pub(crate) fn draw(table: &Table<'_>, theme: &Theme) -> String {
    let lines: Vec<_> = PANELS
        .iter()
        .filter_map(|(scenario, figure, title)| {
            let mut lines = table.lines.iter();
            let line =
                lines.find(|line| line.row.scenario == *scenario && line.row.figure == *figure)?;
            Some((line, *title))
        })
        .collect();
    let panel_height = TITLE + STEP * (table.peers.len() + 1) as f64 + GAP;
    let width = PANEL_WIDTH * COLUMNS as f64 + GAP * (COLUMNS - 1) as f64;
    let rows = lines.len().div_ceil(COLUMNS);
    let height = HEAD + panel_height * rows as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"-apple-system, BlinkMacSystemFont, \
         'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif\" font-size=\"12\" \
         fill=\"{}\">\n",
        theme.text
    );
    svg += &head(table, theme);
    for (at, (line, title)) in lines.into_iter().enumerate() {
        let x = (at % COLUMNS) as f64 * (PANEL_WIDTH + GAP);
        let y = HEAD + (at / COLUMNS) as f64 * panel_height;
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        svg += &panel(table, line, title, theme);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn head(table: &Table<'_>, theme: &Theme) -> String {
    let results = table.results;
    format!(
        "<text y=\"15\" font-size=\"15\" font-weight=\"600\">What the proxy itself costs: CPU \
         time and memory; shorter is better</text>\n\
         <g fill=\"{}\"><text y=\"33\">One worker on one CPU, TLS 1.3, AES-128-GCM, X25519, P-256. \
         Median of {} rounds, least to greatest; × is to the best peer.</text>\n\
         <text y=\"50\">{}, Linux {}, {}</text></g>\n",
        theme.faint,
        results.rounds,
        escape(&results.machine.cpu),
        escape(&results.machine.kernel),
        &results.started[..10],
    )
}

fn panel(table: &Table<'_>, line: &Line, title: &str, theme: &Theme) -> String {
    let unit = match line.row.figure {
        Figure::MemoryPerTunnel => "kB".to_owned(),
        figure if figure.is_latency() => format!("{} waited", line.row.unit),
        _ => format!("{} of CPU", line.row.unit),
    };
    let mut svg = format!(
        "<text y=\"14\" font-weight=\"600\">{}</text>\
         <text x=\"{PANEL_WIDTH}\" y=\"14\" text-anchor=\"end\" fill=\"{}\">{unit}</text>\n",
        escape(title),
        theme.faint
    );
    let room = PANEL_WIDTH - NAMES_WIDTH - FIGURES_WIDTH;
    let scale = Scale::over(line, room);
    for (at, (peer, cell)) in table.peers.iter().zip(&line.cells).enumerate() {
        let y = TITLE + STEP * at as f64;
        let is_adit = peer.kind == Kind::Adit;
        let (colour, weight) = match is_adit {
            true => (theme.adit, 600),
            false => (theme.peer, 400),
        };
        svg += &name(&peer.name, y, weight, theme);
        let Some(spread) = &cell.spread else {
            let _ = writeln!(
                svg,
                "<text x=\"{NAMES_WIDTH}\" y=\"{}\" fill=\"{}\">failed</text>",
                y + 11.0,
                theme.faint
            );
            continue;
        };
        svg += &bar(0.0, scale.of(spread.median), y, colour);
        if !scale.cuts(spread.median) {
            svg += &whisker(&scale, spread, y, theme);
        }
        let mut text = figure(spread.median);
        if let (true, Some(spread)) = (is_adit, &cell.ratio) {
            let _ = write!(text, " · {}×", ratio(spread.median));
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" font-weight=\"{weight}\">{text}</text>",
            NAMES_WIDTH + scale.of(spread.max) + 5.0,
            y + 11.0,
        );
        if scale.cuts(spread.median) {
            svg += &cut(&scale, y, theme);
        }
    }
    svg + &floor(line, &scale, TITLE + STEP * table.peers.len() as f64, theme)
}

/// The plain TCP proxy and the cryptography, end to end.
fn floor(line: &Line, scale: &Scale, y: f64, theme: &Theme) -> String {
    let Some(plain) = line.plain else {
        return String::new();
    };
    let crypto = line.crypto.map_or(0.0, |spread| spread.median);
    let label = match line.crypto {
        Some(_) => "TCP + crypto",
        None => "plain TCP",
    };
    let (first, whole) = (scale.of(plain.median), scale.of(plain.median + crypto));
    let mut svg = name(label, y, 400, theme);
    svg += &bar(0.0, first, y, theme.floor);
    svg += &bar(first, whole, y, theme.floor_crypto);
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{}\" fill=\"{}\">{}</text>",
        NAMES_WIDTH + whole + 5.0,
        y + 11.0,
        theme.faint,
        figure(plain.median + crypto)
    );
    svg
}

fn name(text: &str, y: f64, weight: u32, theme: &Theme) -> String {
    format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"{}\">{}</text>\n",
        NAMES_WIDTH - 7.0,
        y + 11.0,
        if weight > 400 {
            theme.text
        } else {
            theme.faint
        },
        escape(text)
    )
}

fn bar(from: f64, to: f64, y: f64, colour: &str) -> String {
    format!(
        "<rect x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n",
        NAMES_WIDTH + from,
        (to - from).max(0.5)
    )
}

/// From the least to the greatest.
fn whisker(scale: &Scale, spread: &Spread, y: f64, theme: &Theme) -> String {
    let (from, to) = (scale.of(spread.min), scale.of(spread.max));
    format!(
        "<path d=\"M{:.1} {}H{:.1}\" stroke=\"{}\" stroke-opacity=\"0.55\"/>\n",
        NAMES_WIDTH + from,
        y + BAR / 2.0,
        NAMES_WIDTH + to,
        theme.whisker
    )
}

/// The mark of a bar that is longer than there is room.
fn cut(scale: &Scale, y: f64, theme: &Theme) -> String {
    let x = NAMES_WIDTH + scale.room - 14.0;
    format!(
        "<path d=\"M{x:.1} {}l4 -17M{:.1} {}l4 -17\" stroke=\"{}\" stroke-width=\"1.5\"/>\n",
        y + BAR + 2.0,
        x + 4.0,
        y + BAR + 2.0,
        theme.text
    )
}

/// Figures to lengths.
struct Scale {
    most: f64,
    room: f64,
}

impl Scale {
    /// The longest bar fills the room, unless it would dwarf all others.
    fn over(line: &Line, room: f64) -> Self {
        let mut ends: Vec<f64> = line
            .cells
            .iter()
            .filter_map(|cell| Some(cell.spread?.max))
            .collect();
        ends.sort_by(f64::total_cmp);
        let most = match ends.as_slice() {
            [.., second, longest] => longest.min(second * 1.3),
            [only] => *only,
            [] => 1.0,
        };
        Self { most, room }
    }

    fn of(&self, value: f64) -> f64 {
        (value / self.most).clamp(0.0, 1.0) * self.room
    }

    fn cuts(&self, value: f64) -> bool {
        value > self.most
    }
}
