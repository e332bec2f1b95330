//! Columns aligned by tabs, as Go's `text/tabwriter` does for docker.

/// Aligns `text`, whose cells end with tabs: a column is as wide as its widest
/// cell plus `padding`, at least `minimum`, over consecutive lines that have a
/// cell there. The last cell of a line is not padded.
pub(crate) fn align(text: &str, minimum: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text
        .split('\n')
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines
        .iter()
        .map(|cells| vec![0; cells.len().saturating_sub(1)])
        .collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut line = 0;
        while line < lines.len() {
            if widths[line].len() <= column {
                line += 1;
                continue;
            }
            let block = (line..lines.len())
                .take_while(|&at| widths[at].len() > column)
                .count();
            let widest = (line..line + block)
                .map(|at| lines[at][column].chars().count())
                .max()
                .unwrap_or(0);
            let width = (widest + padding).max(minimum);
            for row in &mut widths[line..line + block] {
                row[column] = width;
            }
            line += block;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (at, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(&width) = widths.get(column) {
                out.extend(std::iter::repeat_n(
                    ' ',
                    width.saturating_sub(cell.chars().count()),
                ));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            align("A\tBB\tC\nlonger than ten\tb\tc\n", 10, 3),
            "A                 BB        C\nlonger than ten   b         c\n"
        );
    }

    #[test]
    fn a_line_without_tabs_ends_a_block() {
        assert_eq!(
            align("a\tb\n\nlonglonglong\tb", 2, 1),
            "a b\n\nlonglonglong b"
        );
    }
}
