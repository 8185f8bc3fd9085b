//! How it looks: every picture is drawn anew, into whatever room there is.

use std::time::Duration;

use adit::metrics::{ShardStats, State};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::columns::{Column, lay_out, shorten};
use super::glyphs::Look;
use super::poller::Picture;
use super::rates::Flow;
use super::rows::{
    BACKENDS, FAILURES, Row, SHARDS, TUNNELS, backend_rows, bytes, failure_rows, load_of, number,
    shard_rows, tunnel_row,
};
use super::state::{Page, Top};
use crate::cli::human;

/// What the keys do, for `--help`.
pub(super) const KEYS_IN_HELP: &str = "Press ? in it for its keys; q quits.";

const KEYS: [(&str, &str); 13] = [
    ("1 to 5, Tab", "all, tunnels, backends, failures, shards"),
    ("s, S", "order the tunnels by something else"),
    ("r", "the other way round"),
    ("/", "show only tunnels that fit: words, sni=*.example.org,"),
    (
        "",
        "client=192.0.2.0/24, state!=relay, age=5m.., bytes=1MiB",
    ),
    ("Esc", "show all of them again"),
    ("p, Space", "hold the picture, and go on"),
    ("+, -", "ask more often, or less"),
    (
        "Up, Down",
        "go through a list; PgUp, PgDn, Home, End as well",
    ),
    ("Ctrl-Z", "to the shell; fg comes back"),
    ("Ctrl-L", "draw everything anew"),
    ("?", "this"),
    ("q, Ctrl-C", "quit"),
];

const FOOTER: &str = "1-5 pages  s sort  r reverse  / filter  p pause  ? help  q quit";

/// What is drawn on: lines, one below the other.
struct Sheet<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    row: u16,
    look: Look,
}

impl Sheet<'_> {
    fn width(&self) -> usize {
        self.area.width.into()
    }

    fn left(&self) -> usize {
        self.area.height.saturating_sub(self.row).into()
    }

    fn line(&mut self, line: Line<'_>) {
        if self.left() > 0 {
            let y = self.area.y + self.row;
            self.buffer.set_line(self.area.x, y, &line, self.area.width);
            self.row += 1;
        }
    }

    fn text(&mut self, text: &str, style: Style) {
        let text = self.look.text(&shorten(text, self.width()));
        self.line(Line::styled(text, style));
    }

    /// A line across the whole width.
    fn heading(&mut self, text: &str) {
        let width = self.width();
        let text = shorten(text, width);
        let padding = " ".repeat(width - text.chars().count());
        self.text(&format!("{text}{padding}"), self.look.heading());
    }

    /// Titles, and rows with their styles.
    fn table(&mut self, columns: &[Column], rows: Vec<Row>) {
        let (cells, styles): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let lines = lay_out(columns, &cells, self.width());
        let styles = std::iter::once(self.look.faint()).chain(styles);
        for (line, style) in lines.iter().zip(styles) {
            self.text(line, style);
        }
    }

    /// The same, or a word that there is nothing.
    fn table_or_none(&mut self, columns: &[Column], rows: Vec<Row>) {
        if rows.is_empty() {
            self.text("none", self.look.faint());
        } else {
            self.table(columns, rows);
        }
    }

    /// So much of what is left, cut off at the top.
    fn part(&mut self, x: u16, width: u16, rows: usize) -> Sheet<'_> {
        let rows = rows.min(self.left()) as u16;
        let area = Rect::new(self.area.x + x, self.area.y + self.row, width, rows);
        Sheet {
            area: area.intersection(self.area),
            buffer: &mut *self.buffer,
            row: 0,
            look: self.look,
        }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, top: &mut Top, look: Look) {
    let area = frame.area();
    let mut sheet = Sheet {
        buffer: frame.buffer_mut(),
        area,
        row: 0,
        look,
    };
    let footer = footer(top, look);
    let body = area.height.saturating_sub(footer.len() as u16);
    for (at, (text, style)) in footer.iter().enumerate() {
        sheet.row = body + at as u16;
        sheet.text(text, *style);
    }
    sheet.area.height = body;
    sheet.row = 0;
    let Some(picture) = top.picture.take() else {
        sheet.text("adit top: waiting for the server's answer", Style::new());
        if top.help {
            draw_help(&mut sheet);
        }
        return;
    };
    draw_process(&mut sheet, top, &picture);
    if top.help {
        draw_help(&mut sheet);
    } else {
        draw_page(&mut sheet, top, &picture);
    }
    top.picture = Some(picture);
}

