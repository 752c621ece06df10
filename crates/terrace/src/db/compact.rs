//! Compaction, as the store sees it: who runs what, beside what, and how the outcome is installed.
//!
//! The picker decides (a pure function), the executor reads and writes; here a choice is marked busy so that
//! nobody picks the same tables, then run, made durable by one edit, and unmarked. Compactions of disjoint
//! ranges and of different levels run side by side, one per thread.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::aside::SetAside;
use super::core::Core;
use super::keyspaces::KeyspaceState;
use super::stepped::Hints;
use crate::base::key::{prefix_successor, push_prefix};
use crate::base::{Error, Result};
use crate::compaction::executor::{CompactionStats, Job, KeyRange, Readers};
use crate::compaction::output::{NextId, Output, YieldPoint, discard};
use crate::compaction::picker::{
    Choice, Locks, PickerOptions, Situation, pending_compaction_bytes, pick, pick_blobs, pick_dead,
    pick_range,
};
use crate::version::{Blobs, Edit, LiveKeyspaces, Version};

/// A compaction lets a flush go first for at most this long at a time.
const YIELD: Duration = Duration::from_millis(20);
/// How often `wait_idle` looks.
const IDLE_POLL: Duration = Duration::from_millis(5);
const YIELD_STEP: Duration = Duration::from_millis(1);
/// A part of a compaction has at least this much to read, or it is not worth a thread.
const MIN_PART_BYTES: u64 = 16 << 20;
/// The base level, in write buffers: it is rewritten whenever level 0 goes down, so it should not be much
/// larger than what comes down.
const BASE_LEVEL_BUFFERS: u64 = 8;

/// A merge of level 0 into a base level that is large beside it is put off up to this many times `l0_runs`.
const L0_PATIENCE: usize = 3;

#[derive(Default)]
struct State {
    busy: Vec<Locks>,
    /// Manual compactions that want the tree for themselves, the one that has it included.
    manual: usize,
    /// One of them has it.
    taken: bool,
}

/// What is being compacted.
#[derive(Default)]
pub(super) struct Compactions {
    state: Mutex<State>,
    changed: Condvar,
    /// Where iterators are slow.
    pub(super) hints: Hints,
    /// What could not be read.
    pub(super) aside: SetAside,
}

impl Compactions {
    /// How many run now.
    pub(super) fn running(&self) -> usize {
        self.state.lock().busy.len()
    }

    /// Keeps other compactions from starting, and waits for the running ones, in the background and by hand.
    pub(super) fn pause(&self) -> Paused<'_> {
        let mut state = self.state.lock();
        state.manual += 1;
        while state.taken || !state.busy.is_empty() {
            self.changed.wait(&mut state);
        }
        state.taken = true;
        Paused(self)
    }
}

/// Why a choice was not carried out.
struct Failure {
    error: Error,
    /// What it failed at will not be picked again.
    set_aside: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Unmarks a choice when dropped, after a panic too.
struct Busy<'a> {
    compactions: &'a Compactions,
    locks: Locks,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.compactions.state.lock().busy.retain(|held| *held != self.locks);
        self.compactions.changed.notify_all();
    }
}

/// Lets other compactions start again when dropped.
pub(super) struct Paused<'a>(&'a Compactions);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.manual -= 1;
        state.taken = false;
        self.0.changed.notify_all();
    }
}

impl Core {
    /// Runs what the picker chooses next; `false` if there is nothing to do.
    pub(super) fn compact_once(&self) -> Result<bool> {
        self.poison.check()?;
        let Some(choice) = self.pick_next() else { return Ok(false) };
        self.work.compacting(); // There may be more to do beside it.
        let busy = Busy { compactions: &self.compactions, locks: choice.locks.clone() };
        let outcome = self.carry_out(choice);
        drop(busy);
        self.work.compacting();
        match outcome {
            // What was set aside is not picked again, and shows in the statistics: other work goes on.
            Ok(()) | Err(Failure { set_aside: true, .. }) => Ok(true),
            Err(failure) => Err(failure.error),
        }
    }

