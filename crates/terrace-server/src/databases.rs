//! The sixteen numbered databases over the store's keyspaces.
//!
//! Database 0 is the default keyspace, so the library reads what the server wrote; 1 to 15 are keyspaces
//! named `db1` to `db15`, created by their first write. A handle, once found, stays good: clearing a database
//! keeps its keyspace. `SWAPDB` exchanges numbers, not data: which keyspace a number stands for is kept in a
//! keyspace of the server's own once it is not its own any more. The fields of a database's hashes are in a keyspace beside it, so that going through the
//! keys never meets them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use terrace::{Batch, Db, Keyspace, Result, WriteOptions};

use crate::hash::generation::{Dead, Generations};

/// The number of databases.
pub(crate) const COUNT: u8 = 16;

/// The number of keyspaces: the databases, then the fields of their hashes.
pub(crate) const SPACES: usize = 2 * COUNT as usize;

const NAMES: [&str; SPACES] = [
    "default",
    "db1",
    "db2",
    "db3",
    "db4",
    "db5",
    "db6",
    "db7",
    "db8",
    "db9",
    "db10",
    "db11",
    "db12",
    "db13",
    "db14",
    "db15",
    "hash-fields",
    "db1-hash-fields",
    "db2-hash-fields",
    "db3-hash-fields",
    "db4-hash-fields",
    "db5-hash-fields",
    "db6-hash-fields",
    "db7-hash-fields",
    "db8-hash-fields",
    "db9-hash-fields",
    "db10-hash-fields",
    "db11-hash-fields",
    "db12-hash-fields",
    "db13-hash-fields",
    "db14-hash-fields",
    "db15-hash-fields",
];

/// The most generations that are known to be dead and wait for the sweep; it finds the others by itself.
const MAX_DEAD: usize = 1 << 16;

/// The number of the keyspace with the fields of a database's hashes, for [`Databases::find`] and the like.
pub(crate) const fn fields_of(db: u8) -> u8 {
    db + COUNT
}

/// The databases.
pub(crate) struct Databases {
    db: Db,
    spaces: [OnceLock<Keyspace>; SPACES],
    /// Held shared by every commit of a client's writes and alone by what is about all keys: emptying a database,
    /// so that no field of a new hash falls between the emptying of the keys and that of the fields, and
    /// transactions with such commands.
    whole: RwLock<()>,
    /// The numbers of new generations of hashes.
    pub(crate) generations: Generations,
    dead: Mutex<Vec<Dead>>,
    /// How often each database was emptied or swapped.
    emptied: [AtomicU64; COUNT as usize],
    /// Which of [`NAMES`] each database has.
    order: [AtomicU8; COUNT as usize],
    /// How often databases were swapped.
    swaps: AtomicU64,
}

const ORDER_KEYSPACE: &str = "terrace-server";
const ORDER_KEY: &str = "databases";

/// The order in a store; each its own if the store has none.
fn stored_order(db: &Db) -> Option<[u8; COUNT as usize]> {
    let stored = db.find_keyspace(ORDER_KEYSPACE)?.get(ORDER_KEY).ok()??;
    let order: [u8; COUNT as usize] = stored.as_ref().try_into().ok()?;
    (0..COUNT).all(|name| order.contains(&name)).then_some(order)
}

impl Databases {
    /// The databases of a store.
    pub(crate) fn new(db: Db) -> Self {
        let spaces: [OnceLock<Keyspace>; SPACES] = Default::default();
        let _ = spaces[0].set((*db).clone());
        let (whole, generations, dead) = (RwLock::default(), Generations::default(), Mutex::default());
        let order = stored_order(&db).unwrap_or_else(|| std::array::from_fn(|name| name as u8));
        let (order, swaps) = (order.map(AtomicU8::new), AtomicU64::new(0));
        Self { db, spaces, whole, generations, dead, emptied: Default::default(), order, swaps }
    }

