//! `History`: every record of a manifest, for those who look at a store rather than open it.
//!
//! It goes as far as it can: a flipped bit is put right where its checksum tells which one it was. It says what was
//! wrong in any case, and changes nothing on disk.

use std::path::Path;

use super::edit::Edit;
use super::manifest::{EDIT, HEADER, SETTLED, check_header, check_length};
use super::state::State;
use crate::base::error::IoContext;
use crate::base::mend::flipped_bit;
use crate::base::{Error, FileId, Result, checksum};
use crate::io::Fs;
use crate::record::{RECORD_HEADER_BYTES, frame};

/// What a manifest says, record by record.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The length of its records.
    pub(crate) bytes: u64,
    /// The edits, each with the offset of its record.
    pub(crate) edits: Vec<(u64, Edit)>,
    /// What those add up to.
    pub(crate) state: State,
    /// What was wrong. If it could be put right, the history goes on behind it.
    pub(crate) wrong: Vec<Error>,
    /// The length that the file has at least, by its header.
    reserved_bytes: u64,
    /// Whether every record was read, put right or not.
    pub(crate) is_whole: bool,
}

impl History {
    /// Reads the manifest `id` in the file `path`. Fails only where the file cannot be read.
    pub(crate) fn read(fs: &dyn Fs, path: &Path, id: FileId) -> Result<Self> {
        let file = fs.open(path).at("open", path)?;
        let bytes = file.len().at("read the length of", path)?;
        let mut content = vec![0; bytes as usize]; // No more than the file has.
        file.read_exact_at(&mut content, 0).at("read", path)?;
        let mut history = Self::default();
        let mut at = 0;
        // The rest of the reserved length is zeros.
        let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        history.bytes = end as u64;
        while at < end {
            match history.take(&content[at..], at as u64, path, id) {
                Ok(taken) => at += taken,
                Err(error) => {
                    history.wrong.push(error);
                    return Ok(history);
                }
            }
        }
        if let Err(error) = check_length(path, bytes, history.reserved_bytes) {
            history.wrong.push(error);
            return Ok(history);
        }
        history.is_whole = !history.edits.is_empty();
        Ok(history)
    }

    /// Takes the record at the front of `rest`; its length.
    fn take(&mut self, rest: &[u8], offset: u64, path: &Path, id: FileId) -> Result<usize> {
        let corrupt = |detail: &str| Error::corruption(path, offset, detail);
        let Some(header) = rest.first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(corrupt("expected a record header, found the end of the file"));
        };
        let mut header = *header;
        if !frame::is_sealed(id.0, offset, &header) {
            let error = corrupt("the record header does not match its checksum");
            let mended = (0..header.len() * 8).find(|bit| {
                let mut tried = header;
                tried[bit / 8] ^= 1 << (bit % 8);
                frame::is_sealed(id.0, offset, &tried)
            });
            let Some(bit) = mended else { return Err(error) };
            header[bit / 8] ^= 1 << (bit % 8);
            self.wrong.push(error);
        }
        let end = RECORD_HEADER_BYTES + frame::u32_at(&header, 4) as usize;
        let payload = rest.get(RECORD_HEADER_BYTES..end);
        let payload = payload.ok_or_else(|| corrupt("the record is longer than the rest of the file"))?;
        let mut payload = payload.to_vec();
        let difference = checksum::plain(&payload) ^ frame::u32_at(&header, 8);
        if difference != 0 {
            let error = corrupt("the payload does not match its checksum");
            let Some(bit) = flipped_bit(payload.len(), difference) else { return Err(error) };
            payload[bit / 8] ^= 1 << (bit % 8);
            self.wrong.push(error);
        }
        let bad = |detail: String| Error::corruption(path, offset, detail);
        match payload.split_first() {
            Some((&HEADER, _)) if offset == 0 => self.reserved_bytes = check_header(path, id, &payload)?,
            Some((&EDIT, fields)) if offset > 0 => {
                let edit = Edit::decode(fields).map_err(bad)?;
                self.state.apply(&edit).map_err(bad)?;
                self.edits.push((offset, edit));
            }
            Some((&SETTLED, [])) if offset > 0 => {}
            _ => return Err(corrupt("expected a header first and edits behind it, found another record")),
        }
        Ok(end)
    }
}
