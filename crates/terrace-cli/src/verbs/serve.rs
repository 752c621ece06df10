//! `terrace serve`.
use crate::exit::Code;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Serve {}
impl Serve {
    pub(crate) fn run(self) -> Result<Code> {
        let _ = crate::memory::default_budget();
        Ok(Code::Done)
    }
}
