//! The part of `verify` that looks at blob files: every record, and every pointer that leads to one.
//!
//! Damage in a record is told with the key whose value it was, if any table still points there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::Registry;
use super::finding::{Finding, key_range};
use super::progress::Tally;
use super::verify::Check;
use crate::base::error::IoContext;
use crate::base::{Cursor, Error, FileId, Kind, Result};
use crate::blob::{BlobFile, BlobMeta, Piece, Pointer, blob_path, scan};
use crate::table::{Table, TableMeta};
use crate::version::{Blobs, State, names};

/// Damaged places of blob files.
type Damaged = BTreeMap<(FileId, u64), Error>;

impl Check<'_> {
    /// The blob files to read and their lengths: those of the manifest, or those in the directory if it cannot be
    /// read whole.
    pub(super) fn blobs_of(&mut self, registry: &Registry, listed: &[String]) -> Vec<(FileId, u64)> {
        let there: Vec<FileId> = listed.iter().filter_map(|name| names::parse_blob(name)).collect();
        let blobs = &registry.state().blobs;
        if registry.is_whole() {
            let orphans = there.iter().filter(|id| blobs.get(**id).is_none()).count();
            if orphans > 0 {
                self.note(format!("{orphans} blob files belong to nothing; the next opening removes them"));
            }
            return blobs.iter().map(|blob| (blob.meta.id, blob.meta.file_bytes)).collect();
        }
        let length = |id: FileId| -> Result<u64> {
            let path = blob_path(&self.files.dir, id);
            let file = self.files.env.fs.open(&path).at("open", &path)?;
            file.len().at("read the length of", &path)
        };
        there.into_iter().map(|id| (id, length(id).unwrap_or(0))).collect()
    }

    /// Reads every blob file; where they are damaged.
    pub(super) fn blobs(&mut self, blobs: &[(FileId, u64)], state: &State, tally: &mut Tally<'_>) -> Damaged {
        let mut damaged = Damaged::new();
        for (id, bytes) in blobs {
            self.outcome.blobs += 1;
            self.outcome.blob_bytes += bytes;
            let mut see = |piece: Piece<'_>| {
                match piece {
                    Piece::Record { record_bytes, .. } => tally.add(record_bytes),
                    Piece::Damage(error) => {
                        let at = if let Error::Corruption { offset, .. } = &error { *offset } else { 0 };
                        damaged.insert((*id, at), error);
                    }
                }
                Ok(())
            };
            match scan(&*self.files.env.fs, &self.files.dir, *id, &mut see) {
                Ok(found) => {
                    let expected: Option<BlobMeta> = state.blobs.get(*id).map(|blob| blob.meta);
                    if let Some((expected, found)) = expected.zip(found).filter(|(a, b)| a != b) {
                        let path = blob_path(&self.files.dir, *id);
                        let detail = format!("expected {expected:?}, found {found:?}");
                        self.error(&Error::corruption(&path, 0, detail));
                    }
                }
                Err(error) => self.error(&error),
            }
            tally.file_done();
        }
        damaged
    }

    /// Follows every pointer of the tables, and tells what is damaged with the keys that it concerns.
    pub(super) fn pointers(
        &mut self,
        metas: &[TableMeta],
        state: &State,
        mut damaged: Damaged,
        open: impl Fn(&TableMeta) -> Arc<Table>,
    ) {
        let (fs, dir) = (&self.files.env.fs, &self.files.dir);
        // What a file says of itself was checked above: here it is only asked for records.
        let ids = metas.iter().flat_map(|meta| &meta.blobs).map(|used| used.id);
        let ids: std::collections::BTreeSet<FileId> = ids.collect();
        let file = |id| BlobFile::open_damaged(Arc::clone(fs), dir, id).ok().map(|file| (Arc::new(file), 0));
        let blobs = Blobs::of_files(ids.into_iter().filter_map(file));
        for meta in metas.iter().filter(|meta| !meta.blobs.is_empty()) {
            let mut cursor = open(meta).cursor(false);
            let mut outcome = cursor.seek_to_first();
            while outcome.is_ok() && cursor.valid() {
                if cursor.meta().kind == Kind::Pointer {
                    self.pointer(&blobs, cursor.key(), cursor.value(), state, &mut damaged);
                }
                outcome = cursor.next();
            }
            // Damage of the table has been told.
        }
        for error in damaged.values() {
            self.error(error);
        }
    }

    fn pointer(&mut self, blobs: &Blobs, key: &[u8], value: &[u8], state: &State, damaged: &mut Damaged) {
        let place = Pointer::decode(value).map(|pointer| (pointer.file, pointer.offset));
        let known = place.and_then(|place| damaged.remove(&place));
        let checked = blobs.check_pointer(key, value).err();
        if let Some(error) = known.or(checked) {
            let keys = Some(key_range(key, key, state));
            self.outcome.findings.push(Finding::of(&error, keys));
        }
    }
}
