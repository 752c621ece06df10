//! Which tables make up the store: runs, levels, versions, and the manifest that records every change.
//!
//! A version is immutable; an edit leads from one to the next, first in the manifest, then in memory. This
//! layer decides nothing about what to compact and deletes no file.

mod assembly;
mod blobs;
mod current;
mod edit;
mod history;
mod levels;
mod manifest;
pub(crate) mod names;
mod range_deletes;
mod run;
mod run_cursor;
mod state;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use assembly::Assembly;
pub(crate) use blobs::{Blobs, LiveBlob};
pub(crate) use current::{Presence, probe};
pub(crate) use edit::{Edit, LEVELS, Placed};
pub(crate) use history::History;
pub(crate) use levels::{Level, Version};
pub(crate) use manifest::Manifest;
pub(crate) use range_deletes::{RangeDeletes, is_needed_by};
pub(crate) use run::Run;
pub(crate) use run_cursor::{RunCursor, shared_prefix_bytes};
pub(crate) use state::{LiveKeyspaces, State};
