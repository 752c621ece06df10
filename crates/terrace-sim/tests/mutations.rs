//! The bugs that `scripts/mutations.py` plants fit the sources: a patch that fits nowhere tries nothing.

use std::path::Path;

/// The text of a field of a bug, in one or in three quotes.
fn field<'a>(bug: &'a str, name: &str) -> &'a str {
    let rest = bug.split_once(&format!("\n{name} = ")).unwrap_or_else(|| panic!("no {name} in {bug}")).1;
    let quote = if rest.starts_with("'''") { "'''" } else { "\"" };
    rest[quote.len()..].split_once(quote).unwrap_or_else(|| panic!("no end of {name} in {bug}")).0
}

#[test]
fn every_planted_bug_fits_exactly_one_place() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let planted = std::fs::read_to_string(here.join("mutations/planted.toml")).unwrap();
    let mut bugs = 0;
    for bug in planted.split("[[bug]]").skip(1) {
        let file = here.join("../terrace/src").join(field(bug, "file"));
        let source = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let places = source.matches(field(bug, "before")).count();
        assert_eq!(places, 1, "{}: {}", field(bug, "name"), file.display());
        assert_ne!(field(bug, "before"), field(bug, "after"));
        bugs += 1;
    }
    assert!(bugs > 30, "{bugs}");
}
