//! Checkpoints: an openable copy of the store as of one moment, made of hard links while writes go on.
//!
//! A moment is taken by flushing: then the state of the manifest says it all, and there is no log to copy. The
//! version of that moment is held for as long as its files are needed, which keeps them from being deleted.
//! How a half-made copy is kept from being taken for a store is the business of [`Assembly`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::core::Core;
use crate::base::{FileId, KeyspaceId, Result};
use crate::io::transfer;
use crate::version::{Assembly, State, Version};

/// The store as of one moment: what it consists of, and what keeps the files of that from being deleted.
pub(crate) struct Frozen {
    /// The sum of the manifest's edits. Everything up to its `flushed_seqno` is in its tables, nothing else is.
    pub(crate) state: State,
    /// Its tables.
    pub(crate) version: Arc<Version>,
}

impl Core {
    /// A moment that has everything acknowledged before the call, and nothing without what came before it.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        self.check_open()?;
        loop {
            let before = self.registry();
            self.flush_all()?;
            let manifest = self.manifest.lock();
            self.check_held()?;
            let mut state = manifest.state().clone();
            // A keyspace that was made or dropped after the flush is newer than writes that are not in tables yet.
            if before == (state.keyspaces.clone(), state.next_keyspace_id) {
                state.clock_ms = state.clock_ms.max(self.clock.now_ms());
                state.log_start = FileId(0);
                return Ok(Frozen { state, version: Arc::clone(&self.current().version) });
            }
        }
    }

    /// The keyspaces, and the first number that none of them has had.
    fn registry(&self) -> (BTreeMap<KeyspaceId, String>, u32) {
        let manifest = self.manifest.lock();
        (manifest.state().keyspaces.clone(), manifest.state().next_keyspace_id)
    }

    /// Makes a copy of the store in `dir`, which must be missing or empty.
    pub(super) fn checkpoint(&self, dir: &Path) -> Result<()> {
        let fs = &*self.env.fs;
        let assembly = Assembly::begin(&self.env.fs, dir)?;
        let frozen = self.freeze()?;
        for name in frozen.state.files() {
            let (from, to) = (self.dir.join(&name), assembly.place(&name));
            // Why there can be no link does not matter: the copy works, or says what is wrong.
            if fs.link(&from, &to).is_err() {
                transfer::copy(fs, &from, &to, &mut |_| ())?;
            }
        }
        assembly.finish(frozen.state)
    }
}
