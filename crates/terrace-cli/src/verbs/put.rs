//! `terrace put`: sets one key.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::codec::Record;
use crate::exit::{Code, Failure};
use crate::store::{Access, Target};
use crate::units;

/// Flags of `put`.
#[derive(clap::Args)]
pub(crate) struct Put {
    #[command(flatten)]
    target: Target,
    /// The key.
    key: OsString,
    /// The value; `-` reads it from standard input.
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// The entry disappears after this time: 500ms, 30s, 5m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    ttl: Option<Duration>,
}

impl Put {
    pub(crate) fn run(self) -> Result<Code> {
        let key = self.target.bytes(&self.key)?;
        let value = if self.value == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            bytes
        } else {
            self.target.bytes(&self.value)?
        };
        let expires_at_ms = self.ttl.map(expiry_of).transpose()?;
        let record = Record { key, value, expires_at_ms, ..Record::default() };
        let record = record.check().map_err(|e| Failure::error(Code::Usage, e))?;
        let mut store = self.target.open(Access::Create)?;
        store.write(&[record])?;
        store.close()?;
        Ok(Code::Done)
    }
}

/// The time of expiry in milliseconds since the Unix epoch.
fn expiry_of(ttl: Duration) -> Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    let at = now.checked_add(ttl).and_then(|at| u64::try_from(at.as_millis()).ok());
    at.ok_or_else(|| Failure::error(Code::Usage, "--ttl is too long"))
}
