//! `Handle`: what every `Db` and `Keyspace` shares; the last one to go closes the store.

use std::sync::Arc;

use super::core::Core;
use super::keyspace::Keyspace;
use super::keyspaces::KeyspaceState;
use super::options::Durability;
use super::types::WriteOptions;
use crate::base::{EntryMeta, Error, Kind, Result};

/// Shared by the handles of one store.
pub(super) struct Handle {
    pub(super) core: Arc<Core>,
    pub(super) default: Arc<KeyspaceState>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close_unattended();
    }
}

impl Handle {
    /// A handle to the keyspace that every store has.
    pub(super) fn default_keyspace(self: &Arc<Self>) -> Keyspace {
        Keyspace { handle: Arc::clone(self), state: Arc::clone(&self.default) }
    }

    /// The durability of a write: the store's own, or more if it asks for more.
    pub(super) fn raised(&self, asked: Option<Durability>) -> Durability {
        let own = self.core.options.durability;
        asked.filter(|asked| asked.rank() > own.rank()).unwrap_or(own)
    }

    /// Checks write options and turns them into the meta of a put.
    #[inline]
    pub(super) fn entry_meta(&self, options: &WriteOptions) -> Result<EntryMeta> {
        if options.tag > 15 {
            return Err(Error::invalid(format!("a tag takes 0 to 15, not {}", options.tag)));
        }
        let expires_at_ms = match (options.expires_at_ms, options.ttl) {
            (None, None) => 0,
            (Some(0), _) => return Err(Error::invalid("expires_at_ms is 0; it takes 1 or more")),
            (Some(at), _) => at,
            (None, Some(ttl)) => {
                let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                if ttl_ms == 0 {
                    return Err(Error::invalid("a TTL takes 1 ms or more; leave it out for none"));
                }
                self.core.clock.now_ms().saturating_add(ttl_ms)
            }
        };
        Ok(EntryMeta { kind: Kind::Put, tag: options.tag, expires_at_ms })
    }
}
