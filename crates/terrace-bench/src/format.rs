//! Numbers as people read them.

/// A rate with three significant digits: `1.26 M`, `444 k`, `87`.
pub(crate) fn rate(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", three_digits(value / 1e6)),
        value if value >= 1e3 => format!("{} k", three_digits(value / 1e3)),
        value => three_digits(value),
    }
}

/// A number below a thousand or so with three significant digits.
pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A table in Markdown: the first row is the head, the first column is left-aligned.
pub(crate) fn markdown_table(rows: &[Vec<String>]) -> String {
    let rule = rows.first().map(|head| format!("|---|{}\n", "---:|".repeat(head.len() - 1)));
    let mut lines: Vec<String> = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    lines.splice(1.min(lines.len())..1.min(lines.len()), rule);
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        let cases = [
            (1_264_000.0, "1.26 M"),
            (444_400.0, "444 k"),
            (11_840.0, "11.8 k"),
            (87.3, "87.3"),
            (1.04, "1.04"),
            (0.0, "0.00"),
        ];
        for (value, text) in cases {
            assert_eq!(rate(value), text);
        }
    }

    #[test]
    fn a_table_has_a_line_below_its_head() {
        let rows = [vec!["a".into(), "b".into()], vec!["1".into(), "2".into()]];
        assert_eq!(markdown_table(&rows), "| a | b |\n|---|---:|\n| 1 | 2 |\n");
    }
}
