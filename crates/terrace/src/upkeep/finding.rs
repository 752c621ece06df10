//! `Finding`: something wrong with a store, where it is, and which keys it concerns.

use std::fmt;
use std::path::PathBuf;

use crate::base::{Error, key};
use crate::version::State;

/// A key and the keyspace that it is in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub struct KeyAt {
    /// The keyspace's name, or `#` and its number where the name is not known.
    pub keyspace: String,
    /// The key; empty for the beginning of the keyspace.
    pub key: Vec<u8>,
}

impl fmt::Display for KeyAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/\"{}\"", self.keyspace, self.key.escape_ascii())
    }
}

/// Keys from one to another, both included. What they bound may be less, never more.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeyRange {
    /// The first.
    pub first: KeyAt,
    /// The last; `None` for the end of the store.
    pub last: Option<KeyAt>,
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(last) => write!(f, "{} to {last}", self.first),
            None => write!(f, "{} to the end", self.first),
        }
    }
}

/// Something wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes, if that is known.
    pub offset: Option<u64>,
    /// What was expected and what was found.
    pub detail: String,
    /// The keys that it concerns, if that is known.
    pub keys: Option<KeyRange>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.detail)?;
        self.keys.as_ref().map_or(Ok(()), |keys| write!(f, "; keys {keys}"))
    }
}

impl Finding {
    /// What an error says of a file.
    pub(super) fn of(error: &Error, keys: Option<KeyRange>) -> Self {
        let (path, offset, detail) = match error {
            Error::Corruption { path, offset, detail } => (path.clone(), Some(*offset), detail.clone()),
            Error::UnsupportedVersion { path, .. }
            | Error::Io { path, .. }
            | Error::NotAStore { path, .. } => (path.clone(), None, error.to_string()),
            other => (PathBuf::new(), None, other.to_string()),
        };
        Self { path, offset, detail, keys }
    }
}

/// An internal key in words.
pub(super) fn key_at(internal: &[u8], state: &State) -> KeyAt {
    match key::split(internal) {
        Some((id, key)) => {
            let name = state.keyspaces.get(&id).cloned();
            KeyAt { keyspace: name.unwrap_or_else(|| format!("#{}", id.0)), key: key.to_vec() }
        }
        None => KeyAt { keyspace: "#?".to_string(), key: internal.to_vec() },
    }
}

/// A range of internal keys in words; empty bounds are those of the store.
pub(super) fn key_range(first: &[u8], last: &[u8], state: &State) -> KeyRange {
    let first = if first.is_empty() { &[0][..] } else { first };
    KeyRange { first: key_at(first, state), last: (!last.is_empty()).then(|| key_at(last, state)) }
}
