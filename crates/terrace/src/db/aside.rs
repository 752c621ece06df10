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
    /// How often the system has refused a choice to read a file, since one with that file succeeded.
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

    /// A choice was carried out. What others failed at is still to be judged: they may be picked in turns with it.
    pub(super) fn succeeded(&self, choice: &Choice) {
        let was_read = |id: &FileId| choice.locks.tables.contains(id) || choice.relocate.contains(id);
        self.files.lock().refused.retain(|id, _| !was_read(id));
    }
}

/// Whether a failure lasts: a file that does not hold what it should, or is not there.
fn lasts(error: &Error) -> bool {
    match error {
        Error::Corruption { .. } | Error::UnsupportedVersion { .. } => true,
        Error::Io { operation: "open" | "read", source, .. } => source.kind() == ErrorKind::NotFound,
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::blob::BlobUse;
    use crate::compaction::picker::{ChoiceKind, Locks};
    use crate::table::TableMeta;
    use crate::version::testing::{meta, open};

    /// Rewrites tables 1 and 2, of which the second points into blob file 9, and moves values out of file 8.
    fn choice() -> Choice {
        let blobs = vec![BlobUse { id: FileId(9), bytes: 5 }];
        let tables = vec![open(meta(1, "a", "b", 100)), open(TableMeta { blobs, ..meta(2, "c", "d", 100) })];
        Choice {
            kind: ChoiceKind::Merge,
            inputs: vec![(6, tables)],
            output_level: 6,
            output_run: 0,
            locks: Locks { tables: vec![FileId(1), FileId(2)], ..Locks::default() },
            relocate: BTreeSet::from([FileId(8)]),
        }
    }

    fn damage(name: &str) -> Error {
        Error::corruption(&Path::new("dir").join(name), 7, "expected something else")
    }

    fn refused(name: &str) -> Error {
        Error::io("read", &Path::new("dir").join(name), std::io::Error::other("the device says no"))
    }

    #[test]
    fn only_what_the_choice_failed_at_is_set_aside() {
        for (name, expected) in [
            ("000008.blob", vec![8]),
            ("000009.blob", vec![2]),
            ("000001.tbl", vec![1]),
            ("000005.tbl", vec![1, 2]),
            ("", vec![1, 2]),
        ] {
            let aside = SetAside::default();
            assert!(aside.note(&choice(), &damage(name)), "{name}");
            assert_eq!(aside.ids().into_iter().map(|id| id.0).collect::<Vec<_>>(), expected, "{name}");
            assert_eq!(aside.reasons().len(), 1, "said once: {:?}", aside.reasons());
            assert!(aside.check().is_err());
            aside.clear();
            assert!(aside.ids().is_empty() && aside.check().is_ok());
        }
        let aside = SetAside::default();
        assert!(!aside.note(&choice(), &Error::Closed), "it may succeed when tried again");
        assert!(aside.ids().is_empty());
    }

    /// Where two threads compact, the successes of one would have made the other forget its failures.
    #[test]
    fn a_read_that_is_refused_is_tried_three_times_whatever_else_succeeds() {
        let aside = SetAside::default();
        let mut other = choice();
        other.locks.tables = vec![FileId(3)];
        other.relocate.clear();
        let fails = || aside.note(&choice(), &refused("000008.blob"));
        assert!(!fails() && !fails());
        aside.succeeded(&choice());
        assert!(!fails(), "it was read meanwhile");
        aside.succeeded(&other);
        assert!(!fails());
        aside.succeeded(&other);
        assert!(fails());
        assert_eq!(aside.ids(), BTreeSet::from([FileId(8)]));
    }
}
