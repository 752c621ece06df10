//! Changing a hash: [`Hash`] reads the header and the fields that a command is about, takes the changes, and
//! writes header and owner when it is done.
//!
//! Invariants it keeps: `len` counts the entries of fields, `expiring` those with an expiry, and the index has
//! exactly these. A field counts as expired by one reading of the clock per `Hash`, taken after the fields were
//! read, so that what the store has hidden is settled before it is counted again.

use std::collections::HashMap;
use std::ops::ControlFlow;

use terrace::Slice;

use super::generation::Dead;
use super::header::Header;
use super::layout::{check_name, expiries_from, expiry_key, expiry_of, field_key, generation_end, owner_key};
use super::view::{header_of, passed_range};
use crate::databases::fields_of;
use crate::failure::Failure;
use crate::notify::{GENERIC, HASH};
use crate::transaction::{TAG_HASH, TAG_STRING, Transaction, check_write};

/// Expired fields settled by one change.
const MAX_SETTLED: usize = 100_000;

/// What a field holds.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Its value.
    pub(crate) value: Slice,
    /// When it expires.
    pub(crate) expires_at_ms: Option<u64>,
}

/// A hash open for changes; nothing is written unless it is closed.
pub(crate) struct Hash<'t, 'a, 'f> {
    tx: &'t mut Transaction<'a>,
    db: u8,
    key: &'f [u8],
    header: Header,
    existed: bool,
    changed: bool,
    fields: HashMap<&'f [u8], Option<Field>>,
    now_ms: u64,
    /// The entries in the index of what was uncounted, to be removed together with the header's change.
    passed: Vec<Slice>,
    /// The keyspace event of the change.
    events: [Option<&'static str>; 2],
}

impl<'t, 'a, 'f> Hash<'t, 'a, 'f> {
    /// The hash at a key, for changes to these fields; `None` if there is none.
    pub(crate) fn open(
        tx: &'t mut Transaction<'a>,
        db: u8,
        key: &'f [u8],
        names: impl Iterator<Item = &'f [u8]>,
    ) -> Result<Option<Self>, Failure> {
        let Some(stored) = tx.read(db, key)? else { return Ok(None) };
        Self::load(tx, db, key, header_of(&stored)?, names).map(Some)
    }

    /// As `open`, with a new hash if there is none.
    pub(crate) fn open_or_create(
        tx: &'t mut Transaction<'a>,
        db: u8,
        key: &'f [u8],
        names: impl Iterator<Item = &'f [u8]>,
    ) -> Result<Self, Failure> {
        check_write(key, 0)?;
        if let Some(stored) = tx.read(db, key)? {
            return Self::load(tx, db, key, header_of(&stored)?, names);
        }
        let (generation, now_ms) = (tx.new_generation()?, tx.now_ms());
        let (header, fields, passed) = (Header::new(generation), HashMap::new(), Vec::new());
        Ok(Self {
            tx,
            db,
            key,
            header,
            existed: false,
            changed: false,
            fields,
            now_ms,
            passed,
            events: [None; 2],
        })
    }

    fn load(
        tx: &'t mut Transaction<'a>,
        db: u8,
        key: &'f [u8],
        header: Header,
        names: impl Iterator<Item = &'f [u8]>,
    ) -> Result<Self, Failure> {
        let mut fields: HashMap<&[u8], Option<Field>> = names.map(|name| (name, None)).collect();
        let keys: Vec<_> = fields.keys().map(|name| field_key(header.generation, name)).collect();
        let found = tx.read_fields(fields_of(db), &keys)?;
        let now_ms = tx.now_ms();
        for (field, found) in fields.values_mut().zip(found) {
            let live = found.filter(|found| found.expires_at_ms.is_none_or(|at| at > now_ms));
            *field = live.map(|found| Field { value: found.value, expires_at_ms: found.expires_at_ms });
        }
        let passed = Vec::new();
        let mut hash = Self {
            tx,
            db,
            key,
            header,
            existed: true,
            changed: false,
            fields,
            now_ms,
            passed,
            events: [None; 2],
        };
        hash.settle()?;
        Ok(hash)
    }

