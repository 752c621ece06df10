//! The comparison: the same workload on Terrace and on its peers, side by side in one run.
//!
//! [`compare`] is the parent. For every [`Case`] it starts one child process per store and round, A B C A B C, so
//! that whatever else the machine does falls on all of them alike, and collects a [`Record`] from each. A child
//! ([`run_one`]) opens one store, does one workload, and checks what it wrote. [`Summary`] makes medians of the
//! records, and `markdown` and `chart` show them.

mod case;
mod chart;
mod child;
mod markdown;
mod parent;
mod preset;
mod record;
mod summary;
mod team;
mod work;

pub use case::{Case, Task};
pub use chart::chart;
pub use child::{Run, run_one};
pub use markdown::markdown;
pub use parent::{Plan, compare};
pub use preset::{issue, quick};
pub use record::{Record, read_records};
pub use summary::Summary;
