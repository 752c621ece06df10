//! Compaction: which tables to merge (`picker`, pure), how (`merge`, `visible`, `executor`).
//!
//! This layer decides and writes tables; it never touches the manifest and knows no store. Whoever calls it
//! holds the inputs and the locks, and installs the edit that comes back.

pub(crate) mod executor;
pub(crate) mod merge;
pub(crate) mod output;
pub(crate) mod picker;
#[cfg(test)]
mod testing;
pub(crate) mod visible;
pub(crate) mod whole;
