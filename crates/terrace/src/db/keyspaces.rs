//! The registry of keyspaces: names, numbers, and which numbers are alive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::base::{Error, KeyspaceId, Result};

/// The name of the keyspace that every store has.
pub(super) const DEFAULT_KEYSPACE: &str = "default";
/// The longest keyspace name, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 255;

/// Stands in the number's place once a keyspace was dropped.
const DROPPED: u32 = u32::MAX;

/// One keyspace; all its handles share this.
#[derive(Debug)]
pub(super) struct KeyspaceState {
    pub(super) name: String,
    id: AtomicU32,
}

impl KeyspaceState {
    /// Its current number, or `UnknownKeyspace` once it was dropped.
    #[inline]
    pub(super) fn id(&self) -> Result<KeyspaceId> {
        match self.id.load(Ordering::Acquire) {
            DROPPED => Err(Error::UnknownKeyspace { name: self.name.clone() }),
            id => Ok(KeyspaceId(id)),
        }
    }
}

/// All keyspaces of a store. A change becomes visible here after its edit is durable.
#[derive(Debug)]
pub(super) struct Keyspaces {
    /// Held by whoever creates, drops or clears one.
    pub(super) changing: Mutex<()>,
    by_name: RwLock<BTreeMap<String, Arc<KeyspaceState>>>,
}

impl Keyspaces {
    /// The keyspaces that recovery found.
    pub(super) fn new(found: impl IntoIterator<Item = (KeyspaceId, String)>) -> Self {
        let state = |id: KeyspaceId, name: &str| {
            Arc::new(KeyspaceState { name: name.to_string(), id: AtomicU32::new(id.0) })
        };
        let by_name = found.into_iter().map(|(id, name)| (name.clone(), state(id, &name))).collect();
        Self { changing: Mutex::new(()), by_name: RwLock::new(by_name) }
    }

    /// Finds one by name.
    pub(super) fn find(&self, name: &str) -> Option<Arc<KeyspaceState>> {
        self.by_name.read().get(name).cloned()
    }

    /// All names, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.by_name.read().keys().cloned().collect()
    }

    /// Adds a keyspace whose creation is durable.
    pub(super) fn add(&self, id: KeyspaceId, name: &str) -> Arc<KeyspaceState> {
        let state = Arc::new(KeyspaceState { name: name.to_string(), id: AtomicU32::new(id.0) });
        self.by_name.write().insert(name.to_string(), Arc::clone(&state));
        state
    }

    /// Removes a keyspace whose drop is durable; its handles fail from now on.
    pub(super) fn remove(&self, name: &str) {
        if let Some(state) = self.by_name.write().remove(name) {
            state.id.store(DROPPED, Ordering::Release);
        }
    }

    /// Gives a keyspace a new number, and so no entries.
    pub(super) fn renumber(&self, name: &str, id: KeyspaceId) {
        if let Some(state) = self.by_name.read().get(name) {
            state.id.store(id.0, Ordering::Release);
        }
    }
}

/// Checks a keyspace name.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let found = name.len();
        return Err(Error::invalid(format!(
            "a keyspace name takes 1 to {MAX_NAME_BYTES} bytes, not {found}"
        )));
    }
    Ok(())
}
