//! Batched lookups answer as single ones do, and look each block up once.

use super::super::{Lookup, Probe, find_all};
use super::*;

/// What the tables, which hold ascending ranges of keys, answer to `keys`, each in the table that covers it.
fn get_all(tables: &[Arc<Table>], keys: &[Vec<u8>], at: Seqno) -> crate::base::Result<Vec<Option<Found>>> {
    let mut sorted: Vec<usize> = (0..keys.len()).collect();
    sorted.sort_by_key(|i| &keys[*i]);
    let lookup = |i: &usize| Lookup { key: &keys[*i], filter_hash: filter_hash(&keys[*i]), found: None };
    let mut lookups: Vec<_> = sorted.iter().map(lookup).collect();
    let covers = |table: &&Arc<Table>, key: &[u8]| key <= &table.meta().largest[..];
    let probe = |(lookup, wanted): (usize, &Lookup<'_>)| {
        let table = tables.iter().find(|table| covers(table, wanted.key))?;
        Some(Probe { table, lookup })
    };
    let probes: Vec<_> = lookups.iter().enumerate().filter_map(probe).collect();
    find_all(&mut lookups, &probes, at)?;
    let mut found = vec![None; keys.len()];
    for (i, lookup) in sorted.into_iter().zip(lookups) {
        found[i] = lookup.found;
    }
    Ok(found)
}

proptest! {
    #[test]
    fn a_batch_finds_what_single_lookups_find(
        rows in prop::collection::btree_map((any_key(), 1u64..50), (any_meta(), any::<Vec<u8>>()), 2..120),
        absent in prop::collection::vec(any_key(), 0..20),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..90),
        cut: prop::sample::Index, at in 0u64..60, block_bytes in 1usize..2000, bits in 0u8..12,
        cache_bytes in prop::sample::select(vec![0u64, 2000, 1 << 20]), mapped: bool,
    ) {
        let rows: Rows = rows.into_iter().map(|((key, seqno), row)| ((key, Reverse(seqno)), row)).collect();
        let dir = tempfile::tempdir().unwrap();
        let options = TableOptions { block_bytes, filter_bits_per_key: bits, ..TableOptions::default() };
        let border = rows.keys().nth(cut.index(rows.len())).unwrap().0.clone();
        let (left, right): (Rows, Rows) = rows.clone().into_iter().partition(|(key, _)| key.0 < border);
        let parts = [left, right].into_iter().enumerate().filter(|(_, part)| !part.is_empty());
        let tables: Vec<_> = parts
            .map(|(id, part)| open_as(&dir, &write(&dir, id as u64, options, &part), cache_bytes, mapped))
            .collect();
        let present: Vec<&Vec<u8>> = rows.keys().map(|(key, _)| key).collect();
        let mut keys: Vec<Vec<u8>> = picks.iter().map(|i| present[i.index(present.len())].clone()).collect();
        keys.extend(absent);
        // The second time, blocks are in the cache.
        for _ in 0..2 {
            let found = get_all(&tables, &keys, at).unwrap();
            for (key, found) in keys.iter().zip(found) {
                prop_assert_eq!(found, model_get(&rows, key, at));
            }
        }
    }
}

#[test]
fn each_block_is_looked_up_once_and_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let rows = plain_rows(600, 20);
    let options = TableOptions { block_bytes: 500, ..TableOptions::default() };
    let meta = write(&dir, 1, options, &rows);
    let table = open(&dir, &meta, 1 << 20);
    let blocks = table.loaded().unwrap().index.blocks() as u64;
    assert!(blocks > 30, "more than one group of blocks");
    // Every key twice, from the last to the first.
    let keys: Vec<Vec<u8>> = rows.keys().rev().flat_map(|(key, _)| [key.clone(), key.clone()]).collect();
    for (hits, misses) in [(0, blocks), (blocks, blocks)] {
        let found = get_all(&[Arc::clone(&table)], &keys, MAX_SEQNO).unwrap();
        assert!(keys.iter().zip(found).all(|(key, found)| found == model_get(&rows, key, MAX_SEQNO)));
        let stats = table.cache.stats();
        assert_eq!((stats.hits, stats.misses), (hits, misses));
    }
    let filter = table.filter_stats();
    assert_eq!((filter.found, filter.rejected, filter.false_positives), (2 * keys.len() as u64, 0, 0));
}

/// Damage in one block fails the batches that need it, and no others.
#[test]
fn a_batch_fails_only_where_a_key_of_it_does() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let rows = plain_rows(300, 20);
    let options = TableOptions { block_bytes: 500, ..TableOptions::default() };
    let meta = write(&dir, 1, options, &rows);
    let handle = open(&dir, &meta, 0).loaded().unwrap().index.handle(3);
    let path = table_path(dir.path(), meta.id);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xee; 3], handle.offset + 40).unwrap();
    let table = open(&dir, &meta, 0);
    let keys: Vec<Vec<u8>> = rows.keys().map(|(key, _)| key.clone()).collect();
    let (sound, hit): (Vec<_>, Vec<_>) =
        keys.iter().cloned().partition(|key| get(&table, key, MAX_SEQNO).is_ok());
    assert!(!hit.is_empty() && sound.len() > hit.len());
    let found = get_all(&[Arc::clone(&table)], &sound, MAX_SEQNO).unwrap();
    assert!(sound.iter().zip(found).all(|(key, found)| found == model_get(&rows, key, MAX_SEQNO)));
    let error = get_all(&[table], &keys, MAX_SEQNO).unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
}
