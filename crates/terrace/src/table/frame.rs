//! Stored blocks: compression and the checksum that ties bytes to their place.
//!
//! | bytes | field |
//! |-------|-------|
//! | n     | stored bytes |
//! | 1     | compression: 0 none, 1 LZ4, 2 zstd |
//! | 4     | CRC-32C of the stored bytes and the compression byte, bound to file number and offset |
//!
//! What stored bytes under LZ4 or zstd are, `base/compression` says. All integers are little-endian.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Compression;
use super::plain::Plain;
use crate::base::compression::{compress, decompress};
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, checksum};
use crate::io::File;

/// What follows the stored bytes of each block.
pub(super) const TRAILER_BYTES: usize = 5;

/// Where a stored block lies: its first byte and its length with the trailer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Handle {
    /// Offset of the first stored byte.
    pub(super) offset: u64,
    /// Stored bytes plus the trailer.
    pub(super) len: u64,
}

impl Handle {
    /// The first byte after the block, or `None` if there is no such number.
    pub(super) fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len)
    }
}

/// Appends `plain` to `out` as the block at `offset` of file `id`.
pub(super) fn seal(out: &mut Vec<u8>, id: FileId, offset: u64, plain: &[u8], compression: Compression) {
    let start = out.len();
    let kind = compress(out, plain, compression);
    if kind == Compression::None {
        out.extend_from_slice(plain);
    }
    out.push(kind as u8);
    push_checksum(out, start, id, offset);
}

/// Appends a block that `read_stored` gave as the one at `offset` of file `id`.
pub(super) fn reseal(out: &mut Vec<u8>, id: FileId, offset: u64, stored: &[u8]) {
    let start = out.len();
    out.extend_from_slice(stored);
    push_checksum(out, start, id, offset);
}

