//! Workloads for the engine: what a put or get costs here, and whether everything put comes back.
//!
//! A run opens a store, does one [`Workload`] after another and reports each as one row: rate, latency
//! percentiles per operation, CPU time, memory, bytes on disk. Keys are a shuffle of `0..n` without repetition
//! (`keys`), and a value follows from its key (`values`), so that a scan can prove count, order and content.
//! Nothing here depends on a peer: figures of other stores are taken elsewhere.

mod config;
mod keys;
mod latency;
mod report;
mod resources;
mod run;
mod soak;
mod values;
mod verify;
mod workload;

pub use config::{Config, Workload};
pub use report::{Report, Row, print_json, print_table};
pub use run::run;
pub use soak::{Soak, soak};
