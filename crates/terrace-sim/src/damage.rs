//! Damaged files: whatever bit flips, wherever a file is cut, and whichever files are swapped, emptied, doubled or
//! deleted, a store answers rightly or with an error that names the file.
//!
//! A seed makes one small store (`stores`) and damages every file of it in every way. After each damage the
//! store is opened and read whole. A wrong answer, a panic, an unnamed error, and an allocation that an undamaged
//! store would not make and the damaged file is too short for, are violations.

mod stores;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use terrace::{CrashPolicy, Db, Error, SimFs};

use self::stores::{DIR, Keyspaces, Model, Store};
use crate::tally::Tally;

/// An opening may take so much more memory than one of the undamaged store, beside the length of the file: a
/// message, a path, a list that grows.
const SLACK_BYTES: u64 = 64 << 10;

/// What came of a damaged store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// All answers are right.
    Right,
    /// An error that names a file.
    Reported,
}

/// Damages the store of a seed in every way.
pub fn damage_all(seed: u64) -> Tally {
    let store = Store::new(seed);
    let mut sweep = Sweep { memory: 0, store, tally: Tally::default(), seed };
    let (memory, outcome) = sweep.read_copy(|_| {});
    sweep.memory = memory;
    if outcome != Ok(Outcome::Right) {
        sweep.tally.violation(format!("seed {seed}: undamaged, but {outcome:?}"));
        return sweep.tally;
    }
    let files = sweep.store.files();
    for path in &files {
        sweep.flip_bits(path);
        sweep.cut(path);
        sweep.remove(path);
        sweep.double(path);
        for other in files.iter().filter(|other| *other > path) {
            sweep.swap(path, other);
        }
    }
    sweep.tally
}

fn is_called(path: &Path, start: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

struct Sweep {
    seed: u64,
    store: Store,
    /// What reading the undamaged store takes, in bytes.
    memory: u64,
    tally: Tally,
}

impl Sweep {
    fn flip_bits(&mut self, path: &Path) {
        let bytes = self.store.disk.read_all(path).unwrap_or_default();
        // Most of a log are zeros that nobody has written; those next to something else are enough.
        let near = |at: usize| bytes[at.saturating_sub(8)..bytes.len().min(at + 9)].iter().any(|b| *b != 0);
        for at in (0..bytes.len()).filter(|at| near(*at)) {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                self.tally.add("bits_flipped", 1);
                let limit = bytes.len();
                self.examine(path, &format!("bit {bit} of byte {at}"), limit, |disk| {
                    let _ = disk.overwrite(path, &damaged);
                });
            }
        }
    }

    fn cut(&mut self, path: &Path) {
        let bytes = self.store.disk.read_all(path).unwrap_or_default();
        // Behind the written part there are only zeros: one cut there, and one at the very end.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        for left in (0..=used).chain([bytes.len().saturating_sub(1)]).filter(|left| *left < bytes.len()) {
            self.tally.add("cuts", 1);
            self.examine(path, &format!("the first {left} bytes"), bytes.len(), |disk| {
                let _ = disk.overwrite(path, &bytes[..left]);
            });
        }
    }

    fn remove(&mut self, path: &Path) {
        self.tally.add("files_deleted", 1);
        self.examine(path, "its absence", 0, |disk| {
            let _ = disk.remove_durably(path);
        });
    }

    /// A copy under another number: an orphan, or another segment of the log.
    fn double(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_string();
        let copy: String = name.replacen("0000", "0009", 1);
        if copy == name {
            return;
        }
        let bytes = self.store.disk.read_all(path).unwrap_or_default();
        self.tally.add("files_doubled", 1);
        self.examine(path, &format!("a copy as {copy}"), 2 * bytes.len(), |disk| {
            let _ = disk.overwrite(Path::new(DIR).join(&copy), &bytes);
        });
    }

    fn swap(&mut self, path: &Path, other: &Path) {
        let [first, second] = [path, other].map(|path| self.store.disk.read_all(path).unwrap_or_default());
        self.tally.add("files_swapped", 1);
        let limit = first.len() + second.len();
        self.examine(path, &format!("swapped with {}", other.display()), limit, |disk| {
            let _ = disk.overwrite(path, &second);
            let _ = disk.overwrite(other, &first);
        });
    }

    /// Damages a copy of the store, and judges what it says.
    fn examine(&mut self, path: &Path, what: &str, file_bytes: usize, damage: impl FnOnce(&SimFs)) {
        let (memory, outcome) = self.read_copy(damage);
        let place = format!("seed {}, {what} of {}", self.seed, path.display());
        match outcome {
            Ok(Outcome::Reported) => self.tally.add("reported", 1),
            Ok(Outcome::Right) => self.tally.add("without_effect", 1),
            Err(detail) => self.tally.violation(format!("{place}: {detail:?}")),
        }
        let more = memory.saturating_sub(self.memory);
        self.tally.raise("max_extra_bytes", more);
        if more > file_bytes as u64 + SLACK_BYTES {
            self.tally.violation(format!("{place}: {more} bytes more were allocated at once"));
        }
    }

    /// Reads a damaged copy. The first number is the most memory that was in use.
    fn read_copy(&self, damage: impl FnOnce(&SimFs)) -> (u64, Result<Outcome, Wrong>) {
        // Nothing is open here, so the death of nobody is a plain copy.
        let copy = self.store.disk.crash(CrashPolicy::ProcessDeath, 0);
        damage(&copy);
        let mut outcome = Ok(Outcome::Right);
        let memory = allocation_counter::measure(|| {
            let read = || read_all(&self.store, &copy);
            outcome = catch_unwind(AssertUnwindSafe(read))
                .unwrap_or_else(|panic| Err(Wrong::Panic(crate::panic_text(&*panic))));
        });
        (memory.bytes_max, outcome)
    }
}

