//! `terrace repair`: salvages what is sound of a damaged store into a new one.

use std::path::PathBuf;

use anyhow::Result;
use terrace::StoreFiles;

use crate::exit::{self, Code};
use crate::progress::FileBar;
use crate::units;

/// Flags of `repair`.
#[derive(clap::Args)]
pub(crate) struct Repair {
    /// The directory of the damaged store; it is only read.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The directory of the new store, which must be missing or empty.
    #[arg(long, value_name = "NEW")]
    to: PathBuf,
}

impl Repair {
    pub(crate) fn run(self) -> Result<Code> {
        let bar = FileBar::start();
        let outcome = StoreFiles::new(&self.dir).repair(&self.to, |progress| bar.show(progress));
        bar.finish();
        let salvage = outcome.map_err(exit::explain_files)?;
        for finding in &salvage.mended {
            println!("mended: {finding}");
        }
        for finding in &salvage.lost {
            println!("lost: {finding}");
        }
        for (first, last) in &salvage.missing_writes {
            println!("lost: the log does not have the writes {first} to {last}");
        }
        if salvage.manifest_rebuilt {
            println!("note: the manifest was rebuilt; what had been deleted or dropped last may be back");
        }
        for name in &salvage.renamed_keyspaces {
            println!("note: the name of a keyspace is lost; it is called {name:?} now");
        }
        println!(
            "salvaged {} entries in {} tables ({}) and {} log records into {}",
            units::grouped(salvage.entries),
            units::grouped(salvage.tables),
            units::bytes(salvage.bytes),
            units::grouped(salvage.log_records),
            self.to.display(),
        );
        let all = salvage.lost.is_empty() && salvage.missing_writes.is_empty();
        Ok(if all { Code::Done } else { Code::Difference })
    }
}
