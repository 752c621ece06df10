//! What a writer knows: of each group, the version sent last and the one acknowledged last.
//!
//! The library's victim keeps its ledgers in files, written before and after each batch: the kernel keeps them
//! when the process dies.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::groups::{GROUPS, keys_in};

/// Versions by group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ledger {
    acknowledged: Vec<u64>,
    sent: Vec<u64>,
    acknowledged_keys: u64,
}

/// A group takes so many bytes in a file: acknowledged, then sent.
const ENTRY_BYTES: usize = 16;

impl Ledger {
    /// Before the first write.
    pub(super) fn new() -> Self {
        Self { acknowledged: vec![0; GROUPS], sent: vec![0; GROUPS], acknowledged_keys: 0 }
    }

    /// The version that was acknowledged last, and the one that was sent last.
    pub(super) fn versions(&self, group: usize) -> (u64, u64) {
        (self.acknowledged[group], self.sent[group])
    }

    /// Takes the next version of a group for sent.
    pub(super) fn send(&mut self, group: usize) -> u64 {
        self.sent[group] += 1;
        self.sent[group]
    }

    /// The store has acknowledged a version.
    pub(super) fn acknowledge(&mut self, group: usize, version: u64) {
        self.acknowledged[group] = version;
        self.acknowledged_keys += keys_in(group) as u64;
    }

    /// This is the version in the store, and no write is under way.
    pub(super) fn settle(&mut self, group: usize, version: u64) {
        (self.acknowledged[group], self.sent[group]) = (version, version);
    }

    /// Keys written and acknowledged so far.
    pub(super) fn acknowledged_keys(&self) -> u64 {
        self.acknowledged_keys
    }

    /// Writes a whole ledger.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let groups = self.acknowledged.iter().zip(&self.sent);
        let bytes: Vec<u8> = groups.flat_map(|(a, s)| [a.to_le_bytes(), s.to_le_bytes()].concat()).collect();
        fs::write(path, bytes)
    }

    /// Reads what somebody else has written.
    pub(super) fn load(&mut self, path: &Path) -> io::Result<()> {
        let bytes = fs::read(path)?;
        for (group, entry) in bytes.chunks_exact(ENTRY_BYTES).enumerate().take(GROUPS) {
            let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
            let (acknowledged, sent) = (word(0), word(8));
            self.acknowledged_keys += (acknowledged - self.acknowledged[group]) * keys_in(group) as u64;
            (self.acknowledged[group], self.sent[group]) = (acknowledged, sent);
        }
        Ok(())
    }
}

/// The file of a ledger, brought up to date version by version.
#[derive(Debug)]
pub(super) struct LedgerFile(File);

impl LedgerFile {
    /// Opens the file that `Ledger::store` wrote.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::options().write(true).open(path).map(Self)
    }

    /// Notes that a version is about to be sent.
    pub(super) fn send(&self, group: usize, version: u64) -> io::Result<()> {
        self.0.write_all_at(&version.to_le_bytes(), (group * ENTRY_BYTES + 8) as u64)
    }

    /// Notes that a version was acknowledged.
    pub(super) fn acknowledge(&self, group: usize, version: u64) -> io::Result<()> {
        self.0.write_all_at(&version.to_le_bytes(), (group * ENTRY_BYTES) as u64)
    }
}
