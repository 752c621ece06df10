//! Files that compaction has set aside: those that it could not read, for a reason that does not pass by itself.
//!
//! What reads them fails as before and says why. What only would rewrite them leaves them alone from then on, so that
//! one damaged value does not keep every other file from being compacted and its space from coming back. They are
//! tried again when somebody compacts by hand, and after the store was opened again; on disk nothing is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use parking_lot::Mutex;

use crate::base::{Error, FileId, Result};
use crate::compaction::picker::Choice;
use crate::version::names::{parse_blob, parse_table};

/// A read that the system refuses so often in a row is not tried again.
const REFUSALS_MAX: u32 = 3;

#[derive(Default)]
struct Files {
    aside: BTreeMap<FileId, Error>,
    /// How often the system has refused to read a file, since something was read.
    refused: BTreeMap<FileId, u32>,
}

/// The files that were set aside since the store was opened.
#[derive(Default)]
pub(super) struct SetAside {
    files: Mutex<Files>,
}

impl SetAside {
    /// Their numbers.
    pub(super) fn ids(&self) -> BTreeSet<FileId> {
        self.files.lock().aside.keys().copied().collect()
    }

    /// Why each of them was set aside, without repetition.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.files.lock().aside.values().map(ToString::to_string).collect();
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// The first of the reasons as an error, if there is any.
    pub(super) fn check(&self) -> Result<()> {
        self.files.lock().aside.values().next().cloned().map_or(Ok(()), Err)
    }

    /// Has all of them tried again.
    pub(super) fn clear(&self) {
        *self.files.lock() = Files::default();
    }

    /// Sets aside what a choice failed at; `false` if it may succeed when tried again.
    pub(super) fn note(&self, choice: &Choice, error: &Error) -> bool {
        let culprits = culprits(choice, error);
        let mut files = self.files.lock();
        if !lasts(error) {
            let refused = is_refused_read(error)
                && culprits.iter().all(|id| {
                    let times = files.refused.entry(*id).or_default();
                    *times += 1;
                    *times >= REFUSALS_MAX
                });
            if !refused {
                return false;
            }
        }
        files.aside.extend(culprits.into_iter().map(|id| (id, error.clone())));
        true
    }

    /// A choice was carried out.
    pub(super) fn succeeded(&self) {
        self.files.lock().refused.clear();
    }
}

/// Whether a failure lasts: a file that does not hold what it should, or is not there.
fn lasts(error: &Error) -> bool {
    match error {
        Error::Corruption { .. } | Error::UnsupportedVersion { .. } => true,
        Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

fn is_refused_read(error: &Error) -> bool {
    matches!(error, Error::Io { operation: "read", .. })
}

/// The files without which the choice would not have failed like this: the blob file out of which values were to
/// move; else the table that could not be read; else, for a value that a merge asked for, the tables that point into
/// its file; all tables if nothing is known.
fn culprits(choice: &Choice, error: &Error) -> Vec<FileId> {
    let name = match error {
        Error::Corruption { path, .. } | Error::UnsupportedVersion { path, .. } | Error::Io { path, .. } => {
            path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
        }
        _ => "",
    };
    let metas = || choice.tables().map(|(_, table)| table.meta());
    let blob = parse_blob(name);
    let known = match (blob, parse_table(name)) {
        (Some(blob), _) if choice.relocate.contains(&blob) => vec![blob],
        (Some(blob), _) => {
            let points = metas().filter(|meta| meta.blobs.iter().any(|used| used.id == blob));
            points.map(|meta| meta.id).collect()
        }
        (None, Some(table)) => metas().map(|meta| meta.id).filter(|id| *id == table).collect(),
        (None, None) => Vec::new(),
    };
    if known.is_empty() { metas().map(|meta| meta.id).collect() } else { known }
}
