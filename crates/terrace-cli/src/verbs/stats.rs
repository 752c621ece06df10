//! `terrace stats`: the store's figures.

use std::io::{self, Write as _};

use anyhow::Result;

use crate::exit::Code;
use crate::figures;
use crate::store::{Access, Target};

/// Flags of `stats`.
#[derive(clap::Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    target: Target,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(self) -> Result<Code> {
        let mut store = self.target.open(Access::Read)?;
        let stats = store.stats()?;
        store.close()?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{stats}")?;
        } else {
            write!(out, "{}", figures::to_text(&stats))?;
        }
        Ok(Code::Done)
    }
}
