//! `Edit`: the difference between two versions, as the manifest records it.
//!
//! An edit is a sequence of fields, in any order (the encoder writes them in the order of their tags):
//!
//! ```text
//! varint   tag
//! varint   payload length, then the payload:
//!   1 table added         varint level | varint run ordinal | table meta | its tail, to the end
//!   2 table removed       varint level | varint file id
//!   3 flushed seqno       varint          every entry up to it is in a table
//!   4 next file id        varint          ids from it on have not been given out
//!   5 clock high water    varint          milliseconds since the epoch; time never runs behind it
//!   6 keyspace created    varint id | name (UTF-8) to the payload's end
//!   7 keyspace dropped    varint id
//!   8 keyspace renamed    varint id | new name (UTF-8) to the payload's end
//!   9 next keyspace id    varint          ids from it on have not been given out
//!  10 range delete        varint seqno | varint length, first internal key | end key to the payload's end
//!  11 range delete gone   varint seqno
//!  12 merge operator      its name (UTF-8) to the payload's end; at most once in the life of a store
//!  13 start of the log    varint file id: the first log segment that is needed, and is there; 0 for none
//!  14 blob file added     blob meta
//! ```
//!
//! An unknown tag is refused: an edit that is understood in part describes another store.

use crate::base::varint::{push_prefixed, push_u64, take_prefixed, take_u64};
use crate::base::{FileId, KeyspaceId, RangeDelete, Seqno};
use crate::blob::BlobMeta;
use crate::table::TableMeta;

/// A table and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    /// The level, 0 to 6.
    pub(crate) level: usize,
    /// The ordinal of its run within the level; larger is newer. 0 in levels of one run.
    pub(crate) run: u64,
    /// The table.
    pub(crate) meta: TableMeta,
}

/// A change to the set of tables and to what is recorded beside it. Applied as one: removals first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Edit {
    /// Tables that come in. A table removed by the same edit and added again is moved.
    pub(crate) added: Vec<Placed>,
    /// Tables that go, with the level they are in.
    pub(crate) removed: Vec<(usize, FileId)>,
    /// Every entry up to this seqno is in a table from now on.
    pub(crate) flushed_seqno: Option<Seqno>,
    /// File ids from this one on have not been given out.
    pub(crate) next_file_id: Option<u64>,
    /// Time, in milliseconds since the epoch, never runs behind this again.
    pub(crate) clock_ms: Option<u64>,
    /// New keyspaces.
    pub(crate) created: Vec<(KeyspaceId, String)>,
    /// Keyspaces whose entries are void from now on.
    pub(crate) dropped: Vec<KeyspaceId>,
    /// New names.
    pub(crate) renamed: Vec<(KeyspaceId, String)>,
    /// Keyspace ids from this one on have not been given out. Creating one implies it.
    pub(crate) next_keyspace_id: Option<u32>,
    /// Range deletes of flushed memtables that hide entries of tables.
    pub(crate) range_deletes: Vec<RangeDelete>,
    /// Range deletes, by number, that hide nothing any more.
    pub(crate) settled_range_deletes: Vec<Seqno>,
    /// The name of the merge operator, from now on.
    pub(crate) merge_operator: Option<String>,
    /// The first log segment that is needed from now on; 0 for none.
    pub(crate) log_start: Option<FileId>,
    /// Blob files that come in, each pointed to by tables that come in with it. A blob file goes by itself, with the
    /// last table that points to it.
    pub(crate) blobs: Vec<BlobMeta>,
}

/// Levels are numbered 0 to `LEVELS - 1`.
pub(crate) const LEVELS: usize = 7;

mod tag {
    pub(super) const ADDED: u64 = 1;
    pub(super) const REMOVED: u64 = 2;
    pub(super) const FLUSHED_SEQNO: u64 = 3;
    pub(super) const NEXT_FILE_ID: u64 = 4;
    pub(super) const CLOCK_MS: u64 = 5;
    pub(super) const CREATED: u64 = 6;
    pub(super) const DROPPED: u64 = 7;
    pub(super) const RENAMED: u64 = 8;
    pub(super) const NEXT_KEYSPACE_ID: u64 = 9;
    pub(super) const RANGE_DELETE: u64 = 10;
    pub(super) const SETTLED_RANGE_DELETE: u64 = 11;
    pub(super) const MERGE_OPERATOR: u64 = 12;
    pub(super) const LOG_START: u64 = 13;
    pub(super) const BLOB: u64 = 14;
    /// The largest of them.
    pub(super) const LAST: u64 = BLOB;
}

