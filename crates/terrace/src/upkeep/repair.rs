//! `StoreFiles::repair`: a new store from all that is sound in the files of a damaged one.
//!
//! Everything that can be read (sound blocks of tables, sound records of the log) is merged into one run of new
//! tables, newest version first, as a compaction of the whole store would. So nothing depends on levels, which a
//! lost manifest takes with it. Large values are copied out of the blob files; an entry whose value is damaged is lost. Where a newer version of a key was lost, an older one may appear instead.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreFiles;
use super::files::Registry;
use super::finding::{Finding, key_range};
use super::progress::{Progress, Tally};
use super::values::{Losses, SoundValues};
use crate::base::entry::take_entry;
use crate::base::hash::filter_hash;
use crate::base::id::MAX_SEQNO;
use crate::base::key::{MAX_INTERNAL_KEY_BYTES, MAX_VALUE_BYTES, split};
use crate::base::{Cursor, Error, FileId, Fragments, KeyspaceId, Kind, Merging, RangeDelete, Result, Seqno};
use crate::blob::{BlobFile, Piece, scan};
use crate::compaction::merge::MergeCursor;
use crate::compaction::output::{Output, Relocate, Separation, Threshold, write_run};
use crate::compaction::visible::{Below, Retention};
use crate::memtable::{ChunkPool, Memtable, MemtableOptions, ShardWriter};
use crate::table::{Compression, Salvaged, TableMeta, TableOptions};
use crate::version::{Assembly, Blobs, Edit, LEVELS, Placed, State, names};
use crate::wal::salvage;

/// Tables are cut at this size.
const TABLE_BYTES: u64 = 32 << 20;
/// Blob files are cut at this size.
const BLOB_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// What was salvaged, and what was not.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Salvage {
    /// Entries in the new store.
    pub entries: u64,
    /// Its tables.
    pub tables: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Records that were replayed from the log.
    pub log_records: u64,
    /// Damage that cost data, with the keys that are lost or may be older than they were.
    pub lost: Vec<Finding>,
    /// Damage that cost nothing.
    pub mended: Vec<Finding>,
    /// Writes that the log should have and has not, by their sequence numbers. Those that were never acknowledged
    /// when the process died are among them.
    pub missing_writes: Vec<(u64, u64)>,
    /// Whether the manifest could not be read whole: then every table in the directory was used, and what had been
    /// deleted or dropped last may be back.
    pub manifest_rebuilt: bool,
    /// Keyspaces whose name is lost, as they are called now.
    pub renamed_keyspaces: Vec<String>,
}

/// What has been read so far.
struct Sources {
    tables: Vec<Salvaged>,
    blobs: Blobs,
    log: Arc<Memtable>,
    pen: ShardWriter,
    range_deletes: Vec<RangeDelete>,
    outcome: Salvage,
    keyspaces: BTreeSet<KeyspaceId>,
    max_seqno: Seqno,
    clock_ms: u64,
}

impl StoreFiles {
    /// Puts everything that is sound together as a new store in `to`, which must be missing or empty.
    ///
    /// Reads the files and changes none. Takes time and space in proportion to the data. The new store appears under
    /// its name whole or not at all; what could not be saved is in the answer.
    pub fn repair(&self, to: impl AsRef<Path>, mut progress: impl FnMut(Progress)) -> Result<Salvage> {
        let listed = self.list()?;
        let registry = self.registry(&listed);
        let assembly = Assembly::begin(&self.env.fs, to.as_ref())?;
        let options = MemtableOptions { shards: 1, chunk_bytes: CHUNK_BYTES, expected_bytes: 0 };
        let (log, mut pens) = Memtable::new(&ChunkPool::new(1 << 20), &options);
        let pen = pens.pop().ok_or_else(|| Error::invalid("a memtable of one shard has one writer"))?;
        let mut sources = Sources {
            tables: Vec::new(),
            blobs: self.blobs(&listed),
            log,
            pen,
            range_deletes: registry.state().range_deletes.values().cloned().collect(),
            outcome: Salvage { manifest_rebuilt: !registry.is_whole(), ..Salvage::default() },
            keyspaces: BTreeSet::new(),
            max_seqno: registry.state().flushed_seqno,
            clock_ms: registry.state().clock_ms.max(self.env.clock.now_ms()),
        };
        for error in registry.current.iter().chain(&registry.history.wrong) {
            sources.outcome.mended.push(Finding::of(error, None));
        }
        sources.read_tables(self, &registry, &listed, &mut progress);
        sources.read_log(self, &registry);
        let state = sources.state(&registry, &listed);
        sources.write(self, assembly, state)
    }
}

