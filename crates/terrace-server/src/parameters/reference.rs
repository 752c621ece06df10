//! The configuration reference of `docs/server.md`, made from the table.

use std::fmt::Write;

use super::{Change, Parameter, Section, all};

const SECTIONS: [(Section, &str); 5] = [
    (Section::Network, "Network"),
    (Section::Clients, "Clients"),
    (Section::Security, "Security"),
    (Section::Store, "Store"),
    (Section::Observation, "Logs and observation"),
];

/// The reference as Markdown: one table for each section, then the names that are only kept.
pub fn reference() -> String {
    let mut text = String::new();
    for (section, title) in SECTIONS {
        let _ = write!(
            text,
            "### {title}\n\n| parameter | takes | default | may change | |\n|---|---|---|---|---|\n"
        );
        for parameter in all().filter(|parameter| parameter.section == section) {
            describe(parameter, &mut text);
        }
        text.push('\n');
    }
    text.push_str("### Kept without effect\n\n");
    text.push_str("Redis's names that have no meaning here are accepted, kept and read back:\n");
    let kept = all().filter(|parameter| parameter.section == Section::Kept && !parameter.is_hidden());
    let names: Vec<String> = kept.map(|parameter| format!("`{}`", parameter.name)).collect();
    wrap(&names.join(", "), &mut text);
    text
}

fn describe(parameter: &Parameter, text: &mut String) {
    let alias = parameter.alias.map(|alias| format!(", `{alias}`")).unwrap_or_default();
    let default =
        if parameter.default.is_empty() { "empty".into() } else { format!("`{}`", parameter.default) };
    let change = match parameter.change {
        Change::Anytime => "at any time",
        Change::NextStart => "for the next start",
        Change::AtStart => "at the start",
    };
    let (name, takes, help) = (parameter.name, parameter.kind.in_words(), parameter.help);
    let _ = writeln!(text, "| `{name}`{alias} | {takes} | {default} | {change} | {help} |");
}

/// Breaks a list into lines of at most 116 bytes.
fn wrap(list: &str, text: &mut String) {
    let mut column = 0;
    for word in list.split(' ') {
        if column + word.len() > 116 {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push_str(".\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To write the reference anew: run this test with `TERRACE_UPDATE_DOCS=1`.
    #[test]
    fn the_document_has_the_reference() {
        const BEGIN: &str = "<!-- made from the code: begin -->\n";
        const END: &str = "<!-- made from the code: end -->";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (before, rest) = document.split_once(BEGIN).unwrap();
        let (found, after) = rest.split_once(END).unwrap();
        if std::env::var_os("TERRACE_UPDATE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}\n{}\n{END}{after}", reference())).unwrap();
            return;
        }
        assert!(
            found.trim() == reference().trim(),
            "run this test with TERRACE_UPDATE_DOCS=1 and commit docs/server.md"
        );
    }
}
