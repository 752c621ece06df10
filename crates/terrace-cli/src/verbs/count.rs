//! `terrace count`: how many entries there are.

use anyhow::Result;

use super::scan::KeyRange;
use crate::exit::Code;
use crate::store::{Access, Target};

/// Flags of `count`.
#[derive(clap::Args)]
pub(crate) struct Count {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    keys: KeyRange,
    /// The store's own estimate for all keys, in constant time.
    #[arg(long, conflicts_with_all = ["prefix", "from", "to"])]
    estimate: bool,
}

impl Count {
    pub(crate) fn run(self) -> Result<Code> {
        let range = self.keys.to_range(&self.target)?;
        let mut store = self.target.open(Access::Read)?;
        let count = if self.estimate { store.estimate()? } else { store.count(&range)? };
        store.close()?;
        println!("{count}");
        Ok(Code::Done)
    }
}
