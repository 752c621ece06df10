//! `terrace compact`: every table is merged down to the bottom level.

use anyhow::Result;

use crate::exit::Code;
use crate::store::{Access, Target};

/// Flags of `compact`.
#[derive(clap::Args)]
pub(crate) struct Compact {
    #[command(flatten)]
    target: Target,
}

impl Compact {
    pub(crate) fn run(self) -> Result<Code> {
        let mut store = self.target.open(Access::Existing)?;
        store.compact()?;
        store.close()?;
        Ok(Code::Done)
    }
}
