//! The blob files of a version: which there are, and how much of each is still pointed to.
//!
//! Every table says how many bytes it points to in which blob file. So what is garbage in a file is what no table
//! counts, exactly and after any damage, and a file goes with the last table that points to it: by the same edit, and
//! on disk when the last reader of an older version is done.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::edit::{Edit, Placed};
use super::levels::Version;
use super::names;
use crate::base::{Cursor, Error, FileId, Kind, Result, Slice};
use crate::blob::{BlobFile, BlobMeta, Pointer, Stored};

/// A blob file and what tables point to in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LiveBlob {
    /// The file.
    pub(crate) meta: BlobMeta,
    /// Bytes of the records that tables point to; more than 0.
    pub(crate) live_bytes: u64,
}

impl LiveBlob {
    /// Bytes of the records that nothing points to.
    pub(crate) fn garbage_bytes(&self) -> u64 {
        self.meta.data_bytes().saturating_sub(self.live_bytes)
    }
}

/// The blob files of a state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LiveBlobs {
    files: BTreeMap<FileId, LiveBlob>,
}

impl LiveBlobs {
    /// Every file, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LiveBlob> {
        self.files.values()
    }

    /// The file of this number.
    pub(crate) fn get(&self, id: FileId) -> Option<&LiveBlob> {
        self.files.get(&id)
    }

    /// What becomes of them by `edit`, where `tables` were before it; `None` where it does not touch them. The text
    /// says what is wrong with the edit.
    pub(super) fn after(
        &self,
        edit: &Edit,
        tables: &BTreeMap<FileId, Placed>,
    ) -> Result<Option<Self>, String> {
        let gone = || edit.removed.iter().filter_map(|(_, id)| tables.get(id));
        let touched = gone().chain(&edit.added).any(|placed| !placed.meta.blobs.is_empty());
        if !touched && edit.blobs.is_empty() {
            return Ok(None);
        }
        let mut files = self.files.clone();
        for meta in &edit.blobs {
            if files.insert(meta.id, LiveBlob { meta: *meta, live_bytes: 0 }).is_some() {
                return Err(format!("blob file {} is added twice", meta.id));
            }
        }
        for used in gone().flat_map(|placed| &placed.meta.blobs) {
            if let Some(file) = files.get_mut(&used.id) {
                file.live_bytes = file.live_bytes.saturating_sub(used.bytes);
            }
        }
        for placed in &edit.added {
            for used in &placed.meta.blobs {
                let (table, id) = (placed.meta.id, used.id);
                let file = files.get_mut(&id);
                let file = file
                    .ok_or_else(|| format!("table {table} points to blob file {id}, which is not there"))?;
                file.live_bytes = file.live_bytes.saturating_add(used.bytes);
                if file.live_bytes > file.meta.data_bytes() {
                    let (live, bytes) = (file.live_bytes, file.meta.data_bytes());
                    return Err(format!("tables point to {live} bytes of blob file {id}, which has {bytes}"));
                }
            }
        }
        files.retain(|_, file| file.live_bytes > 0);
        Ok(Some(Self { files }))
    }
}

/// A blob file that can be read.
#[derive(Clone, Debug)]
struct OpenBlob {
    file: Arc<BlobFile>,
    live_bytes: u64,
}

/// The blob files of a version, to be read from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blobs {
    files: Arc<BTreeMap<FileId, OpenBlob>>,
}

impl Blobs {
    /// Those of a state; files that are open already are shared. `open` does no I/O.
    pub(crate) fn next(&self, live: &LiveBlobs, open: impl Fn(BlobMeta) -> Arc<BlobFile>) -> Self {
        let same = self.files.len() == live.files.len()
            && self
                .files
                .iter()
                .zip(live.iter())
                .all(|((id, now), next)| *id == next.meta.id && now.live_bytes == next.live_bytes);
        if same {
            return self.clone();
        }
        let open = |next: &LiveBlob| {
            let known = self.files.get(&next.meta.id).map(|now| Arc::clone(&now.file));
            let file = known.unwrap_or_else(|| open(next.meta));
            (next.meta.id, OpenBlob { file, live_bytes: next.live_bytes })
        };
        Self { files: Arc::new(live.iter().map(open).collect()) }
    }

