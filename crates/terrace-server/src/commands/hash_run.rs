//! `HGET`s and `HMGET`s that follow one another on a connection, looked up together.
//!
//! All headers are one look-up, all fields a second one. If there are requests for several fields, a third one
//! shows whether their hashes were changed meanwhile: every change counts up the version in the header. Requests
//! whose hash was are answered by themselves, so each is of one moment. A batch reaches the shards of the store one
//! after the other; therefore the store is passed through between these steps, after which every batch of which
//! something was seen is there in whole.

use terrace::Slice;

use super::string_read::refuse;
use crate::context::Context;
use crate::databases::fields_of;
use crate::failure::Failure;
use crate::hash::header::Header;
use crate::hash::layout::{MAX_NAME_BYTES, field_key};
use crate::hash::view;
use crate::notify::HASH;
use crate::pending::Stored;

/// A request for fields of a hash.
pub(crate) struct HashRead<'a> {
    /// The hash's key.
    pub(crate) key: &'a [u8],
    /// The names of the fields.
    pub(crate) names: Vec<&'a [u8]>,
    /// Whether the answer is a list, even of one field.
    pub(crate) lists: bool,
}

/// What each field holds, or why the request is refused.
type Found = Result<Vec<Option<Slice>>, Failure>;

/// Answers requests in order. Stops once the answers have taken `room` bytes; returns how many were given, at least
/// one.
pub(crate) fn hash_run(cx: &mut Context<'_>, reads: &[HashRead<'_>], room: usize) -> usize {
    let start = cx.reply.position();
    let all = match look_up(cx, reads) {
        Ok(all) => all,
        Err(failure) => {
            for _ in reads {
                refuse(cx, &failure);
            }
            return reads.len();
        }
    };
    for (answered, (read, found)) in reads.iter().zip(all).enumerate() {
        if answered > 0 && cx.reply.position() - start > room {
            return answered;
        }
        match found {
            Err(failure) => refuse(cx, &failure),
            Ok(values) => {
                if read.lists {
                    cx.reply.array(read.names.len());
                }
                for value in values {
                    cx.reply.bulk_or_null(value.as_deref());
                }
            }
        }
    }
    reads.len()
}

fn look_up(cx: &mut Context<'_>, reads: &[HashRead<'_>]) -> Result<Vec<Found>, Failure> {
    let swaps = cx.shared.databases.times_swapped();
    let found = look_up_together(cx, reads)?;
    if swaps.is_multiple_of(2) && swaps == cx.shared.databases.times_swapped() {
        return Ok(found);
    }
    // Headers and fields may be of two databases.
    Ok(reads.iter().map(|read| by_itself(cx, read)).collect())
}

fn look_up_together(cx: &mut Context<'_>, reads: &[HashRead<'_>]) -> Result<Vec<Found>, Failure> {
    let keys: Vec<&[u8]> = reads.iter().map(|read| read.key).collect();
    cx.touch(keys.iter().copied());
    let stored = cx.lookup_many(&keys, None)?;
    let headers: Vec<Result<Option<Header>, Failure>> =
        stored.iter().map(|stored| stored.as_ref().map(view::header_of).transpose()).collect();
    let next_expiry =
        |header: &Result<Option<Header>, Failure>| header.as_ref().ok()?.as_ref()?.next_expiry_ms;
    let passed: Vec<(&[u8], u64)> =
        keys.iter().zip(&headers).filter_map(|(key, header)| Some((*key, next_expiry(header)?))).collect();
    let several = reads.iter().any(|read| read.names.len() > 1);
    if several {
        pass_through(cx);
    }
    let mut values = fields(cx, reads, &headers)?.into_iter();
    let mut all: Vec<Found> = reads
        .iter()
        .zip(headers)
        .map(|(read, header)| {
            let values = values.by_ref().take(read.names.len()).collect();
            header.map(|_| values)
        })
        .collect();
    let doubtful = |at: &usize| reads[*at].names.len() > 1 && stored[*at].is_some() && all[*at].is_ok();
    let doubtful: Vec<usize> = (0..reads.len()).filter(doubtful).collect();
    if cx.shared.watch.wants(HASH) {
        let now_ms = cx.shared.databases.now_ms();
        passed.iter().filter(|(_, at_ms)| *at_ms <= now_ms).for_each(|(key, _)| cx.passed(key));
    }
    if doubtful.is_empty() {
        return Ok(all);
    }
    pass_through(cx);
    let keys: Vec<&[u8]> = doubtful.iter().map(|at| keys[*at]).collect();
    let now = cx.space().map(|space| space.multi_get_entries(&keys)).transpose()?.unwrap_or_default();
    for (at, now) in doubtful.into_iter().zip(now) {
        let then = stored[at].as_ref().map(|stored| &stored.value);
        if now.map(Stored::from).as_ref().map(|now| &now.value) != then {
            all[at] = by_itself(cx, &reads[at]);
        }
    }
    Ok(all)
}

/// Waits for the batches that are reaching the store: a snapshot has none of them in part.
fn pass_through(cx: &Context<'_>) {
    drop(cx.shared.databases.store().snapshot());
}

/// The fields of all requests, one after the other.
fn fields(
    cx: &Context<'_>,
    reads: &[HashRead<'_>],
    headers: &[Result<Option<Header>, Failure>],
) -> Result<Vec<Option<Slice>>, Failure> {
    let (mut keys, mut wanted) = (Vec::new(), Vec::new());
    for (read, header) in reads.iter().zip(headers) {
        for name in &read.names {
            let header = header.as_ref().ok().and_then(Option::as_ref);
            let header = header.filter(|_| name.len() <= MAX_NAME_BYTES);
            wanted.push(header.is_some());
            keys.extend(header.map(|header| field_key(header.generation, name)));
        }
    }
    cx.metrics.lookup_sizes.record(keys.len() as u64, 1);
    let space = cx.shared.databases.find(fields_of(cx.session.db));
    let found = space.map(|space| space.multi_get(&keys)).transpose()?.unwrap_or_default();
    let mut found = found.into_iter();
    Ok(wanted.into_iter().map(|wanted| if wanted { found.next().flatten() } else { None }).collect())
}

fn by_itself(cx: &mut Context<'_>, read: &HashRead<'_>) -> Found {
    let db = cx.session.db;
    let found = cx.transact(|tx| match view::header(tx, db, read.key)? {
        Some(header) => view::fields(tx, db, &header, read.names.iter().copied()),
        None => Ok(vec![None; read.names.len()]),
    })?;
    Ok(found.into_iter().map(|field| field.map(|stored| stored.value)).collect())
}
