//! `terrace verify`: every checksum and every invariant of a store that nobody has open.

use std::path::PathBuf;

use anyhow::Result;
use terrace::StoreFiles;

use crate::exit::{self, Code};
use crate::progress::FileBar;
use crate::units;

/// Flags of `verify`.
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// The directory of a store that no process has open.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Code> {
        let bar = FileBar::start();
        let outcome = StoreFiles::new(&self.dir).verify(|progress| bar.show(progress));
        bar.finish();
        let outcome = outcome.map_err(exit::explain_files)?;
        for finding in &outcome.findings {
            println!("{finding}");
        }
        for note in &outcome.notes {
            println!("note: {note}");
        }
        let verdict = match outcome.findings.len() {
            0 => "sound".to_string(),
            1 => "1 finding; `terrace repair` salvages what is sound".to_string(),
            n => format!("{n} findings; `terrace repair` salvages what is sound"),
        };
        let blobs = match outcome.blobs {
            0 => String::new(),
            n => format!(", {} blob files ({})", units::grouped(n), units::bytes(outcome.blob_bytes)),
        };
        println!(
            "checked {} tables ({}, {} entries){blobs} and {} log segments ({} records): {verdict}",
            units::grouped(outcome.tables),
            units::bytes(outcome.table_bytes),
            units::grouped(outcome.entries),
            outcome.segments,
            units::grouped(outcome.log_records),
        );
        Ok(if outcome.is_sound() { Code::Done } else { Code::Difference })
    }
}