fn push_checksum(out: &mut Vec<u8>, start: usize, id: FileId, offset: u64) {
    let sum = checksum::bound(id.0, offset, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

thread_local! {
    // A block that is read is a buffer of some KiB that is done with once it is decompressed: one kept for each
    // thread saves the allocator and the zeros.
    static STORED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that has grown beyond this for one huge block is not kept.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Reads the block at `handle`: in place where it lies uncompressed in a mapping, otherwise as `read` does.
pub(super) fn read_in_place(file: &Arc<dyn File>, path: &Path, id: FileId, handle: Handle) -> Result<Plain> {
    let Some(mapped) = file.mapped() else { return read(&**file, path, id, handle).map(Plain::from) };
    let start = handle.offset as usize;
    let Some(stored) = mapped.get(start..).and_then(|rest| rest.get(..handle.len as usize)) else {
        let detail = format!("expected {} bytes, found the end of the file", handle.len);
        return Err(Error::corruption(path, handle.offset, detail));
    };
    match opened(path, id, handle.offset, stored)? {
        Opened::Plain(body) => Ok(Plain::lent(Arc::clone(file), start..start + body.len())),
        Opened::Decompressed(plain) => Ok(plain.into()),
    }
}

/// Reads the block at `handle` and gives back its plain bytes. The caller has checked that the handle lies
/// inside the file, which bounds the allocation.
pub(super) fn read(file: &dyn File, path: &Path, id: FileId, handle: Handle) -> Result<Vec<u8>> {
    with_buffer(handle, |stored| {
        read_exact(file, path, stored, handle.offset)?;
        open(path, id, handle.offset, stored)
    })
}

/// The same if the block is in memory; else the system may begin to bring it in.
pub(super) fn try_read(file: &dyn File, path: &Path, id: FileId, handle: Handle) -> Result<Option<Vec<u8>>> {
    with_buffer(handle, |stored| {
        let is_there = file.try_read_exact_at(stored, handle.offset);
        is_there.then(|| open(path, id, handle.offset, stored)).transpose()
    })
}

/// Hands out a buffer for the block at `handle`.
fn with_buffer<T>(handle: Handle, read: impl FnOnce(&mut [u8]) -> T) -> T {
    // Without the kept buffer, as in a thread that is ending, a new one does.
    let mut buffer = STORED.try_with(Cell::take).unwrap_or_default();
    let bytes = handle.len as usize;
    if buffer.len() < bytes {
        buffer.resize(bytes, 0);
    }
    let outcome = read(&mut buffer[..bytes]);
    if buffer.len() <= KEPT_BYTES_MAX {
        let _ = STORED.try_with(|kept| kept.set(buffer));
    }
    outcome
}

/// Reads the block at `handle` as it is stored, verified, without its checksum: what `reseal` takes.
pub(super) fn read_stored(file: &dyn File, path: &Path, id: FileId, handle: Handle) -> Result<Vec<u8>> {
    let mut stored = vec![0; handle.len as usize];
    read_exact(file, path, &mut stored, handle.offset)?;
    let checked_bytes = verify(path, id, handle.offset, &stored)?.len();
    stored.truncate(checked_bytes);
    Ok(stored)
}

/// Fills `buf`; a file that ends early is damaged, not unreadable.
pub(super) fn read_exact(file: &dyn File, path: &Path, buf: &mut [u8], offset: u64) -> Result<()> {
    match file.read_exact_at(buf, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let detail = format!("expected {} bytes, found the end of the file", buf.len());
            Err(Error::corruption(path, offset, detail))
        }
        result => result.at("read", path),
    }
}

/// Checks a stored block against its checksum; gives back what that covers.
fn verify<'s>(path: &Path, id: FileId, offset: u64, stored: &'s [u8]) -> Result<&'s [u8]> {
    let corrupt = |detail: String| Err(Error::corruption(path, offset, detail));
    let Some((checked, sum)) = stored.split_last_chunk::<4>() else {
        return corrupt(format!("expected a block trailer, found {} bytes", stored.len()));
    };
    let (expected, found) = (u32::from_le_bytes(*sum), checksum::bound(id.0, offset, checked));
    if expected != found {
        return corrupt(format!("expected block checksum {expected:08x}, found {found:08x}"));
    }
    Ok(checked)
}

/// Checks a stored block and gives back its plain bytes.
pub(super) fn open(path: &Path, id: FileId, offset: u64, stored: &[u8]) -> Result<Vec<u8>> {
    Ok(match opened(path, id, offset, stored)? {
        Opened::Plain(body) => body.to_vec(),
        Opened::Decompressed(plain) => plain,
    })
}

/// A checked block.
enum Opened<'s> {
    /// Stored as it is, and that at the front.
    Plain(&'s [u8]),
    /// Was compressed.
    Decompressed(Vec<u8>),
}

fn opened<'s>(path: &Path, id: FileId, offset: u64, stored: &'s [u8]) -> Result<Opened<'s>> {
    let corrupt = |detail: String| Err(Error::corruption(path, offset, detail));
    let checked = verify(path, id, offset, stored)?;
    let Some((&kind, body)) = checked.split_last() else {
        return corrupt("expected a compression byte, found none".to_string());
    };
    if kind == Compression::None as u8 {
        return Ok(Opened::Plain(body));
    }
    decompress(kind, body).map(Opened::Decompressed).or_else(corrupt)
}

#[cfg(test)]
mod tests {
    use super::super::tests::any_compression;
    use super::*;
    use crate::base::compression::{LZ4, ZSTD};
    use proptest::prelude::*;

    fn sealed(plain: &[u8], compression: Compression) -> Vec<u8> {
        let mut out = b"before".to_vec();
        seal(&mut out, FileId(7), 99, plain, compression);
        out.split_off(6)
    }

    fn opened(id: u64, offset: u64, stored: &[u8]) -> Result<Vec<u8>> {
        open(Path::new("t"), FileId(id), offset, stored)
    }

