//! Lists of users, a line for each in the words of `ACL LIST`: the file of users (`aclfile`), and the parameter `users` of
//! the configuration file. Reading one is all or nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use super::{RuleError, Rules, words};

/// A file that is longer is no file of users.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The users of a file, by name.
pub(super) type Listed = BTreeMap<Vec<u8>, Rules>;

/// Reads a file; the error says everything that is wrong with it.
pub(super) fn read(path: &Path, every_channel: bool) -> Result<Listed, String> {
    let read = || {
        let bytes = std::fs::metadata(path)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("it has {bytes} bytes, more than {MAX_FILE_BYTES}")));
        }
        std::fs::read(path)
    };
    let place = path.display().to_string();
    let text = read().map_err(|error| format!("Error loading ACLs, opening file '{place}': {error}"))?;
    parse(&text, &place, every_channel)
}

fn parse(text: &[u8], place: &str, every_channel: bool) -> Result<Listed, String> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(at, line)| (format!("{place}:{}", at + 1), line.trim_ascii()));
    parse_lines(lines.filter(|(_, line)| !line.is_empty()), every_channel).map_err(|errors| {
        format!(
            "{errors}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        )
    })
}

/// Reads the users of a configuration; the error says everything that is wrong with them.
pub(super) fn parse_configured(lines: &[String], place: &str, every_channel: bool) -> Result<Listed, String> {
    let lines = lines.iter().enumerate();
    let lines =
        lines.map(|(at, line)| (format!("{place}: users, number {}", at + 1), line.trim().as_bytes()));
    parse_lines(lines, every_channel).map_err(|errors| errors.trim_end().into())
}

/// Reads lines, each with its place.
fn parse_lines<'l>(
    lines: impl Iterator<Item = (String, &'l [u8])>,
    every_channel: bool,
) -> Result<Listed, String> {
    let (mut users, mut errors): (Listed, String) = (BTreeMap::new(), String::new());
    for (place, line) in lines {
        match parse_line(line, every_channel) {
            Ok((name, _)) if users.contains_key(&name) => {
                let name = String::from_utf8_lossy(&name);
                let _ = write!(errors, "{place}: Duplicate user '{name}' found. ");
            }
            Ok((name, rules)) => {
                users.insert(name, rules);
            }
            Err(error) => {
                let _ = write!(errors, "{place}: {error}. ");
            }
        }
    }
    if errors.is_empty() { Ok(users) } else { Err(errors) }
}

fn parse_line(line: &[u8], every_channel: bool) -> Result<(Vec<u8>, Rules), String> {
    let parsed = words::split(line).ok_or("unbalanced quotes in acl line")?;
    let given: Vec<&[u8]> = parsed.iter().map(Vec::as_slice).collect();
    let [b"user", name, given @ ..] = given.as_slice() else {
        return Err("line should start with user keyword followed by the username".into());
    };
    if words::has_spaces(name) {
        return Err(format!("username '{}' contains invalid characters", String::from_utf8_lossy(name)));
    }
    let user = String::from_utf8_lossy(name);
    let merged = words::merge_selectors(given)
        .map_err(|_| format!("user '{user}': Unmatched parenthesis in selector definition"))?;
    let mut rules = Rules::new(every_channel);
    for rule in merged {
        rules.apply(&rule).map_err(|error| match shown(&rule, error) {
            Some(rule) => format!("user '{user}': Error in applying operation '{rule}': {error}"),
            None => format!("user '{user}': {error}"),
        })?;
    }
    Ok((name.to_vec(), rules))
}

/// A rule as an error may show it: not if it is, or may be meant as, a password.
fn shown(rule: &[u8], error: RuleError) -> Option<String> {
    let first = rule.first().copied().unwrap_or_default();
    let is_known = error == RuleError::Unknown || b"~%&+-(@".contains(&first);
    is_known.then(|| String::from_utf8_lossy(rule).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_told_with_its_line() {
        let text =
            b"user a on >x\n\nfoo\nuser b +nope\nuser a off\nuser c (~a\nuser d \"x\nuser e ~a >secret #x\n";
        let said = parse(text, "f", false).unwrap_err();
        for part in [
            "f:3: line should start",
            "f:4: user 'b': Error in applying operation '+nope': Unknown command",
            "f:5: Duplicate user 'a'",
            "f:6: user 'c': Unmatched parenthesis",
            "f:7: unbalanced quotes",
            "f:8: user 'e': The password hash must be",
            "no change to the previously active",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("secret"));
    }

    #[test]
    fn a_description_is_read_as_it_was() {
        let rules = "on >p #148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9941 ~a* %R~b &c -@all +@read \
                     -get +client|id +select|0 (~x +@all -debug) (&* %W~y +set)";
        let (name, first) = parse_line(format!("user u {rules}").as_bytes(), false).unwrap();
        let again = [b"user u ", first.describe().as_slice()].concat();
        assert_eq!(parse_line(&again, true).unwrap().1.describe(), first.describe());
        assert_eq!(name, b"u");
    }
}
