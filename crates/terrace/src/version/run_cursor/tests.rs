//! The run cursor against the sorted rows of all its tables.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::base::hash::filter_hash;
use crate::base::id::MAX_SEQNO;
use crate::base::{EntryMeta, FileId};
use crate::io::Fs;
use crate::io::sim::SimFs;
use crate::table::{Cache, TableOptions, TableWriter};

/// Writes each group of keys as a table; key `k` has the versions 2 and 1.
fn run_of(groups: &[Vec<String>]) -> Arc<Run> {
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(SimFs::new()), Path::new("/"));
    let cache = Cache::new(1 << 20);
    let options = TableOptions { block_bytes: 64, ..TableOptions::default() };
    let mut tables = Vec::new();
    for (keys, id) in groups.iter().zip(1..) {
        let mut writer = TableWriter::create(&fs, dir, FileId(id), options).unwrap();
        for key in keys {
            for seqno in [2, 1] {
                writer.add(key.as_bytes(), seqno, EntryMeta::PUT, &[seqno as u8]).unwrap();
            }
        }
        let meta = writer.finish().unwrap();
        tables.push(Arc::new(Table::open(Arc::clone(&fs), dir, meta, Arc::clone(&cache))));
    }
    Arc::new(Run::new(1, tables).unwrap())
}

fn position(cursor: &RunCursor) -> Option<(Vec<u8>, Seqno)> {
    cursor.valid().then(|| (cursor.key().to_vec(), cursor.seqno()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn tables_read_as_one_sequence_in_both_directions(
        keys in prop::collection::btree_set("[a-d]{1,4}", 1..30),
        per_table in 1usize..6,
        seeks in prop::collection::vec("[a-e]{0,4}", 1..20),
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let groups: Vec<_> = keys.chunks(per_table).map(<[String]>::to_vec).collect();
        let run = run_of(&groups);
        let model: Vec<(Vec<u8>, Seqno)> =
            keys.iter().flat_map(|k| [2, 1].map(|s| (k.clone().into_bytes(), s))).collect();
        let mut cursor = RunCursor::new(Arc::clone(&run), 0..groups.len(), true);
        prop_assert!(!cursor.valid());
        cursor.seek_to_first().unwrap();
        for expected in &model {
            prop_assert_eq!(position(&cursor), Some(expected.clone()));
            cursor.next().unwrap();
        }
        prop_assert!(!cursor.valid());
        cursor.seek_to_last().unwrap();
        for expected in model.iter().rev() {
            prop_assert_eq!(position(&cursor), Some(expected.clone()));
            cursor.prev().unwrap();
        }
        prop_assert!(!cursor.valid());
        for key in &seeks {
            let at = model.partition_point(|(k, _)| k.as_slice() < key.as_bytes());
            cursor.seek(key.as_bytes()).unwrap();
            prop_assert_eq!(position(&cursor), model.get(at).cloned());
            if cursor.valid() {
                cursor.prev().unwrap();
                prop_assert_eq!(position(&cursor), at.checked_sub(1).map(|i| model[i].clone()));
            }
            cursor.seek_before(key.as_bytes()).unwrap();
            prop_assert_eq!(position(&cursor), at.checked_sub(1).map(|i| model[i].clone()));
            if cursor.valid() {
                cursor.next().unwrap();
                prop_assert_eq!(position(&cursor), model.get(at).cloned());
            }
        }
        let present: BTreeSet<_> = keys.iter().collect();
        let version = Version::new(run.tables().iter().map(|t| (3, 0, Arc::clone(t)))).unwrap();
        for key in keys.iter().chain(&seeks) {
            let bytes = key.as_bytes();
            let found = version.get(bytes, filter_hash(bytes), MAX_SEQNO).unwrap();
            prop_assert_eq!(found.map(|f| f.seqno), present.contains(key).then_some(2));
        }
    }
}

#[test]
fn a_hint_leaves_out_tables_but_no_key_of_its_range() {
    let groups = [["a", "b"], ["d", "e"], ["g", "h"]].map(|g| g.map(String::from).to_vec());
    let run = run_of(&groups);
    let version = Version::new(run.tables().iter().map(|t| (0, 7, Arc::clone(t)))).unwrap();
    let keys = |lower: &str, upper: Option<&str>| {
        let mut all = Vec::new();
        for mut cursor in version.run_cursors(lower.as_bytes(), upper.map(str::as_bytes), false) {
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                all.push(String::from_utf8(cursor.key().to_vec()).unwrap());
                cursor.next().unwrap();
                cursor.next().unwrap();
            }
        }
        all.join("")
    };
    assert_eq!(keys("", None), "abdegh");
    assert_eq!(keys("c", None), "degh");
    assert_eq!(keys("e", Some("g")), "de");
    assert_eq!(keys("c", Some("d")), "");
    assert_eq!(keys("i", None), "");
    let cursors: Vec<_> = version.run_cursors(b"d", Some(b"e"), false).collect();
    assert_eq!(shared_prefix_bytes(&cursors), 0);
}
