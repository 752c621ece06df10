//! Looking at what a crash has left: does it open, and is it what the store had promised?

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use terrace::{CrashPolicy, Db, Durability, PowerLoss, SimFs, WriteOptions};

use super::run::{DIR, Progress, options};
use super::script::{Cell, Registry, Script, id_of, value};

/// What a store holds: the ids of the values, by keyspace and key.
type Contents = BTreeMap<String, BTreeMap<Vec<u8>, u64>>;

/// What must be found after a crash.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// How many writes, from the first on.
    writes: RangeInclusive<usize>,
    /// How many keyspace operations.
    registry: RangeInclusive<usize>,
}

impl Promise {
    /// The promise of a store of this durability that got so far and then went down so.
    pub(super) fn new(progress: &Progress, durability: Durability, policy: CrashPolicy) -> Self {
        let all = match (durability, policy) {
            (Durability::Memory, _) => false,
            (Durability::Sync, _) => true,
            (Durability::Process | Durability::Interval(_), policy) => policy == CrashPolicy::ProcessDeath,
        };
        let floor = if all { progress.acknowledged } else { progress.durable };
        Self {
            writes: floor..=progress.attempted,
            registry: progress.registry_acknowledged..=progress.registry_attempted,
        }
    }

    /// What is left of the promise after one more crash that might cost what `other` leaves out.
    pub(super) fn weaker(&self, other: &Self) -> Self {
        let floor = *self.writes.start().min(other.writes.start());
        Self { writes: floor..=*self.writes.end(), registry: self.registry.clone() }
    }

    /// Finds how many writes these contents are the outcome of.
    fn check(&self, script: &Script, found: &Contents) -> Result<(), String> {
        let fitting = |at: usize| {
            let registry = &script.registries[at];
            registry.keys().eq(found.keys()).then(|| Difference::new(registry, found))
        };
        let mut candidates: Vec<Difference<'_>> = self.registry.clone().filter_map(fitting).collect();
        let mut earlier = None;
        for count in 0..=*self.writes.end() {
            for cell in count.checked_sub(1).map_or(&[][..], |last| &script.writes[last]) {
                for candidate in &mut candidates {
                    candidate.apply(cell);
                }
            }
            let fits = candidates.iter().any(|candidate| candidate.keys == 0);
            if fits && self.writes.contains(&count) {
                return Ok(());
            }
            if fits {
                earlier = Some(count);
            }
        }
        let promised =
            format!("promised are {:?} writes, {:?} keyspace operations", self.writes, self.registry);
        Err(match earlier {
            Some(count) => format!("only {count} writes are there; {promised}"),
            None => format!("the contents are not the outcome of any prefix; {promised}"),
        })
    }
}

/// How a number of writes differs from what was found, kept up to date write by write.
struct Difference<'a> {
    /// What was found, by incarnation of the keyspace.
    found: BTreeMap<u32, &'a BTreeMap<Vec<u8>, u64>>,
    state: HashMap<(u32, &'a [u8]), u64>,
    /// Keys at which the two differ.
    keys: usize,
}

impl<'a> Difference<'a> {
    /// Before the first write. Names both have.
    fn new(registry: &Registry, found: &'a Contents) -> Self {
        let keys = found.values().map(BTreeMap::len).sum();
        let found = registry.iter().map(|(name, incarnation)| (*incarnation, &found[name])).collect();
        Self { found, state: HashMap::new(), keys }
    }

    fn apply(&mut self, cell: &'a Cell) {
        // Entries of earlier lives show nowhere.
        let Some(entries) = self.found.get(&cell.incarnation) else { return };
        let found = entries.get(&cell.key).copied();
        let place = (cell.incarnation, &cell.key[..]);
        let before = match cell.id {
            Some(id) => self.state.insert(place, id),
            None => self.state.remove(&place),
        };
        self.keys += usize::from(cell.id != found);
        self.keys -= usize::from(before != found);
    }
}

