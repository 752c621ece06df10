//! Whole tables, written and read through the real file system.

mod damage;
mod eviction;
mod in_place;
mod lookup;
mod round_trip;

use super::block::tests::{any_key, any_meta};
use super::*;
use crate::base::hash::filter_hash;
use crate::base::id::MAX_SEQNO;
use crate::base::{Cursor, Kind};
use crate::io::Fs;
use crate::io::os::OsFs;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

pub(super) type Key = (Vec<u8>, Reverse<Seqno>);
pub(super) type Row = (EntryMeta, Vec<u8>);
pub(super) type Rows = BTreeMap<Key, Row>;

/// Every compression of this build.
pub(super) const COMPRESSIONS: &[Compression] = &[
    Compression::None,
    Compression::Lz4,
    #[cfg(feature = "zstd")]
    Compression::Zstd,
];

pub(super) fn any_compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(COMPRESSIONS)
}

pub(super) fn os() -> Arc<dyn Fs> {
    Arc::new(OsFs::default())
}

pub(super) fn write(dir: &TempDir, id: u64, options: TableOptions, rows: &Rows) -> TableMeta {
    let mut writer = TableWriter::create(&os(), dir.path(), FileId(id), options).unwrap();
    for ((key, seqno), (meta, value)) in rows {
        writer.add(key, seqno.0, *meta, value).unwrap();
    }
    writer.finish().unwrap()
}

pub(super) fn open(dir: &TempDir, meta: &TableMeta, cache_bytes: u64) -> Arc<Table> {
    Arc::new(Table::open(os(), dir.path(), meta.clone(), Cache::new(cache_bytes)))
}

/// As `open`, or through a mapping.
pub(super) fn open_as(dir: &TempDir, meta: &TableMeta, cache_bytes: u64, mapped: bool) -> Arc<Table> {
    Arc::new(Table::open(os(), dir.path(), meta.clone(), Cache::new(cache_bytes)).mapped(mapped))
}

/// What a table should answer to `get`.
pub(super) fn model_get(rows: &Rows, key: &[u8], at: Seqno) -> Option<Found> {
    let (key_seqno, (meta, value)) = rows.range((key.to_vec(), Reverse(at))..).next()?;
    (key_seqno.0 == key).then(|| Found { seqno: key_seqno.1.0, meta: *meta, value: Slice::copy_from(value) })
}

pub(super) fn get(table: &Table, key: &[u8], at: Seqno) -> crate::base::Result<Option<Found>> {
    table.get(key, filter_hash(key), at)
}

pub(super) fn row_at(cursor: &TableCursor) -> (Key, Row) {
    assert_eq!(cursor.value_slice(), cursor.value());
    ((cursor.key().to_vec(), Reverse(cursor.seqno())), (cursor.meta(), cursor.value().to_vec()))
}

/// `n` plain rows with keys of equal length and values of `value_bytes`.
pub(super) fn plain_rows(n: u64, value_bytes: usize) -> Rows {
    let row = |i: u64| {
        let value = filter_hash(&i.to_le_bytes()).to_le_bytes().into_iter().cycle().take(value_bytes);
        ((format!("user:{i:08}").into_bytes(), Reverse(i + 1)), (EntryMeta::PUT, value.collect()))
    };
    (0..n).map(row).collect()
}
