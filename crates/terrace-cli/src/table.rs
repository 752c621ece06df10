//! Small tables for a reader at a terminal.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets};

/// A line above, below, and under the header; none between rows.
const STYLE: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header);
    table
}

/// Two columns without a header: names and what they stand for.
pub(crate) fn pairs(rows: impl Iterator<Item = (String, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in rows {
        table.add_row([name, value]);
    }
    format!("{table}\n")
}

/// Figures under their names, aligned to the right.
pub(crate) fn rows(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = empty(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// Text under its names, aligned to the left.
pub(crate) fn text(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = empty(header);
    for row in rows {
        table.add_row(row);
    }
    format!("{table}\n")
}

/// At most `limit` characters of a text, with a mark where something is missing.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}
