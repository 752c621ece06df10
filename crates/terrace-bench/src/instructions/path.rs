//! The paths whose instructions are counted.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use terrace::{Db, Durability, Env, Options, Rng};
use terrace_resp::{Decoder, Limits, encode_request};

use crate::keys::{Shuffle, key, missing_key, mix};
use crate::values;

/// Entries of the store that the reading paths use: a few hundred blocks, all of them in the cache.
const LOADED: u64 = 20_000;
const VALUE_BYTES: usize = 100;

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// A put into the log and the memtable, and its share of the flush with which the store is closed.
    Put,
    /// A get that finds its key in a table, whose block is in the cache.
    GetHit,
    /// A get that the filters end.
    GetMiss,
    /// A step of an iterator over tables.
    Next,
    /// A seek of an iterator: a search in the index and in a block of each source.
    Seek,
    /// Taking apart a `SET` request.
    RespParse,
}

impl Path {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Put, "put"),
        (Self::GetHit, "get-hit"),
        (Self::GetMiss, "get-miss"),
        (Self::Next, "next"),
        (Self::Seek, "seek"),
        (Self::RespParse, "resp-parse"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(path, _)| *path == self).map_or("", |(_, name)| name)
    }

    /// The path of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(path, _)| *path).ok_or_else(|| format!("no path {name:?}"))
    }

    /// Does it `times` times, on a store in the empty directory `dir` where it needs one.
    pub fn perform(self, dir: &FilePath, times: u64) -> Result<()> {
        match self {
            Self::Put => {
                let order = Shuffle::new(10 * LOADED, 1);
                let db = open(dir)?;
                (0..times).try_for_each(|position| put(&db, order.at(position % (10 * LOADED))))
            }
            Self::RespParse => parse_requests(times),
            Self::GetHit | Self::GetMiss | Self::Next | Self::Seek => {
                let db = loaded(dir)?;
                self.read(&db, times)
            }
        }
    }

    fn read(self, db: &Db, times: u64) -> Result<()> {
        let mut random = 1;
        let mut next = || {
            random = mix(random);
            random % LOADED
        };
        match self {
            Self::GetHit => (0..times).try_for_each(|_| {
                ensure!(black_box(db.get(key(next()))?).is_some(), "a loaded key is missing");
                Ok(())
            }),
            Self::GetMiss => (0..times).try_for_each(|_| {
                ensure!(
                    black_box(db.get(missing_key(next()))?).is_none(),
                    "a key is there that was never put"
                );
                Ok(())
            }),
            Self::Seek => (0..times).try_for_each(|_| {
                let first = db.range(key(next())..).next().context("nothing from a loaded key on")?;
                black_box(first?);
                Ok(())
            }),
            _ => iterate(db, times),
        }
    }
}

/// Steps through the store, again from its start when it ends.
fn iterate(db: &Db, times: u64) -> Result<()> {
    let mut done = 0;
    while done < times {
        let step = db.iter().try_for_each(|entry| match entry.map(black_box) {
            Err(error) => ControlFlow::Break(Err(error)),
            Ok(_) => {
                done += 1;
                if done == times { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
            }
        });
        if let ControlFlow::Break(Err(error)) = step {
            return Err(error.into());
        }
    }
    Ok(())
}

fn parse_requests(times: u64) -> Result<()> {
    let mut value = vec![0; VALUE_BYTES];
    values::fill(&mut value, 1, 0);
    let mut request = Vec::new();
    encode_request(&mut request, &[&b"SET"[..], &key(1), &value]);
    let (mut decoder, limits) = (Decoder::new(), Limits::default());
    for _ in 0..times {
        let end = decoder.decode(&mut request, &limits)?;
        ensure!(end == Some(request.len()), "a request ends at {end:?}, not at {}", request.len());
        black_box(decoder.args(&request).get(2));
    }
    Ok(())
}

/// A store without threads or chance: what it does follows from what it is asked for.
fn open(dir: &FilePath) -> Result<Db> {
    let mut env = Env::default();
    env.spawn = None;
    env.rng = Arc::new(Same);
    let options = Options::new().env(env).durability(Durability::Process);
    Ok(options.open(dir.join("store"))?)
}

fn loaded(dir: &FilePath) -> Result<Db> {
    let db = open(dir)?;
    let order = Shuffle::new(LOADED, 1);
    (0..LOADED).try_for_each(|position| put(&db, order.at(position)))?;
    db.compact_all()?;
    // Every block is read once, so that none is read while counting.
    ensure!(db.iter().count() as u64 == LOADED, "not everything that was put is there");
    Ok(db)
}

fn put(db: &Db, number: u64) -> Result<()> {
    let mut value = [0; VALUE_BYTES];
    values::fill(&mut value, number, 0);
    Ok(db.put(key(number), value)?)
}

/// Seeds that are always the same.
#[derive(Debug)]
struct Same;

impl Rng for Same {
    fn next_u64(&self) -> u64 {
        0x5eed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_can_be_done_any_number_of_times() {
        for (path, name) in Path::ALL {
            assert_eq!(Path::parse(name), Ok(path));
            for times in [0, 1, 30] {
                let dir = tempfile::tempdir().unwrap();
                path.perform(dir.path(), times).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
        assert!(Path::parse("got").is_err());
    }
}
