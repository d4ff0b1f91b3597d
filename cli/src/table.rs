//! Tables of text: columns as wide as what stands in them.

/// Rows of cells, the first one a heading. Columns after the first that hold numbers only are flush right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            if cell.parse::<f64>().is_ok() {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let line = cells.collect::<Vec<String>>().join("  ");
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["name", "bits", "why"],
            vec!["é", "4.5"],
            vec!["a longer one", "12.25", "kept"],
        ];
        let rows = rows.map(|r| r.iter().map(ToString::to_string).collect());
        assert_eq!(
            table(&rows),
            "name          bits   why\né               4.5\na longer one  12.25  kept\n"
        );
    }
}
