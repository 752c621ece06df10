//! The poison flag: once a write or sync of the log or manifest has failed, what is on disk is unknown, so
//! writes are refused until the store is reopened. Reads go on.

use std::sync::{Arc, OnceLock};

use crate::base::{Error, Result};

/// Set once, never cleared.
#[derive(Debug, Default)]
pub(super) struct Poison {
    cause: OnceLock<Arc<Error>>,
}

impl Poison {
    /// `Error::Poisoned` if the store is poisoned.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        match self.cause.get() {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
        }
    }

    /// Whether the store is poisoned.
    pub(super) fn is_set(&self) -> bool {
        self.cause.get().is_some()
    }

    /// Poisons the store with `error` (the first one stays) and hands it back for the caller to return.
    pub(super) fn set(&self, error: Error) -> Error {
        let _ = self.cause.set(Arc::new(error.clone()));
        error
    }
}
