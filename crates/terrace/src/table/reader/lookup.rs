//! Batched lookups: many keys in the tables of one run, step by step.
//!
//! Each step asks for the memory that the next one reads, for all keys, before it reads any of it: filter
//! lines, slots, blocks, values. So the cache misses of a batch overlap instead of queueing. The keys come in
//! ascending order; neighbours that fall into one block share one look into the cache, and what is not there is
//! read once and in the order of the file. Where the device would be waited for, the system is told of all blocks before
//! the first is waited for. As for a single lookup, no pin is held across I/O.

use std::array::from_fn;
use std::sync::Arc;

use super::super::block::Block;
use super::super::loaded::Loaded;
use super::super::prefetch::prefetch_lines;
use super::super::slot::{Held, pin};
use super::super::{Found, Table};
use super::{FILTER_CONFIRMED, FILTER_FOOLED, FILTER_REJECTED, found};
use crate::base::{Result, Seqno};

/// Blocks whose memory is asked for together: about as many misses as a core keeps under way.
const BATCH_BLOCKS: usize = 16;

/// One key of a batch.
#[derive(Debug)]
pub(crate) struct Lookup<'k> {
    /// The internal key.
    pub(crate) key: &'k [u8],
    /// The hash that filters know it by.
    pub(crate) filter_hash: u64,
    /// What has been found so far.
    pub(crate) found: Option<Found>,
}

/// Key number `lookup` of a batch, and a table that may hold it.
#[derive(Debug)]
pub(crate) struct Probe<'t> {
    pub(crate) table: &'t Table,
    pub(crate) lookup: usize,
}

/// A key that got past the filter, and its block.
struct Place<'t> {
    table: &'t Table,
    loaded: &'t Loaded,
    block: usize,
    lookup: usize,
    entry: Option<usize>,
}

impl Place<'_> {
    fn shares_block_with(&self, other: &Self) -> bool {
        self.block == other.block && std::ptr::eq(self.table, other.table)
    }

    /// Finds the key in its block.
    #[inline]
    fn search(&mut self, block: &Block, lookups: &[Lookup<'_>], at: Seqno) {
        self.entry = block.find(lookups[self.lookup].key, at);
    }

    /// Gives the lookup what `search` has found.
    #[inline]
    fn settle(&self, found: Option<Found>, lookups: &mut [Lookup<'_>]) {
        if !self.loaded.filter.is_absent() {
            self.table.counters.bump(if found.is_some() { FILTER_CONFIRMED } else { FILTER_FOOLED });
        }
        lookups[self.lookup].found = found;
    }
}

/// Looks for each probe's key at or below `at` in the probe's table. The probes are in ascending order of keys, and
/// so their tables are in that of the run.
pub(crate) fn find_all(lookups: &mut [Lookup<'_>], probes: &[Probe<'_>], at: Seqno) -> Result<()> {
    for probe in probes {
        probe.table.prefetch_filter(lookups[probe.lookup].filter_hash);
    }
    let mut places: Vec<Place<'_>> = Vec::with_capacity(probes.len());
    for probe in probes {
        let place = locate(probe, &lookups[probe.lookup], places.last())?;
        places.extend(place);
    }
    let mut groups: Vec<&mut [Place<'_>]> = places.chunk_by_mut(Place::shares_block_with).collect();
    let mut missing = Vec::new();
    for (number, batch) in groups.chunks_mut(BATCH_BLOCKS).enumerate() {
        search_cached(batch, lookups, at, |group| missing.push(number * BATCH_BLOCKS + group));
    }
    for group in wait_for_few(&mut groups, missing, lookups, at)? {
        let group = &mut *groups[group];
        let block = group[0].loaded.fetch_block(group[0].block, true)?;
        search_in(&block, group, lookups, at);
    }
    Ok(())
}

/// Finds the keys of the groups whose blocks the system has in memory, has it bring in the others, all at the same
/// time, and gives back their numbers.
fn wait_for_few(
    groups: &mut [&mut [Place<'_>]],
    missing: Vec<usize>,
    lookups: &mut [Lookup<'_>],
    at: Seqno,
) -> Result<Vec<usize>> {
    if missing.len() == 1 {
        return Ok(missing);
    }
    let mut awaited = Vec::new();
    for number in missing {
        let group = &mut *groups[number];
        match group[0].loaded.try_fetch_block(group[0].block)? {
            Some(block) => search_in(&block, group, lookups, at),
            None => awaited.push(number),
        }
    }
    Ok(awaited)
}

/// Finds the keys of a group in their block.
fn search_in(block: &Arc<Block>, group: &mut [Place<'_>], lookups: &mut [Lookup<'_>], at: Seqno) {
    for place in group {
        place.search(block, lookups, at);
        let found = place.entry.map(|entry| found(block, entry, || Arc::clone(block)));
        place.settle(found, lookups);
    }
}

/// Asks the filter, and if the key may be there the index; asks for the memory of the block's slot. `last` is the place
/// of a key before this one.
fn locate<'t>(probe: &Probe<'t>, lookup: &Lookup<'_>, last: Option<&Place<'t>>) -> Result<Option<Place<'t>>> {
    let table = probe.table;
    let loaded = table.loaded()?;
    if !loaded.filter.may_contain(lookup.filter_hash) {
        table.counters.bump(FILTER_REJECTED);
        return Ok(None);
    }
    let near = last.filter(|place| std::ptr::eq(place.table, table)).map(|place| place.block);
    let found = match near {
        Some(near) => loaded.index.find_from(near, lookup.key),
        None => loaded.index.find(lookup.key),
    };
    let Some(block) = found else {
        if !loaded.filter.is_absent() {
            table.counters.bump(FILTER_FOOLED);
        }
        return Ok(None);
    };
    prefetch_lines(&loaded.slots[block]);
    Ok(Some(Place { table, loaded, block, lookup: probe.lookup, entry: None }))
}

/// Finds the keys of the groups whose blocks are in memory; tells of each of the others by its number.
fn search_cached(
    groups: &mut [&mut [Place<'_>]],
    lookups: &mut [Lookup<'_>],
    at: Seqno,
    mut miss: impl FnMut(usize),
) {
    let pinned = pin();
    let mut blocks: [Option<Held<'_, Block>>; BATCH_BLOCKS] = from_fn(|_| None);
    for (number, (block, group)) in blocks.iter_mut().zip(&*groups).enumerate() {
        let place = &group[0];
        *block = place.loaded.slots[place.block].read(&pinned);
        match block {
            Some(block) => {
                place.table.cache.count_hit();
                prefetch_lines(&**block);
            }
            None => miss(number),
        }
    }
    for block in blocks.iter().flatten() {
        block.prefetch_heads();
    }
    for (block, group) in blocks.iter().zip(&mut *groups) {
        let Some(block) = block else { continue };
        for place in &mut **group {
            place.search(block, lookups, at);
            if let Some(entry) = place.entry {
                block.prefetch_value(entry);
            }
        }
    }
    for (block, group) in blocks.iter().zip(groups) {
        let Some(block) = block else { continue };
        for place in &**group {
            let found = place.entry.map(|entry| found(block, entry, || block.to_arc()));
            place.settle(found, lookups);
        }
    }
}