/// Opens the store on `sim` and checks everything: the promise, the files, and that a second crash right
/// after the opening changes nothing.
pub(super) fn verify(
    script: &Script,
    sim: &SimFs,
    durability: Durability,
    promise: &Promise,
) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let db = open(sim, durability)?;
        let found = contents(&db)?;
        promise.check(script, &found)?;
        check_files(&db, sim)?;
        let outcome = check_second_crash(&db, sim, durability, found);
        // What the close would do on this disk is of no interest, only time.
        sim.stop_at(0);
        outcome
    }));
    outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", crate::panic_text(&*panic))))
}

/// Opens the store as the next process would.
pub(super) fn open(sim: &SimFs, durability: Durability) -> Result<Db, String> {
    let opened = options(Arc::new(sim.clone()), durability).open(Path::new(DIR));
    opened.map_err(|error| format!("does not open: {error}"))
}

/// Recovery is idempotent, and what it recovered is as durable as what was there before.
fn check_second_crash(db: &Db, sim: &SimFs, durability: Durability, found: Contents) -> Result<(), String> {
    let mut expected = found;
    let policy = if sim.operations().is_multiple_of(2) {
        CrashPolicy::ProcessDeath
    } else {
        let raised = WriteOptions::new().durability(Durability::Sync);
        let put = db.put_with("after", value(u64::MAX), raised);
        put.map_err(|error| format!("a write after recovery fails: {error}"))?;
        expected.entry("default".to_string()).or_default().insert(b"after".to_vec(), u64::MAX);
        CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced)
    };
    let again = sim.crash(policy, 0);
    let db =
        open(&again, durability).map_err(|detail| format!("after a second crash by {policy:?}: {detail}"))?;
    let outcome = if contents(&db)? == expected {
        check_files(&db, &again)
    } else {
        Err(format!("a second crash, by {policy:?} right after the opening, changed the contents"))
    };
    again.stop_at(0);
    outcome
}

/// Reads everything, forwards, backwards and key by key, and checks every byte of every value.
fn contents(db: &Db) -> Result<Contents, String> {
    let mut all = Contents::new();
    for name in db.keyspaces() {
        let keyspace =
            db.find_keyspace(&name).ok_or_else(|| format!("keyspace {name} is listed but missing"))?;
        let mut entries = BTreeMap::new();
        for entry in &keyspace {
            let (key, value) = entry.map_err(|error| format!("cannot scan {name}: {error}"))?;
            let id =
                id_of(&value).ok_or_else(|| format!("the value of {} is damaged", key.escape_ascii()))?;
            let got = keyspace.get(&key).map_err(|error| format!("cannot get: {error}"))?;
            if got.as_deref() != Some(&value[..]) {
                return Err(format!("scan and get differ at {}", key.escape_ascii()));
            }
            entries.insert(key.to_vec(), id);
        }
        let backwards: Result<Vec<_>, _> =
            keyspace.iter().rev().map(|e| e.map(|(key, _)| key.to_vec())).collect();
        let backwards = backwards.map_err(|error| format!("cannot scan {name} backwards: {error}"))?;
        if !backwards.iter().eq(entries.keys().rev()) {
            return Err(format!("forward and backward scans of {name} differ"));
        }
        all.insert(name, entries);
    }
    Ok(all)
}

/// Nothing is left over from before the crash: every file is one that the store uses now.
fn check_files(db: &Db, sim: &SimFs) -> Result<(), String> {
    let paths = sim.paths();
    let ending =
        |end: &str| paths.iter().filter(|path| path.extension().is_some_and(|e| e == end)).count() as u64;
    let stats = db.stats();
    let used: u64 = stats.levels.iter().map(|level| level.tables).sum();
    let (tables, temporary, logs) = (ending("tbl"), ending("tmp"), ending("wal") + ending("spare"));
    let manifests = paths.iter().filter(|path| path.to_string_lossy().contains("/MANIFEST-")).count();
    // One segment is in use; a second one may be ready for the next switch.
    if tables != used || manifests != 1 || temporary != 0 || logs > 2 {
        return Err(format!(
            "{used} tables are in use; there are {tables} tables, {manifests} manifests, {logs} log files, \
             {temporary} temporary files: {paths:?}"
        ));
    }
    Ok(())
}
