//! `SoundValues`: a salvaged table without the entries whose values are damaged.
//!
//! Every value that an entry points to is read and verified before the entry is shown, so whoever copies it finds it
//! sound. What is left out is listed, neighbours that point into one file as one range.

use std::sync::Arc;

use parking_lot::Mutex;

use super::finding::{Finding, key_range};
use crate::base::{Cursor, EntryMeta, Error, Kind, Result, Seqno, Slice};
use crate::version::{Blobs, State};

/// Entries that were left out.
#[derive(Debug)]
struct Loss {
    error: Error,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// All that was left out, of all tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses(Arc<Mutex<Vec<Loss>>>);

impl Losses {
    /// The losses in words.
    pub(super) fn findings(&self, state: &State) -> Vec<Finding> {
        let in_words =
            |loss: &Loss| Finding::of(&loss.error, Some(key_range(&loss.first, &loss.last, state)));
        self.0.lock().iter().map(in_words).collect()
    }

    /// Notes a loss, or that the one numbered `open` goes on; its number.
    fn add(&self, open: Option<usize>, error: Error, key: &[u8]) -> usize {
        let mut losses = self.0.lock();
        if let Some(at) = open
            && let Some(loss) = losses.get_mut(at)
            && path_of(&loss.error) == path_of(&error)
        {
            loss.last = key.to_vec();
            return at;
        }
        losses.push(Loss { error, first: key.to_vec(), last: key.to_vec() });
        losses.len() - 1
    }
}

fn path_of(error: &Error) -> Option<&std::path::Path> {
    match error {
        Error::Corruption { path, .. } | Error::Io { path, .. } => Some(path),
        _ => None,
    }
}

/// The entries of a cursor whose values can be had. It goes forward only.
pub(super) struct SoundValues<C> {
    cursor: C,
    blobs: Blobs,
    losses: Losses,
    /// The loss that the entry before the current one belongs to.
    open: Option<usize>,
}

impl<C: Cursor> SoundValues<C> {
    /// The entries of `cursor` whose values, where they are pointers, are sound in `blobs`.
    pub(super) fn new(cursor: C, blobs: &Blobs, losses: &Losses) -> Self {
        Self { cursor, blobs: blobs.clone(), losses: losses.clone(), open: None }
    }

    fn settle(&mut self) -> Result<()> {
        while self.cursor.valid() && self.cursor.meta().kind == Kind::Pointer {
            let key = self.cursor.key();
            match self.blobs.read(key, self.cursor.value()) {
                Ok(_) => {
                    self.open = None;
                    return Ok(());
                }
                Err(error) => self.open = Some(self.losses.add(self.open, error, key)),
            }
            self.cursor.next()?;
        }
        Ok(())
    }
}

impl<C: Cursor> Cursor for SoundValues<C> {
    fn valid(&self) -> bool {
        self.cursor.valid()
    }
    fn key(&self) -> &[u8] {
        self.cursor.key()
    }
    fn seqno(&self) -> Seqno {
        self.cursor.seqno()
    }
    fn meta(&self) -> EntryMeta {
        self.cursor.meta()
    }
    fn value(&self) -> &[u8] {
        self.cursor.value()
    }
    fn value_slice(&self) -> Slice {
        self.cursor.value_slice()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.cursor.seek_to_first()?;
        self.settle()
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.cursor.seek_to_last()
    }
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.cursor.seek(key)?;
        self.settle()
    }
    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.cursor.seek_before(key)
    }
    fn next(&mut self) -> Result<()> {
        self.cursor.next()?;
        self.settle()
    }
    fn prev(&mut self) -> Result<()> {
        self.cursor.prev()
    }
}
