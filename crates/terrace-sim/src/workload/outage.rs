//! A workload whose store goes down: what must be found afterwards, and how to go on from there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use terrace::{BackgroundStep, Db, Durability, Fs};

use super::{Trouble, Workload, show, to_cell};
use crate::model::{Cells, Change, Model};

/// What the store has promised, kept by whoever lets it go down.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    /// What survives a power loss.
    durable: Model,
    /// The writes acknowledged since, oldest first.
    since: VecDeque<Vec<Change>>,
}

/// What a store may hold: a state, and writes of which some first ones have happened.
struct Candidate {
    model: Model,
    writes: VecDeque<Vec<Change>>,
    /// So many of them at least.
    certain: usize,
}

impl Promised {
    /// A new store: everything is durable.
    pub(crate) fn new() -> Self {
        Self { durable: Model::new(), since: VecDeque::new() }
    }

    /// Takes down what the workload's store has acknowledged since the last call.
    pub(crate) fn note(&mut self, workload: &mut Workload) {
        for write in workload.written.drain(..) {
            self.note_keyspaces(&write);
            self.since.push_back(write);
        }
        if workload.settled || workload.options_durability() == Durability::Sync {
            self.settle();
        }
        workload.settled = false;
    }

    fn settle(&mut self) {
        for change in self.since.drain(..).flatten() {
            self.durable.apply(&change);
        }
    }

    /// Keyspaces have a log of their own: what was done to them is durable at once, and what they held is gone.
    fn note_keyspaces(&mut self, write: &[Change]) {
        for change in write {
            if let Change::Drop(name) | Change::Clear(name) = change {
                for earlier in &mut self.since {
                    earlier.retain(|change| change.entry().is_none_or(|(keyspace, _)| keyspace != name));
                }
            }
            if change.entry().is_none() {
                self.durable.apply(change);
            }
        }
    }

    /// Finds what of the promise a store that was opened again holds; `Err` if that is not enough or something
    /// else. `attempt` is what was under way. Afterwards everything is durable.
    pub(crate) fn find(
        &mut self,
        db: &Db,
        now_ms: u64,
        attempt: Vec<Change>,
        keeps_all: bool,
    ) -> Result<Model, String> {
        let found = contents(db)?;
        let mut explained = Vec::new();
        for candidate in self.candidates(attempt, keeps_all) {
            match candidate.matching(&found, now_ms) {
                Ok(model) => {
                    *self = Self { durable: model.clone(), since: VecDeque::new() };
                    return Ok(model);
                }
                Err(detail) => explained.push(detail),
            }
        }
        Err(explained.join("; or else "))
    }

    fn candidates(&mut self, attempt: Vec<Change>, keeps_all: bool) -> Vec<Candidate> {
        let candidate = |promised: &Self| Candidate {
            model: promised.durable.clone(),
            writes: promised.since.clone(),
            certain: if keeps_all { promised.since.len() } else { 0 },
        };
        let mut without = candidate(self);
        if attempt.iter().all(|change| change.entry().is_some()) {
            without.writes.extend((!attempt.is_empty()).then_some(attempt));
            return vec![without];
        }
        self.note_keyspaces(&attempt);
        vec![without, candidate(self)]
    }
}

impl Candidate {
    /// The state that shows as `found`.
    fn matching(self, found: &BTreeMap<String, Cells>, now_ms: u64) -> Result<Model, String> {
        let Self { mut model, writes, certain } = self;
        if !model.keyspaces.keys().eq(found.keys()) {
            return Err(format!("keyspaces {:?}, expected {:?}", found.keys(), model.keyspaces.keys()));
        }
        let count = writes.len();
        let mut wrong: usize = found.iter().map(|(name, cells)| differing(&model, name, cells, now_ms)).sum();
        let mut least = (wrong, 0);
        for (number, write) in (1..).zip(writes) {
            if number > certain && wrong == 0 {
                return Ok(model);
            }
            for change in &write {
                let Some((name, key)) = change.entry() else { continue };
                let is_wrong =
                    |model: &Model| model.get(name, key, now_ms) != found.get(name).and_then(|c| c.get(key));
                wrong -= usize::from(is_wrong(&model));
                model.apply(change);
                wrong += usize::from(is_wrong(&model));
            }
            least = least.min((wrong, number));
        }
        if wrong == 0 {
            return Ok(model);
        }
        let (keys, number) = least;
        Err(format!(
            "no state after at least {certain} of {count} writes is what was found; {keys} keys differ after {number}"
        ))
    }
}

/// The keys whose live entries differ.
fn differing(model: &Model, name: &str, found: &Cells, now_ms: u64) -> usize {
    let expected = model.keyspaces[name].keys();
    let missing = expected.filter(|key| !found.contains_key(*key) && model.get(name, key, now_ms).is_some());
    let other = found.iter().filter(|(key, cell)| model.get(name, key, now_ms) != Some(cell));
    missing.count() + other.count()
}

fn contents(db: &Db) -> Result<BTreeMap<String, Cells>, String> {
    let mut all = BTreeMap::new();
    for name in db.keyspaces() {
        let keyspace = db.find_keyspace(&name).ok_or_else(|| format!("{name} is listed but missing"))?;
        let (mut cells, mut iter) = (Cells::new(), keyspace.iter());
        while let Some(entry) = iter.next_entry() {
            let (key, entry) = entry.map_err(|error| format!("cannot read {name}: {error}"))?;
            cells.insert(key.to_vec(), to_cell(&entry));
        }
        all.insert(name, cells);
    }
    Ok(all)
}

/// For whoever lets the store go down.
impl Workload {
    /// What the durability of the store is.
    pub(crate) fn options_durability(&self) -> Durability {
        self.durability
    }

    /// The time as the store must have it.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What the model was changed by although the store has not said so.
    pub(crate) fn take_attempt(&mut self) -> Vec<Change> {
        self.model.take_changes()
    }

    /// Lets go of everything that holds the store, and closes it if it can be closed.
    pub(crate) fn let_go(&mut self) {
        self.snapshots.clear();
        let _ = self.db.close();
    }

    /// Opens what another file system holds, as the next process would.
    pub(crate) fn open_on(&mut self, fs: Arc<dyn Fs>) -> Result<Db, terrace::Error> {
        // No machine starts with a clock that is behind what it said last.
        self.clock.set_wall_ms(self.now_ms);
        let mut env = self.env.clone();
        env.fs = fs;
        self.options = self.options.clone().env(env);
        self.options.clone().open(&self.dir)
    }

    /// Leaves it to the caller when background work is done, now and after each opening.
    pub(crate) fn hold_background_work(&mut self) {
        self.holds_work = true;
        self.db.hold_background_work();
    }

    /// Does a step of background work.
    pub(crate) fn background(&mut self, step: BackgroundStep) -> Result<(), Trouble> {
        self.db.background_step(step).map_err(show).map(drop)
    }

    /// Goes on with this store, which holds what the model says.
    pub(crate) fn go_on(&mut self, db: Db, model: Model) {
        (self.db, self.model) = (db, model);
        self.hold_again();
        (self.settled, self.unreliable) = (false, true);
        self.written.clear();
    }

    /// Checks everything in every way, and closes the store.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        self.compare_all().map_err(|trouble| trouble.to_string())?;
        self.snapshots.clear();
        self.db.close().map_err(|error| show(error).to_string())
    }
}
