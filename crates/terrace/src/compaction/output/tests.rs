//! Where runs are cut, and what is left of one that fails.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::base::{Cursor, Error, Merging};
use crate::compaction::testing::{Row, VecCursor};
use crate::compaction::visible;
use crate::io::sim::SimFs;
use crate::version::{Blobs, LiveKeyspaces, testing};

const DIR: &str = "/db";

struct Place {
    fs: Arc<dyn Fs>,
    ids: AtomicU64,
}

impl Place {
    fn new() -> Self {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
        fs.create_dir_all(Path::new(DIR)).unwrap();
        Self { fs, ids: AtomicU64::new(1) }
    }

    fn files(&self) -> usize {
        self.fs.list(Path::new(DIR)).unwrap().len()
    }

    fn write(
        &self,
        rows: Vec<Row>,
        fail_at: Option<usize>,
        target_table_bytes: u64,
        below: Option<Arc<Run>>,
        yield_point: YieldPoint<'_>,
    ) -> Result<Option<Written>> {
        let options = TableOptions { block_bytes: 128, ..TableOptions::default() };
        let next_id = || FileId(self.ids.fetch_add(1, Ordering::Relaxed));
        let blobs = Blobs::default();
        let output = Output {
            fs: &self.fs,
            dir: Path::new(DIR),
            options,
            target_table_bytes,
            now_ms: 1,
            cleared_seqno: 0,
            values: Separation::none(&blobs),
            merging: &Merging::default(),
            next_id: &next_id,
            yield_point,
        };
        let mut cursor = VecCursor::new(rows);
        cursor.fail_at = fail_at;
        cursor.seek_to_first().unwrap();
        // Every seqno is a snapshot, so every version stays.
        let rule =
            &mut Retention::new((0..2000).collect(), 1, LiveKeyspaces::default(), visible::Below::Unknown);
        write_run(&mut cursor, None, rule, below, &output)
    }
}

fn rows(keys: usize, versions: u64) -> Vec<Row> {
    let row = |k: usize, s: u64| {
        let mut row = Row::put(&format!("k{k:04}"), s);
        row.value.resize(100, b'v');
        row
    };
    (0..keys).flat_map(|k| (1..=versions).map(move |s| row(k, s))).collect()
}

#[test]
fn tables_are_cut_near_the_target_and_only_between_keys() {
    let place = Place::new();
    let written = place.write(rows(40, 7), None, 2000, None, &|| Ok(false)).unwrap().unwrap();
    assert_eq!((written.counts.read, written.counts.kept), (280, 280));
    assert!(written.tables.len() >= 10 && place.files() == written.tables.len());
    for pair in written.tables.windows(2) {
        assert!(pair[0].largest < pair[1].smallest, "a key lies in one table");
    }
    let largest = written.tables.iter().map(|t| t.file_bytes).max().unwrap();
    assert!(largest < 5000, "{largest}");
}

#[test]
fn nothing_written_stays_after_a_cancel_or_an_error() {
    let place = Place::new();
    let visits = Cell::new(0);
    // The yield point must be callable from threads; the cell is for this thread only.
    let visits = std::sync::Mutex::new(visits);
    let cancel = || {
        let visits = visits.lock().unwrap();
        visits.set(visits.get() + 1);
        Ok(visits.get() == 3)
    };
    let result = place.write(rows(3000, 1), None, 20_000, None, &cancel).unwrap();
    assert_eq!((result, place.files()), (None, 0));
    let result = place.write(rows(1000, 1), Some(900), 20_000, None, &|| Ok(false));
    assert!(matches!(result, Err(Error::Corruption { .. })));
    assert_eq!(place.files(), 0);
    let result = place.write(rows(3000, 1), None, 20_000, None, &|| Err(Error::Closed));
    assert!(matches!(result, Err(Error::Closed)));
    assert_eq!(place.files(), 0);
    assert_eq!(place.write(vec![], None, 1, None, &cancel).unwrap(), Some(Written::default()));
}

#[test]
fn tables_end_where_those_below_end() {
    let place = Place::new();
    let below = vec![
        testing::table(101, "k0000", "k0016", 3000),
        testing::table(102, "k0020", "k0047", 3000),
        testing::table(103, "k0048", "k0049", 3000),
        testing::table(104, "k0060", "k0099", 3000),
    ];
    let below = Arc::new(Run::new(0, below).unwrap());
    let written = place.write(rows(100, 1), None, 3500, Some(below), &|| Ok(false)).unwrap().unwrap();
    let starts: Vec<_> = written.tables.iter().map(|t| String::from_utf8_lossy(&t.smallest)).collect();
    assert!(starts.contains(&"k0017".into()) && starts.contains(&"k0048".into()), "{starts:?}");
}
