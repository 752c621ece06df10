//! Checking Terrace against a model: random workloads, simulated crashes, planted bugs. Tests only.
//!
//! - [`model`]: what a store should hold, as plain maps;
//! - [`workload`]: random operations applied to a store and its model, answers compared;
//! - [`simulation`]: the same on a machine that fails, deterministic down to the last byte;
//! - [`crash`]: a small workload cut at every operation of the file system, under every kind of loss;
//! - [`damage`]: every bit, every length, every file of small stores;
//! - [`errors`]: every call of every kind made to fail;
//! - [`metamorphic`]: the same operations under different options;
//! - [`linear`]: concurrent histories and the order that must be in them;
//! - [`kill`]: real processes that get SIGKILL;
//! - [`spread`] and [`tally`]: many runs side by side, and what they report;
//! - [`hooks`]: threads held at a call of the file system, to force an interleaving.

pub mod crash;
pub mod damage;
pub mod errors;
pub mod hooks;
pub mod kill;
pub mod linear;
pub mod metamorphic;
pub mod model;
pub mod simulation;
pub mod spread;
pub mod tally;
pub mod workload;

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_string()
}
