//! The model: what a store should hold, as plain maps.

use std::collections::BTreeMap;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The value.
    pub value: Vec<u8>,
    /// The caller's tag.
    pub tag: u8,
    /// Expiry in milliseconds since the epoch; 0 for none.
    pub expires_at_ms: u64,
}

/// The entries of one keyspace.
pub type Cells = BTreeMap<Vec<u8>, Cell>;

/// One thing that a write changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// An entry is stored, or removed.
    Set(String, Vec<u8>, Option<Cell>),
    /// An operand is appended to what the entry is at this time.
    Append {
        /// The keyspace's name.
        keyspace: String,
        /// The key.
        key: Vec<u8>,
        /// What is appended.
        operand: Vec<u8>,
        /// When, in milliseconds since the epoch.
        now_ms: u64,
    },
    /// A keyspace is made.
    Create(String),
    /// A keyspace goes, with everything in it.
    Drop(String),
    /// A keyspace loses everything in it.
    Clear(String),
}

impl Change {
    /// Keyspace and key, if it changes one entry.
    pub fn entry(&self) -> Option<(&str, &[u8])> {
        match self {
            Self::Set(keyspace, key, _) | Self::Append { keyspace, key, .. } => Some((keyspace, key)),
            Self::Create(_) | Self::Drop(_) | Self::Clear(_) => None,
        }
    }
}

/// A whole store, and what was changed since somebody last asked.
///
/// A workload changes the model *before* the store. When the store fails in between, the changes noted are those
/// that may or may not have happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    /// Keyspaces by name.
    pub keyspaces: BTreeMap<String, Cells>,
    /// What operands make of a value that expires below them: from when on, and the entry. Counts only where there
    /// is a cell.
    later: BTreeMap<(String, Vec<u8>), (u64, Cell)>,
    changes: Vec<Change>,
}

impl Model {
    /// A new store: one keyspace, empty.
    pub fn new() -> Self {
        let keyspaces = BTreeMap::from([("default".to_string(), Cells::new())]);
        Self { keyspaces, later: BTreeMap::new(), changes: Vec::new() }
    }

    /// What was changed since this was last asked, oldest first.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Makes a change, and notes it.
    pub fn change(&mut self, change: Change) {
        self.apply(&change);
        self.changes.push(change);
    }

    /// Makes a change without noting it.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Set(keyspace, key, cell) => self.put(keyspace, key, cell.clone()),
            Change::Append { keyspace, key, operand, now_ms } => {
                self.append_now(keyspace, key, operand, *now_ms);
            }
            Change::Create(name) => {
                self.keyspaces.entry(name.clone()).or_default();
            }
            Change::Drop(name) => {
                self.keyspaces.remove(name);
            }
            Change::Clear(name) => {
                self.keyspaces.insert(name.clone(), Cells::new());
            }
        }
    }

    fn put(&mut self, keyspace: &str, key: &[u8], cell: Option<Cell>) {
        self.later.remove(&(keyspace.to_string(), key.to_vec()));
        let Some(cells) = self.keyspaces.get_mut(keyspace) else { return };
        match cell {
            Some(cell) => cells.insert(key.to_vec(), cell),
            None => cells.remove(key),
        };
    }

    /// Stores an entry, or removes it if `cell` is `None`.
    pub fn set(&mut self, keyspace: &str, key: &[u8], cell: Option<Cell>) {
        self.change(Change::Set(keyspace.to_string(), key.to_vec(), cell));
    }

    /// Merges an operand by appending it.
    pub fn append(&mut self, keyspace: &str, key: &[u8], operand: &[u8], now_ms: u64) {
        let (keyspace, key, operand) = (keyspace.to_string(), key.to_vec(), operand.to_vec());
        self.change(Change::Append { keyspace, key, operand, now_ms });
    }

    /// Removes the entries of a keyspace with keys in `low..high`.
    pub fn delete_range(&mut self, keyspace: &str, low: &[u8], high: Option<&[u8]>) {
        let Some(cells) = self.keyspaces.get(keyspace) else { return };
        let inside = |key: &&Vec<u8>| &key[..] >= low && high.is_none_or(|high| &key[..] < high);
        let keys: Vec<Vec<u8>> = cells.keys().filter(inside).cloned().collect();
        for key in keys {
            self.set(keyspace, &key, None);
        }
    }

    /// The live entry of a key.
    pub fn get(&self, keyspace: &str, key: &[u8], now_ms: u64) -> Option<&Cell> {
        let cell = self.keyspaces.get(keyspace)?.get(key)?;
        Some(self.by_now(keyspace, key, cell, now_ms)).filter(|cell| is_live(cell, now_ms))
    }

    fn by_now<'a>(&'a self, keyspace: &str, key: &[u8], cell: &'a Cell, now_ms: u64) -> &'a Cell {
        if self.later.is_empty() {
            return cell;
        }
        let later = self.later.get(&(keyspace.to_string(), key.to_vec()));
        later.filter(|(at, _)| *at <= now_ms).map_or(cell, |(_, later)| later)
    }

    fn append_now(&mut self, keyspace: &str, key: &[u8], operand: &[u8], now_ms: u64) {
        let fresh = Cell { value: operand.to_vec(), tag: 0, expires_at_ms: 0 };
        let Some(mut cell) = self.get(keyspace, key, now_ms).cloned() else {
            return self.put(keyspace, key, Some(fresh));
        };
        let id = (keyspace.to_string(), key.to_vec());
        let mut later = self.later.remove(&id).filter(|(at, _)| *at > now_ms);
        if let Some((_, later)) = &mut later {
            later.value.extend_from_slice(operand);
        } else if cell.expires_at_ms != 0 {
            later = Some((cell.expires_at_ms, fresh));
        }
        cell.value.extend_from_slice(operand);
        cell.expires_at_ms = 0;
        self.put(keyspace, key, Some(cell));
        self.later.extend(later.map(|later| (id, later)));
    }

    /// The live entries of a keyspace with keys in `low..high`, in order.
    pub fn range(
        &self,
        keyspace: &str,
        low: &[u8],
        high: Option<&[u8]>,
        now_ms: u64,
    ) -> Vec<(Vec<u8>, Cell)> {
        let Some(cells) = self.keyspaces.get(keyspace) else { return Vec::new() };
        let inside =
            cells.range(low.to_vec()..).take_while(|(key, _)| high.is_none_or(|high| &key[..] < high));
        let by_now = inside.map(|(key, cell)| (key, self.by_now(keyspace, key, cell, now_ms)));
        by_now.filter(|(_, cell)| is_live(cell, now_ms)).map(|(k, c)| (k.clone(), c.clone())).collect()
    }
}

/// Whether a reader at `now_ms` sees the entry.
pub fn is_live(cell: &Cell, now_ms: u64) -> bool {
    cell.expires_at_ms == 0 || cell.expires_at_ms > now_ms
}
