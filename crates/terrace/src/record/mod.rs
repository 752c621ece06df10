//! Checksummed framing: small sealed frames, and an append-only log of records made of them.
//!
//! Invariants: every frame is sealed by a CRC that is bound to the file's number and to the frame's offset,
//! so stale or misplaced bytes never look valid; a length is believed only after its frame's CRC has been
//! checked, and memory is allocated only for lengths that fit the file.
//!
//! The write-ahead log shares the frames (`frame`) and brings its own layout; the manifest uses the log
//! (`RecordWriter`, `RecordReader`) as it is. Nothing here knows what a payload means.

pub(crate) mod frame;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use reader::RecordReader;
pub(crate) use writer::RecordWriter;

/// Bytes in front of each payload.
///
/// ```text
/// offset  size  field
///      0     4  CRC-32C of bytes 4..12, bound to (file number, offset of this record); never zero
///      4     4  payload length in bytes
///      8     4  plain CRC-32C of the payload
///     12     n  payload
/// ```
pub(crate) const RECORD_HEADER_BYTES: usize = 12;

/// The largest payload, in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;
