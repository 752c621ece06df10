//! `Run`: tables with disjoint key ranges, sorted by key. Immutable.
//!
//! Invariant, checked when a run is made: each table's smallest key is at or before its largest, and each
//! table ends strictly before the next begins. All versions of a user key lie in one table of a run.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use crate::base::Seqno;
use crate::base::key::head;
use crate::table::{Lookup, Probe, Table};

/// Sorted, disjoint tables.
pub(crate) struct Run {
    /// Orders the runs of a level: a larger ordinal is newer.
    ordinal: u64,
    tables: Vec<Arc<Table>>,
    /// What all keys of all tables begin with.
    shared_prefix: Vec<u8>,
    /// The heads of the tables' smallest and largest keys behind the shared prefix, so that most of a search
    /// touches these arrays only.
    first_heads: Vec<u64>,
    last_heads: Vec<u64>,
    /// `bytes_before[i]` is the total size of the tables before `i`; one longer than `tables`.
    bytes_before: Vec<u64>,
}

impl Run {
    /// A run of `tables` in any order; the text says what is wrong if they overlap.
    pub(crate) fn new(ordinal: u64, mut tables: Vec<Arc<Table>>) -> Result<Self, String> {
        tables.sort_by(|a, b| a.meta().smallest.cmp(&b.meta().smallest));
        for table in &tables {
            let meta = table.meta();
            if meta.smallest > meta.largest {
                return Err(format!("table {} ends before it begins", meta.id));
            }
        }
        for pair in tables.windows(2) {
            let (left, right) = (pair[0].meta(), pair[1].meta());
            if left.largest >= right.smallest {
                return Err(format!("tables {} and {} of one run overlap", left.id, right.id));
            }
        }
        let shared_prefix = shared_prefix(&tables).to_vec();
        let head_of = |key: &[u8]| head(key.get(shared_prefix.len()..).unwrap_or_default());
        let first_heads = tables.iter().map(|table| head_of(&table.meta().smallest)).collect();
        let last_heads = tables.iter().map(|table| head_of(&table.meta().largest)).collect();
        let mut bytes_before = vec![0];
        let mut total = 0;
        for table in &tables {
            total += table.meta().file_bytes;
            bytes_before.push(total);
        }
        Ok(Self { ordinal, tables, shared_prefix, first_heads, last_heads, bytes_before })
    }

    /// Orders the runs of a level: a larger ordinal is newer.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// The tables in key order.
    pub(crate) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    /// Total file size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_before.last().copied().unwrap_or(0)
    }

    /// The index of the first table that ends at or after `key`; the number of tables if there is none.
    #[inline]
    pub(crate) fn first_reaching(&self, key: &[u8]) -> usize {
        match key.strip_prefix(&self.shared_prefix[..]) {
            Some(rest) => self.first_reaching_head(key, head(rest)),
            None if key < &self.shared_prefix[..] => 0,
            None => self.tables.len(),
        }
    }

    /// `first_reaching`, given the key's head behind the shared prefix.
    #[inline]
    fn first_reaching_head(&self, key: &[u8], wanted: u64) -> usize {
        let mut index = self.last_heads.partition_point(|h| *h < wanted);
        // Heads that tie say nothing: those few tables are compared in full.
        let tied = self.last_heads[index..].partition_point(|h| *h == wanted);
        if tied > 0 {
            index += self.tables[index..index + tied].partition_point(|t| t.meta().largest.as_slice() < key);
        }
        index
    }

    /// The one table that may hold `key`.
    #[inline]
    pub(crate) fn table_for(&self, key: &[u8]) -> Option<&Arc<Table>> {
        let wanted = head(key.strip_prefix(&self.shared_prefix[..])?);
        let index = self.first_reaching_head(key, wanted);
        let begins = match self.first_heads.get(index)?.cmp(&wanted) {
            Ordering::Less => true,
            Ordering::Equal => self.tables[index].meta().smallest.as_slice() <= key,
            Ordering::Greater => false,
        };
        begins.then(|| &self.tables[index])
    }

    /// Replaces `probes` by one for each lookup that has found nothing yet and has a table here that may hold its
    /// key at or below `at`. The keys are in ascending order.
    pub(crate) fn probe_all<'r>(&'r self, lookups: &[Lookup<'_>], at: Seqno, probes: &mut Vec<Probe<'r>>) {
        probes.clear();
        let mut index = 0;
        for (lookup, wanted) in lookups.iter().enumerate().filter(|(_, wanted)| wanted.found.is_none()) {
            // Neighbouring keys mostly share their table.
            if self.tables.get(index).is_some_and(|table| table.meta().largest.as_slice() < wanted.key) {
                index = self.first_reaching(wanted.key);
            }
            let Some(table) = self.tables.get(index) else { break };
            if table.meta().smallest.as_slice() <= wanted.key && table.meta().min_seqno <= at {
                probes.push(Probe { table, lookup });
            }
        }
    }

    /// The indices of the tables that overlap `smallest..=largest`.
    pub(crate) fn overlapping(&self, smallest: &[u8], largest: &[u8]) -> Range<usize> {
        let start = self.first_reaching(smallest);
        let more = self.tables[start..].partition_point(|t| t.meta().smallest.as_slice() <= largest);
        start..start + more
    }

    /// The total size of the tables in `range`.
    pub(crate) fn bytes_of(&self, range: Range<usize>) -> u64 {
        self.bytes_before[range.end] - self.bytes_before[range.start]
    }
}