impl StoreFiles {
    /// The blob files in the directory, to read from what is sound in them.
    fn blobs(&self, listed: &[String]) -> Blobs {
        let open = |id| {
            BlobFile::open_damaged(Arc::clone(&self.env.fs), &self.dir, id)
                .ok()
                .map(|file| (Arc::new(file), 0))
        };
        Blobs::of_files(listed.iter().filter_map(|name| names::parse_blob(name)).filter_map(open))
    }
}

impl Sources {
    fn read_tables(
        &mut self,
        files: &StoreFiles,
        registry: &Registry,
        listed: &[String],
        progress: &mut dyn FnMut(Progress),
    ) {
        let state = registry.state();
        let wanted: Vec<(FileId, Option<&TableMeta>)> = if registry.is_whole() {
            state.tables.iter().map(|(id, placed)| (*id, Some(&placed.meta))).collect()
        } else {
            let known = |id| state.tables.get(&id).map(|placed| &placed.meta);
            let mut ids = StoreFiles::table_ids(listed);
            ids.sort_unstable();
            ids.into_iter().map(|id| (id, known(id))).collect()
        };
        let sizes = wanted.iter().map(|(_, meta)| meta.map_or(0, |meta| meta.file_bytes));
        let mut tally = Tally::new(sizes, progress);
        // The newest first: where two versions of a key have one sequence number (compaction sets it to 0 where
        // nobody can tell the difference), the first one counts.
        for (id, meta) in wanted.into_iter().rev() {
            let keyspaces = &mut self.keyspaces;
            let mut see = |key: &[u8]| {
                keyspaces.extend(split(key).map(|(id, _)| id));
            };
            match Salvaged::open(&files.env.fs, &files.dir, id, meta, &mut see) {
                Ok(table) => {
                    self.max_seqno = self.max_seqno.max(table.max_seqno);
                    for loss in &table.damage {
                        let keys = key_range(&loss.damage.first, &loss.damage.last, state);
                        let keys = Some(keys).filter(|_| loss.is_lost);
                        let into =
                            if loss.is_lost { &mut self.outcome.lost } else { &mut self.outcome.mended };
                        into.push(Finding::of(&loss.damage.error, keys));
                    }
                    self.tables.push(table);
                }
                Err(error) => {
                    let keys = meta.map(|meta| key_range(&meta.smallest, &meta.largest, state));
                    self.outcome.lost.push(Finding::of(&error, keys));
                }
            }
            tally.add(meta.map_or(0, |meta| meta.file_bytes));
            tally.file_done();
        }
    }

    fn read_log(&mut self, files: &StoreFiles, registry: &Registry) {
        // What is flushed must not come back from the log: its tombstones may be gone by now.
        let flushed = if registry.is_whole() { registry.state().flushed_seqno } else { 0 };
        let mut records = Vec::new();
        let mut wrong = Vec::new();
        let ids = salvage::segments(&files.env, &files.dir).unwrap_or_else(|error| {
            wrong.push(Finding::of(&error, None));
            Vec::new()
        });
        let (mut horizon, mut clock_ms) = (0, 0);
        for id in ids {
            let path = salvage::segment_path(&files.dir, id);
            let surveyed = salvage::survey(&files.env, &path, id, &mut |piece| {
                if piece.first + u64::from(piece.count) > flushed + 1 {
                    records.push((piece.first, piece.count, piece.body.to_vec()));
                }
                Ok(())
            });
            match surveyed {
                Ok(survey) => {
                    (horizon, clock_ms) = (survey.horizon.max(horizon), survey.clock_ms.max(clock_ms));
                    for torn in survey.wrong {
                        wrong.push(Finding::of(
                            &Error::corruption(&torn.path, torn.offset, torn.detail),
                            None,
                        ));
                    }
                }
                Err(error) => wrong.push(Finding::of(&error, None)),
            }
        }
        let mut writes = self.replay(records, &mut wrong, &files.dir);
        // A clock from a damaged header could lie in the far future and take everything that expires with it.
        if wrong.is_empty() {
            self.clock_ms = self.clock_ms.max(clock_ms);
        }
        if registry.is_whole() {
            self.outcome.missing_writes = gaps(flushed, horizon, &mut writes);
        }
        let cost = !self.outcome.missing_writes.is_empty() || !registry.is_whole();
        if cost { &mut self.outcome.lost } else { &mut self.outcome.mended }.extend(wrong);
        self.max_seqno = self.max_seqno.max(writes.iter().map(|(_, last)| *last).max().unwrap_or(0));
    }