impl Edit {
    /// Appends the encoded fields.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut field = |tag: u64, numbers: &[u64], tail: &[u8]| {
            let mut payload = Vec::new();
            for number in numbers {
                push_u64(&mut payload, *number);
            }
            payload.extend_from_slice(tail);
            push_u64(out, tag);
            push_prefixed(out, &payload);
        };
        for placed in &self.added {
            let mut meta = Vec::new();
            placed.meta.encode(&mut meta);
            placed.meta.encode_tail(&mut meta);
            field(tag::ADDED, &[placed.level as u64, placed.run], &meta);
        }
        for (level, id) in &self.removed {
            field(tag::REMOVED, &[*level as u64, id.0], &[]);
        }
        let numbers = [
            (tag::FLUSHED_SEQNO, self.flushed_seqno),
            (tag::NEXT_FILE_ID, self.next_file_id),
            (tag::CLOCK_MS, self.clock_ms),
        ];
        for (tag, number) in numbers {
            if let Some(number) = number {
                field(tag, &[number], &[]);
            }
        }
        for (id, name) in &self.created {
            field(tag::CREATED, &[u64::from(id.0)], name.as_bytes());
        }
        for id in &self.dropped {
            field(tag::DROPPED, &[u64::from(id.0)], &[]);
        }
        for (id, name) in &self.renamed {
            field(tag::RENAMED, &[u64::from(id.0)], name.as_bytes());
        }
        if let Some(id) = self.next_keyspace_id {
            field(tag::NEXT_KEYSPACE_ID, &[u64::from(id)], &[]);
        }
        for delete in &self.range_deletes {
            let keys = [&delete.start[..], &delete.end[..]].concat();
            field(tag::RANGE_DELETE, &[delete.seqno, delete.start.len() as u64], &keys);
        }
        for seqno in &self.settled_range_deletes {
            field(tag::SETTLED_RANGE_DELETE, &[*seqno], &[]);
        }
        if let Some(name) = &self.merge_operator {
            field(tag::MERGE_OPERATOR, &[], name.as_bytes());
        }
        if let Some(id) = self.log_start {
            field(tag::LOG_START, &[id.0], &[]);
        }
        for blob in &self.blobs {
            let mut meta = Vec::new();
            blob.encode(&mut meta);
            field(tag::BLOB, &[], &meta);
        }
    }

    /// Decodes fields to the end of `input`; the text says what is wrong.
    pub(crate) fn decode(mut input: &[u8]) -> Result<Self, String> {
        let mut edit = Self::default();
        while !input.is_empty() {
            let tag = take_u64(&mut input).ok_or("an edit field without a tag")?;
            let mut payload = take_prefixed(&mut input)
                .ok_or_else(|| format!("edit field {tag} is longer than its record"))?;
            let known = edit.decode_field(tag, &mut payload);
            if !known.ok_or_else(|| format!("edit field {tag} is malformed"))? {
                return Err(format!("unknown edit field {tag}, expected 1 to {}", tag::LAST));
            }
            if !payload.is_empty() {
                return Err(format!("edit field {tag} has {} bytes too many", payload.len()));
            }
        }
        Ok(edit)
    }

    /// `None` if the payload is malformed, `Some(false)` if the tag is unknown.
    fn decode_field(&mut self, tag: u64, payload: &mut &[u8]) -> Option<bool> {
        match tag {
            tag::ADDED => {
                let (level, run) = (take_level(payload)?, take_u64(payload)?);
                let mut meta = TableMeta::decode(payload)?;
                meta.decode_tail(payload)?;
                self.added.push(Placed { level, run, meta });
            }
            tag::REMOVED => {
                self.removed.push((take_level(payload)?, FileId(take_u64(payload)?)));
            }
            tag::FLUSHED_SEQNO => self.flushed_seqno = Some(take_u64(payload)?),
            tag::NEXT_FILE_ID => self.next_file_id = Some(take_u64(payload)?),
            tag::CLOCK_MS => self.clock_ms = Some(take_u64(payload)?),
            tag::CREATED => self.created.push((take_keyspace(payload)?, take_name(payload)?)),
            tag::DROPPED => self.dropped.push(take_keyspace(payload)?),
            tag::RENAMED => self.renamed.push((take_keyspace(payload)?, take_name(payload)?)),
            tag::NEXT_KEYSPACE_ID => self.next_keyspace_id = Some(take_keyspace(payload)?.0),
            tag::RANGE_DELETE => self.range_deletes.push(take_range_delete(payload)?),
            tag::SETTLED_RANGE_DELETE => self.settled_range_deletes.push(take_u64(payload)?),
            tag::MERGE_OPERATOR => self.merge_operator = Some(take_name(payload)?),
            tag::LOG_START => self.log_start = Some(FileId(take_u64(payload)?)),
            tag::BLOB => self.blobs.push(BlobMeta::decode(payload)?),
            _ => return Some(false),
        }
        Some(true)
    }
}

