//! A table of texts: each column as wide as its widest text, two spaces between columns.

/// The table, one line per row, without spaces at the end of a line.
pub(super) fn table<const COLUMNS: usize>(heads: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    let lines: Vec<[String; COLUMNS]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; COLUMNS];
    for line in &lines {
        for (width, word) in widths.iter_mut().zip(line) {
            *width = word.chars().count().max(*width);
        }
    }
    let mut page = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(word, width)| format!("{word:width$}"));
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
}
