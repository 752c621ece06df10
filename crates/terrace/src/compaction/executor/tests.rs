//! Jobs carried out on real tables, against a sorted map.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::base::hash::filter_hash;
use crate::base::{EntryMeta, FileId, Merging};
use crate::compaction::output::Separation;
use crate::compaction::picker::{PickerOptions, Situation, pick};
use crate::compaction::testing::{Row, VecCursor, sort};
use crate::io::Fs;
use crate::io::sim::SimFs;
use crate::table::{Cache, TableOptions};
use crate::version::Blobs;

const DIR: &str = "/db";

/// A store without a log: flushes, compactions, and the writes that they must not lose.
struct Mini {
    fs: Arc<dyn Fs>,
    cache: Arc<Cache>,
    ids: AtomicU64,
    version: Version,
    options: PickerOptions,
    readers: Readers,
    seqno: Seqno,
    written: Vec<Row>,
}

impl Mini {
    fn new() -> Self {
        let options = PickerOptions {
            base_level_bytes: 1500,
            target_table_bytes: 600,
            compaction_bytes_max: 20_000,
            ..PickerOptions::default()
        };
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
        fs.create_dir_all(Path::new(DIR)).unwrap();
        let readers = Readers { snapshots: vec![], now_ms: 100, keyspaces: LiveKeyspaces::default() };
        Self {
            fs,
            cache: Cache::new(1 << 20),
            ids: AtomicU64::new(1),
            version: Version::default(),
            options,
            readers,
            seqno: 0,
            written: Vec::new(),
        }
    }

