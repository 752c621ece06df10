//! `terrace flush`: everything written so far survives a power loss.
//!
//! On a directory what is in memory becomes tables; a server syncs its log, which promises the same sooner.

use anyhow::Result;

use crate::exit::Code;
use crate::store::{Access, Target};

/// Flags of `flush`.
#[derive(clap::Args)]
pub(crate) struct Flush {
    #[command(flatten)]
    target: Target,
}

impl Flush {
    pub(crate) fn run(self) -> Result<Code> {
        let mut store = self.target.open(Access::Existing)?;
        store.flush()?;
        store.close()?;
        Ok(Code::Done)
    }
}
