//! `DEBUG DIGEST` and `DEBUG DIGEST-VALUE`: forty hexadecimal digits that tell whether data are the same.
//!
//! They depend on types, values, fields and on whether something expires, not on the order in which it was written.
//! They are not Redis's digests of the same data.

use std::ops::ControlFlow;

use terrace_resp::Args;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::debug::check_allowed;
use super::{Flow, Handled};
use crate::context::Context;
use crate::databases::COUNT;
use crate::failure::Failure;
use crate::hash::view;
use crate::pending::Stored;
use crate::shared::Shared;
use crate::transaction::{self, TAG_HASH, Transaction};

/// The sum of digests, whatever their order; that of nothing is zero.
#[derive(Clone, Copy, Default)]
struct Digest(u128, u32);

impl Digest {
    /// The digest of parts in their order.
    fn of(parts: &[&[u8]]) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend((part.len() as u64).to_le_bytes());
            text.extend_from_slice(part);
        }
        Self(xxh3_128(&text), xxh3_64_with_seed(&text, 1) as u32)
    }

    fn add(&mut self, other: Self) {
        *self = Self(self.0.wrapping_add(other.0), self.1.wrapping_add(other.1));
    }

    fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&self.0.to_be_bytes());
        bytes[16..].copy_from_slice(&self.1.to_be_bytes());
        bytes
    }

    fn text(self) -> String {
        format!("{:032x}{:08x}", self.0, self.1)
    }
}

/// The digest of what a key holds.
fn digest_of(tx: &Transaction<'_>, db: u8, stored: &Stored) -> Result<Digest, Failure> {
    let expires = [u8::from(stored.expires_at_ms.is_some())];
    if stored.tag != TAG_HASH {
        return Ok(Digest::of(&[&[stored.tag], &expires, &stored.value]));
    }
    let mut fields = Digest::default();
    view::visit(tx, db, &view::header_of(stored)?, 0, |row| {
        fields.add(Digest::of(&[row.name(), &row.value]));
        ControlFlow::Continue(())
    })?;
    Ok(Digest::of(&[&[stored.tag], &expires, &fields.bytes()]))
}

pub(super) fn digest_value(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_allowed(cx)?;
    let db = cx.session.db;
    let keys = args.from(2);
    let digests = cx.transact(|tx| {
        let of_key = |key| match tx.read(db, key)? {
            Some(stored) => digest_of(tx, db, &stored),
            None => Ok(Digest::default()),
        };
        keys.iter().map(of_key).collect::<Result<Vec<_>, Failure>>()
    })?;
    cx.reply.array(digests.len());
    for digest in digests {
        cx.reply.bulk(digest.text().as_bytes());
    }
    Ok(Flow::Done)
}

/// The digest of all databases; what is written meanwhile may be in it or not.
pub(super) fn digest(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    check_allowed(cx)?;
    cx.settle();
    Ok(Flow::Job(Box::new(|shared, reply| {
        reply.simple(&digest_of_all(shared)?.text());
        Ok(())
    })))
}

fn digest_of_all(shared: &Shared) -> Result<Digest, Failure> {
    let mut all = Digest::default();
    for db in 0..COUNT {
        let Some(space) = shared.databases.find(db) else { continue };
        let mut keys = space.iter();
        while let Some(next) = keys.next_entry() {
            let (key, entry) = next?;
            let stored = Stored::from(entry);
            let value = transaction::run(shared, 0, |tx| digest_of(tx, db, &stored))?.value;
            all.add(Digest::of(&[&[db], &key, &value.bytes()]));
        }
    }
    Ok(all)
}
