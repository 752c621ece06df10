//! Checking Terrace against a model: random workloads, simulated crashes, planted bugs. Tests only.
//!
//! - [`model`]: what a store should hold, as plain maps;
//! - [`workload`]: random operations applied to a store and its model, answers compared;
//! - [`crash`]: a small workload cut at every operation of the file system, under every kind of loss;
//! - [`spread`] and [`tally`]: many runs side by side, and what they report;
//! - [`hooks`]: threads held at a call of the file system, to force an interleaving.

pub mod crash;
pub mod hooks;
pub mod model;
pub mod spread;
pub mod tally;
pub mod workload;