fn take_level(payload: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_u64(payload)?).ok().filter(|level| *level < LEVELS)
}

fn take_keyspace(payload: &mut &[u8]) -> Option<KeyspaceId> {
    u32::try_from(take_u64(payload)?).ok().map(KeyspaceId)
}

fn take_range_delete(payload: &mut &[u8]) -> Option<RangeDelete> {
    let seqno = take_u64(payload)?;
    let start = take_prefixed(payload)?.to_vec();
    let end = std::mem::take(payload).to_vec();
    Some(RangeDelete { seqno, start, end }).filter(|delete| delete.start < delete.end)
}

fn take_name(payload: &mut &[u8]) -> Option<String> {
    let name = std::str::from_utf8(std::mem::take(payload)).ok()?;
    Some(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobUse;
    use crate::version::testing::meta;
    use proptest::prelude::*;

    fn some_edit() -> impl Strategy<Value = Edit> {
        let name = (0u32..2000, "[a-zä]{0,9}").prop_map(|(id, name)| (KeyspaceId(id), name));
        let names = prop::collection::vec(name, 0..3);
        let tables = prop::collection::vec((0usize..LEVELS, any::<u64>(), "[a-m]{1,5}", "[n-z]{1,5}"), 0..4);
        let numbers = any::<(Option<u64>, Option<u64>, Option<u64>, Option<u32>)>();
        (tables, prop::collection::vec((0usize..LEVELS, any::<u64>()), 0..4), numbers, names.clone(), names)
            .prop_map(|(tables, removed, numbers, created, renamed)| Edit {
                added: tables
                    .iter()
                    .map(|(level, run, a, b)| {
                        let blobs = vec![BlobUse { id: FileId(*run), bytes: *level as u64 + 1 }];
                        Placed { level: *level, run: *run, meta: TableMeta { blobs, ..meta(*run, a, b, 7) } }
                    })
                    .collect(),
                removed: removed.iter().map(|(level, id)| (*level, FileId(*id))).collect(),
                flushed_seqno: numbers.0,
                next_file_id: numbers.1,
                clock_ms: numbers.2,
                next_keyspace_id: numbers.3,
                range_deletes: tables
                    .iter()
                    .map(|(_, seqno, a, b)| RangeDelete {
                        seqno: *seqno,
                        start: a.clone().into_bytes(),
                        end: b.clone().into_bytes(),
                    })
                    .collect(),
                settled_range_deletes: removed.iter().map(|(_, id)| *id).collect(),
                merge_operator: created.first().map(|(_, name)| name.clone()),
                log_start: numbers.0.map(FileId),
                blobs: removed
                    .iter()
                    .map(|(level, id)| BlobMeta { id: FileId(*id), file_bytes: *level as u64, records: *id })
                    .collect(),
                dropped: created.iter().map(|(id, _)| *id).collect(),
                created,
                renamed,
            })
    }

    proptest! {
        #[test]
        fn round_trip_and_every_cut_is_refused_or_shorter(edit in some_edit()) {
            let mut bytes = Vec::new();
            edit.encode(&mut bytes);
            prop_assert_eq!(Edit::decode(&bytes), Ok(edit.clone()));
            for end in 0..bytes.len() {
                prop_assert_ne!(Edit::decode(&bytes[..end]), Ok(edit.clone()));
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Edit::decode(&bytes);
        }
    }

    #[test]
    fn an_unknown_tag_and_a_level_out_of_range_are_refused() {
        assert!(Edit::decode(&[15, 0]).unwrap_err().contains("unknown edit field 15"));
        assert!(Edit::decode(&[2, 2, 7, 1]).unwrap_err().contains("malformed"));
        assert!(Edit::decode(&[2, 3, 6, 1, 1]).unwrap_err().contains("too many"));
        assert_eq!(Edit::decode(&[2, 2, 6, 1]).unwrap().removed, [(6, FileId(1))]);
    }
}
