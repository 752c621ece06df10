//! One operation on a store, and its answer in a form that can be compared.

use std::time::Duration;

use terrace::{Batch, Db, Entry, Error, Iter, Keyspace, Rng, SeededRng, Snapshot, WriteOptions};

/// Keyspaces that come and go.
const SPACES: u64 = 3;

/// What changes no answer, and is done to one store at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Upkeep {
    Flush,
    Compact,
    Sync,
    Reopen,
}

impl Upkeep {
    pub(super) fn draw(rng: &SeededRng) -> Self {
        [Self::Flush, Self::Compact, Self::Sync, Self::Reopen][rng.below(4) as usize]
    }
}

/// A change, alone or in a batch.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put { key: Vec<u8>, value: Vec<u8>, tag: u8, ttl_ms: u64 },
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    Append(Vec<u8>, Vec<u8>),
}

/// What all stores of a herd are asked.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Write { keyspace: u64, change: Change },
    Batch(Vec<(u64, Change)>),
    Increment { keyspace: u64, key: Vec<u8>, delta: i64 },
    Update { keyspace: u64, key: Vec<u8> },
    Get { keyspace: u64, keys: Vec<Vec<u8>>, snapshot: Option<u64> },
    MultiGet { keyspace: u64, keys: Vec<Vec<u8>>, snapshot: Option<u64> },
    Scan { keyspace: u64, low: Vec<u8>, high: Vec<u8>, ends: u64, snapshot: Option<u64> },
    Prefix { keyspace: u64, prefix: Vec<u8>, ends: u64, snapshot: Option<u64> },
    Create(u64),
    Drop(u64),
    Clear(u64),
}

/// An entry as it was found: its key, and value, tag and expiry.
type Found = (Vec<u8>, Option<(Vec<u8>, u8, Option<u64>)>);

/// What a store has answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Entries(Vec<Found>),
    Number(i64),
    /// The kind of error, without what differs from store to store.
    Refused(String),
}

fn key(rng: &SeededRng) -> Vec<u8> {
    let n = rng.below(150);
    match rng.below(10) {
        0 => vec![n as u8],
        1 => vec![0xff; 1 + (n % 9) as usize],
        2 => format!("a long shared prefix of many keys/{n:04}/and a tail").into_bytes(),
        _ => format!("k{n:03}").into_bytes(),
    }
}

fn change(rng: &SeededRng, step: u64) -> Change {
    match rng.below(20) {
        0..=2 => Change::Delete(key(rng)),
        3 => {
            let (a, b) = (key(rng), key(rng));
            Change::DeleteRange(a.clone().min(b.clone()), a.max(b))
        }
        4..=5 => Change::Append(key(rng), format!("+{step}").into_bytes()),
        _ => {
            let len = [rng.below(100), rng.below(100), 200 + rng.below(2_000), rng.below(30_000)];
            let (len, fill) = (len[rng.below(20).min(3) as usize], rng.next_u64() as u8);
            let value = (0..len).map(|i| fill.wrapping_add((i / 7) as u8)).collect();
            let tag = if rng.chance(20) { rng.below(16) as u8 } else { 0 };
            let ttl_ms = if rng.chance(15) { 1 + rng.below(5_000) } else { 0 };
            Change::Put { key: key(rng), value, tag, ttl_ms }
        }
    }
}

impl Operation {
    pub(super) fn draw(rng: &SeededRng, step: u64) -> Self {
        let keyspace = rng.below(SPACES + 1);
        let snapshot = rng.chance(40).then(|| rng.next_u64());
        let keys = |most: u64| (0..=rng.below(most)).map(|_| key(rng)).collect();
        let ends = [0, u64::MAX, rng.next_u64()][rng.below(3) as usize];
        match rng.below(100) {
            0..=37 => Self::Write { keyspace, change: change(rng, step) },
            38..=49 => {
                let one = |_| (rng.below(SPACES + 1), change(rng, step));
                Self::Batch((0..=rng.below(12)).map(one).collect())
            }
            50..=54 => Self::Increment { keyspace, key: key(rng), delta: rng.below(100) as i64 - 50 },
            55..=58 => Self::Update { keyspace, key: key(rng) },
            59..=69 => Self::Get { keyspace, keys: keys(4), snapshot },
            70..=79 => Self::MultiGet { keyspace, keys: keys(60), snapshot },
            80..=89 => {
                let (a, b) = (key(rng), key(rng));
                let (low, high) = (a.clone().min(b.clone()), a.max(b));
                Self::Scan { keyspace, low, high, ends, snapshot }
            }
            90..=94 => {
                let mut prefix = key(rng);
                prefix.truncate(rng.below(4) as usize);
                Self::Prefix { keyspace, prefix, ends, snapshot }
            }
            95..=97 => Self::Create(1 + rng.below(SPACES)),
            98 => Self::Drop(1 + rng.below(SPACES)),
            _ => Self::Clear(keyspace),
        }
    }

    /// Does it, to a store with these snapshots.
    pub(super) fn apply(&self, db: &Db, snapshots: &[Snapshot]) -> Answer {
        self.attempt(db, snapshots).unwrap_or_else(|error| Answer::Refused(kind(&error)))
    }