fn draw_page(sheet: &mut Sheet<'_>, top: &mut Top, picture: &Picture) {
    match top.page {
        Page::All => {
            draw_flow(sheet, top);
            let few = sheet.left() < 30;
            draw_shards(sheet, top, picture, if few { 4 } else { 16 });
            let rows = sheet.left() / 3;
            draw_failures_and_backends(sheet, top, picture, rows.max(2));
            draw_tunnels(sheet, top, picture);
        }
        Page::Tunnels => draw_tunnels(sheet, top, picture),
        Page::Backends => {
            let rows = backend_rows(top, picture, sheet.look);
            sheet.heading(&format!(" backends  {}", rows.len()));
            draw_list(sheet, top, &BACKENDS, rows);
        }
        Page::Failures => {
            let rows = failure_rows(top, picture, sheet.look);
            sheet.heading(&format!(" failures  {} kinds", rows.len()));
            draw_list(sheet, top, &FAILURES, rows);
        }
        Page::Shards => {
            draw_flow(sheet, top);
            sheet.heading(&format!(" shards  {}", picture.stats.shards.len()));
            let rows = shard_rows(top, picture, sheet.look, sheet.width());
            draw_list(sheet, top, &SHARDS, rows);
        }
    }
}

/// A list that can be gone through, in what is left.
fn draw_list(sheet: &mut Sheet<'_>, top: &mut Top, columns: &[Column], rows: Vec<Row>) {
    let visible = sheet.left().saturating_sub(1);
    top.scroll = top.scroll.min(rows.len().saturating_sub(visible));
    if rows.is_empty() {
        return sheet.table_or_none(columns, rows);
    }
    let rows = rows.into_iter().skip(top.scroll).take(visible).collect();
    sheet.table(columns, rows);
}

