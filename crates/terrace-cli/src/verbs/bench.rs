//! `terrace bench`.
use crate::exit::Code;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Bench {}
impl Bench {
    pub(crate) fn run(self) -> Result<Code> {
        Ok(Code::Done)
    }
}
