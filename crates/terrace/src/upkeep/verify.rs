//! `StoreFiles::verify`: every checksum and every invariant of a whole store, and all that is wrong with it.

use std::sync::Arc;

use super::StoreFiles;
use super::files::Registry;
use super::finding::{Finding, key_range};
use super::order;
use super::progress::{Progress, Tally};
use crate::base::{Error, Result};
use crate::table::{Cache, Damage, Table, TableMeta};
use crate::version::{Manifest, State, Version, names};
use crate::wal::{Writer, replay, salvage};

/// What verification has found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// What is unusual and does no harm.
    pub notes: Vec<String>,
    /// Tables read.
    pub tables: u64,
    /// Their size in bytes.
    pub table_bytes: u64,
    /// Their entries, old versions and tombstones included.
    pub entries: u64,
    /// Blob files read.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// Log segments read.
    pub segments: u64,
    /// Sound records in them.
    pub log_records: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

pub(super) struct Check<'a> {
    pub(super) files: &'a StoreFiles,
    pub(super) outcome: Verification,
}

impl StoreFiles {
    /// Reads every file and checks every checksum and every invariant: `CURRENT` and the manifest, the blocks of
    /// each table against its index, its filter and its summary, the order of keys in and across tables, levels
    /// that must not overlap, sequence numbers, every record of the blob files and every pointer into them, the log. Goes on behind whatever it finds.
    ///
    /// Changes nothing. Takes time in proportion to the data, twice where it is sound. Fails only where there is no
    /// store, where it is open ([`Error::Locked`]), or where a directory cannot be read.
    pub fn verify(&self, mut progress: impl FnMut(Progress)) -> Result<Verification> {
        let listed = self.list()?;
        let registry = self.registry(&listed);
        let mut check = Check { files: self, outcome: Verification::default() };
        check.manifest(&registry);
        let metas = check.tables_of(&registry, &listed);
        let cache = Cache::new(0);
        let open = |meta: &TableMeta| {
            Arc::new(Table::open(Arc::clone(&self.env.fs), &self.dir, meta.clone(), Arc::clone(&cache)))
        };
        let blobs = check.blobs_of(&registry, &listed);
        let sizes = metas.iter().map(|meta| meta.file_bytes).chain(blobs.iter().map(|(_, bytes)| *bytes));
        let mut tally = Tally::new(sizes, &mut progress);
        let before = check.outcome.findings.len();
        for meta in &metas {
            check.table(&open(meta), registry.state(), &mut tally);
        }
        let tables_are_sound = check.outcome.findings.len() == before;
        let damaged = check.blobs(&blobs, registry.state(), &mut tally);
        check.pointers(&metas, registry.state(), damaged, open);
        if registry.is_whole() {
            match registry.state().version(open) {
                Ok(version) if tables_are_sound => check.order(&version, registry.state()),
                Ok(_) => check.note("the order across levels was not checked, because tables are damaged"),
                Err(detail) => check.finding_at_manifest(&registry, detail),
            }
        }
        check.log(registry.state(), registry.is_whole());
        Ok(check.outcome)
    }
}

