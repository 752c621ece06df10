//! The names of the files in a store's directory, and which of them an opening may delete.
//!
//! A name is ours only if it is spelled exactly as we would spell it. Everything else is somebody's and is
//! never touched.

use super::state::State;
use crate::base::FileId;

/// The file that names the current manifest.
pub(crate) const CURRENT: &str = "CURRENT";
/// The next `CURRENT` while it is being written.
pub(crate) const CURRENT_TEMP: &str = "CURRENT.tmp";
/// The file that the process holding the store has locked.
pub(crate) const LOCK: &str = "LOCK";

/// Marks a directory in which a copy of a store is being made. A directory with this file and without a
/// `CURRENT` is no store, and its content worth nothing.
pub(crate) const COPYING: &str = "COPYING";

const MANIFEST_PREFIX: &str = "MANIFEST-";
const TABLE_SUFFIX: &str = ".tbl";
const BLOB_SUFFIX: &str = ".blob";

/// `MANIFEST-000012`.
pub(crate) fn manifest(id: FileId) -> String {
    format!("{MANIFEST_PREFIX}{id}")
}

/// The inverse of `manifest`.
pub(crate) fn parse_manifest(name: &str) -> Option<FileId> {
    let id = FileId(name.strip_prefix(MANIFEST_PREFIX)?.parse().ok()?);
    (manifest(id) == name).then_some(id)
}

/// `000012.tbl`.
pub(crate) fn table(id: FileId) -> String {
    format!("{id}{TABLE_SUFFIX}")
}

/// The inverse of `table`.
pub(crate) fn parse_table(name: &str) -> Option<FileId> {
    let id = FileId(name.strip_suffix(TABLE_SUFFIX)?.parse().ok()?);
    (table(id) == name).then_some(id)
}

/// `000012.blob`.
pub(crate) fn blob(id: FileId) -> String {
    format!("{id}{BLOB_SUFFIX}")
}

/// The inverse of `blob`.
pub(crate) fn parse_blob(name: &str) -> Option<FileId> {
    let id = FileId(name.strip_suffix(BLOB_SUFFIX)?.parse().ok()?);
    (blob(id) == name).then_some(id)
}

/// Whether a copy of a store that is being made can hold a file of this name.
pub(crate) fn is_of_copy(name: &str) -> bool {
    [CURRENT, CURRENT_TEMP, LOCK, COPYING].contains(&name)
        || parse_manifest(name).is_some()
        || is_of_data(name)
}

/// Whether it is the name of a file that holds entries.
fn is_of_data(name: &str) -> bool {
    parse_table(name).is_some() || parse_blob(name).is_some()
}

/// Whether the name says that a file is part of a store, and one that matters.
pub(crate) fn is_of_store(name: &str) -> bool {
    name == CURRENT || parse_manifest(name).is_some() || is_of_data(name)
}

/// The names that an opening may delete: tables that no version holds, blob files that no table points to, manifests
/// other than the current one, and temporary files of ours. To be called only once the state has been read whole and found sound.
pub(crate) fn orphans<'a>(names: &'a [String], state: &State, current: FileId) -> Vec<&'a str> {
    let orphan = |name: &&str| {
        *name == CURRENT_TEMP
            || parse_table(name).is_some_and(|id| !state.tables.contains_key(&id))
            || parse_blob(name).is_some_and(|id| state.blobs.get(id).is_none())
            || parse_manifest(name).is_some_and(|id| id != current)
    };
    names.iter().map(String::as_str).filter(orphan).collect()
}

/// The largest number among the files of entries, so that none is given out twice after a crash.
pub(crate) fn largest_data_id(names: &[String]) -> Option<FileId> {
    names.iter().filter_map(|name| parse_table(name).or_else(|| parse_blob(name))).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::{BlobMeta, BlobUse};
    use crate::table::TableMeta;
    use crate::version::edit::{Edit, Placed};
    use crate::version::testing::meta;

    #[test]
    fn only_files_that_are_surely_ours_are_orphans() {
        let names = [
            "CURRENT",
            "CURRENT.tmp",
            "LOCK",
            "MANIFEST-000001",
            "MANIFEST-000002",
            "MANIFEST-2",
            "MANIFEST-000002.bak",
            "MANIFEST-+00003",
            "000007.tbl",
            "000008.tbl",
            "8.tbl",
            "0000008.tbl",
            "1000008.tbl",
            "+00008.tbl",
            "x.tbl",
            "000010.blob",
            "000011.blob",
            "11.blob",
            "000009.wal",
            "notes.txt",
            ".tbl",
            "",
        ];
        let names: Vec<_> = names.into_iter().map(String::from).collect();
        let mut state = State::default();
        let blobs = vec![BlobUse { id: FileId(10), bytes: 1 }];
        let meta = TableMeta { blobs, ..meta(7, "a", "b", 1) };
        let blobs = vec![BlobMeta { id: FileId(10), file_bytes: 99, records: 1 }];
        let placed = Placed { level: 0, run: 1, meta };
        state.apply(&Edit { added: vec![placed], blobs, ..Edit::default() }).unwrap();
        let expected = ["CURRENT.tmp", "MANIFEST-000001", "000008.tbl", "1000008.tbl", "000011.blob"];
        assert_eq!(orphans(&names, &state, FileId(2)), expected);
        assert_eq!(largest_data_id(&names), Some(FileId(1_000_008)));
    }
}
