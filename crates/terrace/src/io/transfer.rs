//! Copying whole files from one place to another, a piece at a time.
//!
//! A copy is durable in its content when this returns; its name is the caller's to sync. A copy that fails is
//! removed, as far as that is possible.

use std::path::Path;

use super::Fs;
use crate::base::Result;
use crate::base::error::IoContext;

/// What is read and written at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Copies a file to a name that is not taken, and shows each piece to `see`.
pub(crate) fn copy(fs: &dyn Fs, from: &Path, to: &Path, see: &mut dyn FnMut(&[u8])) -> Result<()> {
    let target = fs.create(to).at("create", to)?;
    let mut offset = 0;
    let mut write = |piece: &[u8]| {
        target.write_all_at(piece, offset).at("write", to)?;
        offset += piece.len() as u64;
        see(piece);
        Ok(())
    };
    let copied = read(fs, from, &mut write).and_then(|()| target.sync().at("sync", to));
    if copied.is_err() {
        let _ = fs.remove(to); // What is left of it is worth nothing.
    }
    copied
}

/// Reads a file from its beginning to the length that it has now, piece by piece.
pub(crate) fn read(fs: &dyn Fs, path: &Path, see: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let file = fs.open(path).at("open", path)?;
    let len = file.len().at("read the length of", path)?;
    let mut piece = vec![0; PIECE_BYTES.min(len) as usize];
    let mut offset = 0;
    while offset < len {
        let piece = &mut piece[..PIECE_BYTES.min(len - offset) as usize];
        file.read_exact_at(piece, offset).at("read", path)?;
        see(piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}
