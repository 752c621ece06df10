//! Log regions on the real system: a shared mapping of a preallocated file, or positioned writes.
//!
//! Mapping is safe only when the file's blocks exist: a store into a hole on a full disk is a signal, not an
//! error. So the blocks are allocated first, and where the file system cannot do that the region falls back
//! to one positioned write per store. So it is where every store is synced, too.

#![allow(clippy::disallowed_types, reason = "here a region meets the file under it")]

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::RawRegion;

/// Opens (or creates) the region at `path` with at least `len` bytes.
pub(super) fn open_region(path: &Path, len: u64, unmapped: bool) -> io::Result<Arc<dyn RawRegion>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let len = len.max(file.metadata()?.len());
    let allocated = match fallocate(&file, FallocateFlags::empty(), 0, len) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            file.set_len(len)?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    if allocated && !unmapped {
        let map = MmapOptions::new().len(len as usize).map_raw(&file)?;
        return Ok(Arc::new(MappedRegion { map, file }));
    }
    Ok(Arc::new(WrittenRegion { file, len }))
}

#[derive(Debug)]
struct MappedRegion {
    map: MmapRaw,
    file: File,
}

impl RawRegion for MappedRegion {
    fn len(&self) -> u64 {
        self.map.len() as u64
    }

    #[inline]
    #[allow(unsafe_code)]
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.len());
        // SAFETY: the caller keeps the range inside the mapping and to itself; nothing in this process reads
        // through the mapping, so no reference aliases the bytes.
        unsafe {
            let target = self.map.as_mut_ptr().add(offset as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn prefault(&self, range: Range<u64>) {
        const PAGE: u64 = 4096;
        let start = range.start / PAGE * PAGE;
        let end = range.end.next_multiple_of(PAGE).min(self.len());
        if start >= end {
            return;
        }
        // SAFETY: the range lies inside the mapping, and populating pages changes no content. Old kernels
        // refuse the advice, which only means that stores fault later.
        unsafe {
            let address = self.map.as_mut_ptr().add(start as usize);
            let advice = rustix::mm::Advice::LinuxPopulateWrite;
            let _ = rustix::mm::madvise(address.cast(), (end - start) as usize, advice);
        }
    }

    #[allow(unsafe_code)]
    fn release(&self) {
        let address = self.map.as_mut_ptr().cast();
        // SAFETY: the range is the whole mapping. For a shared mapping of a file this drops the process's page
        // table entries only: the pages stay in the page cache, as dirty as they are, and fault in again.
        unsafe {
            let _ = rustix::mm::madvise(address, self.map.len(), rustix::mm::Advice::LinuxDontNeed);
        }
    }

    fn sync(&self) -> io::Result<()> {
        // The kernel counts pages dirtied through the mapping as the file's own.
        self.file.sync_data()
    }

    fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        // A synchronous `msync` is an fdatasync of the range: its pages, and the length if that has changed.
        self.map.flush_range(range.start as usize, (range.end - range.start) as usize)
    }
}

#[derive(Debug)]
struct WrittenRegion {
    file: File,
    len: u64,
}

impl RawRegion for WrittenRegion {
    fn len(&self) -> u64 {
        self.len
    }

    #[allow(unsafe_code)]
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn prefault(&self, _range: Range<u64>) {}

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