    /// These files, each with the bytes that tables point to in it; who only reads them may give 0.
    pub(crate) fn of_files(files: impl IntoIterator<Item = (Arc<BlobFile>, u64)>) -> Self {
        let open = |(file, live_bytes): (Arc<BlobFile>, u64)| (file.meta().id, OpenBlob { file, live_bytes });
        Self { files: Arc::new(files.into_iter().map(open).collect()) }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Every file with what tables point to in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LiveBlob> + '_ {
        self.files.values().map(|open| LiveBlob { meta: *open.file.meta(), live_bytes: open.live_bytes })
    }

    /// Every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<BlobFile>> {
        self.files.values().map(|open| &open.file)
    }

    /// The files that are not in `next`: they may be deleted when the edit between the two is durable and no reader
    /// pins them.
    pub(crate) fn obsolete_after<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = &'a Arc<BlobFile>> {
        self.files().filter(|file| !next.files.contains_key(&file.meta().id))
    }

    /// The value of `key` in an entry of kind `Pointer`, which has `pointer` as its value. One read of the file.
    #[cold]
    pub(crate) fn read(&self, key: &[u8], pointer: &[u8]) -> Result<Slice> {
        let (file, pointer) = self.find(key, pointer)?;
        file.read(key, &pointer)
    }

    /// The same if that takes no wait for the device; else the system may begin to bring the value in.
    pub(crate) fn try_read(&self, key: &[u8], pointer: &[u8]) -> Result<Option<Slice>> {
        let (file, pointer) = self.find(key, pointer)?;
        file.try_read(key, &pointer)
    }

    /// The same as it is stored, and the length of the value.
    pub(crate) fn read_stored(&self, key: &[u8], pointer: &[u8]) -> Result<(Stored, u64)> {
        let (file, pointer) = self.find(key, pointer)?;
        Ok((file.read_stored(key, &pointer)?, pointer.value_bytes))
    }

    /// Checks that a pointer leads to a record of `key`, without reading the value.
    pub(crate) fn check_pointer(&self, key: &[u8], pointer: &[u8]) -> Result<()> {
        let (file, pointer) = self.find(key, pointer)?;
        file.check_pointer(key, &pointer)
    }

    fn find(&self, key: &[u8], pointer: &[u8]) -> Result<(&Arc<BlobFile>, Pointer)> {
        let lost = |name: String, detail: String| Error::corruption(Path::new(&name), 0, detail);
        let Some(pointer) = Pointer::decode(pointer) else {
            let detail =
                format!("the value of key \"{}\" is no pointer into a blob file", key.escape_ascii());
            return Err(lost("a table".to_string(), detail));
        };
        match self.files.get(&pointer.file) {
            Some(open) => Ok((&open.file, pointer)),
            None => {
                let detail =
                    format!("key \"{}\" points to this file, which is not there", key.escape_ascii());
                Err(lost(names::blob(pointer.file), detail))
            }
        }
    }
}

