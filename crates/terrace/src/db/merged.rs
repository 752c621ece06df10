//! Keys that were merged into: their operands, gathered from where they lie, and the value that they make.
//!
//! A reader comes here when the newest version of a key is an operand. The versions below it are looked at from the
//! newest to the oldest, up to the first that is no operand; a range delete ends them, too. Takes time for each
//! operand that is still one: flushes and compactions make them fewer.

use super::core::Core;
use super::keyspace::Keyspace;
use super::read::Version;
use super::super_version::SuperVersion;
use super::types::{Entry, WriteOptions};
use crate::base::hash::filter_hash;
use crate::base::{EntryMeta, Kind, Result, Seqno, Slice};

/// The operands of a key, newest first, and what is below them.
#[derive(Default)]
pub(super) struct Gathered {
    operands: Vec<Slice>,
    base: Option<Version>,
}

impl Gathered {
    /// Takes the next older version; whether there may be more to take.
    pub(super) fn take(&mut self, version: Version) -> bool {
        if version.meta.kind == Kind::Merge {
            self.operands.push(version.value);
            return true;
        }
        self.base = Some(version);
        false
    }
}

impl SuperVersion {
    /// The operands at the head of the versions of `key` at or below `at`.
    fn gather(&self, hash: u64, key: &[u8], at: Seqno) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        for memtable in self.memtables() {
            let deleted = memtable.range_deleted(key, at);
            for found in memtable.versions(hash, key, at) {
                let version = || Version::copy_from(&found);
                if found.seqno < deleted || !gathered.take(version()) {
                    return Ok(gathered);
                }
            }
            if deleted != 0 {
                return Ok(gathered);
            }
        }
        let deleted = self.version.range_deletes().newest(key, at);
        let mut take = |found: crate::table::Found| found.seqno >= deleted && gathered.take(found.into());
        self.version.versions(key, filter_hash(key), at, &mut take)?;
        Ok(gathered)
    }
}

impl Core {
    /// What a reader sees of a key whose newest version is `version`.
    #[inline]
    pub(super) fn shown(&self, state: &SuperVersion, key: &[u8], version: Version) -> Result<Option<Entry>> {
        match version.meta.kind {
            Kind::Merge => self.merged(state, key, version.seqno),
            Kind::Pointer => self.fetched(state, key, version),
            _ => Ok(self.live(version)),
        }
    }

    /// What a reader sees of a version that is no operand. The value is fetched if it lies in a blob file.
    #[cold]
    pub(super) fn fetched(
        &self,
        state: &SuperVersion,
        key: &[u8],
        version: Version,
    ) -> Result<Option<Entry>> {
        let is_pointer = version.meta.kind == Kind::Pointer;
        let mut entry = self.live(version);
        if let Some(entry) = entry.as_mut().filter(|_| is_pointer) {
            entry.value = state.version.blobs().read(key, &entry.value)?;
        }
        Ok(entry)
    }

    #[cold]
    fn merged(&self, state: &SuperVersion, key: &[u8], newest: Seqno) -> Result<Option<Entry>> {
        let gathered = state.gather(self.hash(key), key, newest)?;
        self.fold(state, key, gathered).map(Some)
    }

    /// The entry that operands make. Its tag is that of the value below; it never expires, because the operands
    /// outlive a value that does.
    pub(super) fn fold(&self, state: &SuperVersion, key: &[u8], gathered: Gathered) -> Result<Entry> {
        let base = gathered.base.map_or(Ok(None), |version| self.fetched(state, key, version))?;
        let operands: Vec<&[u8]> = gathered.operands.iter().rev().map(|operand| &operand[..]).collect();
        self.fold_onto(key, base.as_ref(), &operands)
    }

    /// The entry that operands, oldest first, make of `base`.
    pub(super) fn fold_onto(&self, key: &[u8], base: Option<&Entry>, operands: &[&[u8]]) -> Result<Entry> {
        let value = self.merging.fold(key, base.map(|base| &base.value[..]), operands)?;
        Ok(Entry { value: Slice::from(value), tag: base.map_or(0, |base| base.tag), expires_at_ms: None })
    }
}

impl Keyspace {
    /// Merges `operand` into the value of `key` by the store's merge operator, without reading anything: it costs
    /// what a put costs. Fails with [`Error::InvalidInput`] if the store was opened without an operator or if that
    /// refuses the operand.
    ///
    /// Operands never expire. Merged onto a value that does, they outlive it, and count from that instant on as merged
    /// onto nothing; until then the entry shows no expiry, because it does not disappear as a whole. The tag is that
    /// of the value below, or 0. For a counter that expires as a whole there is [`Keyspace::increment`].
    ///
    /// ```
    /// # fn main() -> terrace::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = terrace::Options::new().merge_operator(terrace::IntegerAdd).open(dir.path().join("data"))?;
    /// db.merge("visits", "2")?;
    /// db.merge("visits", "3")?;
    /// assert_eq!(db.get("visits")?.as_deref(), Some(&b"5"[..]));
    /// # db.close()
    /// # }
    /// ```
    ///
    /// [`Error::InvalidInput`]: crate::Error::InvalidInput
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<()> {
        let operand = operand.as_ref();
        self.handle.core.check_operand(operand)?;
        self.write(key.as_ref(), EntryMeta::MERGE, operand, WriteOptions::new())
    }
}
