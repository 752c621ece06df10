//! What happens to a hash as a whole: expiring, renaming, copying, removing.

use std::ops::ControlFlow;

use super::edit::{put_header, update_expiries};
use super::generation::Dead;
use super::header::Header;
use super::layout::{check_name, expiry_key, field_key, field_of, fields_end, fields_from, owner_key};
use super::view::header_of;
use crate::databases::fields_of;
use crate::failure::Failure;
use crate::pending::Stored;
use crate::transaction::{TAG_HASH, TAG_STRING, Transaction};

/// The most fields of a hash that is copied; it and its expiries go into one transaction.
const MAX_COPIED: u64 = 500_000;

/// Writes the entry of a key again with another expiry of the key.
pub(crate) fn set_key_expiry(
    tx: &mut Transaction<'_>,
    db: u8,
    key: &[u8],
    old: &Stored,
    expires_at_ms: Option<u64>,
) -> Result<(), Failure> {
    if old.tag != TAG_HASH {
        return tx.put_tagged(db, key, &old.value, expires_at_ms, old.tag);
    }
    put_header(tx, db, key, Header { key_expiry_ms: expires_at_ms, ..header_of(old)? })
}

/// Removes a key that holds `old`.
pub(crate) fn remove(tx: &mut Transaction<'_>, db: u8, key: &[u8], old: &Stored) -> Result<(), Failure> {
    bury(tx, db, old);
    tx.delete(db, key)
}

/// Notes that a key no longer leads to what it held.
pub(crate) fn bury(tx: &mut Transaction<'_>, db: u8, old: &Stored) {
    if let Ok(header) = header_of(old) {
        tx.bury(Dead { db, generation: header.generation });
    }
}

/// Moves what a key holds to another key of the same database, whatever that holds.
pub(crate) fn rename(
    tx: &mut Transaction<'_>,
    db: u8,
    from: &[u8],
    to: &[u8],
    entry: &Stored,
) -> Result<(), Failure> {
    if let Some(overwritten) = tx.read(db, to)? {
        bury(tx, db, &overwritten);
    }
    tx.delete(db, from)?;
    if entry.tag != TAG_HASH {
        return tx.put_tagged(db, to, &entry.value, entry.expires_at_ms, entry.tag);
    }
    let header = header_of(entry)?;
    tx.put_tagged(fields_of(db), &owner_key(header.generation), to, None, TAG_STRING)?;
    put_header(tx, db, to, header)
}

/// Copies what a key holds to another key, perhaps of another database. A hash is copied field by field.
pub(crate) fn copy(
    tx: &mut Transaction<'_>,
    from_db: u8,
    (to_db, to): (u8, &[u8]),
    entry: &Stored,
) -> Result<(), Failure> {
    if entry.tag != TAG_HASH {
        return tx.put_tagged(to_db, to, &entry.value, entry.expires_at_ms, entry.tag);
    }
    let old = header_of(entry)?;
    if old.len > MAX_COPIED {
        return Err(Failure::text(format!(
            "ERR a hash with more than {MAX_COPIED} fields cannot be copied; this one has {}",
            old.len
        )));
    }
    tx.depend_on_reads();
    let mut fields = Vec::new();
    let (low, high) = (fields_from(old.generation, 0), fields_end(old.generation));
    tx.visit(fields_of(from_db), &low, &high, |key, stored| {
        fields.push((key, stored));
        ControlFlow::Continue(())
    })?;
    let fields = fields.iter().map(|(key, stored)| (field_of(key).1, &*stored.value, stored.expires_at_ms));
    create(tx, (to_db, to), &old, fields)
}

/// Writes a new hash with these fields (name, value, expiry), none of them twice, over whatever the key holds; the
/// header gives the key's expiry and what Redis would hold it in. Without fields it writes nothing.
pub(crate) fn create<'f>(
    tx: &mut Transaction<'_>,
    (db, key): (u8, &[u8]),
    like: &Header,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8], Option<u64>)>,
) -> Result<(), Failure> {
    tx.stage();
    let (space, generation) = (fields_of(db), tx.new_generation()?);
    let mut new = Header { generation, len: 0, expiring: 0, next_expiry_ms: None, ..like.clone() };
    let (max_fields, max_bytes) = tx.list_limits;
    for (name, value, at) in fields {
        check_name(name)?;
        tx.put_tagged(space, &field_key(generation, name), value, at, TAG_STRING)?;
        new.len += 1;
        new.large |= new.len > max_fields || name.len() > max_bytes || value.len() > max_bytes;
        if let Some(at) = at {
            tx.put_tagged(space, &expiry_key(generation, at, name), &[], None, TAG_STRING)?;
            new.expiring += 1;
            new.had_expiry = true;
            new.next_expiry_ms = new.next_expiry_ms.into_iter().chain([at]).min();
        }
    }
    if new.len == 0 {
        return Ok(()); // The last field expired just now.
    }
    tx.put_tagged(space, &owner_key(generation), key, None, TAG_STRING)?;
    update_expiries(tx, db, &mut new)?;
    put_header(tx, db, key, new)
}
