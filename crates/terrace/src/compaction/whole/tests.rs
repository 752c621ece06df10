//! What comes out is what a merge without whole blocks gives, entry by entry, and damage does not come through.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::base::{EntryMeta, Error, FileId, KeyspaceId, Merging};
use crate::compaction::output::{Output, Separation, Written, write_run};
use crate::compaction::testing::{Row, VecCursor};
use crate::compaction::visible::Below;
use crate::io::Fs;
use crate::io::sim::SimFs;
use crate::table::{Cache, Compression, Table, TableMeta, TableOptions, TableWriter, table_path};
use crate::version::{Blobs, LiveKeyspaces, Run};

const DIR: &str = "/db";

/// A directory of tables.
struct Place {
    sim: SimFs,
    fs: Arc<dyn Fs>,
    cache: Arc<Cache>,
    ids: AtomicU64,
    options: TableOptions,
}

impl Place {
    fn new(compression: Compression) -> Self {
        let sim = SimFs::new();
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        fs.create_dir_all(Path::new(DIR)).unwrap();
        let options = TableOptions { block_bytes: 256, compression, ..TableOptions::default() };
        Self { sim, fs, cache: Cache::new(1 << 20), ids: AtomicU64::new(1), options }
    }

    fn next_id(&self) -> FileId {
        FileId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    fn open(&self, meta: TableMeta) -> Arc<Table> {
        Arc::new(Table::open(Arc::clone(&self.fs), Path::new(DIR), meta, Arc::clone(&self.cache)))
    }

    /// One table of these rows.
    fn table(&self, rows: &[Row], compression: Compression) -> Arc<Table> {
        let options = TableOptions { compression, ..self.options };
        let mut writer = TableWriter::create(&self.fs, Path::new(DIR), self.next_id(), options).unwrap();
        for row in rows {
            writer.add(&row.key, row.seqno, row.meta, &row.value).unwrap();
        }
        self.open(writer.finish().unwrap())
    }

    fn write(&self, input: &mut impl Input, end: Option<&[u8]>, mut rule: Retention) -> Result<Written> {
        let blobs = Blobs::default();
        let output = Output {
            fs: &self.fs,
            dir: Path::new(DIR),
            options: self.options,
            target_table_bytes: 4000,
            now_ms: 100,
            cleared_seqno: 0,
            values: Separation::none(&blobs),
            merging: &Merging::default(),
            next_id: &|| self.next_id(),
            yield_point: &|| Ok(false),
        };
        Ok(write_run(input, end, &mut rule, None, &output)?.expect("nobody cancels"))
    }

    /// The rows of what was written, every table of which is sound.
    fn rows(&self, written: &Written) -> Vec<Row> {
        let mut rows = Vec::new();
        for meta in &written.tables {
            let table = self.open(meta.clone());
            table.verify().unwrap();
            rows.extend(read(&table));
        }
        rows
    }
}

fn read(table: &Arc<Table>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cursor = table.cursor(true);
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        let (key, value) = (cursor.key().to_vec(), cursor.value().to_vec());
        rows.push(Row { key, seqno: cursor.seqno(), meta: cursor.meta(), value });
        cursor.next().unwrap();
    }
    rows
}

/// A merge of one run for each table.
fn merge(tables: &[Arc<Table>]) -> MergeCursor<RunCursor> {
    let run = |table: &Arc<Table>| Arc::new(Run::new(0, vec![Arc::clone(table)]).unwrap());
    MergeCursor::new(tables.iter().map(|table| RunCursor::new(run(table), 0..1, false)))
}

fn key(n: u64) -> Vec<u8> {
    // Keyspace 0 up to 500, 1 above.
    [&[u8::from(n >= 500)][..], format!("key{n:05}").as_bytes()].concat()
}

fn row(n: u64, seqno: u64) -> Row {
    let value = format!("{:>30}", n * seqno).into_bytes();
    Row { key: key(n), seqno, meta: EntryMeta::PUT, value }
}

