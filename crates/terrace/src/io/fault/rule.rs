//! Which calls fail, and how. Counting the calls is the wrapper's business.

use std::io;
use std::path::Path;

use rustix::io::Errno;

/// An operation that can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum FaultOp {
    /// Creating a file.
    Create,
    /// Opening a file for reading.
    OpenRead,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Opening or creating a log region.
    OpenRegion,
    /// Storing into a log region.
    RegionWrite,
    /// Syncing a file.
    Sync,
    /// Syncing a log region.
    RegionSync,
    /// Syncing a directory.
    SyncDir,
    /// Renaming; a rule matches either of the two paths.
    Rename,
    /// Giving a file a second name; a rule matches either of the two paths.
    Link,
    /// Removing a file.
    Remove,
    /// Listing a directory.
    List,
}

/// How an operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// An input/output error; nothing is done.
    Eio,
    /// No space left (`StorageFull`); nothing is done.
    Enospc,
    /// A write or store gets this many bytes through, then fails as `Eio`. Elsewhere the same as `Eio`.
    ShortWrite(usize),
    /// A sync fails as `Eio`, and the unsynced data of that file is lost as on a real kernel: readers still
    /// see it, but no later sync writes it. The loss needs [`FaultFs::over_sim`](super::FaultFs::over_sim).
    /// Elsewhere the same as `Eio`.
    FailedSync,
}

impl Fault {
    /// What the system would say.
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Enospc => Errno::NOSPC.into(),
            Self::Eio | Self::ShortWrite(_) | Self::FailedSync => Errno::IO.into(),
        }
    }
}

/// When and how an operation fails.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// The operation.
    pub op: FaultOp,
    /// Only calls whose path contains this. A file's path is the one it was opened under.
    pub path_contains: Option<String>,
    /// The matching call that fails, counted from 1 after the rule was added.
    pub nth: u64,
    /// Whether every later matching call fails too.
    pub and_later: bool,
    /// What happens then.
    pub fault: Fault,
}

impl FaultRule {
    /// The next `op` fails, once, whatever the path.
    pub fn new(op: FaultOp, fault: Fault) -> Self {
        Self { op, path_contains: None, nth: 1, and_later: false, fault }
    }

    /// Only paths that contain `part`.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.path_contains = Some(part.into());
        self
    }

    /// Only the `nth` matching call, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        (self.nth, self.and_later) = (nth, false);
        self
    }

    /// The `nth` matching call, counted from 1, and all later ones.
    #[must_use]
    pub fn from_nth(mut self, nth: u64) -> Self {
        (self.nth, self.and_later) = (nth, true);
        self
    }

    /// Whether the rule is about this call.
    pub(super) fn matches(&self, op: FaultOp, paths: &[&Path]) -> bool {
        let path_matches = |part: &String| paths.iter().any(|p| p.to_string_lossy().contains(part.as_str()));
        self.op == op && self.path_contains.as_ref().is_none_or(path_matches)
    }
}
