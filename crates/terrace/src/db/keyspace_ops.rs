//! Creating, dropping and clearing keyspaces: one manifest edit each, whatever the amount of data.

use std::sync::Arc;

use super::core::Core;
use super::keyspaces::{DEFAULT_KEYSPACE, KeyspaceState, check_name};
use crate::base::{Error, KeyspaceId, Result};
use crate::version::Edit;

impl Core {
    /// The keyspace of this name, created if there is none.
    pub(super) fn open_keyspace(&self, name: &str) -> Result<Arc<KeyspaceState>> {
        if let Some(found) = self.keyspaces.find(name) {
            return Ok(found);
        }
        check_name(name)?;
        self.check_open()?;
        let _one_at_a_time = self.keyspaces.changing.lock();
        if let Some(found) = self.keyspaces.find(name) {
            return Ok(found);
        }
        let id = self.new_keyspace_id();
        self.commit_edit(Edit { created: vec![(id, name.to_string())], ..Edit::default() }, None)?;
        Ok(self.keyspaces.add(id, name))
    }

    /// Drops a keyspace: its entries are unreachable at once, whole tables go now, the rest with compaction.
    pub(super) fn drop_keyspace(&self, name: &str) -> Result<()> {
        self.check_open()?;
        if name == DEFAULT_KEYSPACE {
            return Err(Error::invalid("the default keyspace cannot be dropped; clear it instead"));
        }
        let _one_at_a_time = self.keyspaces.changing.lock();
        let state = self.keyspaces.find(name).ok_or_else(|| Error::UnknownKeyspace { name: name.into() })?;
        self.commit_edit(Edit { dropped: vec![state.id()?], ..Edit::default() }, None)?;
        self.keyspaces.remove(name);
        // Batches that have seen the old number under their locks come before this.
        self.shards.writers_barrier();
        self.work.flushed();
        Ok(())
    }

    /// Empties a keyspace by giving it a new number.
    pub(super) fn clear_keyspace(&self, name: &str) -> Result<()> {
        self.check_open()?;
        let _one_at_a_time = self.keyspaces.changing.lock();
        let state = self.keyspaces.find(name).ok_or_else(|| Error::UnknownKeyspace { name: name.into() })?;
        let id = self.new_keyspace_id();
        let edit =
            Edit { dropped: vec![state.id()?], created: vec![(id, name.to_string())], ..Edit::default() };
        self.commit_edit(edit, None)?;
        self.keyspaces.renumber(name, id);
        self.shards.writers_barrier(); // As above.
        self.work.flushed();
        Ok(())
    }

    fn new_keyspace_id(&self) -> KeyspaceId {
        KeyspaceId(self.manifest.lock().state().next_keyspace_id)
    }
}
