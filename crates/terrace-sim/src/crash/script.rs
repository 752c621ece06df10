//! The script of a crash run: a fixed list of steps, and what the store should hold after each write.
//!
//! One seed gives one script, whatever the store's durability. Writes (single ones and batches) are numbered;
//! so are the states of the keyspace registry, which has a log of its own in the engine: a keyspace operation
//! is durable when it returns, writes before it need not be. A keyspace that is cleared or created anew is a
//! new *incarnation*, with entries of its own.

use std::collections::BTreeMap;

use terrace::SeededRng;

/// The keyspace that every store has.
const DEFAULT: &str = "default";
/// One that is cleared now and then.
const SIDE: &str = "side";
/// One that comes and goes.
const PASSING: &str = "passing";
/// Different keys per keyspace, so that writes meet older ones in tables and memtables.
const KEYS: u64 = 90;
/// Manifest edits name the first and last key of each table; with keys of this length a few flushes make the
/// manifest outgrow its file.
const LONG_KEY_BYTES: usize = 11_000;

/// One entry of a write.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) keyspace: &'static str,
    /// Which life of the keyspace.
    pub(super) incarnation: u32,
    pub(super) key: Vec<u8>,
    /// Names the value (see [`value`]); `None` deletes.
    pub(super) id: Option<u64>,
}

