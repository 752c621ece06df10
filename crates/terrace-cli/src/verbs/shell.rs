//! `terrace shell`: the verbs on keys at a prompt, with history and completion.
//!
//! A line is a command and its arguments; quotes keep blanks together. What a command cannot do is said, and the
//! shell goes on.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Editor, Helper, Highlighter, Hinter, Validator};

use crate::codec::{Record, escape};
use crate::exit::Code;
use crate::figures;
use crate::store::{Access, Range, Store, Target};

/// Flags of `shell`.
#[derive(clap::Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    target: Target,
}

/// The commands and what they do.
const COMMANDS: &[(&str, &str)] = &[
    ("get", "get KEY: the value of a key"),
    ("put", "put KEY VALUE: set a key"),
    ("del", "del KEY...: remove keys"),
    ("scan", "scan [PREFIX [LIMIT]]: entries in key order, 20 unless told"),
    ("count", "count [PREFIX]: the number of entries"),
    ("stats", "stats: what the store holds and has done"),
    ("help", "help: this list"),
    ("exit", "exit: leave (also quit, or ctrl-d)"),
];
/// Entries that `scan` shows without a limit.
const SCAN_ENTRIES: u64 = 20;

#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words;

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..position];
        let names = COMMANDS.iter().map(|(name, _)| *name).filter(|name| name.starts_with(typed));
        Ok((0, names.map(|name| format!("{name} ")).collect()))
    }
}

impl Shell {
    pub(crate) fn run(self) -> Result<Code> {
        let mut store = self.target.open(Access::Existing)?;
        let mut editor = Editor::<Words, DefaultHistory>::new()?;
        editor.set_helper(Some(Words));
        let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".terrace_history"));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        loop {
            let line = match editor.readline("terrace> ") {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            };
            if line.trim().is_empty() {
                continue;
            }
            editor.add_history_entry(&line)?;
            match execute(&mut *store, &line) {
                Ok(Some(text)) => print!("{text}"),
                Ok(None) => break,
                Err(error) => println!("{}", crate::exit::in_words(&error)),
            }
        }
        if let Some(path) = &history {
            // A home that cannot be written to is no reason to fail.
            let _ = editor.save_history(path);
        }
        store.close()?;
        Ok(Code::Done)
    }
}

/// Runs one line; `None` ends the shell.
fn execute(store: &mut dyn Store, line: &str) -> Result<Option<String>> {
    let words = words(line)?;
    let (name, arguments) = words.split_first().ok_or_else(|| anyhow!("say a command; `help` lists them"))?;
    let text = match (&name[..], arguments) {
        ("get", [key]) => match store.get(key.as_bytes())? {
            Some(record) => format!("{}\n", escape::escape(&record.value)),
            None => "(no such key)\n".to_string(),
        },
        ("put", [key, value]) => {
            let record = Record { key: key.clone().into(), value: value.clone().into(), ..Record::default() };
            store.write(&[record.check().map_err(anyhow::Error::msg)?])?;
            String::new()
        }
        ("del", keys) if !keys.is_empty() => {
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.clone().into_bytes()).collect();
            format!("{} removed\n", store.delete(&keys)?)
        }
        ("scan", []) => scan(store, "", SCAN_ENTRIES)?,
        ("scan", [prefix]) => scan(store, prefix, SCAN_ENTRIES)?,
        ("scan", [prefix, limit]) => {
            let limit = limit.parse().map_err(|_| anyhow!("{limit:?} is no number of entries"))?;
            scan(store, prefix, limit)?
        }
        ("count", []) => format!("{}\n", store.count(&Range::default())?),
        ("count", [prefix]) => {
            let range = Range { prefix: prefix.clone().into(), ..Range::default() };
            format!("{}\n", store.count(&range)?)
        }
        ("stats", []) => figures::to_text(&store.stats()?),
        ("help", _) => COMMANDS.iter().flat_map(|(_, what)| [what, "\n"]).collect(),
        ("exit" | "quit", _) => return Ok(None),
        (name, _) => match COMMANDS.iter().find(|(known, _)| *known == name) {
            Some((_, usage)) => bail!("usage: {usage}"),
            None => bail!("no command {name:?}; `help` lists them"),
        },
    };
    Ok(Some(text))
}

fn scan(store: &mut dyn Store, prefix: &str, limit: u64) -> Result<String> {
    let range = Range { prefix: prefix.into(), limit: Some(limit), ..Range::default() };
    let mut text = String::new();
    store.scan(&range, &mut |record| {
        let (key, value) = (escape::escape(&record.key), escape::escape(&record.value));
        text.extend([&key[..], " = ", &value[..], "\n"]);
        Ok(true)
    })?;
    Ok(text)
}

/// Splits a line at blanks; what stands in double or single quotes stays together.
fn words(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_blanks_outside_of_quotes() {
        assert_eq!(words("put a\t'b c'  \"\" x\"y z\"").unwrap(), ["put", "a", "b c", "", "xy z"]);
        assert!(words("get 'a").is_err());
        assert!(words("  ").unwrap().is_empty());
    }
}