fn draw_process(sheet: &mut Sheet<'_>, top: &Top, picture: &Picture) {
    let (look, stats) = (sheet.look, &picture.stats);
    let state = match stats.state {
        _ if top.trouble.is_some() => ("gone", look.bad()),
        State::Serving => ("serving", look.good()),
        State::Stopping => ("stopping", look.doubtful()),
        State::Draining => ("draining", look.doubtful()),
    };
    let uptime = Duration::try_from_secs_f64(stats.uptime_seconds).unwrap_or_default();
    let tunnels = format!(
        "  up {}  {} tunnels",
        human::duration(uptime),
        human::count(stats.total.tunnels_open)
    );
    let mut spans = vec![
        Span::styled(format!("adit {}", stats.version), look.strong()),
        Span::raw(format!("  pid {}  ", stats.pid)),
        Span::styled(state.0, state.1),
        Span::raw(look.text(&tunnels)),
    ];
    let mut right = format!("every {} s", top.every.as_secs_f64());
    if top.paused {
        right = "PAUSED".into();
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let gap = sheet.width().saturating_sub(used + right.chars().count());
    if gap > 0 {
        let style = if top.paused { look.bad() } else { look.faint() };
        spans.push(Span::raw(" ".repeat(gap)));
        spans.push(Span::styled(right, style));
    }
    sheet.line(Line::from(spans));
    let alerts = alerts(picture);
    if !alerts.is_empty() {
        sheet.text(&alerts.join("; "), look.bad());
    }
}

/// What wants an operator's eye.
fn alerts(picture: &Picture) -> Vec<String> {
    let stats = &picture.stats;
    let mut alerts = Vec::new();
    if !stats.silent_shards.is_empty() {
        let numbers: Vec<String> = stats.silent_shards.iter().map(usize::to_string).collect();
        alerts.push(format!("no answer of shards {}", numbers.join(", ")));
    }
    let mut count = |n: u64, what: &str| {
        if n > 0 {
            alerts.push(format!("{} {what}", human::count(n)));
        }
    };
    count(stats.total.panics, "faults in adit");
    count(stats.reloads_failed, "reloads refused");
    count(stats.total.accept_pauses, "pauses for want of descriptors");
    count(stats.total.limit_pauses, "pauses at a limit on tunnels");
    count(stats.log_lines_dropped, "log lines dropped");
    alerts
}

/// What goes through, now and before.
fn draw_flow(sheet: &mut Sheet<'_>, top: &Top) {
    type Amount = (&'static str, fn(&Flow) -> f64, fn(f64) -> String);
    const AMOUNTS: [Amount; 6] = [
        ("connections", |flow| flow.connections, number),
        ("up", |flow| flow.up, bytes),
        ("full handshakes", |flow| flow.full, number),
        ("down", |flow| flow.down, bytes),
        ("resumed", |flow| flow.resumed, number),
        ("failed handsh.", |flow| flow.unshaken, number),
    ];
    let width = sheet.width();
    let columns = if width >= 72 { 2 } else { 1 };
    for row in AMOUNTS.chunks(columns) {
        let mut spans = Vec::new();
        for (at, (label, of, shown)) in row.iter().enumerate() {
            let value = top.rates.as_ref().map_or_else(
                || "–".to_owned(),
                |rates| format!("{}/s", shown(of(&rates.flow))),
            );
            // The right column gets what cannot be divided.
            let room = match at {
                0 => width / columns,
                _ => width - width / columns,
            };
            let gap = if at + 1 < columns { 2 } else { 0 };
            let left = sheet.look.text(&format!("{label:<15} {value:>10} "));
            let spark = room.saturating_sub(left.chars().count() + gap);
            let history = top.history.iter().map(of);
            spans.push(Span::raw(left));
            spans.push(Span::styled(
                sheet.look.sparkline(history, spark),
                sheet.look.bar(),
            ));
            spans.push(Span::raw(" ".repeat(gap)));
        }
        sheet.line(Line::from(spans));
    }
}

fn draw_shards(sheet: &mut Sheet<'_>, top: &Top, picture: &Picture, most: usize) {
    let shards = &picture.stats.shards;
    if shards.len() <= most {
        let rows = shard_rows(top, picture, sheet.look, sheet.width());
        sheet.heading(&format!(" shards  {}", shards.len()));
        sheet.table(&SHARDS, rows);
        return;
    }
    // One character for each.
    let load = |shard: &ShardStats| load_of(top.rates.as_ref(), shard.shard).unwrap_or(0.0);
    let sum: f64 = shards.iter().map(load).sum();
    let greatest = shards.iter().map(load).fold(0.0, f64::max);
    sheet.heading(&format!(
        " shards  {}  load {:.0} % on average, {:.0} % at most",
        shards.len(),
        sum / shards.len() as f64 * 100.0,
        greatest * 100.0
    ));
    let open = |shard: &ShardStats| shard.totals.tunnels_open as f64;
    let fullest = shards.iter().map(open).fold(1.0, f64::max);
    let look = sheet.look;
    let room = sheet.width().saturating_sub(6).max(1);
    for shards in shards.chunks(room) {
        let loads: String = shards
            .iter()
            .map(|shard| look.height(load(shard)))
            .collect();
        let opens = shards
            .iter()
            .map(|shard| look.height(open(shard) / fullest));
        let opens: String = opens.collect();
        for (label, heights) in [("load  ", loads), ("open  ", opens)] {
            sheet.line(Line::from(vec![
                Span::styled(label, look.faint()),
                Span::styled(heights, look.bar()),
            ]));
        }
    }
}

fn draw_failures_and_backends(sheet: &mut Sheet<'_>, top: &Top, picture: &Picture, most: usize) {
    let look = sheet.look;
    let failures = failure_rows(top, picture, look);
    let backends = backend_rows(top, picture, look);
    let heading = |part: &mut Sheet<'_>, what: &str, all: usize, shown: usize| {
        let more = all.saturating_sub(shown);
        part.heading(&match more {
            0 => format!(" {what}"),
            more => format!(" {what}  and {more} more"),
        });
    };
    let width = sheet.area.width;
    let rows = failures.len().max(backends.len()).max(1);
    if width >= 72 {
        let rows = rows.min(most.saturating_sub(2)).max(1);
        let half = width * 9 / 20;
        {
            let mut left = sheet.part(0, half - 1, rows + 2);
            heading(&mut left, "failures", failures.len(), rows);
            left.table_or_none(&FAILURES, failures.into_iter().take(rows).collect());
        }
        {
            let mut right = sheet.part(half, width - half, rows + 2);
            heading(&mut right, "backends", backends.len(), rows);
            right.table_or_none(&BACKENDS, backends.into_iter().take(rows).collect());
        }
        sheet.row += ((rows + 2).min(sheet.left())) as u16;
        return;
    }
    // Below each other: what is wrong first.
    let rows = (most / 2).max(1);
    if !failures.is_empty() {
        heading(sheet, "failures", failures.len(), rows);
        sheet.table(&FAILURES, failures.into_iter().take(rows).collect());
    }
    heading(sheet, "backends", backends.len(), rows);
    sheet.table(&BACKENDS, backends.into_iter().take(rows).collect());
}

fn draw_tunnels(sheet: &mut Sheet<'_>, top: &mut Top, picture: &Picture) {
    let list = &picture.tunnels;
    let mut heading = format!(" tunnels by {}", top.order);
    if top.reverse {
        heading += ", reversed";
    }
    let filter = top.filter_text();
    if filter.is_empty() {
        heading += &format!("  {} open", human::count(list.open));
    } else {
        heading += &format!(
            "  {} of {} fit  {filter}",
            human::count(list.matching),
            human::count(list.open)
        );
    }
    sheet.heading(&heading);
    let rows = list.tunnels.iter().map(tunnel_row).collect();
    draw_list(sheet, top, &TUNNELS, rows);
}

fn draw_help(sheet: &mut Sheet<'_>) {
    sheet.heading(" keys");
    for (key, what) in KEYS {
        sheet.text(&format!("  {key:<12} {what}"), Style::new());
    }
    sheet.text("", Style::new());
    sheet.text(
        "Rates are those since the picture before. What takes most is on top; a",
        Style::new(),
    );
    sheet.text(
        "list that is longer than its room goes on below.",
        Style::new(),
    );
}

/// The lines at the bottom.
fn footer(top: &Top, look: Look) -> Vec<(String, Style)> {
    if let Some(typing) = &top.typing {
        let hint = "Enter takes it, Esc leaves it, Ctrl-U begins anew; ? tells what there is";
        let (above, style) = match &typing.wrong {
            Some(wrong) => (wrong.clone(), look.bad()),
            None => (hint.to_owned(), look.faint()),
        };
        return vec![
            (above, style),
            (format!("filter: {}_", typing.text), look.strong()),
        ];
    }
    vec![match (&top.trouble, top.late) {
        (Some(trouble), _) => (
            format!("no answer for {} s: {}", trouble.seconds, trouble.why),
            look.bad(),
        ),
        (None, Some(seconds)) => (
            format!("the server has not answered for {seconds} s"),
            look.bad(),
        ),
        (None, None) => (FOOTER.into(), look.faint()),
    }]
}

#[cfg(test)]
mod tests;