impl Version {
    /// Checks every table and every blob file, and that every pointer leads to a value of its key; the first thing that
    /// is wrong is the error.
    pub(crate) fn verify(&self) -> Result<()> {
        let blobs = self.blobs();
        for (_, table) in self.tables() {
            table.verify()?;
            if table.meta().blobs.is_empty() {
                continue;
            }
            let mut cursor = table.cursor(false);
            cursor.seek_to_first()?;
            while cursor.valid() {
                if cursor.meta().kind == Kind::Pointer {
                    blobs.check_pointer(cursor.key(), cursor.value())?;
                }
                cursor.next()?;
            }
        }
        blobs.files().try_for_each(|file| file.verify())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobUse;
    use crate::io::os::OsFs;
    use crate::table::TableMeta;
    use crate::version::state::State;
    use crate::version::testing::meta;

    fn blob(id: u64, data_bytes: u64) -> BlobMeta {
        let empty = BlobMeta { id: FileId(id), file_bytes: 10_000, records: 1 };
        BlobMeta { file_bytes: 10_000 - empty.data_bytes() + data_bytes, ..empty }
    }

    fn placed(id: u64, uses: &[(u64, u64)]) -> Placed {
        let blobs = uses.iter().map(|(id, bytes)| BlobUse { id: FileId(*id), bytes: *bytes }).collect();
        let name = format!("key{id}");
        Placed { level: 1, run: 0, meta: TableMeta { blobs, ..meta(id, &name, &name, 100) } }
    }

    fn live(state: &State) -> Vec<(u64, u64, u64)> {
        state.blobs.iter().map(|file| (file.meta.id.0, file.live_bytes, file.garbage_bytes())).collect()
    }

    #[test]
    fn a_file_goes_with_the_last_table_that_points_to_it() {
        let mut state = State::default();
        let first = Edit {
            added: vec![placed(1, &[(10, 60)]), placed(2, &[(10, 40)])],
            blobs: vec![blob(10, 100)],
            ..Edit::default()
        };
        state.apply(&first).unwrap();
        assert_eq!(live(&state), [(10, 100, 0)]);
        let rewritten = Edit {
            removed: vec![(1, FileId(1))],
            added: vec![placed(3, &[(10, 20), (11, 5)])],
            blobs: vec![blob(11, 5)],
            ..Edit::default()
        };
        state.apply(&rewritten).unwrap();
        assert_eq!(live(&state), [(10, 60, 40), (11, 5, 0)]);
        let mut copy = State::default();
        copy.apply(&state.snapshot()).unwrap();
        assert_eq!(copy, state, "a snapshot says the same");
        state
            .apply(&Edit {
                removed: vec![(1, FileId(2)), (1, FileId(3))],
                added: vec![placed(4, &[(11, 5)])],
                ..Edit::default()
            })
            .unwrap();
        assert_eq!(live(&state), [(11, 5, 0)]);
        assert_eq!(state.next_file_id, 12);
    }

    #[test]
    fn an_edit_that_does_not_add_up_is_refused_and_changes_nothing() {
        let mut state = State::default();
        let first =
            Edit { added: vec![placed(1, &[(10, 60)])], blobs: vec![blob(10, 100)], ..Edit::default() };
        state.apply(&first).unwrap();
        for wrong in [
            Edit { added: vec![placed(2, &[(12, 1)])], ..Edit::default() },
            Edit { added: vec![placed(2, &[(10, 41)])], ..Edit::default() },
            Edit { added: vec![placed(2, &[(10, 1)])], blobs: vec![blob(10, 100)], ..Edit::default() },
        ] {
            let mut copy = state.clone();
            assert!(copy.check(&wrong).is_err() && copy.apply(&wrong).is_err(), "{wrong:?}");
            assert_eq!(copy, state);
        }
        state.apply(&Edit { added: vec![placed(2, &[(10, 40)])], ..Edit::default() }).unwrap();
    }

    #[test]
    fn open_files_are_shared_and_those_left_over_are_named() {
        let open = |meta| Arc::new(BlobFile::open(Arc::new(OsFs::default()), Path::new("nowhere"), meta));
        let mut state = State::default();
        let added = vec![placed(1, &[(10, 60), (11, 7)])];
        state.apply(&Edit { added, blobs: vec![blob(10, 100), blob(11, 7)], ..Edit::default() }).unwrap();
        let first = Blobs::default().next(&state.blobs, open);
        assert!(Arc::ptr_eq(&first.files, &first.next(&state.blobs, open).files), "nothing has changed");
        let edit =
            Edit { removed: vec![(1, FileId(1))], added: vec![placed(2, &[(11, 7)])], ..Edit::default() };
        state.apply(&edit).unwrap();
        let second = first.next(&state.blobs, open);
        let ids = |files: Vec<&Arc<BlobFile>>| files.iter().map(|file| file.meta().id.0).collect::<Vec<_>>();
        assert_eq!(ids(first.obsolete_after(&second).collect()), [10]);
        assert!(Arc::ptr_eq(&first.files[&FileId(11)].file, &second.files[&FileId(11)].file));
        assert!(second.read(b"key", b"nonsense").is_err());
    }
}