    /// A database (or, by [`fields_of`], its fields), if anything was ever written to it.
    pub(crate) fn find(&self, index: u8) -> Option<&Keyspace> {
        let name = self.name_of(index);
        let slot = &self.spaces[name];
        if let Some(found) = slot.get() {
            return Some(found);
        }
        let found = self.db.find_keyspace(NAMES[name])?;
        Some(slot.get_or_init(|| found))
    }

    /// A database, created if need be.
    pub(crate) fn create(&self, index: u8) -> Result<&Keyspace> {
        if let Some(found) = self.find(index) {
            return Ok(found);
        }
        let name = self.name_of(index);
        let created = self.db.keyspace(NAMES[name])?;
        Ok(self.spaces[name].get_or_init(|| created))
    }

    /// The place in [`NAMES`] of a database or its fields.
    fn name_of(&self, index: u8) -> usize {
        let name = self.order[usize::from(index % COUNT)].load(Ordering::Acquire);
        usize::from(name + index / COUNT * COUNT)
    }

    /// Exchanges two databases; durable when it returns. Nobody commits meanwhile, and what has read before and
    /// commits later meets a conflict by [`Databases::times_swapped`].
    pub(crate) fn swap(&self, one: u8, two: u8) -> Result<()> {
        let _alone = self.hold_alone();
        let mut order: [u8; COUNT as usize] =
            std::array::from_fn(|db| self.order[db].load(Ordering::Acquire));
        order.swap(usize::from(one), usize::from(two));
        let mut batch = self.batch();
        batch.put_in(&self.db.keyspace(ORDER_KEYSPACE)?, ORDER_KEY, order, WriteOptions::new());
        batch.commit()?;
        self.db.sync()?;
        self.swaps.fetch_add(1, Ordering::AcqRel);
        for db in [one, two] {
            self.order[usize::from(db)].store(order[usize::from(db)], Ordering::Release);
            self.note_emptied(db);
        }
        self.swaps.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// How often databases were swapped, counted before and after; odd while it goes on.
    pub(crate) fn times_swapped(&self) -> u64 {
        self.swaps.load(Ordering::Acquire)
    }

    /// Removes everything in a database: the keys, then the fields that nobody can reach any more.
    pub(crate) fn empty(&self, db: u8) -> Result<()> {
        let _alone = self.hold_alone();
        for space in [self.find(db), self.find(fields_of(db))].into_iter().flatten() {
            space.clear()?;
        }
        self.note_emptied(db);
        Ok(())
    }

    /// Notes that a database was emptied, or became another.
    pub(crate) fn note_emptied(&self, db: u8) {
        self.emptied[usize::from(db)].fetch_add(1, Ordering::AcqRel);
    }

    /// How often a database was emptied.
    pub(crate) fn times_emptied(&self, db: u8) -> u64 {
        self.emptied[usize::from(db)].load(Ordering::Acquire)
    }

    /// To be held across a commit of a client's writes.
    pub(crate) fn hold_shared(&self) -> RwLockReadGuard<'_, ()> {
        self.whole.read()
    }

    /// To be held by what must have all keys for itself.
    pub(crate) fn hold_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.whole.write()
    }

    /// Notes generations that no key leads to any more.
    pub(crate) fn bury(&self, dead: Vec<Dead>) {
        if !dead.is_empty() {
            let mut all = self.dead.lock();
            let room = MAX_DEAD - all.len();
            all.extend(dead.into_iter().take(room));
        }
    }

    /// Takes what was noted.
    pub(crate) fn take_dead(&self) -> Vec<Dead> {
        std::mem::take(&mut self.dead.lock())
    }

    /// The time by which the store judges expiry, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.db.now_ms()
    }

    /// An empty batch of writes. Its commit never waits for back-pressure, for it may happen on an event loop or under
    /// [`Databases::hold_shared`]; whoever adds much asks `Db::write_delay` before.
    pub(crate) fn batch(&self) -> Batch {
        let mut batch = self.db.batch();
        batch.without_delay();
        batch
    }

    /// The store.
    pub(crate) fn store(&self) -> &Db {
        &self.db
    }
}