/// What must not come of damage.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wrong {
    /// An answer that is not the model's.
    Answer(String),
    /// An error that names no file of the store.
    Unnamed(String),
    Panic(String),
}

fn named(error: &Error) -> Result<Outcome, Wrong> {
    let is_named = match error {
        Error::Corruption { path, .. }
        | Error::UnsupportedVersion { path, .. }
        | Error::NotAStore { path, .. }
        | Error::Io { path, .. } => path.starts_with(DIR),
        _ => false,
    };
    if is_named { Ok(Outcome::Reported) } else { Err(Wrong::Unnamed(format!("{error:?}"))) }
}

/// Reads all there is, each key by itself and all in order.
fn read_all(store: &Store, disk: &SimFs) -> Result<Outcome, Wrong> {
    match store.open(disk) {
        Ok(db) => {
            let outcome = read_store(store, &db);
            // What a close would write is of no interest.
            disk.stop_at(0);
            outcome
        }
        Err(error) => named(&error),
    }
}

/// After the death of a process, the last record of a lane cannot be told from one that was being written: if that is
/// damaged, the state before it is right as well.
fn read_store(store: &Store, db: &Db) -> Result<Outcome, Wrong> {
    read_state(&store.keyspaces, db).or_else(|wrong| {
        let before = store.before_unsynced.as_ref().filter(|_| matches!(wrong, Wrong::Answer(_)));
        before.map_or(Err(wrong), |before| read_state(before, db))
    })
}

fn read_state(keyspaces: &Keyspaces, db: &Db) -> Result<Outcome, Wrong> {
    let mut outcome = Outcome::Right;
    for (name, model) in keyspaces {
        let Some(keyspace) = db.find_keyspace(name) else {
            return Err(Wrong::Answer(format!("keyspace {name} is lost")));
        };
        for key in Store::keys() {
            match keyspace.get(&key) {
                Ok(found) if found.as_deref() == model.get(&key).map(|value| &value[..]) => {}
                Ok(found) => {
                    let found = found.map(|value| value.len());
                    return Err(Wrong::Answer(format!("{} has {found:?} bytes", key.escape_ascii())));
                }
                Err(error) => outcome = named(&error)?,
            }
        }
        let entries: Result<Model, Error> =
            keyspace.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect();
        match entries {
            Ok(found) if found == *model => {}
            Ok(found) => {
                let detail = format!("a scan finds {} of {} entries", found.len(), model.len());
                return Err(Wrong::Answer(detail));
            }
            Err(error) => outcome = named(&error)?,
        }
    }
    Ok(outcome)
}

/// The files of a disk that count: all but the lock and log segments that are kept for reuse.
fn counting_files(disk: &SimFs) -> Vec<PathBuf> {
    let counts =
        |path: &PathBuf| !is_called(path, "LOCK") && path.extension().is_none_or(|end| end != "spare");
    disk.paths().into_iter().filter(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sweep that misses damage would prove nothing.
    #[test]
    fn a_wrong_answer_a_lost_keyspace_and_a_hungry_reader_are_noticed() {
        let mut store = Store::new(1);
        let disk = store.disk.crash(CrashPolicy::ProcessDeath, 0);
        assert_eq!(read_all(&store, &disk), Ok(Outcome::Right));
        let disk = store.disk.crash(CrashPolicy::ProcessDeath, 0);
        store.keyspaces.values_mut().for_each(|model| {
            model.insert(b"key000".to_vec(), b"never written".to_vec());
        });
        assert!(matches!(read_all(&store, &disk), Err(Wrong::Answer(_))));
        let mut sweep = Sweep { seed: 1, memory: 0, store: Store::new(1), tally: Tally::default() };
        sweep.examine(Path::new(DIR), "nothing", 0, |_| {});
        assert_eq!(sweep.tally.violations(), 1, "an opening that takes more than nothing");
    }
}