    /// Inserts the records in the order of their numbers, as the memtable wants them; the numbers.
    fn replay(
        &mut self,
        mut records: Vec<(Seqno, u32, Vec<u8>)>,
        wrong: &mut Vec<Finding>,
        dir: &Path,
    ) -> Vec<(Seqno, Seqno)> {
        records.sort_unstable();
        let mut writes: Vec<(Seqno, Seqno)> = Vec::new();
        for (first, count, body) in records {
            let again = writes.last().is_some_and(|(_, last)| first <= *last);
            if !again && self.insert(first, count, &body) {
                self.outcome.log_records += 1;
                writes.push((first, first + u64::from(count) - 1));
            } else {
                let detail = format!("the record of write {first} is there twice or holds too few entries");
                wrong.push(Finding::of(&Error::corruption(dir, 0, detail), None));
            }
        }
        writes
    }

    /// Inserts the entries of a record; `false` if it is malformed, then none of them.
    fn insert(&mut self, first: Seqno, count: u32, body: &[u8]) -> bool {
        let mut entries = Vec::new();
        let mut input = body;
        for _ in 0..count {
            let Some(entry) = take_entry(&mut input) else { return false };
            let is_sound = match entry.meta.kind {
                Kind::RangeDelete => RangeDelete::from_entry(&entry, first).is_some(),
                _ => entry.key.len() <= MAX_INTERNAL_KEY_BYTES && entry.value.len() <= MAX_VALUE_BYTES,
            };
            if !is_sound {
                return false;
            }
            entries.push(entry);
        }
        for (seqno, entry) in (first..).zip(entries) {
            if let Some(delete) = RangeDelete::from_entry(&entry, seqno) {
                self.range_deletes.push(delete);
                continue;
            }
            self.keyspaces.extend(split(entry.key).map(|(id, _)| id));
            self.pen.insert(filter_hash(entry.key), entry.key, seqno, entry.meta, entry.value);
        }
        true
    }

    /// Notes what is damaged in the blob files and cost nothing.
    fn note_damaged_blobs(&mut self, files: &StoreFiles) -> Result<()> {
        let mut wrong = Vec::new();
        for file in self.blobs.files() {
            let scanned = scan(&*files.env.fs, &files.dir, file.meta().id, &mut |piece| {
                if let Piece::Damage(error) = piece {
                    wrong.push(Finding::of(&error, None));
                }
                Ok(())
            });
            scanned?;
        }
        let lost = &self.outcome.lost;
        wrong.retain(|finding| {
            !lost.iter().any(|known| (&known.path, known.offset) == (&finding.path, finding.offset))
        });
        self.outcome.mended.extend(wrong);
        Ok(())
    }

