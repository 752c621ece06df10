//! `terrace serve`.
use anyhow::Result;
use crate::exit::Code;
#[derive(clap::Args)]
pub(crate) struct Serve {}
impl Serve { pub(crate) fn run(self) -> Result<Code> { let _ = crate::memory::default_budget(); Ok(Code::Done) } }
/// What an acknowledged write survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum DurabilityLevel {
    /// Nothing but a clean stop.
    Memory,
    /// A crash of the process.
    Process,
    /// As process, and a power loss costs at most one period.
    Interval,
    /// A power loss.
    Sync,
}
