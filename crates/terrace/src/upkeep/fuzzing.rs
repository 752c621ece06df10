//! The decoders of everything on disk, for fuzzing: any bytes, no panic, no allocation without a check. Not part
//! of the interface; only with the feature `fuzzing`.

use crate::base::entry::take_entry;

pub use crate::blob::fuzzing::blob;
pub use crate::table::fuzzing::{block, filter, footer_and_index};
pub use crate::wal::fuzzing::log_record;

/// The fields of a manifest edit.
pub fn manifest_edit(bytes: &[u8]) {
    if let Ok(edit) = crate::version::Edit::decode(bytes) {
        // What was understood can be written, and is understood again.
        let mut again = Vec::new();
        edit.encode(&mut again);
        assert!(crate::version::Edit::decode(&again).is_ok(), "an edit reads as it was written");
    }
}

/// The entries of a log record's body.
pub fn log_entries(bytes: &[u8]) {
    let mut input = bytes;
    while take_entry(&mut input).is_some() {}
}