    /// The state of the new store, without its tables. Keyspaces whose names are lost get new ones.
    fn state(&mut self, registry: &Registry, listed: &[String]) -> State {
        let old = registry.state();
        let mut state = State {
            flushed_seqno: self.max_seqno,
            next_file_id: old.next_file_id.max(names::largest_data_id(listed).map_or(0, |id| id.0) + 1),
            clock_ms: self.clock_ms,
            keyspaces: old.keyspaces.clone(),
            next_keyspace_id: old.next_keyspace_id,
            merge_operator: old.merge_operator.clone(),
            ..State::default()
        };
        state.keyspaces.entry(KeyspaceId(0)).or_insert_with(|| "default".to_string());
        state.next_keyspace_id = state.next_keyspace_id.max(1);
        if !registry.is_whole() {
            let lost = |id: &&KeyspaceId| id.0 >= state.next_keyspace_id;
            for id in self.keyspaces.iter().filter(lost).copied().collect::<Vec<_>>() {
                let name = format!("recovered-{}", id.0);
                self.outcome.renamed_keyspaces.push(name.clone());
                state.keyspaces.insert(id, name);
                state.next_keyspace_id = state.next_keyspace_id.max(id.0.saturating_add(1));
            }
        }
        state
    }

    fn write(mut self, files: &StoreFiles, assembly: Assembly, mut state: State) -> Result<Salvage> {
        let ids = AtomicU64::new(state.next_file_id);
        let next_id = || FileId(ids.fetch_add(1, Ordering::Relaxed));
        let options = TableOptions {
            compression: Compression::Lz4,
            origin: files.env.rng.next_u64(),
            ..TableOptions::default()
        };
        let merging = Merging::new(state.merge_operator.clone(), None)?;
        let values = Separation {
            from: Threshold::never(),
            compression: options.compression,
            target_file_bytes: BLOB_BYTES,
            blobs: &self.blobs,
            relocate: Relocate::Everything,
        };
        let output = Output {
            fs: &files.env.fs,
            dir: assembly.partial(),
            options,
            target_table_bytes: TABLE_BYTES,
            now_ms: self.clock_ms,
            cleared_seqno: 0,
            values,
            merging: &merging,
            next_id: &next_id,
            yield_point: &|| Ok(false),
        };
        let losses = Losses::default();
        let mut sources: Vec<Box<dyn Cursor>> = vec![Box::new(self.log.cursor(MAX_SEQNO))];
        for table in &self.tables {
            sources.push(Box::new(SoundValues::new(table.cursor(), &self.blobs, &losses)));
        }
        let mut merged = MergeCursor::new(sources);
        merged.seek_to_first()?;
        let rule = Retention::new(Vec::new(), self.clock_ms, state.live_keyspaces(), Below::Nothing);
        let range_deletes = Arc::new(Fragments::new(&self.range_deletes, &[]));
        let mut rule = if self.outcome.manifest_rebuilt {
            rule.under_forgotten(range_deletes)
        } else {
            rule.under(range_deletes)
        };
        let written = write_run(&mut merged, None, &mut rule, None, &output)?;
        let written = written.unwrap_or_default();
        self.outcome.bytes = written.bytes();
        let mut edit = Edit { blobs: written.blobs, ..Edit::default() };
        for meta in written.tables {
            self.outcome.tables += 1;
            self.outcome.entries += meta.entries;
            edit.added.push(Placed { level: LEVELS - 1, run: 0, meta });
        }
        self.outcome.lost.extend(losses.findings(&state));
        self.note_damaged_blobs(files)?;
        state.apply(&edit).map_err(Error::invalid)?;
        state.next_file_id = ids.load(Ordering::Relaxed);
        assembly.finish(state)?;
        Ok(self.outcome)
    }
}

/// The numbers above `flushed` that no write has, up to the last write or the horizon.
fn gaps(flushed: Seqno, horizon: Seqno, writes: &mut [(Seqno, Seqno)]) -> Vec<(Seqno, Seqno)> {
    writes.sort_unstable();
    let mut missing = Vec::new();
    let mut reached = flushed;
    for (first, last) in writes.iter().copied() {
        if first > reached + 1 {
            missing.push((reached + 1, first - 1));
        }
        reached = reached.max(last);
    }
    if horizon > reached {
        missing.push((reached + 1, horizon));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_no_write_covers() {
        assert_eq!(gaps(5, 0, &mut [(3, 6), (9, 10), (7, 7)]), [(8, 8)]);
        assert_eq!(gaps(5, 12, &mut [(8, 10)]), [(6, 7), (11, 12)]);
        assert_eq!(gaps(5, 5, &mut []), []);
    }
}
