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

/// A whole store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    /// Keyspaces by name.
    pub keyspaces: BTreeMap<String, Cells>,
    /// What operands make of a value that expires below them: from when on, and the entry. Counts only where there
    /// is a cell.
    later: BTreeMap<(String, Vec<u8>), (u64, Cell)>,
}

impl Model {
    /// A new store: one keyspace, empty.
    pub fn new() -> Self {
        Self { keyspaces: BTreeMap::from([("default".to_string(), Cells::new())]), later: BTreeMap::new() }
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

    /// Merges an operand by appending it.
    pub fn append(&mut self, keyspace: &str, key: &[u8], operand: &[u8], now_ms: u64) {
        let fresh = Cell { value: operand.to_vec(), tag: 0, expires_at_ms: 0 };
        let Some(mut cell) = self.get(keyspace, key, now_ms).cloned() else {
            return self.set(keyspace, key, Some(fresh));
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
        self.set(keyspace, key, Some(cell));
        self.later.extend(later.map(|later| (id, later)));
    }

    /// Stores an entry, or removes it if `cell` is `None`.
    pub fn set(&mut self, keyspace: &str, key: &[u8], cell: Option<Cell>) {
        self.later.remove(&(keyspace.to_string(), key.to_vec()));
        let Some(cells) = self.keyspaces.get_mut(keyspace) else { return };
        match cell {
            Some(cell) => cells.insert(key.to_vec(), cell),
            None => cells.remove(key),
        };
    }

    /// Removes the entries of a keyspace with keys in `low..high`.
    pub fn delete_range(&mut self, keyspace: &str, low: &[u8], high: Option<&[u8]>) {
        let Some(cells) = self.keyspaces.get_mut(keyspace) else { return };
        cells.retain(|key, _| &key[..] < low || high.is_some_and(|high| &key[..] >= high));
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
