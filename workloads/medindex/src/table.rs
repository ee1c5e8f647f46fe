//! Plain text tables: columns as wide as their longest cell, two blanks between them.

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; control characters in cells become blanks, and characters that turn the direction of writing become
    /// visible, so that a file's name can neither upset the terminal nor look like another.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, with a line's end after each row.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let heading = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        let mut text = self.render_row(&heading, &widths);
        for row in &self.rows {
            text.push_str(&self.render_row(row, &widths));
        }
        text
    }

    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let escaped = |row: &Vec<String>| row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>();
        let heading = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        let rule = self
            .columns
            .iter()
            .map(|(_, align)| if *align == Align::Left { "---" } else { "---:" }.to_owned())
            .collect::<Vec<_>>();
        let mut text = line(&heading) + &line(&rule);
        for row in &self.rows {
            text.push_str(&line(&escaped(row)));
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let cell_width = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| width(cell));
        (0..self.columns.len())
            .map(|column| {
                let longest = self.rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0);
                longest.max(width(self.columns[column].0))
            })
            .collect()
    }

    fn render_row(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, wide)) in cells.iter().zip(widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let blanks = " ".repeat(wide.saturating_sub(width(cell)));
            match self.columns[column].1 {
                Align::Left => line.extend([cell.as_str(), &blanks]),
                Align::Right => line.extend([blanks.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn clean(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for letter in cell.chars() {
        match letter {
            // Direction marks, embeddings, overrides and isolates (Unicode Standard Annex 9).
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                text.extend(letter.escape_unicode());
            }
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` cut to at most `longest` characters, its end kept: of a path, the file's name matters most.
pub(crate) fn keep_end(text: &str, longest: usize) -> String {
    let length = width(text);
    if length <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(length - longest.saturating_sub(1)).collect();
    format!("…{kept}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new(&[("name", Align::Left), ("count", Align::Right)]);
        table.row(["a|b".to_owned(), "7".to_owned()]);
        table.row(["long name\n".to_owned(), "1234567".to_owned()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        assert_eq!(example().render(), "name          count\na|b               7\nlong name   1234567\n");
    }

    #[test]
    fn markdown_cells_are_escaped() {
        let expected = "| name | count |\n| --- | ---: |\n| a\\|b | 7 |\n| long name  | 1234567 |\n";
        assert_eq!(example().markdown(), expected);
    }

    #[test]
    fn turns_of_the_direction_of_writing_are_visible() {
        let mut table = Table::new(&[("name", Align::Left)]);
        table.row(["scan\u{202E}gnp.exe".to_owned()]);
        assert!(table.render().contains("scan\\u{202e}gnp.exe"), "{}", table.render());
    }

    #[test]
    fn the_end_of_a_long_path_is_kept() {
        assert_eq!(keep_end("folder/file.dcm", 9), "…file.dcm");
        assert_eq!(keep_end("short", 9), "short");
    }
}