    proptest! {
        #[test]
        fn round_trip_and_refusal_of_damage(
            byte: u8, run in 0usize..2000, noise: Vec<u8>, compression in any_compression(), flip: prop::sample::Index,
        ) {
            let mut plain = vec![byte; run];
            plain.extend_from_slice(&noise);
            let stored = sealed(&plain, compression);
            prop_assert_eq!(opened(7, 99, &stored).unwrap(), plain);
            prop_assert!(opened(8, 99, &stored).is_err(), "another file");
            prop_assert!(opened(7, 98, &stored).is_err(), "another place");
            let mut damaged = stored.clone();
            let bit = flip.index(damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(opened(7, 99, &damaged).is_err());
        }

        #[test]
        fn sound_checksum_over_nonsense_never_panics(mut bytes: Vec<u8>, kind in 0u8..4) {
            bytes.push(kind);
            let sum = checksum::bound(7, 99, &bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
            let _ = opened(7, 99, &bytes);
        }
    }

    #[test]
    fn compresses_only_where_it_pays() {
        assert!(sealed(&[0; 4096], Compression::Lz4).len() < 100);
        let noise: Vec<u8> =
            (0..4096u64).map(|i| crate::base::hash::filter_hash(&i.to_le_bytes()) as u8).collect();
        assert_eq!(sealed(&noise, Compression::Lz4).len(), noise.len() + TRAILER_BYTES);
    }

    #[test]
    fn a_claimed_length_beyond_reason_is_refused_before_it_is_allocated() {
        for kind in [LZ4, ZSTD] {
            let message = refusal(kind, u32::MAX, &[0; 8]);
            let unread = cfg!(not(feature = "zstd")) && kind == ZSTD;
            assert!(message.contains(if unread { "feature `zstd`" } else { "at most" }), "{message}");
        }
    }

    /// What is said of a block with a sound checksum.
    fn refusal(kind: u8, claimed: u32, body: &[u8]) -> String {
        let mut bytes = [&claimed.to_le_bytes()[..], body, &[kind]].concat();
        let sum = checksum::bound(7, 99, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        opened(7, 99, &bytes).unwrap_err().to_string()
    }

    #[cfg(feature = "zstd")]
    mod zstd {
        use super::*;

        fn text() -> Vec<u8> {
            (0..400u32).flat_map(|i| format!("user:{:08} ", i * 7919).into_bytes()).collect()
        }

        #[test]
        fn is_smaller_than_lz4_and_says_so() {
            let (zstd, lz4) = (sealed(&text(), Compression::Zstd), sealed(&text(), Compression::Lz4));
            assert_eq!(zstd[zstd.len() - TRAILER_BYTES], ZSTD);
            assert!(zstd.len() < lz4.len(), "{} {}", zstd.len(), lz4.len());
            assert_eq!(opened(7, 99, &zstd).unwrap(), text());
        }

        #[test]
        fn leaves_what_shrinks_beyond_the_bound_to_lz4() {
            let stored = sealed(&vec![0; 1 << 20], Compression::Zstd);
            assert_eq!(stored[stored.len() - TRAILER_BYTES], LZ4);
            assert_eq!(opened(7, 99, &stored).unwrap(), vec![0; 1 << 20]);
        }

        #[test]
        fn a_frame_that_is_damaged_cut_or_of_another_length_is_refused() {
            let stored = sealed(&text(), Compression::Zstd);
            let (frame, length) = (&stored[4..stored.len() - TRAILER_BYTES], text().len() as u32);
            for claimed in [0, length - 1, length + 1] {
                refusal(ZSTD, claimed, frame);
            }
            for cut in 1..frame.len() {
                refusal(ZSTD, length, &frame[..cut]);
            }
            let magic_gone = [&[!frame[0]], &frame[1..]].concat();
            assert!(refusal(ZSTD, length, &magic_gone).contains("found "));
        }
    }
}
