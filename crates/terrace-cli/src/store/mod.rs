//! Where a verb works: a closed directory or a running server, behind one small trait.
//!
//! [`Target`] is the command-line half (the flags), [`Store`] the working half. The two implementations differ
//! in one visible way: a directory knows tags and named keyspaces, a server knows database numbers.

mod dir;
mod range;
mod url;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::codec::{Record, escape};
use crate::exit::{Code, Failure};
pub(crate) use range::Range;

/// What the verb is going to do, which decides whether a store or keyspace may be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Read: nothing is changed, and another process may have the store open.
    Read,
    /// Delete, or reorganise what is there: neither store nor keyspace is created.
    Existing,
    /// Write: both are created when missing.
    Create,
}

/// The flags that say where the data is.
#[derive(clap::Args, Debug)]
pub(crate) struct Target {
    #[command(flatten)]
    place: Place,
    /// The keyspace to work in (with --dir).
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
    /// Keys and values in arguments use the escapes \\, \t, \n, \r and \xHH.
    #[arg(long)]
    escaped: bool,
}

/// The refusal to write a hash of the server into a file that has room for keys and values only.
fn refuse_hash(key: &[u8], instead: &str) -> anyhow::Error {
    let key = escape::escape(key);
    Failure::error(Code::Store, format!("the key {key} holds a hash, whose fields are beside it: {instead}"))
}

/// Exactly one of the two.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Place {
    /// The directory of a store that no other process has open.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A running server, as redis://[user:password@]host:port[/db].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Place {
    /// The directory, if it is one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Connects to the server.
    pub(crate) fn connect(&self) -> Result<url::UrlStore> {
        let none = || Failure::error(Code::Usage, "say where: --dir DIR or --url URL");
        url::UrlStore::connect(self.url.as_deref().ok_or_else(none)?)
    }
}

impl Target {
    /// Opens the store.
    pub(crate) fn open(&self, access: Access) -> Result<Box<dyn Store>> {
        match (&self.place.dir, &self.place.url) {
            (Some(dir), _) => Ok(Box::new(dir::DirStore::open(dir, self.keyspace.as_deref(), access)?)),
            (None, Some(_)) if self.keyspace.is_some() => Err(Failure::error(
                Code::Usage,
                "--keyspace needs --dir; a URL names a database by its number",
            )),
            (None, Some(url)) => Ok(Box::new(url::UrlStore::connect(url)?)),
            (None, None) => Err(Failure::error(Code::Usage, "say where: --dir DIR or --url URL")),
        }
    }

    /// The bytes of a key or value given as an argument.
    pub(crate) fn bytes(&self, argument: &OsString) -> Result<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        let raw = argument.as_bytes();
        if !self.escaped {
            return Ok(raw.to_vec());
        }
        escape::unescape(raw)
            .map_err(|e| Failure::error(Code::Usage, format!("{}: {e}", escape::escape(raw))))
    }
}

/// Called with each entry; `false` ends the scan.
pub(crate) type Visit<'a> = dyn FnMut(Record) -> Result<bool> + 'a;

/// What every verb needs from a place where entries live.
pub(crate) trait Store {
    /// The entry of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Record>>;
    /// Applies the entries together or not at all; a later entry of the same key wins.
    fn write(&mut self, batch: &[Record]) -> Result<()>;
    /// Removes the keys; returns how many of them there were.
    fn delete(&mut self, keys: &[Vec<u8>]) -> Result<u64>;
    /// Visits the entries of a range in key order.
    fn scan(&mut self, range: &Range, visit: &mut Visit) -> Result<()>;
    /// Visits all entries in whatever order is cheapest, with bounded memory.
    fn dump(&mut self, visit: &mut Visit) -> Result<()>;
    /// As `dump`, over all keyspaces; each entry says which one it is in.
    fn dump_all(&mut self, visit: &mut Visit) -> Result<()> {
        let _ = visit;
        Err(Failure::error(
            Code::Usage,
            "--all needs --dir; a server is copied whole by `backup create --url`",
        ))
    }
    /// The number of entries in a range, by counting.
    fn count(&mut self, range: &Range) -> Result<u64>;
    /// An estimate of the number of all entries, for a progress bar and for `count --estimate`.
    fn estimate(&mut self) -> Result<u64>;
    /// The store's figures as a JSON object.
    fn stats(&mut self) -> Result<serde_json::Value>;
    /// Makes everything written so far survive a power loss.
    fn flush(&mut self) -> Result<()>;
    /// Reorganises everything down to the bottom level.
    fn compact(&mut self) -> Result<()>;
    /// Lets go of the store; what was written before is safe once this returns.
    fn close(self: Box<Self>) -> Result<()>;
}