/// One thing that the run does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Opens the store.
    Open,
    /// Writes one entry, or several as a batch; durably if `raised`.
    Write {
        cells: Vec<Cell>,
        raised: bool,
    },
    /// Deletes the keys from the first to the last of `cells`, all of them deletes, by one marker.
    DeleteRange {
        cells: Vec<Cell>,
    },
    Create(&'static str),
    Drop(&'static str),
    Clear(&'static str),
    Flush,
    CompactAll,
    CompactRange,
    Sync,
    Close,
}

/// Incarnations of the keyspaces that exist, by name.
pub(super) type Registry = BTreeMap<String, u32>;

/// The steps, and what they amount to.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// The cells of every write, in order.
    pub(super) writes: Vec<Vec<Cell>>,
    /// The registry before the first keyspace operation and after each.
    pub(super) registries: Vec<Registry>,
}

/// The value that `id` stands for: the id and a tail that follows from it.
pub(super) fn value(id: u64) -> Vec<u8> {
    let rng = SeededRng::new(id);
    let words = match rng.below(10) {
        0 => 0,
        1 => 900,
        _ => 30 + rng.below(500),
    };
    let mut bytes = id.to_le_bytes().to_vec();
    let mut word = id | 1;
    for _ in 0..words {
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The id of a value, if every byte of it is as [`value`] makes it.
pub(super) fn id_of(bytes: &[u8]) -> Option<u64> {
    let id = u64::from_le_bytes(*bytes.first_chunk()?);
    (value(id) == bytes).then_some(id)
}

impl Script {
    /// The script of `seed`. `length` is the number of writes per chapter, of which there are six.
    pub(super) fn new(seed: u64, length: u64) -> Self {
        let mut writer = ScriptWriter::new(seed);
        writer.step(Step::Open);
        writer.create(SIDE);
        writer.writes(length);
        writer.step(Step::Flush);
        writer.writes(length / 2);
        writer.create(PASSING);
        writer.writes(length / 2);
        writer.step(Step::Sync);
        writer.long_keys();
        writer.clear(SIDE);
        writer.writes(length);
        writer.step(Step::CompactAll);
        writer.long_keys();
        writer.writes(length);
        writer.drop_passing();
        writer.step(Step::Close);
        writer.step(Step::Open);
        writer.writes(length / 2);
        writer.create(PASSING);
        writer.step(Step::Flush);
        writer.writes(length / 2);
        writer.long_keys();
        writer.step(Step::CompactRange);
        writer.step(Step::Sync);
        writer.clear(DEFAULT);
        writer.writes(length);
        writer.step(Step::Close);
        writer.script
    }
}

fn key(n: u64) -> Vec<u8> {
    format!("key{n:03}").into_bytes()
}

struct ScriptWriter {
    rng: SeededRng,
    script: Script,
    registry: Registry,
    incarnations: u32,
    next_id: u64,
}

impl ScriptWriter {
    fn new(seed: u64) -> Self {
        let registry = Registry::from([(DEFAULT.to_string(), 0)]);
        let registries = vec![registry.clone()];
        let script = Script { steps: Vec::new(), writes: Vec::new(), registries };
        Self { rng: SeededRng::new(seed), script, registry, incarnations: 0, next_id: 1 }
    }

    fn step(&mut self, step: Step) {
        self.script.steps.push(step);
    }

    fn register(&mut self, step: Step) {
        self.step(step);
        self.script.registries.push(self.registry.clone());
    }

    fn begin_life(&mut self, name: &str) {
        self.incarnations += 1;
        self.registry.insert(name.to_string(), self.incarnations);
    }

    fn create(&mut self, name: &'static str) {
        self.begin_life(name);
        self.register(Step::Create(name));
    }

    fn clear(&mut self, name: &'static str) {
        self.begin_life(name);
        self.register(Step::Clear(name));
    }

    fn drop_passing(&mut self) {
        self.registry.remove(PASSING);
        self.register(Step::Drop(PASSING));
    }

    fn writes(&mut self, count: u64) {
        for _ in 0..count {
            if self.rng.chance(4) {
                self.delete_range();
                continue;
            }
            let cells = if self.rng.chance(25) { 2 + self.rng.below(6) } else { 1 };
            let cells = (0..cells).map(|_| self.cell()).collect();
            let raised = self.rng.chance(3);
            self.write(cells, raised);
        }
    }

    fn delete_range(&mut self) {
        let Cell { keyspace, incarnation, .. } = self.cell();
        let first = self.rng.below(KEYS);
        let last = (first + self.rng.below(20)).min(KEYS - 1);
        let cell = |n| Cell { keyspace, incarnation, key: key(n), id: None };
        let cells: Vec<Cell> = (first..=last).map(cell).collect();
        self.script.writes.push(cells.clone());
        self.step(Step::DeleteRange { cells });
    }

    fn write(&mut self, cells: Vec<Cell>, raised: bool) {
        self.script.writes.push(cells.clone());
        self.step(Step::Write { cells, raised });
    }

    /// Keys before and behind all others, so that they become the bounds of tables.
    fn long_keys(&mut self) {
        for fill in [b'a', b'z'] {
            let id = self.new_id();
            let cell = Cell {
                keyspace: DEFAULT,
                incarnation: self.registry[DEFAULT],
                key: vec![fill; LONG_KEY_BYTES],
                id: Some(id),
            };
            self.write(vec![cell], false);
        }
        self.step(Step::Flush);
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn cell(&mut self) -> Cell {
        let passing = self.registry.contains_key(PASSING);
        let keyspace = match self.rng.below(10) {
            0..=2 => SIDE,
            3..=4 if passing => PASSING,
            _ => DEFAULT,
        };
        let key = key(self.rng.below(KEYS));
        let id = if self.rng.chance(20) { None } else { Some(self.new_id()) };
        Cell { keyspace, incarnation: self.registry[keyspace], key, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_script() {
        let [first, second, other] = [3, 3, 4].map(|seed| format!("{:?}", Script::new(seed, 10)));
        assert_eq!(first, second);
        assert_ne!(first, other);
    }

    #[test]
    fn a_damaged_value_has_no_id() {
        let good = value(77);
        assert_eq!(id_of(&good), Some(77));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert_eq!(id_of(&bad), None, "byte {at}");
        }
        assert_eq!(id_of(&good[..good.len() - 1]), None);
        assert_eq!(id_of(b""), None);
    }
}
