//! `terrace get`: the raw value on standard output.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;

use crate::codec::{Format, Layout, escape, writer};
use crate::exit::{Code, Failure};
use crate::store::{Access, Target};

/// The tag of the entries in which the server keeps what it knows about a hash; the fields are elsewhere.
const HASH_TAG: u8 = 1;

/// Flags of `get`.
#[derive(clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// The key.
    key: OsString,
    /// Print the entry as a JSON line, with its expiry and tag.
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(crate) fn run(self) -> Result<Code> {
        let key = self.target.bytes(&self.key)?;
        let mut store = self.target.open(Access::Read)?;
        let found = store.get(&key)?;
        store.close()?;
        let Some(record) = found else {
            eprintln!("terrace: no such key: {}", escape::escape(&key));
            return Ok(Code::Missing);
        };
        let mut out = io::stdout().lock();
        if self.json {
            let mut lines = writer(&mut out, &Layout::new(Format::Jsonl))?;
            lines.write(&record)?;
            lines.finish()?;
            return Ok(Code::Done);
        }
        if record.tag == HASH_TAG {
            let key = escape::escape(&key);
            let say =
                format!("key {key} is a hash of the server; read it there, with HGETALL, or see --json");
            return Err(Failure::error(Code::Data, say));
        }
        out.write_all(&record.value)?;
        if out.is_terminal() {
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(Code::Done)
    }
}
