//! The sixteen numbered databases over the store's keyspaces.
//!
//! Database 0 is the default keyspace, so the library reads what the server wrote; 1 to 15 are keyspaces
//! named `db1` to `db15`, created by their first write. A handle, once found, stays good: clearing a database
//! keeps its keyspace.

use std::sync::OnceLock;

use terrace::{Db, Keyspace, Result};

/// The number of databases.
pub(crate) const COUNT: u8 = 16;

const NAMES: [&str; COUNT as usize] = [
    "default", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "db11", "db12", "db13",
    "db14", "db15",
];

/// The databases.
pub(crate) struct Databases {
    db: Db,
    spaces: [OnceLock<Keyspace>; COUNT as usize],
}

impl Databases {
    /// The databases of a store.
    pub(crate) fn new(db: Db) -> Self {
        let spaces: [OnceLock<Keyspace>; COUNT as usize] = Default::default();
        let _ = spaces[0].set((*db).clone());
        Self { db, spaces }
    }

    /// A database, if anything was ever written to it.
    pub(crate) fn find(&self, index: u8) -> Option<&Keyspace> {
        let slot = &self.spaces[usize::from(index)];
        if let Some(found) = slot.get() {
            return Some(found);
        }
        let found = self.db.find_keyspace(NAMES[usize::from(index)])?;
        Some(slot.get_or_init(|| found))
    }

    /// A database, created if need be.
    pub(crate) fn create(&self, index: u8) -> Result<&Keyspace> {
        if let Some(found) = self.find(index) {
            return Ok(found);
        }
        let created = self.db.keyspace(NAMES[usize::from(index)])?;
        Ok(self.spaces[usize::from(index)].get_or_init(|| created))
    }

    /// The store.
    pub(crate) fn store(&self) -> &Db {
        &self.db
    }
}
