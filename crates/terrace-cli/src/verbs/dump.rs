//! `terrace dump`: what one file of a store holds, in words.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use terrace::StoreFiles;

use crate::exit::Code;

/// Flags of `dump`.
#[derive(clap::Args)]
pub(crate) struct Dump {
    /// A table, a segment of the log, a manifest or CURRENT; told by its content.
    file: PathBuf,
}

impl Dump {
    pub(crate) fn run(self) -> Result<Code> {
        let name = self.file.file_name().ok_or_else(|| anyhow!("{} names no file", self.file.display()))?;
        let dir = self.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut out = BufWriter::new(io::stdout().lock());
        let mut broken = None;
        let dumped = StoreFiles::new(dir).dump(&name.to_string_lossy(), &mut |line| {
            writeln!(out, "{line}").map_err(|error| {
                broken = Some(error);
                terrace::Error::Closed
            })
        });
        match broken {
            Some(error) => Err(error.into()),
            None => {
                dumped?;
                out.flush()?;
                Ok(Code::Done)
            }
        }
    }
}