    fn with_output<T>(&self, body: impl FnOnce(&Output<'_>) -> T) -> T {
        let next_id = || FileId(self.ids.fetch_add(1, Ordering::Relaxed));
        let options = TableOptions { block_bytes: 256, ..TableOptions::default() };
        body(&Output {
            fs: &self.fs,
            dir: Path::new(DIR),
            options,
            target_table_bytes: self.options.target_table_bytes,
            now_ms: self.readers.now_ms,
            cleared_seqno: 0,
            values: Separation::none(&Blobs::default()),
            merging: &Merging::default(),
            next_id: &next_id,
            yield_point: &|| Ok(false),
        })
    }

    fn install(&mut self, edit: &Edit) {
        for table in self.version.obsolete_after(edit) {
            table.delete_on_drop();
        }
        let open = |meta: &TableMeta| {
            let (fs, cache) = (Arc::clone(&self.fs), Arc::clone(&self.cache));
            Arc::new(Table::open(fs, Path::new(DIR), meta.clone(), cache))
        };
        self.version = self.version.apply(edit, open).unwrap();
    }

    fn flush(&mut self, mut rows: Vec<Row>) {
        for row in &mut rows {
            self.seqno += 1;
            row.seqno = self.seqno;
            row.value = format!("{:>50}", row.seqno).into_bytes();
            if row.meta == EntryMeta::DELETE {
                row.value.clear();
            }
        }
        self.written.extend(rows.iter().cloned());
        let mut cursor = VecCursor::new(rows);
        cursor.seek_to_first().unwrap();
        let Readers { snapshots, now_ms, keyspaces } = self.readers.clone();
        let mut rule = Retention::new(snapshots, now_ms, keyspaces, Below::Unknown);
        let written = self.with_output(|output| write_run(&mut cursor, None, &mut rule, None, output));
        let run = self.seqno;
        let tables = written.unwrap().unwrap().tables.into_iter();
        let added = tables.map(|meta| Placed { level: 0, run, meta }).collect();
        self.install(&Edit { added, ..Edit::default() });
    }

    fn job(&self) -> Option<Job> {
        let at = Situation {
            now_ms: self.readers.now_ms,
            oldest_snapshot: self.readers.snapshots.first().copied().unwrap_or(self.seqno),
            newest_seqno: self.seqno,
            keyspaces: &self.readers.keyspaces,
            busy: &[],
            stepped: &[],
            read_debt_bytes: 0,
        };
        let choice = pick(&self.version, &self.options, &at)?;
        Some(Job::new(&self.version, choice, self.readers.clone()))
    }

    fn compact(&mut self, parts: usize) -> bool {
        let Some(job) = self.job() else { return false };
        let (edit, stats) = self.with_output(|output| {
            let ranges = job.split(parts).unwrap();
            let parts = ranges.iter().map(|range| job.run_part(range, output).unwrap().unwrap());
            job.finish(parts.collect(), output).unwrap()
        });
        assert_eq!(stats.tables_in, edit.removed.len() as u64);
        self.install(&edit);
        true
    }

    fn expected(&self, key: &[u8], at: Seqno) -> Option<&[u8]> {
        let newest = self.written.iter().rev().find(|row| row.key == key && row.seqno <= at)?;
        newest.meta.is_live(self.readers.now_ms).then_some(&newest.value)
    }

    /// Every reader sees what was written: by lookup, and by scans in both directions.
    fn verify(&self) {
        let mut keys: Vec<_> = self.written.iter().map(|row| row.key.clone()).collect();
        keys.sort();
        keys.dedup();
        for at in self.readers.snapshots.iter().copied().chain([self.seqno]) {
            for key in &keys {
                let found = self.version.get(key, filter_hash(key), at).unwrap();
                let found = found.filter(|f| f.meta.is_live(self.readers.now_ms)).map(|f| f.value);
                assert_eq!(found.as_deref(), self.expected(key, at), "{key:?} at {at}");
            }
            let live = keys.iter().filter_map(|k| Some((k.clone(), self.expected(k, at)?.to_vec())));
            let live: Vec<_> = live.collect();
            assert_eq!(self.scan(at), live, "scan at {at}");
        }
        let files = self.fs.list(Path::new(DIR)).unwrap().len();
        assert_eq!(files, self.version.tables().count(), "no file is left over");
    }

    fn scan(&self, at: Seqno) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut merged = MergeCursor::new(self.version.run_cursors(b"", None, true));
        let mut rows = Vec::new();
        merged.seek_to_first().unwrap();
        while merged.valid() {
            let (key, value) = (merged.key().to_vec(), merged.value().to_vec());
            rows.push(Row { key, seqno: merged.seqno(), meta: merged.meta(), value });
            merged.next().unwrap();
        }
        let mut backward = Vec::new();
        merged.seek_to_last().unwrap();
        while merged.valid() {
            backward.push((merged.key().to_vec(), merged.seqno()));
            merged.prev().unwrap();
        }
        backward.reverse();
        let forward: Vec<_> = rows.iter().map(|row| (row.key.clone(), row.seqno)).collect();
        assert_eq!(forward, backward);
        let mut newest = BTreeMap::new();
        for row in rows.into_iter().filter(|row| row.seqno <= at) {
            newest.entry(row.key.clone()).or_insert(row);
        }
        let live = newest.into_values().filter(|row| row.meta.is_live(self.readers.now_ms));
        live.map(|row| (row.key, row.value)).collect()
    }
}

fn rows_of(writes: &[(u16, u8)]) -> Vec<Row> {
    let row = |(key, what): &(u16, u8)| {
        let key = format!("key{key:05}");
        let mut row = if *what < 3 { Row::delete(&key, 0) } else { Row::put(&key, 0) };
        row.meta.expires_at_ms = match what {
            3 => 60,
            4 => 101,
            5 => 200,
            _ => 0,
        };
        row
    };
    writes.iter().map(row).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Flush(Vec<(u16, u8)>),
    Compact(usize),
    Snapshot,
    Release,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0u16..60, 0u8..16), 1..40).prop_map(Step::Flush),
        4 => (1usize..4).prop_map(Step::Compact),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Release),
        1 => (0u64..60).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn flushes_and_compactions_change_nothing_that_a_reader_sees(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut mini = Mini::new();
        for step in steps {
            match step {
                Step::Flush(writes) => mini.flush(rows_of(&writes)),
                Step::Compact(parts) => { mini.compact(parts); }
                Step::Snapshot => mini.readers.snapshots.push(mini.seqno),
                Step::Release => { mini.readers.snapshots.pop(); }
                Step::Wait(ms) => mini.readers.now_ms += ms,
            }
            mini.readers.snapshots.dedup();
            mini.verify();
        }
        let mut rounds = 0;
        while mini.compact(2) {
            rounds += 1;
            prop_assert!(rounds < 100, "compaction comes to rest");
        }
        mini.verify();
    }
}

