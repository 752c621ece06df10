//! Workloads for the engine: what a put or get costs here, and whether everything put comes back.
//!
//! A run opens a store, does one [`Workload`] after another and reports each as one row: rate, latency
//! percentiles per operation, CPU time, memory, bytes on disk. Keys are a shuffle of `0..n` without repetition
//! (`keys`), and a value follows from its key (`values`), so that a scan can prove count, order and content.
//! `terrace bench` shows this part.
//!
//! [`compare`] puts Terrace beside other stores, whose adapters are in [`store`]; each of them needs a feature of
//! this crate, and none is part of a default build. [`servers`] does the same with servers of the Redis protocol.

pub mod compare;
mod config;
mod format;
pub mod instructions;
mod keys;
mod latency;
mod report;
mod resources;
mod run;
pub mod servers;
mod soak;
mod spread;
pub mod store;
mod svg;
mod values;
mod verify;
mod workload;
mod zipf;

pub use config::{Config, Workload};
pub use report::{Report, Row, print_json, print_table};
pub use run::run;
pub use soak::{Soak, soak};
pub use zipf::Distribution;
