//! The poison flag: once a write or sync of the log or manifest has failed, what is on disk is unknown, so
//! writes are refused until the store is reopened. Reads go on. A store that is opened to be read only is so from the
//! start.

use std::sync::{Arc, OnceLock};

use crate::base::{Error, Result};

/// Set once, never cleared.
#[derive(Debug, Default)]
pub(super) struct Poison {
    cause: OnceLock<Arc<Error>>,
}

impl Poison {
    /// `Error::Poisoned` if the store is poisoned, `Error::ReadOnly` if it never was to be written.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        match self.cause.get() {
            None => Ok(()),
            Some(cause) if matches!(**cause, Error::ReadOnly { .. }) => Err(Error::clone(cause)),
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
        }
    }

    /// Whether the store was opened to be read only.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self.check(), Err(Error::ReadOnly { .. }))
    }

    /// Poisons the store with `error` (the first one stays) and hands it back for the caller to return. A part
    /// that refuses work because it was poisoned itself passes its own cause on.
    pub(super) fn set(&self, error: Error) -> Error {
        let cause = match &error {
            Error::Poisoned { cause } => Arc::clone(cause),
            other => Arc::new(other.clone()),
        };
        let _ = self.cause.set(cause);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault tests found a store that was "poisoned because it was poisoned": the manifest had refused an
    /// edit with the cause it knew, and that refusal became the store's cause.
    #[test]
    fn the_cause_is_the_failure_itself() {
        let poison = Poison::default();
        let cause = Arc::new(Error::NotAnInteger("the failure".to_string()));
        poison.set(Error::Poisoned { cause });
        poison.set(Error::Closed);
        match poison.check() {
            Err(Error::Poisoned { cause }) => assert_eq!(cause.to_string(), "the failure"),
            other => panic!("{other:?}"),
        }
    }
}
