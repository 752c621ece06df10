//! The configuration file: TOML, one key for each parameter, no tables; and `users`, a list of lines as `ACL LIST` shows
//! them, which is no parameter, because it holds passwords and `ACL SETUSER` changes users.
//!
//! A value may be written as TOML has it: `true` for `yes`, a number, or a list for what Redis writes as several
//! words. Rewriting keeps comments and order, and replaces the file in one step, so that a crash leaves the old one
//! or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use toml_edit::{DocumentMut, Item, Value};

use super::{ConfigError, Kind, Parameter};

/// A file that is longer is no configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The key of the users.
const USERS: &str = "users";

/// What stands in a file.
#[derive(Debug)]
pub(super) struct Contents {
    /// Names and values of parameters.
    pub(super) values: Vec<(String, String)>,
    /// A line for each user.
    pub(super) users: Vec<String>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Contents, ConfigError> {
    let document = parse(path)?;
    let users =
        document.get(USERS).map(users_of).transpose().map_err(|error| error.within(path.display()))?;
    let values = document
        .iter()
        .filter(|(name, _)| *name != USERS)
        .map(|(name, item)| {
            let text = item.as_value().and_then(text_of);
            let text = text.ok_or_else(|| {
                ConfigError::new("it takes a text, a number, true, false, or a list of these").within(name)
            });
            Ok((name.to_ascii_lowercase(), text.map_err(|error| error.within(path.display()))?))
        })
        .collect::<Result<_, _>>()?;
    Ok(Contents { values, users: users.unwrap_or_default() })
}

/// The lines of `users`. What stands there instead is not shown, for it may have passwords.
fn users_of(item: &Item) -> Result<Vec<String>, ConfigError> {
    let lines = item.as_array().map(|lines| lines.iter().map(|line| line.as_str().map(str::to_string)));
    let lines = lines.and_then(Iterator::collect::<Option<_>>);
    lines.ok_or_else(|| {
        ConfigError::new("it takes a list of texts such as \"user alice on >password ~cache:* +@read\"")
            .within(USERS)
    })
}

fn parse(path: &Path) -> Result<DocumentMut, ConfigError> {
    let read = || -> io::Result<String> {
        if fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        fs::read_to_string(path)
    };
    let text = read().map_err(|error| ConfigError::new(error.to_string()).within(path.display()))?;
    text.parse()
        .map_err(|error: toml_edit::TomlError| ConfigError::new(error.to_string()).within(path.display()))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(on) => Some(if *on.value() { "yes" } else { "no" }.into()),
        Value::Array(items) => Some(items.iter().map(text_of).collect::<Option<Vec<_>>>()?.join(" ")),
        Value::Datetime(_) | Value::InlineTable(_) => None,
    }
}

/// Updates the file with these parameters: value, and whether somebody asked for it.
pub(super) fn rewrite(path: &Path, values: &[(&Parameter, &str, bool)]) -> Result<(), ConfigError> {
    let mut document = parse(path)?;
    for (parameter, text, given) in values {
        let written = document.iter().find(|(name, _)| parameter.is_called(name)).map(|(name, item)| {
            let same = item.as_value().and_then(text_of).and_then(|old| parameter.kind.check(&old).ok());
            (name.to_string(), same.as_deref() == Some(*text))
        });
        match written {
            Some((name, false)) => {
                if let Some(Item::Value(old)) = document.get_mut(&name) {
                    let decor = old.decor().clone();
                    *old = value_of(parameter, text);
                    *old.decor_mut() = decor;
                }
            }
            None if *given && *text != parameter.default => {
                document.insert(parameter.name, Item::Value(value_of(parameter, text)));
            }
            Some(_) | None => {}
        }
    }
    replace(path, document.to_string().as_bytes())
        .map_err(|error| ConfigError::new(error.to_string()).within(path.display()))
}

fn value_of(parameter: &Parameter, text: &str) -> Value {
    match (parameter.kind, text.parse::<i64>()) {
        (Kind::YesNo, _) => (text == "yes").into(),
        (Kind::Integer { .. } | Kind::Bytes { .. }, Ok(number)) => number.into(),
        _ => text.into(),
    }
}

/// Replaces a file by a new one with the same permissions, durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut temporary = path.clone().into_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // What is left of the attempt is of no use; the error that matters is the first.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::super::Configuration;
    use super::*;

    const FILE: &str = "# The server of the shop.\nmaxclients = 50 # few\nrequirepass = \"old\"\nsave = []\n\
        client-output-buffer-limit = [\"normal\", 0, 0, 0]\nprotected-mode = false\n\
        users = [\n  # reads\n  \"user alice on nopass +@read\",\n]\n";

    #[test]
    fn rewriting_updates_adds_and_keeps_comments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("terrace.toml");
        fs::write(&path, FILE).unwrap();
        let mut configuration = Configuration::load(Some(&path), [], []).unwrap();
        assert_eq!(configuration.get("protected-mode"), "no");
        assert_eq!(configuration.users(), ["user alice on nopass +@read"]);
        for (name, value) in [("maxclients", "60"), ("timeout", "7"), ("loglevel", "debug"), ("hz", "10")] {
            configuration.set(name, value).unwrap();
        }
        configuration.note("maxmemory", "123456789");
        configuration.rewrite().unwrap();
        let expected = FILE.replace("= 50", "= 60") + "timeout = 7\nloglevel = \"debug\"\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(Configuration::load(Some(&path), [], []).unwrap().get("maxclients"), "60");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_says_what_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        for (content, part) in [
            ("port = \n", "line 1"),
            ("[port]\nx = 1\n", "port: it takes a text"),
            ("port = 2020-01-01\n", "port: it takes a text"),
            ("users = \"user a on\"\n", "users: it takes a list of texts"),
            ("users = [1]\n", "users: it takes a list of texts"),
            ("port = 70000\n", "port: argument must be between 0 and 65535"),
        ] {
            fs::write(&path, content).unwrap();
            let said = Configuration::load(Some(&path), [], []).unwrap_err().to_string();
            assert!(said.starts_with(&path.display().to_string()) && said.contains(part), "{said}");
        }
        assert!(Configuration::load(Some(&dir.path().join("none")), [], []).is_err());
    }
}