    fn pick_next(&self) -> Option<Choice> {
        let keyspaces = self.live_keyspaces();
        let mut state = self.compactions.state.lock();
        if state.manual > 0 {
            return None;
        }
        let version = Arc::clone(&self.current().version);
        self.compactions.hints.settle(&version);
        let choice = self.with_situation(&keyspaces, &state.busy, pick)?;
        state.busy.push(choice.locks.clone());
        Some(choice)
    }

    /// The keyspaces that are wanted. Waits for an edit that is being synced, so it is asked before the list of
    /// running compactions is locked.
    fn live_keyspaces(&self) -> LiveKeyspaces {
        self.manifest.lock().state().live_keyspaces()
    }

    fn with_situation<T>(
        &self,
        keyspaces: &LiveKeyspaces,
        busy: &[Locks],
        ask: impl FnOnce(&Version, &PickerOptions, &Situation<'_>) -> T,
    ) -> T {
        let version = Arc::clone(&self.current().version);
        let newest_seqno = self.last_seqno();
        let stepped = self.compactions.hints.list();
        let situation = Situation {
            now_ms: self.clock.now_ms(),
            oldest_snapshot: self.shards.snapshots().seqnos().first().copied().unwrap_or(newest_seqno),
            newest_seqno,
            keyspaces,
            busy,
            stepped: &stepped,
            read_debt_bytes: self.read_debt_bytes(&version),
        };
        ask(&version, &self.picker_options(), &situation)
    }

    pub(super) fn picker_options(&self) -> PickerOptions {
        PickerOptions {
            l0_runs: self.options.l0_runs,
            // Where writers begin to be delayed, at the latest.
            l0_patience_runs: (self.options.l0_limit * 3 / 5).min(L0_PATIENCE * self.options.l0_runs),
            level_ratio: u64::from(self.options.level_ratio),
            base_level_bytes: self.options.effective_write_buffer() * BASE_LEVEL_BUFFERS,
            target_table_bytes: self.options.table_bytes,
            set_aside: self.compactions.aside.ids(),
            ..PickerOptions::default()
        }
    }

    /// An estimate of the bytes that compaction still has to move.
    pub(super) fn pending_compaction_bytes(&self, version: &Version) -> u64 {
        pending_compaction_bytes(version, &self.picker_options())
    }

    /// Who reads what a flush or compaction is about to rewrite. To be asked once its inputs are fixed, not
    /// earlier: a snapshot that is missing here must be newer than all of them.
    pub(super) fn readers(&self) -> Readers {
        let keyspaces = self.live_keyspaces();
        Readers { snapshots: self.shards.snapshots().seqnos(), now_ms: self.clock.now_ms(), keyspaces }
    }

    /// Reads and writes what the choice says, and installs the outcome.
    fn carry_out(&self, choice: Choice) -> Result<(), Failure> {
        let level = choice.output_level;
        let from_level0 = choice.tables().filter(|(from, _)| *from == 0 && level > 0);
        let drained = from_level0.map(|(_, table)| table.meta().raw_bytes).sum();
        let version = Arc::clone(&self.current().version);
        let job = Job::new(&version, choice, self.readers());
        let cancel = || Ok(self.yield_point());
        let new_id = || self.new_file_id();
        let output = self.output(level, version.blobs(), &new_id, &cancel);
        let aside = &self.compactions.aside;
        let outcome = self.run_parts(&job, &output).map_err(|error| {
            let set_aside = aside.note(job.choice(), &error);
            Failure { error, set_aside }
        });
        let Some((edit, stats)) = outcome? else { return Ok(()) };
        aside.succeeded(job.choice());
        self.commit_edit(edit, None).map_err(|error| Failure { error, set_aside: false })?;
        self.counters.compacted(level, stats.bytes_in, stats.bytes_out);
        if drained > 0 {
            self.stall.drained_level0(drained, &*self.env.clock);
            self.update_pressure();
        }
        Ok(())
    }

    /// How tables of a level are written, and the large values that come with them. `blobs` are the blob files that
    /// what is written points to already.
    pub(super) fn output<'a>(
        &'a self,
        level: usize,
        blobs: &'a Blobs,
        next_id: NextId<'a>,
        yield_point: YieldPoint<'a>,
    ) -> Output<'a> {
        Output {
            fs: &self.env.fs,
            dir: &self.dir,
            options: self.table_options(level),
            target_table_bytes: self.options.table_bytes,
            now_ms: self.clock.now_ms(),
            cleared_seqno: 0,
            values: self.separation(blobs),
            merging: &self.merging,
            next_id,
            yield_point,
        }
    }

    /// Carries a large job out in parts of disjoint key ranges, side by side. `None` means cancelled.
    fn run_parts(&self, job: &Job, output: &Output<'_>) -> Result<Option<(Edit, CompactionStats)>> {
        let by_size = (job.choice().input_bytes() + job.choice().relocated_bytes()) / MIN_PART_BYTES;
        let wanted = self.parallelism().min(by_size.max(1) as usize);
        let ranges = job.split(wanted)?;
        let run = |range: &KeyRange| job.run_part(range, output);
        let mut parts = Vec::new();
        let mut failed = None;
        for outcome in self.side_by_side(&ranges, &run) {
            match outcome {
                Ok(Some(part)) => parts.push(part),
                other => failed = Some(other.map(|_| None)),
            }
        }
        match failed {
            None => job.finish(parts, output).map(Some),
            Some(outcome) => {
                // The other parts come to nothing.
                for part in parts {
                    discard(&*self.env.fs, &self.dir, &part.tables, &part.blobs);
                }
                outcome
            }
        }
    }

    /// Threads that one piece of background work may use.
    pub(super) fn parallelism(&self) -> usize {
        match (&self.env.spawn, self.options.background_threads) {
            (None, _) => 1,
            (Some(spawn), 0) => spawn.cores().saturating_sub(1).max(1),
            (Some(_), threads) => threads,
        }
    }

    /// Applies `run` to each range, in threads of their own if there are several.
    pub(super) fn side_by_side<R, T: Send>(
        &self,
        ranges: &[R],
        run: &(dyn Fn(&R) -> Result<T> + Sync),
    ) -> Vec<Result<T>>
    where
        R: Sync,
    {
        match &self.env.spawn {
            Some(spawn) if ranges.len() > 1 => {
                let mut outcomes: Vec<Result<T>> = ranges.iter().map(|_| Err(Error::Closed)).collect();
                let tasks = ranges.iter().zip(&mut outcomes).map(|(range, slot)| {
                    Box::new(move || *slot = run(range)) as Box<dyn FnOnce() + Send + '_>
                });
                spawn.run_all(tasks.collect());
                outcomes
            }
            _ => ranges.iter().map(run).collect(),
        }
    }

    /// Called by a compaction every 64 KiB: lets a flush that is going on have the cores, and says whether to
    /// give up.
    fn yield_point(&self) -> bool {
        let mut waited = Duration::ZERO;
        while self.env.spawn.is_some() && self.memory_is_short() && waited < YIELD {
            self.env.clock.sleep(YIELD_STEP);
            waited += YIELD_STEP;
        }
        self.interleave();
        self.work.is_stopping()
    }

    /// Returns when no flush and no compaction is running or due.
    pub(super) fn wait_idle(&self) -> Result<()> {
        loop {
            self.check_open()?;
            self.poison.check()?;
            self.work.retryable_error()?;
            if self.env.spawn.is_none() {
                return self.work_inline();
            }
            if self.current().sealed.is_empty() && self.compaction_is_idle() {
                return Ok(());
            }
            self.env.clock.sleep(IDLE_POLL);
        }
    }

    fn compaction_is_idle(&self) -> bool {
        let keyspaces = self.live_keyspaces();
        let state = self.compactions.state.lock();
        let due =
            || self.options.background_compaction && self.with_situation(&keyspaces, &[], pick).is_some();
        state.busy.is_empty() && !due()
    }

    /// For a writer that would wait in vain: the reason if the store is full and nothing is left to do but what was set
    /// aside.
    pub(super) fn check_compaction_goes_on(&self) -> Result<()> {
        let stuck = self.compactions.aside.check();
        let idle = || self.current().sealed.is_empty() && self.compaction_is_idle();
        if stuck.is_ok() || !idle() {
            return Ok(());
        }
        // A flush that has just made room may not have told of it yet.
        self.update_pressure();
        if self.stall.is_full(self.active_bytes()) { stuck } else { Ok(()) }
    }

    /// Whether a second memtable waits for its flush: with one, the flush keeps up by itself.
    fn memory_is_short(&self) -> bool {
        self.work.flushing.is_locked() && self.current().sealed.len() > 1
    }

    /// `compact_range` for a range of user keys of one keyspace.
    pub(super) fn compact_keyspace_range(
        &self,
        keyspace: &KeyspaceState,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<()> {
        let mut prefix = Vec::new();
        push_prefix(&mut prefix, keyspace.id()?);
        let internal = |key: &[u8]| [&prefix[..], key].concat();
        // Bounds are widened to whole keys: which tables take part does not hang on one key.
        let low = match bounds.0 {
            Bound::Included(key) | Bound::Excluded(key) => internal(key),
            Bound::Unbounded => prefix.clone(),
        };
        let high = match bounds.1 {
            Bound::Included(key) | Bound::Excluded(key) => Some(internal(key)),
            Bound::Unbounded => prefix_successor(&prefix),
        };
        self.compact_range(&low, high.as_deref())
    }

    /// Flushes, then compacts all tables that overlap the range down to the bottom, in this thread.
    pub(super) fn compact_range(&self, low: &[u8], high: Option<&[u8]>) -> Result<()> {
        self.check_open()?;
        self.flush_all()?;
        let paused = self.compactions.pause();
        let last;
        let high = match high {
            Some(high) => high,
            None => {
                let version = Arc::clone(&self.current().version);
                last =
                    version.tables().map(|(_, table)| table.meta().largest.clone()).max().unwrap_or_default();
                &last
            }
        };
        self.compactions.aside.clear();
        // One moment for all of it, or it would go on while anything expires.
        let now_ms = self.clock.now_ms();
        let choose = |ask: &dyn Fn(&Version, &PickerOptions, &Situation<'_>) -> Option<Choice>| {
            let ask = |version: &Version, options: &PickerOptions, at: &Situation<'_>| {
                ask(version, options, &Situation { now_ms, ..*at })
            };
            self.with_situation(&self.live_keyspaces(), &[], ask)
        };
        let carry_out = |choice| self.check_open().and_then(|()| Ok(self.carry_out(choice)?));
        let mut outcome = choose(&pick_dead).map_or(Ok(()), carry_out);
        // Downwards only: what flushes bring meanwhile is for the next time, or beside writers this never ended.
        let mut from = 0;
        while outcome.is_ok() {
            let choice = choose(&|version, options, at| pick_range(version, options, at, from, low..=high));
            let Some(choice) = choice else { break };
            from = choice.output_level;
            outcome = carry_out(choice);
        }
        // Values that cannot be moved are set aside, and the rest is collected before they are told of.
        let mut damaged = Ok(());
        while outcome.is_ok() {
            let Some(choice) = choose(&pick_blobs) else { break };
            outcome = self.check_open().and_then(|()| match self.carry_out(choice) {
                Err(Failure { error, set_aside: true }) => {
                    damaged = damaged.clone().and(Err(error));
                    Ok(())
                }
                other => Ok(other?),
            });
        }
        drop(paused);
        self.work.compacting();
        outcome.and(damaged)
    }
}
