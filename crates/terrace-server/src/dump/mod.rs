//! The payload of `DUMP` and `RESTORE`: one value in the form in which Redis writes it into its snapshots.
//!
//! ```text
//! 1 byte    type: 0 string, 4 hash, 24 hash with expiring fields; also read: 13, 16, 22, 23, 25, the packed hashes
//! …         the value (`value`)
//! 2 bytes   version of the snapshot format, little-endian
//! 8 bytes   CRC-64 (Jones) of everything before, little-endian
//! ```
//!
//! What is written is the plainest form of each type with the lowest version that has it, so every Redis from 5.0 on
//! restores strings and hashes, and 7.4 and later also hashes with expiring fields. What Redis 2.6 to 8.0 wrote is
//! read. No payload makes this panic or allocate more than a fixed multiple of its own length.

mod input;
mod packed;
mod value;

use crc::{CRC_64_REDIS, Crc, Table};

pub(crate) use value::{Field, Value, Writer};

/// The newest version of the format that is read.
const NEWEST_VERSION: u16 = 12;
/// The version of what every Redis from 5.0 on reads.
const COMMON_VERSION: u16 = 9;
/// The version that has expiring fields.
const EXPIRING_FIELDS_VERSION: u16 = 12;
/// Version and checksum.
const FOOTER_BYTES: usize = 10;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// Why a payload was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The checksum does not fit, or the version is newer than what is read.
    Footer,
    /// The value cannot be read: where, counted from the payload's first byte, and why.
    Value(usize, String),
}

/// Appends version and checksum to a type and its value.
fn seal(mut bytes: Vec<u8>, version: u16) -> Vec<u8> {
    bytes.extend_from_slice(&version.to_le_bytes());
    let checksum = CHECKSUM.checksum(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Takes the type and the value out of a payload whose checksum fits.
fn open(payload: &[u8]) -> Result<&[u8], Refusal> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>().ok_or(Refusal::Footer)?;
    let [v0, v1, checksum @ ..] = footer;
    let sealed = &payload[..payload.len() - checksum.len()];
    let fits = u64::from_le_bytes(*checksum) == CHECKSUM.checksum(sealed);
    let known = u16::from_le_bytes([*v0, *v1]) <= NEWEST_VERSION;
    if fits && known { Ok(body) } else { Err(Refusal::Footer) }
}

/// The payload of a string.
pub(crate) fn write_string(value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(value.len() + 32);
    writer.kind(value::STRING).string(value);
    seal(writer.bytes, COMMON_VERSION)
}

/// The payload of a hash.
pub(crate) fn write_hash(fields: &[Field]) -> Vec<u8> {
    let bytes = fields.iter().map(|field| field.name.len() + field.value.len() + 20).sum::<usize>();
    let mut writer = Writer::new(bytes + 32);
    let expiring = writer.hash(fields);
    seal(writer.bytes, if expiring { EXPIRING_FIELDS_VERSION } else { COMMON_VERSION })
}

/// The value in a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Value, Refusal> {
    let body = open(payload)?;
    Value::read(body).map_err(|bad| Refusal::Value(bad.at, bad.why))
}

#[cfg(test)]
mod tests;
