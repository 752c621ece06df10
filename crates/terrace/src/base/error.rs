//! The one error type, sorted by what the caller should do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with what is needed to act on it.
///
/// [`Error::action`] sorts the variants by what to do: fix the input, retry, wait, free space, restore from
/// a backup, or reopen the store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside its limits; nothing was changed.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The named keyspace does not exist (or was dropped).
    #[error("unknown keyspace {name:?}; create it first")]
    UnknownKeyspace {
        /// The name that was asked for.
        name: String,
    },
    /// A key that the write depended on has changed since it was read; read again and retry.
    #[error("conflict: a key read by this write has changed since; read again and retry")]
    Conflict,
    /// An integer operation met a value that is not an integer or would leave its range.
    #[error("{0}")]
    NotAnInteger(String),
    /// The operands of a key make no value; overwrite or delete the key, or merge operands that make up for it.
    #[error("cannot merge key \"{key}\" by {operator:?}: {detail}")]
    Merge {
        /// The merge operator.
        operator: String,
        /// The key, escaped, its first 100 bytes at most.
        key: String,
        /// What the operator says.
        detail: String,
    },
    /// The store was written with a merge operator, and needs it to read (or merge) what was merged.
    #[error("the store's merge operator is {}, and {}; give it to Options::merge_operator",
        stored.as_ref().map_or_else(|| "unknown".to_string(), |name| format!("{name:?}")),
        given.as_ref().map_or_else(|| "none was given".to_string(), |name| format!("{name:?} was given")))]
    WrongMergeOperator {
        /// The name that the store remembers.
        stored: Option<String>,
        /// The name of the operator that it was opened with.
        given: Option<String>,
    },
    /// Another process (or another handle in this one) has the store open.
    #[error("{} is locked by process {}; close it there first", path.display(),
        pid.map_or_else(|| "unknown".to_string(), |p| p.to_string()))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id, when it could be read.
        pid: Option<u32>,
    },
    /// The disk is full; free some space and the store goes on.
    #[error("no space left while writing {}: {source}; free some space and retry", path.display())]
    Full {
        /// The file being written.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The system refused an operation.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file does not hold what was written to it. Nothing was changed.
    #[error("corruption in {} at byte {offset}: {detail}", path.display())]
    Corruption {
        /// The damaged file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What was expected and what was found.
        detail: String,
    },
    /// The file was written by another format version.
    #[error("{} has format version {found}; this build reads version {supported}", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that this build reads and writes.
        supported: u32,
    },
    /// The directory exists, is not empty, and is not a Terrace store.
    #[error("{} is not a Terrace store: {detail}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What was found in it.
        detail: String,
    },
    /// The store was opened to be read only.
    #[error("{} was opened to be read only; open it for writing, in one process at a time", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// The handle was closed.
    #[error("the store is closed")]
    Closed,
    /// A failed write or sync left the state on disk unknown: reads go on, writes are refused.
    #[error("writes are refused since an earlier failure ({cause}); reopen the store to clear it")]
    Poisoned {
        /// The failure that caused it.
        cause: Arc<Error>,
    },
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Change the argument, the option or the directory.
    FixInput,
    /// Do the same again; it may well succeed.
    Retry,
    /// Somebody else must let go first.
    Wait,
    /// Make room on the disk.
    FreeSpace,
    /// Look at the system: permissions, device, mount.
    CheckSystem,
    /// Restore from a backup, or salvage with the repair tool.
    Restore,
    /// Open the store again.
    Reopen,
}

impl Error {
    /// What the caller should do.
    pub fn action(&self) -> Action {
        match self {
            Self::InvalidInput(_)
            | Self::UnknownKeyspace { .. }
            | Self::NotAnInteger(_)
            | Self::Merge { .. }
            | Self::WrongMergeOperator { .. }
            | Self::NotAStore { .. }
            | Self::UnsupportedVersion { .. } => Action::FixInput,
            Self::Conflict => Action::Retry,
            Self::Locked { .. } => Action::Wait,
            Self::Full { .. } => Action::FreeSpace,
            Self::Io { .. } => Action::CheckSystem,
            Self::Corruption { .. } => Action::Restore,
            Self::Closed | Self::Poisoned { .. } | Self::ReadOnly { .. } => Action::Reopen,
        }
    }

    /// Wraps what the system said about `operation` on `path`; a full disk becomes [`Error::Full`].
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full { path, source: Arc::new(source) };
        }
        Self::Io { operation, path, source: Arc::new(source) }
    }

    /// A file that does not hold what it should.
    pub(crate) fn corruption(path: &Path, offset: u64, detail: impl Into<String>) -> Self {
        Self::Corruption { path: path.to_path_buf(), offset, detail: detail.into() }
    }

    /// An argument outside its limits.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::InvalidInput(detail.into())
    }
}

/// Adds the operation and the path to an `io::Result`.
pub(crate) trait IoContext<T> {
    /// Turns the `io::Error` into an [`Error`] that names `operation` (a verb) and `path`.
    fn at(self, operation: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(operation, path, source))
    }
}