    fn attempt(&self, db: &Db, snapshots: &[Snapshot]) -> Result<Answer, Error> {
        let nothing = Answer::Entries(Vec::new());
        match self {
            Self::Write { keyspace, change } => write(&space(db, *keyspace)?, change)?,
            Self::Batch(changes) => {
                let mut batch = db.batch();
                for (keyspace, change) in changes {
                    // One that is not there takes no part.
                    if let Ok(keyspace) = space(db, *keyspace) {
                        add(&mut batch, &keyspace, change);
                    }
                }
                batch.commit()?;
            }
            Self::Increment { keyspace, key, delta } => {
                return Ok(Answer::Number(space(db, *keyspace)?.increment(key, *delta)?));
            }
            Self::Update { keyspace, key } => {
                let change = |old: Option<&[u8]>| {
                    let old = old.unwrap_or_default();
                    (old.len() % 5 != 4).then(|| [&old[..old.len().min(40)], b"+"].concat())
                };
                let value = space(db, *keyspace)?.update(key, change)?;
                return Ok(Answer::Entries(vec![(key.clone(), value.map(|v| (v.to_vec(), 0, None)))]));
            }
            Self::Create(n) => drop(db.keyspace(&name(*n))?),
            Self::Drop(n) => db.drop_keyspace(&name(*n))?,
            Self::Clear(n) => space(db, *n)?.clear()?,
            read => return read.look(db, snapshots),
        }
        Ok(nothing)
    }

    fn look(&self, db: &Db, snapshots: &[Snapshot]) -> Result<Answer, Error> {
        let at = |n: &Option<u64>| n.and_then(|n| snapshots.get(n as usize % snapshots.len().max(1)));
        let entries = match self {
            Self::Get { keyspace, keys, snapshot } => {
                let keyspace = space(db, *keyspace)?;
                let get = |key: &Vec<u8>| match at(snapshot) {
                    Some(snapshot) => snapshot.get_in(&keyspace, key),
                    None => keyspace.get_entry(key),
                };
                keys.iter().map(|key| Ok(found(key, get(key)?))).collect::<Result<_, Error>>()?
            }
            Self::MultiGet { keyspace, keys, snapshot } => {
                let keyspace = space(db, *keyspace)?;
                let entries = match at(snapshot) {
                    Some(snapshot) => snapshot.multi_get_in(&keyspace, keys)?,
                    None => keyspace.multi_get_entries(keys)?,
                };
                keys.iter().zip(entries).map(|(key, entry)| found(key, entry)).collect()
            }
            Self::Scan { keyspace, low, high, ends, snapshot } => {
                let keyspace = space(db, *keyspace)?;
                let range = &low[..]..&high[..];
                walk(
                    match at(snapshot) {
                        Some(snapshot) => snapshot.range_in(&keyspace, range),
                        None => keyspace.range(range),
                    },
                    *ends,
                )?
            }
            Self::Prefix { keyspace, prefix, ends, snapshot } => {
                let keyspace = space(db, *keyspace)?;
                walk(
                    match at(snapshot) {
                        Some(snapshot) => snapshot.prefix_in(&keyspace, prefix),
                        None => keyspace.prefix(prefix),
                    },
                    *ends,
                )?
            }
            _ => Vec::new(),
        };
        Ok(Answer::Entries(entries))
    }
}

/// The error without its text, which may name a file of one store.
fn kind(error: &Error) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn name(n: u64) -> String {
    if n == 0 { "default".to_string() } else { format!("space{n}") }
}

fn space(db: &Db, n: u64) -> Result<Keyspace, Error> {
    db.find_keyspace(&name(n)).ok_or_else(|| Error::UnknownKeyspace { name: name(n) })
}

fn options(tag: u8, ttl_ms: u64) -> WriteOptions {
    let options = WriteOptions::new().tag(tag);
    if ttl_ms == 0 { options } else { options.ttl(Duration::from_millis(ttl_ms)) }
}

fn write(keyspace: &Keyspace, change: &Change) -> Result<(), Error> {
    match change {
        Change::Put { key, value, tag, ttl_ms } => keyspace.put_with(key, value, options(*tag, *ttl_ms)),
        Change::Delete(key) => keyspace.delete(key),
        Change::DeleteRange(low, high) => keyspace.delete_range(&low[..]..&high[..]),
        Change::Append(key, operand) => keyspace.merge(key, operand),
    }
}

fn add(batch: &mut Batch, keyspace: &Keyspace, change: &Change) {
    match change {
        Change::Put { key, value, tag, ttl_ms } => {
            batch.put_in(keyspace, key, value, options(*tag, *ttl_ms));
        }
        Change::Delete(key) => drop(batch.delete_in(keyspace, key)),
        Change::DeleteRange(low, high) => drop(batch.delete_range_in(keyspace, &low[..]..&high[..])),
        Change::Append(key, operand) => drop(batch.merge_in(keyspace, key, operand)),
    }
}

fn found(key: &[u8], entry: Option<Entry>) -> Found {
    (key.to_vec(), entry.map(|entry| (entry.value.to_vec(), entry.tag, entry.expires_at_ms)))
}

/// Everything that an iterator has, taken from the end that the bits of `ends` name in turn.
fn walk(mut iter: Iter, ends: u64) -> Result<Vec<Found>, Error> {
    let mut entries = Vec::new();
    for n in 0_u32.. {
        let next = if ends >> (n % 64) & 1 == 0 { iter.next_entry() } else { iter.next_back_entry() };
        let Some(next) = next.transpose()? else { break };
        entries.push(found(&next.0, Some(next.1)));
    }
    Ok(entries)
}
