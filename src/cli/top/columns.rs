//! Tables that fit into any width: columns that matter least go first.

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// With less than that it is left out.
    pub(super) least: usize,
    /// Amounts end at one edge.
    pub(super) right: bool,
    /// Those with the greatest are left out first.
    pub(super) rank: u8,
}

impl Column {
    pub(super) const fn text(title: &'static str, least: usize, rank: u8) -> Self {
        Self {
            title,
            least,
            right: false,
            rank,
        }
    }

    pub(super) const fn amount(title: &'static str, least: usize, rank: u8) -> Self {
        Self {
            title,
            least,
            right: true,
            rank,
        }
    }
}

/// Lines of `width` characters at most: the titles, and one for each row.
pub(super) fn lay_out(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| {
        let least: usize = kept.iter().map(|at| columns[*at].least).sum();
        least + kept.len().saturating_sub(1)
    };
    while kept.len() > 1 && needed(&kept) > width {
        let worst = kept.iter().copied().max_by_key(|at| columns[*at].rank);
        kept.retain(|at| Some(*at) != worst);
    }
    let mut widths: Vec<usize> = kept.iter().map(|at| columns[*at].least).collect();
    let mut spare = width.saturating_sub(needed(&kept));
    // What is shortened most gets the next character.
    let wanted: Vec<usize> = kept
        .iter()
        .map(|at| {
            let cells = rows.iter().filter_map(|row| row.get(*at));
            let longest = cells.map(|cell| cell.chars().count()).max();
            longest.unwrap_or(0).max(columns[*at].title.len())
        })
        .collect();
    while spare > 0 {
        let lacks = |column: &usize| wanted[*column].saturating_sub(widths[*column]);
        match (0..kept.len()).max_by_key(lacks) {
            Some(column) if lacks(&column) > 0 => widths[column] += 1,
            _ => break,
        }
        spare -= 1;
    }
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells = kept.iter().zip(&widths).map(|(at, width)| {
            let cell = shorten(&cell(*at), *width);
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            match columns[*at].right {
                true => padding + &cell,
                false => cell + &padding,
            }
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    let mut lines = vec![line(&|at| columns[at].title.to_owned())];
    lines.extend(
        rows.iter()
            .map(|row| line(&|at| row.get(at).cloned().unwrap_or_default())),
    );
    lines
}

/// So many characters of it at most.
pub(super) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::text("name", 4, 0),
        Column::amount("bytes", 5, 1),
        Column::text("cipher", 6, 2),
    ];

    fn rows() -> Vec<Vec<String>> {
        vec![
            ["shop.example.org", "12", "AES"]
                .map(str::to_owned)
                .to_vec(),
            ["a", "3 MiB", "CHACHA20"].map(str::to_owned).to_vec(),
        ]
    }

    #[test]
    fn what_there_is_room_for_is_shown_whole() {
        assert_eq!(
            lay_out(&COLUMNS, &rows(), 80),
            [
                "name             bytes cipher  ",
                "shop.example.org    12 AES     ",
                "a                3 MiB CHACHA20",
            ]
        );
    }

    #[test]
    fn what_there_is_no_room_for_is_shortened_and_then_left_out() {
        assert_eq!(
            lay_out(&COLUMNS, &rows(), 20),
            [
                "name    bytes cipher",
                "shop.e…    12 AES   ",
                "a       3 MiB CHACH…",
            ]
        );
        assert_eq!(lay_out(&COLUMNS, &rows(), 10)[1], "sho…    12");
        assert_eq!(lay_out(&COLUMNS, &rows(), 4)[1], "sho…");
        for width in 0..40 {
            for line in lay_out(&COLUMNS, &rows(), width) {
                assert!(line.chars().count() <= width.max(4), "{width}: {line:?}");
            }
        }
    }
}
