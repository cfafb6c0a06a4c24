//! A table of texts: each column as wide as its widest text, two spaces between columns.

use super::ink::{Ink, Tone};

/// The table without colours.
pub(super) fn table<const COLUMNS: usize>(heads: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    let rows = rows.into_iter().map(|cells| Row { cells, tones: [Tone::Plain; COLUMNS] }).collect();
    painted(heads, rows, Ink::Plain)
}

/// One row, and what each of its cells means.
pub(super) struct Row<const COLUMNS: usize> {
    pub(super) cells: [String; COLUMNS],
    pub(super) tones: [Tone; COLUMNS],
}

/// The table, one line per row, without spaces at the end of a line.
pub(super) fn painted<const COLUMNS: usize>(
    heads: [&str; COLUMNS],
    rows: Vec<Row<COLUMNS>>,
    ink: Ink,
) -> String {
    let heads = Row { cells: heads.map(str::to_owned), tones: [Tone::Title; COLUMNS] };
    let rows: Vec<Row<COLUMNS>> = std::iter::once(heads).chain(rows).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, word) in widths.iter_mut().zip(&row.cells) {
            *width = word.chars().count().max(*width);
        }
    }
    let mut page = String::new();
    for row in &rows {
        let cells = row.cells.iter().zip(row.tones).zip(widths);
        // The spaces behind a word are not painted, so that those at the end of a line can go.
        let padded = cells.map(|((word, tone), width)| {
            let gap = width - word.chars().count();
            format!("{}{:gap$}", ink.paint(tone, word), "")
        });
        page.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word() {
        let rows = [["ä", "", "x"], ["länger", "1", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["A", "NUMBER", "END"], rows.to_vec()),
            "A       NUMBER  END\nä               x\nlänger  1\n"
        );
        assert_eq!(table(["A"], Vec::new()), "A\n");
    }

    #[test]
    fn colours_shift_no_column() {
        let cells = ["denies", "stop", "it is stopped"].map(str::to_owned);
        let rows = || vec![Row { cells: cells.clone(), tones: [Tone::Bad, Tone::Plain, Tone::Plain] }];
        let heads = ["ANSWER", "GATE", "WHY"];
        let plain = painted(heads, rows(), Ink::Plain);
        let coloured = painted(heads, rows(), Ink::Colours);
        assert_ne!(plain, coloured);
        let escapes = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m"];
        assert_eq!(escapes.iter().fold(coloured, |page, escape| page.replace(escape, "")), plain);
    }
}