fn retention(snapshots: Vec<u64>, below: u8, dropped: bool) -> Retention {
    let below = match below {
        0 => Below::Unknown,
        1 => Below::Nothing,
        _ => Below::Check(Box::new(|key| key.last().is_some_and(|byte| byte % 2 == 0))),
    };
    let mut live = vec![KeyspaceId(0)];
    live.extend((!dropped).then_some(KeyspaceId(1)));
    let keyspaces = LiveKeyspaces::new(live, 2);
    Retention::new(snapshots, 100, keyspaces, below)
}

/// Rows of one input: a stretch of keys, dense or sparse, mostly puts.
fn stretch() -> impl Strategy<Value = Vec<Row>> {
    let special = prop::collection::vec((0usize..200, 0u8..4), 0..3);
    (0u64..900, 1u64..200, 1u64..4, 1u64..50, special).prop_map(|(start, count, step, seqno, special)| {
        let mut rows: Vec<Row> = (0..count)
            .map(|i| row(start + i * step, if seqno < 25 { 0 } else { seqno * 1000 + i }))
            .collect();
        for (at, what) in special {
            let at = at % rows.len();
            match what {
                0 => (rows[at].meta, rows[at].value) = (EntryMeta::DELETE, Vec::new()),
                1 => rows[at].meta.expires_at_ms = 50,
                2 => rows[at].meta.expires_at_ms = 500,
                _ => rows[at].meta.tag = 7,
            }
        }
        rows
    })
}

proptest! {
    #[test]
    fn the_result_is_that_of_a_plain_merge(
        inputs in prop::collection::vec(stretch(), 1..4), lz4: [bool; 2],
        snapshots in prop::collection::vec(0u64..50_000, 0..3), below in 0u8..3, dropped: bool,
        range in prop::option::of((0u64..900, 0u64..900)),
    ) {
        let compression = |lz4| if lz4 { Compression::Lz4 } else { Compression::None };
        let place = Place::new(compression(lz4[0]));
        let mut all: Vec<Row> = Vec::new();
        let mut tables = Vec::new();
        for (i, mut rows) in inputs.into_iter().enumerate() {
            // Only the oldest may have lost its numbers.
            for row in &mut rows {
                row.seqno = if i == 0 { row.seqno } else { row.seqno + 100_000 * i as u64 };
            }
            tables.insert(0, place.table(&rows, compression(lz4[1])));
            all.extend(rows);
        }
        let (start, end) = range.map_or((key(0), None), |(a, b)| (key(a.min(b)), Some(key(a.max(b)))));
        let mut merged = merge(&tables);
        merged.seek(&start).unwrap();
        let written = place.write(&mut merged, end.as_deref(), retention(snapshots.clone(), below, dropped)).unwrap();
        let mut plain = VecCursor::new(all);
        plain.seek(&start).unwrap();
        let expected = place.write(&mut plain, end.as_deref(), retention(snapshots, below, dropped)).unwrap();
        let counts = |written: &Written| crate::compaction::visible::Counts { unjudged: 0, ..written.counts };
        prop_assert_eq!(counts(&written), counts(&expected));
        prop_assert_eq!(place.rows(&written), place.rows(&expected));
    }
}

/// An old table of keys 0 to 399, and a newer one of keys 200 to 209.
fn old_and_new(place: &Place, old_seqno: impl Fn(u64) -> u64, compression: Compression) -> [Arc<Table>; 2] {
    let old: Vec<Row> = (0..400).map(|n| row(n, old_seqno(n))).collect();
    let new: Vec<Row> = (200..210).map(|n| row(n, 9000 + n)).collect();
    [place.table(&new, compression), place.table(&old, compression)]
}

