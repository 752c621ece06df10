//! Files that never change any more, read through a mapping: what is read lies in the page cache, and needs neither a
//! system call nor a copy.
//!
//! The mapping has the length that the file had when it was opened, and no read goes beyond it. What no check can
//! catch is a page that the kernel fails to bring in: because the device fails, or because somebody has cut the
//! file since. That is a signal (`SIGBUS`), which ends the process; so mapping is an option and not the default.

#![allow(clippy::disallowed_types, reason = "here a mapping meets the file under it")]

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::File;
use super::os::OsFile;

/// Opens a file for reading through a mapping, or with positioned reads where it cannot be mapped.
pub(super) fn open_mapped(path: &Path) -> io::Result<Arc<dyn File>> {
    let file = fs::File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    // Neither an empty file nor every kind of file can be mapped.
    match MmapOptions::new().len(len).map_raw_read_only(&file) {
        Ok(map) if len > 0 => Ok(Arc::new(MappedFile { map, file })),
        _ => Ok(Arc::new(OsFile(file))),
    }
}

#[derive(Debug)]
struct MappedFile {
    map: MmapRaw,
    file: fs::File,
}

impl MappedFile {
    #[allow(unsafe_code)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has this length and lives as long as `self`, and no byte is written through it. Only
        // files that never change any more are opened here: whoever writes into the files of an open store, from
        // another process, breaks this as he breaks the store.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) }
    }
}

impl File for MappedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.bytes().get(start..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn mapped(&self) -> Option<&[u8]> {
        Some(self.bytes())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        // Refused by the system, because the file is open for reading.
        self.file.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
