//! The log of what was refused (`ACL LOG`): the same refusal again within a minute is counted, not repeated.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Refusals that are further apart are two entries.
const SAME_WITHIN_MS: u64 = 60_000;
/// So many of the newest entries are compared.
const COMPARED: usize = 10;

/// Why something was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// A wrong password, or a user that does not exist or is off.
    Auth,
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

impl Reason {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Counts up from 0; set by [`Log::add`].
    pub(crate) id: u64,
    /// How often; set by [`Log::add`].
    pub(crate) count: u64,
    /// Why.
    pub(crate) reason: Reason,
    /// Whether it happened in a transaction.
    pub(crate) in_multi: bool,
    /// What was wanted.
    pub(crate) object: Vec<u8>,
    /// By which user, or under which name.
    pub(crate) user: Vec<u8>,
    /// The client, as `CLIENT LIST` shows it.
    pub(crate) client: String,
    /// When it happened first.
    pub(crate) created_ms: u64,
    /// When it happened last.
    pub(crate) updated_ms: u64,
}

/// The log, newest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<VecDeque<Entry>>,
    next_id: AtomicU64,
}

impl Log {
    /// Adds a refusal; keeps `max` entries.
    pub(crate) fn add(&self, mut entry: Entry, max: usize) {
        let mut entries = self.entries.lock();
        let same = entries.iter().take(COMPARED).position(|known| {
            known.reason == entry.reason
                && known.in_multi == entry.in_multi
                && entry.updated_ms.saturating_sub(known.updated_ms) <= SAME_WITHIN_MS
                && known.object == entry.object
                && known.user == entry.user
        });
        match same.and_then(|at| entries.remove(at)) {
            Some(known) => {
                (entry.id, entry.count) = (known.id, known.count + 1);
                entry.created_ms = known.created_ms;
            }
            None => (entry.id, entry.count) = (self.next_id.fetch_add(1, Ordering::Relaxed), 1),
        }
        entries.push_front(entry);
        entries.truncate(max);
    }

    /// The newest entries.
    pub(crate) fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    /// Forgets them all.
    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}
