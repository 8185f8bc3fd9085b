//! What a terminal can show.

use std::env;

use ratatui::style::{Color, Modifier, Style};

/// Colours and characters to draw with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    colours: bool,
    unicode: bool,
}

impl Look {
    /// By what the environment says: NO_COLOR, TERM, and the locale.
    pub(super) fn of_environment() -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        // The first of them that is set decides (locale(7)).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find(|name| set(name))
            .and_then(|name| env::var(name).ok())
            .unwrap_or_default()
            .to_lowercase();
        Self {
            colours: !set("NO_COLOR") && !dumb,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    #[cfg(test)]
    pub(super) fn new(colours: bool, unicode: bool) -> Self {
        Self { colours, unicode }
    }

    fn coloured(self, colour: Color) -> Style {
        match self.colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub(super) fn doubtful(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// Bold, so that it stands out without colours too.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn bar(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Of a heading.
    pub(super) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Text as the terminal can show it.
    pub(super) fn text(self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        text.chars()
            .map(|c| match c {
                '–' | '─' => '-',
                '→' => '>',
                '…' => '~',
                '↑' => '^',
                '↓' => 'v',
                '·' => '.',
                c if c.is_ascii() => c,
                _ => '?',
            })
            .collect()
    }

    /// The last values, one character each, the greatest of them at full
    /// height. At most `width` of them.
    pub(super) fn sparkline(
        self,
        values: impl DoubleEndedIterator<Item = f64>,
        width: usize,
    ) -> String {
        let mut last: Vec<f64> = values.rev().take(width).collect();
        last.reverse();
        let greatest = last.iter().copied().fold(0.0, f64::max);
        let steps = self.steps();
        let line: String = last
            .into_iter()
            .map(|value| {
                if value <= 0.0 || greatest <= 0.0 {
                    return ' ';
                }
                let step = (value / greatest * steps.len() as f64).ceil() as usize;
                steps[step.clamp(1, steps.len()) - 1]
            })
            .collect();
        format!("{line:>width$}")
    }

    /// One character as high as the part is of 1.
    pub(super) fn height(self, part: f64) -> char {
        let steps = self.steps();
        let step = (part * steps.len() as f64).ceil() as usize;
        match step {
            0 => {
                if self.unicode {
                    '·'
                } else {
                    '.'
                }
            }
            step => steps[step.min(steps.len()) - 1],
        }
    }

    fn steps(self) -> &'static [char] {
        match self.unicode {
            true => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            false => &['_', '.', ':', '-', '=', '+', '*', '#'],
        }
    }

    /// A bar as long as the part is of 1, in `width` characters.
    pub(super) fn bar_of(self, part: f64, width: usize) -> String {
        let part = part.clamp(0.0, 1.0);
        if !self.unicode {
            let full = (part * width as f64).round() as usize;
            return format!("{}{}", "#".repeat(full), ".".repeat(width - full));
        }
        let eighths = (part * (width * 8) as f64).round() as usize;
        let (full, rest) = (eighths / 8, eighths % 8);
        let mut bar = "█".repeat(full);
        if rest > 0 {
            bar.push(['▏', '▎', '▍', '▌', '▋', '▊', '▉'][rest - 1]);
        }
        let used = full + usize::from(rest > 0);
        bar + &" ".repeat(width - used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_lines_are_as_long_as_they_should_be() {
        let look = Look::new(true, true);
        assert_eq!(
            look.sparkline([0.0, 1.0, 4.0, 8.0].into_iter(), 6),
            "   ▁▄█"
        );
        assert_eq!(look.sparkline((0..100).map(f64::from), 3), "███");
        assert_eq!(look.sparkline([0.0, 0.0].into_iter(), 2), "  ");
        assert_eq!(look.bar_of(0.5, 4), "██  ");
        assert_eq!(look.bar_of(0.3, 4), "█▎  ");
        assert_eq!(look.bar_of(7.0, 2), "██");
        let plain = Look::new(false, false);
        assert_eq!(plain.sparkline([0.0, 1.0, 4.0, 8.0].into_iter(), 4), " _-#");
        assert_eq!(plain.bar_of(0.5, 4), "##..");
        assert_eq!(plain.text("a → – é"), "a > - ?");
        assert_eq!(plain.good(), Style::new());
        for part in [0.0, 0.01, 0.5, 1.0, 9.0] {
            look.height(part);
        }
        assert_eq!((look.height(0.0), look.height(1.0)), ('·', '█'));
    }
}