/// What all keys of sorted tables begin with: that of the first and the last of them.
fn shared_prefix(tables: &[Arc<Table>]) -> &[u8] {
    let (Some(first), Some(last)) = (tables.first(), tables.last()) else { return &[] };
    let (first, last) = (&first.meta().smallest, &last.meta().largest);
    let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    &first[..shared]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::testing::table;
    use proptest::prelude::*;

    fn run(spans: &[(&str, &str)]) -> Result<Run, String> {
        let tables = spans.iter().zip(1..).map(|((a, b), id)| table(id, a, b, 10)).collect();
        Run::new(1, tables)
    }

    #[test]
    fn refuses_tables_that_overlap_or_run_backwards() {
        assert!(run(&[("c", "d"), ("a", "b")]).is_ok(), "order is the run's business");
        assert!(run(&[("a", "c"), ("c", "d")]).err().unwrap().contains("overlap"));
        assert!(run(&[("a", "e"), ("b", "c")]).err().unwrap().contains("overlap"));
        assert!(run(&[("b", "a")]).err().unwrap().contains("before it begins"));
    }

    #[test]
    fn an_empty_run_holds_nothing() {
        let run = run(&[]).unwrap();
        assert!(run.table_for(b"a").is_none());
        assert_eq!(run.overlapping(b"a", b"z"), 0..0);
        assert_eq!(run.bytes(), 0);
    }

    proptest! {
        #[test]
        fn searches_agree_with_a_linear_scan(
            cuts in prop::collection::btree_set("(longprefix)?[a-c]{1,3}", 0..20),
            low in "(longprefix)?[a-c]{0,3}", high in "(longprefix)?[a-c]{0,3}",
        ) {
            let cuts: Vec<_> = cuts.into_iter().collect();
            let spans: Vec<_> = cuts.chunks_exact(2).map(|c| (c[0].as_str(), c[1].as_str())).collect();
            let run = run(&spans).unwrap();
            let holder = spans.iter().position(|(a, b)| *a <= low.as_str() && low.as_str() <= *b);
            let found = run.table_for(low.as_bytes()).map(|t| t.meta().id.0 as usize - 1);
            prop_assert_eq!(found, holder);
            let (low, high) = (low.clone().min(high.clone()), low.max(high));
            let overlap = run.overlapping(low.as_bytes(), high.as_bytes());
            for (i, (a, b)) in spans.iter().enumerate() {
                let expected = *a <= high.as_str() && low.as_str() <= *b;
                prop_assert_eq!(overlap.contains(&i), expected, "{}..{} in {:?}", low, high, spans);
            }
            prop_assert_eq!(run.bytes_of(overlap.clone()), 10 * overlap.len() as u64);
        }
    }
}