#[test]
fn blocks_that_overlap_nothing_go_as_they_are() {
    for compression in [Compression::None, Compression::Lz4] {
        let place = Place::new(compression);
        let tables = old_and_new(&place, |n| 1 + n, compression);
        let mut merged = merge(&tables);
        merged.seek_to_first().unwrap();
        let written = place.write(&mut merged, None, retention(vec![], 0, false)).unwrap();
        let counts = written.counts;
        assert_eq!((counts.read, counts.kept, counts.shadowed), (410, 400, 10));
        assert!(counts.unjudged > 350, "{counts:?}");
        let expected: Vec<Row> =
            (0..400).map(|n| row(n, if (200..210).contains(&n) { 9000 + n } else { 1 + n })).collect();
        assert_eq!(place.rows(&written), expected);
    }
}

#[test]
fn at_the_bottom_only_blocks_without_seqnos_go_as_they_are() {
    let place = Place::new(Compression::None);
    let unjudged = |old_seqno: fn(u64) -> u64| {
        let mut merged = merge(&old_and_new(&place, old_seqno, Compression::None));
        merged.seek_to_first().unwrap();
        let written = place.write(&mut merged, None, retention(vec![], 1, false)).unwrap();
        assert!(place.rows(&written).iter().all(|row| row.seqno == 0));
        written.counts.unjudged
    };
    assert_eq!(unjudged(|n| 1 + n), 0);
    assert!(unjudged(|_| 0) > 350);
    // Half of the blocks still have theirs.
    let some = unjudged(|n| if n < 150 { 0 } else { 1 + n });
    assert!((100..=150).contains(&some), "{some}");
}

/// The first key of an old block may have been met just before, in a newer input that has nothing behind it.
#[test]
fn a_block_whose_first_key_was_just_written_is_merged() {
    let place = Place::new(Compression::None);
    let old: Vec<Row> = (0..100).map(|n| row(n, 1 + n)).collect();
    let new = vec![row(0, 900)];
    let mut merged = merge(&[place.table(&new, Compression::None), place.table(&old, Compression::None)]);
    merged.seek_to_first().unwrap();
    let written = place.write(&mut merged, None, retention(vec![], 0, false)).unwrap();
    let rows = place.rows(&written);
    assert_eq!((rows.len(), rows[0].seqno, written.counts.shadowed), (100, 900, 1));
    assert!(written.counts.unjudged > 50);
}

#[test]
fn damage_in_a_block_that_would_go_as_it_is_is_found() {
    for (compression, cached) in
        [(Compression::None, false), (Compression::Lz4, false), (Compression::Lz4, true)]
    {
        let place = Place::new(compression);
        let tables = old_and_new(&place, |n| 1 + n, compression);
        if cached {
            // Sound copies in memory must not hide what is on disk: that is what would be copied.
            read(&tables[1]);
        }
        let path = table_path(Path::new(DIR), tables[1].meta().id);
        let mut bytes = place.sim.read_all(&path).unwrap();
        bytes[100] ^= 1;
        place.sim.overwrite(&path, &bytes).unwrap();
        let mut merged = merge(&tables);
        let written =
            merged.seek_to_first().and_then(|()| place.write(&mut merged, None, retention(vec![], 0, false)));
        match written {
            Err(Error::Corruption { path: found, .. }) => assert_eq!(found, path),
            other => panic!("{compression:?}, cached {cached}: {other:?}"),
        }
        assert_eq!(place.fs.list(Path::new(DIR)).unwrap().len(), 2, "the outputs are gone");
    }
}

#[test]
fn whole_blocks_pay_unless_they_leave_stumps() {
    let at = Situation { lone_blocks: 1, block_bytes: 1000, open_bytes: 0, target_bytes: 1000 };
    assert!(pays(at));
    assert!(!pays(Situation { lone_blocks: 0, ..at }));
    assert!(!pays(Situation { block_bytes: 499, ..at }), "a stump of earlier times is merged away");
    assert!(!pays(Situation { open_bytes: 499, lone_blocks: 3, ..at }));
    assert!(pays(Situation { open_bytes: 499, lone_blocks: 4, ..at }));
    assert!(pays(Situation { open_bytes: 500, ..at }));
}
