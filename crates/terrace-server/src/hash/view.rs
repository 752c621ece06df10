//! Reading hashes.

use std::ops::ControlFlow;

use terrace::Slice;

use super::header::Header;
use super::layout::{expiries_from, field_key, field_of, fields_end, fields_from};
use crate::databases::fields_of;
use crate::failure::{Failure, WRONG_TYPE};
use crate::pending::Stored;
use crate::transaction::{TAG_HASH, Transaction};

/// Expired fields counted one by one when a hash is asked for its length; more may still be counted as present.
const MAX_COUNTED: u64 = 100_000;

/// A field and its value.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    key: Slice,
    /// The value.
    pub(crate) value: Slice,
    /// When it expires.
    pub(crate) expires_at_ms: Option<u64>,
}

impl Row {
    /// The field's name.
    pub(crate) fn name(&self) -> &[u8] {
        field_of(&self.key).1
    }

    /// Its place in the order of the fields.
    pub(crate) fn place(&self) -> u32 {
        field_of(&self.key).0
    }
}

/// The header in an entry; refuses what is no hash.
pub(crate) fn header_of(stored: &Stored) -> Result<Header, Failure> {
    if stored.tag == TAG_HASH { Header::decode(&stored.value) } else { Err(WRONG_TYPE) }
}

/// The header of the hash at a key, if there is one.
pub(crate) fn header(tx: &mut Transaction<'_>, db: u8, key: &[u8]) -> Result<Option<Header>, Failure> {
    tx.read(db, key)?.as_ref().map(header_of).transpose()
}

/// What fields hold. Two or more are read as of one moment: the commit depends on all of them.
pub(crate) fn fields<'k>(
    tx: &mut Transaction<'_>,
    db: u8,
    header: &Header,
    names: impl ExactSizeIterator<Item = &'k [u8]>,
) -> Result<Vec<Option<Stored>>, Failure> {
    let alone = names.len() == 1 && !tx.sees_others();
    let keys: Vec<_> = names.map(|name| field_key(header.generation, name)).collect();
    if let [key] = &keys[..]
        && alone
    {
        return Ok(vec![tx.peek_field(fields_of(db), key)?]);
    }
    tx.depend_on_reads();
    tx.read_fields(fields_of(db), &keys)
}

/// Calls `body` for the fields from a place on, in order, until it breaks.
pub(crate) fn visit(
    tx: &Transaction<'_>,
    db: u8,
    header: &Header,
    from: u32,
    mut body: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let (low, high) = (fields_from(header.generation, from), fields_end(header.generation));
    tx.visit(fields_of(db), &low, &high, |key, stored| {
        body(Row { key, value: stored.value, expires_at_ms: stored.expires_at_ms })
    })
}

/// All fields, refused when they take more than `max_bytes`.
pub(crate) fn rows(
    tx: &Transaction<'_>,
    db: u8,
    header: &Header,
    max_bytes: usize,
) -> Result<Vec<Row>, Failure> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    visit(tx, db, header, 0, |row| {
        bytes += row.key.len() + row.value.len() + size_of::<Row>();
        if bytes > max_bytes {
            return ControlFlow::Break(());
        }
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    if bytes > max_bytes {
        return Err(Failure::fixed("ERR the hash is too large for one reply, use HSCAN"));
    }
    Ok(rows)
}

/// The number of fields, those left out that have expired since the last change.
pub(crate) fn len(tx: &Transaction<'_>, db: u8, header: &Header) -> Result<u64, Failure> {
    let now_ms = tx.now_ms();
    if !header.has_passed(now_ms) {
        return Ok(header.len);
    }
    let mut passed = 0;
    let (low, high) = passed_range(header.generation, now_ms);
    tx.visit(fields_of(db), &low, &high, |_, _| {
        passed += 1;
        if passed < MAX_COUNTED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(header.len.saturating_sub(passed))
}

/// The bounds of the index of expiries up to `now_ms`.
pub(crate) fn passed_range(generation: u64, now_ms: u64) -> (Vec<u8>, Vec<u8>) {
    (expiries_from(generation, 0), expiries_from(generation, now_ms.saturating_add(1)))
}