    /// Uncounts the fields that have expired.
    fn settle(&mut self) -> Result<(), Failure> {
        if !self.header.has_passed(self.now_ms) {
            return Ok(());
        }
        let space = fields_of(self.db);
        let (low, high) = passed_range(self.header.generation, self.now_ms);
        let mut passed = Vec::new();
        self.tx.visit(space, &low, &high, |key, _| {
            passed.push(key);
            if passed.len() < MAX_SETTLED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let all = passed.len() < MAX_SETTLED;
        let count = passed.len() as u64;
        self.header.len = self.header.len.saturating_sub(count);
        self.header.expiring = self.header.expiring.saturating_sub(count);
        if all {
            let first = self.tx.first_in(space, &high, &generation_end(self.header.generation))?;
            self.header.next_expiry_ms = first.map(|key| expiry_of(&key).0);
        }
        self.passed = passed;
        self.changed = true;
        Ok(())
    }

    /// The time by which fields are alive here.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What a field holds. It is one of those that were named at the opening.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Field> {
        self.fields.get(name)?.as_ref()
    }

    /// Sets a field; `true` if there was none.
    pub(crate) fn set(
        &mut self,
        name: &'f [u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
    ) -> Result<bool, Failure> {
        check_name(name)?;
        let old = self.fields.get(name).cloned().flatten();
        let old_expiry = old.as_ref().and_then(|field| field.expires_at_ms);
        self.header.len += u64::from(old.is_none());
        let (max_fields, max_bytes) = self.tx.list_limits;
        self.header.large |=
            self.header.len > max_fields || name.len() > max_bytes || value.len() > max_bytes;
        self.index(name, old_expiry, expires_at_ms)?;
        let key = field_key(self.header.generation, name);
        self.tx.put_tagged(fields_of(self.db), &key, value, expires_at_ms, TAG_STRING)?;
        self.fields.insert(name, Some(Field { value: value.into(), expires_at_ms }));
        self.changed = true;
        Ok(old.is_none())
    }

    /// Gives a field that is there another expiry.
    pub(crate) fn expire(&mut self, name: &'f [u8], expires_at_ms: Option<u64>) -> Result<(), Failure> {
        let Some(field) = self.get(name).cloned() else { return Ok(()) };
        if field.expires_at_ms != expires_at_ms {
            self.set(name, &field.value, expires_at_ms)?;
        }
        Ok(())
    }

    /// Removes a field; `false` if there was none.
    pub(crate) fn remove(&mut self, name: &'f [u8]) -> Result<bool, Failure> {
        let Some(old) = self.fields.insert(name, None).flatten() else { return Ok(false) };
        self.index(name, old.expires_at_ms, None)?;
        self.tx.delete(fields_of(self.db), &field_key(self.header.generation, name))?;
        self.header.len = self.header.len.saturating_sub(1);
        self.changed = true;
        Ok(true)
    }

    /// Moves a field in the index of expiries.
    fn index(&mut self, name: &[u8], old: Option<u64>, new: Option<u64>) -> Result<(), Failure> {
        if old == new {
            return Ok(());
        }
        // The index is read again when the hash is closed, so what is written to it has to be seen.
        self.tx.stage();
        let (space, generation) = (fields_of(self.db), self.header.generation);
        if let Some(at) = old {
            self.tx.delete(space, &expiry_key(generation, at, name))?;
            self.header.expiring = self.header.expiring.saturating_sub(1);
        }
        if let Some(at) = new {
            self.tx.put_tagged(space, &expiry_key(generation, at, name), &[], None, TAG_STRING)?;
            self.header.expiring += 1;
            self.header.had_expiry = true;
            self.header.next_expiry_ms = self.header.next_expiry_ms.into_iter().chain([at]).min();
        }
        Ok(())
    }

    /// As [`Hash::close`], raising a keyspace event if anything was changed.
    pub(crate) fn close_as(mut self, event: &'static str) -> Result<(), Failure> {
        self.events[0] = Some(event);
        self.close()
    }

    /// As [`Hash::close_as`], raising a second event after the first.
    pub(crate) fn close_as_both(
        mut self,
        event: &'static str,
        second: Option<&'static str>,
    ) -> Result<(), Failure> {
        self.events[1] = second;
        self.close_as(event)
    }

    /// Writes what has changed; a hash without fields is removed.
    pub(crate) fn close(mut self) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        let (db, generation) = (self.db, self.header.generation);
        if !self.passed.is_empty() {
            self.tx.event(HASH, "hexpired", db, self.key);
            self.tx.effects().expired_fields(self.passed.len() as u64);
        }
        for event in self.events.into_iter().flatten() {
            self.tx.event(HASH, event, db, self.key);
        }
        if self.header.len == 0 {
            if self.existed {
                self.tx.delete(db, self.key)?;
                self.tx.event(GENERIC, "del", db, self.key);
            }
            self.tx.bury(Dead { db, generation });
            return Ok(());
        }
        if !self.existed {
            self.tx.put_tagged(fields_of(db), &owner_key(generation), self.key, None, TAG_STRING)?;
        }
        for key in &self.passed {
            self.tx.delete(fields_of(db), key)?;
        }
        update_expiries(self.tx, db, &mut self.header)?;
        put_header(self.tx, db, self.key, self.header)
    }
}

/// Makes the header say when the last field expires, if all do.
pub(super) fn update_expiries(tx: &Transaction<'_>, db: u8, header: &mut Header) -> Result<(), Failure> {
    header.vanishes_at_ms = None;
    if header.expiring == 0 {
        header.next_expiry_ms = None;
    } else if header.expiring == header.len {
        let (low, high) = (expiries_from(header.generation, 0), generation_end(header.generation));
        header.vanishes_at_ms = tx.last_in(fields_of(db), &low, &high)?.map(|key| expiry_of(&key).0);
    }
    Ok(())
}

/// Writes a header after a change.
pub(super) fn put_header(
    tx: &mut Transaction<'_>,
    db: u8,
    key: &[u8],
    mut header: Header,
) -> Result<(), Failure> {
    header.version += 1;
    if let Some(at_ms) = header.next_expiry_ms {
        tx.effects().expires(db, key, at_ms);
    }
    tx.put_tagged(db, key, &header.encode(), header.key_expiry_ms, TAG_HASH)
}
