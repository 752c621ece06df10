//! Instruction counts of the hot paths, and a guard against their growth.
//!
//! Times on a shared machine say little about a change of five per cent; the number of instructions that an
//! operation takes says it exactly. [`Path`] is an operation that can be done any number of times in one thread, in
//! the same way every time. [`count`] does it under valgrind, twice with different numbers, so that opening and
//! loading cancel out. [`Baseline`] is the committed result that later counts are compared with.

mod baseline;
mod count;
mod path;

pub use baseline::{Baseline, Verdict};
pub use count::{compiler, count, valgrind_works};
pub use path::Path;