impl Check<'_> {
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.outcome.notes.push(text.into());
    }

    pub(super) fn error(&mut self, error: &Error) {
        let finding = Finding::of(error, None);
        let known = |f: &Finding| (&f.path, f.offset) == (&finding.path, finding.offset);
        if !self.outcome.findings.iter().any(known) {
            self.outcome.findings.push(finding);
        }
    }

    fn finding_at_manifest(&mut self, registry: &Registry, detail: String) {
        let path = registry.manifest.map(|id| self.files.dir.join(names::manifest(id)));
        let path = path.unwrap_or_else(|| self.files.dir.clone());
        self.outcome.findings.push(Finding { path, offset: None, detail, keys: None });
    }

    fn manifest(&mut self, registry: &Registry) {
        if let Some(error) = &registry.current {
            self.error(error);
        }
        for error in &registry.history.wrong {
            self.error(error);
        }
        // What an opening would say, for what only it looks at.
        if registry.current.is_none()
            && registry.history.wrong.is_empty()
            && let Err(error) = Manifest::read(&*self.files.env.fs, &self.files.dir)
        {
            self.error(&error);
        }
    }

    /// The tables to read: those of the manifest, or those in the directory if it cannot be read whole.
    fn tables_of(&mut self, registry: &Registry, listed: &[String]) -> Vec<TableMeta> {
        let ids = StoreFiles::table_ids(listed);
        if registry.is_whole() {
            let named = &registry.state().tables;
            let orphans = ids.iter().filter(|id| !named.contains_key(id)).count();
            if orphans > 0 {
                self.note(format!("{orphans} table files belong to nothing; the next opening removes them"));
            }
            return named.values().map(|placed| placed.meta.clone()).collect();
        }
        let mut metas = Vec::new();
        for id in ids {
            match Table::read_meta(&*self.files.env.fs, &self.files.dir, id) {
                Ok(meta) => metas.push(meta),
                Err(error) => self.error(&error),
            }
        }
        metas
    }

    fn table(&mut self, table: &Table, state: &State, tally: &mut Tally<'_>) {
        let meta = table.meta();
        self.outcome.tables += 1;
        self.outcome.table_bytes += meta.file_bytes;
        self.outcome.entries += meta.entries;
        let mut found = |damage: Damage| {
            let keys = key_range(&damage.first, &damage.last, state);
            self.outcome.findings.push(Finding::of(&damage.error, Some(keys)));
        };
        table.survey(&mut |bytes| tally.add(bytes), &mut found);
        if !state.tables.is_empty()
            && (meta.max_seqno > state.flushed_seqno || meta.min_seqno > meta.max_seqno)
        {
            let (least, most, flushed) = (meta.min_seqno, meta.max_seqno, state.flushed_seqno);
            let detail = format!("expected sequence numbers up to {flushed}, found {least} to {most}");
            found(Damage {
                error: Error::corruption(&self.files.dir.join(names::table(meta.id)), 0, detail),
                first: meta.smallest.clone(),
                last: meta.largest.clone(),
            });
        }
        tally.file_done();
    }

    fn order(&mut self, version: &Version, state: &State) {
        let dir = &self.files.dir;
        let findings = &mut self.outcome.findings;
        let checked = order::check(version, &mut |disorder| {
            let (above, below) = (disorder.above, disorder.below);
            let detail = format!("expected the newer version of a key above, found {above} over {below}");
            let keys = Some(key_range(&disorder.key, &disorder.key, state));
            findings.push(Finding { path: dir.clone(), offset: None, detail, keys });
        });
        if let Err(error) = checked {
            self.error(&error);
        }
    }

    /// Replays the log into nothing, and looks at every place of it.
    fn log(&mut self, state: &State, manifest_is_whole: bool) {
        let (env, dir) = (&self.files.env, &self.files.dir);
        let ids = match salvage::segments(env, dir) {
            Ok(ids) => ids,
            Err(error) => return self.error(&error),
        };
        let replayed =
            replay(env, dir, state.log_start, state.flushed_seqno, Writer::None, &mut |_, _, _| Ok(()));
        if let Some(error) = replayed.err().filter(|_| manifest_is_whole) {
            self.error(&error);
        }
        for id in ids {
            self.outcome.segments += 1;
            let path = salvage::segment_path(dir, id);
            match salvage::survey(env, &path, id, &mut |_| Ok(())) {
                Ok(survey) => {
                    self.outcome.log_records += survey.records;
                    for wrong in survey.wrong {
                        let (first, last) = (survey.first_seqno, survey.last_seqno);
                        let detail = wrong.detail;
                        let range =
                            format!("{detail} (the sound records of this file are writes {first} to {last})");
                        self.error(&Error::corruption(&wrong.path, wrong.offset, range));
                    }
                }
                Err(error) => self.error(&error),
            }
        }
    }
}
