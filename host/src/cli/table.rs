//! Tables in plain text.

use super::shown;

/// Lays out rows of a name and numbers: the first column to the left, the others to the right. Every
/// row has as many cells as the heading.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    layout(heading, rows, |column| column > 0)
}

/// Lays out rows of words, all to the left.
pub(super) fn text(heading: &[&str], rows: &[Vec<String>]) -> String {
    layout(heading, rows, |_| false)
}

/// Lays out rows under a heading, two spaces between columns.
fn layout(heading: &[&str], rows: &[Vec<String>], to_the_right: impl Fn(usize) -> bool) -> String {
    let cells = |row: &Vec<String>| row.iter().map(|cell| shown(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([heading[column].chars().count()])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let padding = " ".repeat(width - cell.chars().count());
            let cell = if to_the_right(column) {
                format!("{padding}{cell}")
            } else {
                format!("{cell}{padding}")
            };
            line.push_str(&cell);
        }
        line.trim_end().to_owned()
    };
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    let mut lines = vec![line(&mut heading.iter().copied()), rule];
    for row in &rows {
        lines.push(line(&mut row.iter().map(String::as_str)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["long".into(), "200".into()],
        ];
        assert_eq!(
            table(&["unit", "n"], &rows),
            "unit    n\n---------\na       1\nlong  200"
        );
    }
}
