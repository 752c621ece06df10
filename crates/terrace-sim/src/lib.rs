//! Checking Terrace against a model: random workloads, simulated crashes, planted bugs. Tests only.
//!
//! - [`model`]: what a store should hold, as plain maps;
//! - [`workload`]: random operations applied to a store and its model, answers compared;
//! - [`crash`]: a small workload cut at every operation of the file system, under every kind of loss;
//! - [`hooks`]: threads held at a call of the file system, to force an interleaving.

pub mod crash;
pub mod hooks;
pub mod model;
pub mod workload;
