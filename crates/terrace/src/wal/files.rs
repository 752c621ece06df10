//! The files under the segments: made, named, recycled, removed.
//!
//! A segment's file is called `<id>.wal` only once its header is durable, and a recycled file loses that
//! name durably before its header is overwritten. In between it is `<id>.spare`, which replay ignores. So a
//! `.wal` file without a valid header is damage, whatever moment the power failed at.

use std::path::{Path, PathBuf};

use super::format::{CHUNKS_START, SegmentHeader, run_bytes};
use super::log::WalOptions;
use super::segment::Segment;
use crate::base::error::IoContext;
use crate::base::{FileId, Result, Seqno};
use crate::io::Env;

const SEGMENT_SUFFIX: &str = ".wal";
const SPARE_SUFFIX: &str = ".spare";

/// What a file name says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Name {
    Segment(FileId),
    Spare(FileId),
}

impl Name {
    /// Reads a name; `None` for a file that is not ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let segment = name.strip_suffix(SEGMENT_SUFFIX).map(|id| (id, Self::Segment as fn(FileId) -> Self));
        let spare = name.strip_suffix(SPARE_SUFFIX).map(|id| (id, Self::Spare as fn(FileId) -> Self));
        let (digits, kind) = segment.or(spare)?;
        let id = FileId(digits.parse().ok()?);
        // Only the name that we would give counts: "+7.wal" and "7.wal" are not ours.
        (id.to_string() == digits).then(|| kind(id))
    }

    /// The path of the file in `dir`.
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        match self {
            Self::Segment(id) => dir.join(format!("{id}{SEGMENT_SUFFIX}")),
            Self::Spare(id) => dir.join(format!("{id}{SPARE_SUFFIX}")),
        }
    }
}

/// Makes and recycles segment files.
pub(super) struct SegmentFiles {
    env: Env,
    dir: PathBuf,
    options: WalOptions,
    next_id: Box<dyn Fn() -> FileId + Send + Sync>,
    spares: Vec<FileId>,
}

impl SegmentFiles {
    pub(super) fn new(
        env: &Env,
        dir: &Path,
        options: WalOptions,
        next_id: Box<dyn Fn() -> FileId + Send + Sync>,
    ) -> Self {
        Self { env: env.clone(), dir: dir.to_path_buf(), options, next_id, spares: Vec::new() }
    }

    /// The length of a segment that is sure to take a record of `record_bytes`. A record that fills much of
    /// a default segment gets that much on top of one, so that the chunks that other lanes claim before it
    /// is written cannot push it out again and again.
    pub(super) fn segment_bytes(&self, record_bytes: u64) -> u64 {
        let run_bytes = run_bytes(record_bytes, self.options.chunk_bytes);
        if CHUNKS_START + run_bytes <= self.options.segment_bytes / 2 {
            return self.options.segment_bytes;
        }
        self.options.segment_bytes.saturating_add(CHUNKS_START + run_bytes)
    }

    /// Makes a segment of at least `len` bytes that is ready for use: a recycled file (then the answer says
    /// so) or a new one, with a durable header under a durable name, and its first pages populated.
    pub(super) fn make(
        &mut self,
        len: u64,
        previous: FileId,
        horizon: Seqno,
        clock_ms: u64,
    ) -> Result<(Segment, bool)> {
        let header = SegmentHeader {
            id: (self.next_id)(),
            previous,
            boot_id: self.env.fs.boot_id(),
            nonce: self.env.rng.next_u64(),
            chunk_bytes: self.options.chunk_bytes as u32,
            clock_ms,
            file_bytes: 0, // Known once the region is open.
        };
        let recycled = if len == self.options.segment_bytes { self.spares.pop() } else { None };
        let spare = Name::Spare(recycled.unwrap_or(header.id)).path(&self.dir);
        let path = Name::Segment(header.id).path(&self.dir);
        let made = self.make_at(&spare, &path, len, header, horizon);
        if made.is_err() {
            // What is left of it is worth nothing, and on a full disk it is in the way.
            let _ = self.env.fs.remove(&spare);
            let _ = self.env.fs.remove(&path);
        }
        made.map(|segment| (segment, recycled.is_some()))
    }

    fn make_at(
        &self,
        spare: &Path,
        path: &Path,
        len: u64,
        header: SegmentHeader,
        horizon: Seqno,
    ) -> Result<Segment> {
        let fs = &self.env.fs;
        let open =
            if self.options.synced { fs.open_synced_region(spare, len) } else { fs.open_region(spare, len) };
        let raw = open.at("preallocate", spare)?;
        let segment = Segment::create(raw, path, header, horizon)?;
        fs.rename(spare, path).at("rename", spare)?;
        self.sync_dir()?;
        if let Some(range) = segment.prefault_due(self.options.prefault_bytes) {
            segment.prefault(range);
        }
        Ok(segment)
    }

    /// Takes back the file of a segment that nobody needs: kept as a spare, or removed. After an error the
    /// segment still has its file under its name, so that this can be tried again.
    pub(super) fn give_back(&mut self, segment: &Segment) -> Result<()> {
        segment.give_up();
        let keep =
            self.spares.len() < self.options.recycle_limit && segment.len() == self.options.segment_bytes;
        if !keep {
            return self.env.fs.remove(segment.path()).at("remove", segment.path());
        }
        let spare = Name::Spare(segment.id()).path(&self.dir);
        self.env.fs.rename(segment.path(), &spare).at("rename", segment.path())?;
        // The old name must be gone for good before the header under it changes. Where that cannot be had, the
        // file is not used again and the next opening removes it; nothing else depends on this sync.
        if self.sync_dir().is_ok() {
            self.spares.push(segment.id());
        }
        Ok(())
    }

    /// Removes the spares.
    pub(super) fn remove_spares(&mut self) -> Result<()> {
        while let Some(id) = self.spares.last() {
            let path = Name::Spare(*id).path(&self.dir);
            self.env.fs.remove(&path).at("remove", &path)?;
            self.spares.pop();
        }
        Ok(())
    }

    /// Removes a segment's file, whatever its length.
    pub(super) fn remove(&self, segment: &Segment) -> Result<()> {
        segment.give_up();
        self.env.fs.remove(segment.path()).at("remove", segment.path())
    }

    pub(super) fn sync_dir(&self) -> Result<()> {
        self.env.fs.sync_dir(&self.dir).at("sync", &self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_foreign_files_are_left_alone() {
        for id in [1, 999_999, 1_000_000, u64::MAX] {
            for name in [Name::Segment(FileId(id)), Name::Spare(FileId(id))] {
                let path = name.path(Path::new("d"));
                assert_eq!(Name::parse(path.file_name().unwrap().to_str().unwrap()), Some(name));
            }
        }
        for foreign in ["7.wal", "+00007.wal", "0000007.wal", "000007.walx", "000007", ".wal", "é.wal"] {
            assert_eq!(Name::parse(foreign), None, "{foreign}");
        }
    }
}
