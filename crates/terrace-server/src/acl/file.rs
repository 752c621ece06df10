//! The file of users (`aclfile`): a line for each, in the words of `ACL LIST`. Reading it is all or nothing.

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
    let (mut users, mut errors): (Listed, String) = (BTreeMap::new(), String::new());
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match parse_line(line, every_channel) {
            Ok((name, _)) if users.contains_key(&name) => {
                let name = String::from_utf8_lossy(&name);
                let _ = write!(errors, "{place}:{}: Duplicate user '{name}' found. ", at + 1);
            }
            Ok((name, rules)) => {
                users.insert(name, rules);
            }
            Err(error) => {
                let _ = write!(errors, "{place}:{}: {error}. ", at + 1);
            }
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    Err(format!(
        "{errors}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    ))
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
    let merged = words::merge_selectors(given).map_err(|_| "Unmatched parenthesis in selector definition")?;
    let mut rules = Rules::new(every_channel);
    for rule in merged {
        rules.apply(&rule).map_err(|error| match error {
            // Any other rule might be a password.
            RuleError::Unknown => {
                format!("Error in applying operation '{}': {error}", String::from_utf8_lossy(&rule))
            }
            _ => error.to_string(),
        })?;
    }
    Ok((name.to_vec(), rules))
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
            "f:4: Error in applying operation '+nope': Unknown command",
            "f:5: Duplicate user 'a'",
            "f:6: Unmatched parenthesis",
            "f:7: unbalanced quotes",
            "f:8: The password hash must be",
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
