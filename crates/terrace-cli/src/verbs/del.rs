//! `terrace del`: removes keys and says how many there were.

use std::ffi::OsString;

use anyhow::Result;

use crate::exit::Code;
use crate::store::{Access, Target};

/// Flags of `del`.
#[derive(clap::Args)]
pub(crate) struct Del {
    #[command(flatten)]
    target: Target,
    /// The keys.
    #[arg(required = true)]
    keys: Vec<OsString>,
}

impl Del {
    pub(crate) fn run(self) -> Result<Code> {
        let keys = self.keys.iter().map(|key| self.target.bytes(key)).collect::<Result<Vec<_>>>()?;
        let mut store = self.target.open(Access::Existing)?;
        let removed = store.delete(&keys)?;
        store.close()?;
        println!("{removed}");
        Ok(Code::Done)
    }
}