#[test]
fn everything_deleted_leaves_nothing_behind() {
    let mut mini = Mini::new();
    let all: Vec<u16> = (0..50).collect();
    mini.flush(rows_of(&all.iter().map(|k| (*k, 9)).collect::<Vec<_>>()));
    mini.flush(rows_of(&all.iter().map(|k| (*k, 8)).collect::<Vec<_>>()));
    mini.flush(rows_of(&[(3, 9)]));
    mini.flush(rows_of(&all.iter().map(|k| (*k, 0)).collect::<Vec<_>>()));
    assert!(mini.compact(1));
    mini.verify();
    assert_eq!(mini.version.tables().count(), 0);
}

#[test]
fn a_deleted_key_stays_deleted_while_an_older_version_lies_below() {
    let mut mini = Mini::new();
    mini.options.l0_runs = 1;
    mini.flush(rows_of(&[(1, 9), (2, 9)]));
    while mini.compact(1) {}
    assert!(mini.version.levels()[6].run().is_some());
    mini.options.l0_runs = 4;
    for _ in 0..2 {
        mini.flush(rows_of(&[(1, 0)]));
        mini.flush(rows_of(&[(2, 9)]));
    }
    mini.options.base_level_bytes = 1;
    assert!(mini.job().is_some_and(|job| job.choice().output_level < 6));
    while mini.compact(1) {
        mini.verify();
    }
}

#[test]
fn parts_write_what_one_pass_writes() {
    let mut mini = Mini::new();
    for round in 0..4u16 {
        let writes: Vec<_> = (0..200).map(|k| (k * 7 % (150 + round), (k % 16) as u8)).collect();
        mini.flush(rows_of(&writes));
    }
    let job = mini.job().unwrap();
    let read = |ranges: Vec<KeyRange>| {
        let mut rows = Vec::new();
        for range in ranges {
            let written = mini.with_output(|output| job.run_part(&range, output).unwrap().unwrap());
            for meta in written.tables {
                let (fs, cache) = (Arc::clone(&mini.fs), Arc::clone(&mini.cache));
                let table = Arc::new(Table::open(fs, Path::new(DIR), meta, cache));
                table.delete_on_drop();
                let mut cursor = table.cursor(false);
                cursor.seek_to_first().unwrap();
                while cursor.valid() {
                    let (key, value) = (cursor.key().to_vec(), cursor.value().to_vec());
                    rows.push(Row { key, seqno: cursor.seqno(), meta: cursor.meta(), value });
                    cursor.next().unwrap();
                }
            }
        }
        rows
    };
    let one = read(job.split(1).unwrap());
    let ranges = job.split(4).unwrap();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    let many = read(ranges);
    assert_eq!(one, many);
    let mut sorted = one.clone();
    sort(&mut sorted);
    assert_eq!(one, sorted);
    assert!(one.len() > 100 && one.iter().all(|row| row.seqno == 0), "the bottom stores no seqno");
}

#[test]
fn a_part_that_is_missing_is_noticed_and_the_outputs_go() {
    let mut mini = Mini::new();
    for _ in 0..4 {
        mini.flush(rows_of(&(0..100).map(|k| (k, 9)).collect::<Vec<_>>()));
    }
    let job = mini.job().unwrap();
    let ranges = job.split(2).unwrap();
    let result = mini.with_output(|output| {
        let part = job.run_part(&ranges[0], output).unwrap().unwrap();
        job.finish(vec![part], output)
    });
    assert!(matches!(result, Err(Error::Corruption { .. })));
    mini.verify();
}
