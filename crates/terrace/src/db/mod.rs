//! Stand-in for the engine: the public API over a `BTreeMap`, for building the server and the command line.

pub mod options;
pub mod stats;
pub mod types;

use std::collections::BTreeMap;
use std::ops::{Bound, Deref, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::base::entry::{EntryRef, take_entry};
use crate::base::id::KeyspaceId;
use crate::base::key::{prefix_successor, push_prefix};
use crate::base::{EntryMeta, Error, Kind, Result, Slice};
pub use options::{Compression, Durability, Options};
pub use stats::*;
pub use types::{Entry, Stamp, WriteOptions};

type Map = BTreeMap<Vec<u8>, (u64, EntryMeta, Slice)>;

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    options: Options,
    seqno: AtomicU64,
}
#[derive(Default)]
struct State {
    map: Map,
    names: BTreeMap<String, u32>,
    next_id: u32,
    closed: bool,
}
impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.lock();
        let mut out = Vec::new();
        for (k, (_, m, v)) in &state.map {
            EntryRef { key: k, meta: *m, value: v }.encode(&mut out);
        }
        let _ = std::fs::write(self.path.join("MOCK"), out);
        let names: Vec<String> = state.names.iter().map(|(n, i)| format!("{i} {n}")).collect();
        let _ = std::fs::write(self.path.join("MOCKNAMES"), names.join("\n"));
    }
}

/// A store: its default keyspace (by `Deref`) plus the store-wide operations.
#[derive(Clone)]
pub struct Db {
    default: Keyspace,
}
impl Deref for Db {
    type Target = Keyspace;
    fn deref(&self) -> &Keyspace {
        &self.default
    }
}

/// A named, separate set of keys.
#[derive(Clone)]
pub struct Keyspace {
    inner: Arc<Inner>,
    name: Arc<str>,
}

impl Db {
    /// Opens (or creates) the store in a directory with the default options.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }
    pub(crate) fn open_with(path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        std::fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
        let mut state = State { next_id: 1, ..State::default() };
        state.names.insert("default".into(), 0);
        if let Ok(text) = std::fs::read_to_string(path.join("MOCKNAMES")) {
            for line in text.lines() {
                if let Some((i, n)) = line.split_once(' ') {
                    let i: u32 = i.parse().unwrap_or(0);
                    state.next_id = state.next_id.max(i + 1);
                    state.names.insert(n.into(), i);
                }
            }
        }
        let bytes = std::fs::read(path.join("MOCK")).unwrap_or_default();
        let mut input = &bytes[..];
        while let Some(e) = take_entry(&mut input) {
            state.map.insert(e.key.to_vec(), (1, e.meta, Slice::copy_from(e.value)));
        }
        let inner = Inner { path: path.into(), state: Mutex::new(state), options, seqno: AtomicU64::new(1) };
        Ok(Self { default: Keyspace { inner: Arc::new(inner), name: "default".into() } })
    }
    /// An empty batch: writes applied together or not at all.
    pub fn batch(&self) -> Batch {
        Batch { db: self.clone(), entries: Vec::new(), expect: Vec::new(), error: None }
    }
    /// The keyspace of this name, created if missing. The default one is called "default".
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let mut s = self.inner.state.lock();
        if !s.names.contains_key(name) {
            let id = s.next_id;
            s.next_id += 1;
            s.names.insert(name.into(), id);
        }
        Ok(Keyspace { inner: Arc::clone(&self.inner), name: name.into() })
    }
    /// The keyspace of this name, if it exists.
    pub fn find_keyspace(&self, name: &str) -> Option<Keyspace> {
        let found = self.inner.state.lock().names.contains_key(name);
        found.then(|| Keyspace { inner: Arc::clone(&self.inner), name: name.into() })
    }
    /// The names of all keyspaces, sorted.
    pub fn keyspaces(&self) -> Vec<String> {
        self.inner.state.lock().names.keys().cloned().collect()
    }
    /// Drops a keyspace and all that is in it, at once.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        let mut s = self.inner.state.lock();
        s.names.remove(name).map(|_| ()).ok_or_else(|| Error::UnknownKeyspace { name: name.into() })
    }
    /// A consistent view of everything written so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { inner: Arc::clone(&self.inner), map: Arc::new(self.inner.state.lock().map.clone()) }
    }
    /// Writes the memtable to tables and waits for it.
    pub fn flush(&self) -> Result<()> {
        Ok(())
    }
    /// Compacts every table that overlaps the range (of the default keyspace), down to the bottom level.
    pub fn compact<K: AsRef<[u8]>>(&self, _range: impl RangeBounds<K>) -> Result<()> {
        Ok(())
    }
    /// Compacts everything, of all keyspaces.
    pub fn compact_all(&self) -> Result<()> {
        Ok(())
    }
    /// Makes every write acknowledged so far survive a power loss.
    pub fn sync(&self) -> Result<()> {
        Ok(())
    }
    /// Calls `then` (from a background thread, or at once) when the write numbered `seqno` survives a power
    /// loss, or with the reason why that will not happen. Concurrent requests share one sync.
    pub fn when_durable(&self, _seqno: u64, then: impl FnOnce(Result<()>) + Send + 'static) {
        then(Ok(()));
    }
    /// Flushes, stops background work and lets go of the directory. Later calls fail with `Error::Closed`.
    pub fn close(&self) -> Result<()> {
        self.inner.state.lock().closed = true;
        Ok(())
    }
    /// What the store holds and has done.
    pub fn stats(&self) -> Stats {
        let entries = self.inner.state.lock().map.len() as u64;
        Stats { entries, last_seqno: self.inner.seqno.load(Ordering::Relaxed), ..Stats::default() }
    }
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}

fn now_ms(inner: &Inner) -> u64 {
    inner.options.env.clock.now_ms()
}
fn to_entry(meta: &EntryMeta, value: &Slice) -> Entry {
    let expires_at_ms = (meta.expires_at_ms != 0).then_some(meta.expires_at_ms);
    Entry { value: value.clone(), tag: meta.tag, expires_at_ms }
}

impl Keyspace {
    fn internal(&self, key: &[u8]) -> Result<Vec<u8>> {
        let s = self.inner.state.lock();
        if s.closed {
            return Err(Error::Closed);
        }
        let id =
            s.names.get(&*self.name).ok_or_else(|| Error::UnknownKeyspace { name: self.name.to_string() })?;
        if key.is_empty() || key.len() > 65_535 {
            return Err(Error::invalid(format!("a key takes 1 to 65,535 bytes; this one has {}", key.len())));
        }
        let mut out = Vec::new();
        push_prefix(&mut out, KeyspaceId(*id));
        out.extend_from_slice(key);
        Ok(out)
    }
    fn db(&self) -> Db {
        Db { default: self.clone() }
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Sets `key` to `value`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, WriteOptions::new())
    }
    /// Sets `key` to `value`, with expiry, tag or durability.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<()> {
        let mut b = self.db().batch();
        b.put_in(self, key, value, options);
        b.commit().map(|_| ())
    }
    /// Removes `key`, whether it exists or not.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let mut b = self.db().batch();
        b.delete_in(self, key);
        b.commit().map(|_| ())
    }
    /// The current value of `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        Ok(self.get_entry(key)?.map(|e| e.value))
    }
    /// The current value of `key` with its tag and expiry.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        Ok(self.read(key)?.0)
    }
    /// As `get_entry`, with the stamp that a conditional commit checks.
    pub fn read(&self, key: impl AsRef<[u8]>) -> Result<(Option<Entry>, Stamp)> {
        let key = self.internal(key.as_ref())?;
        let now = now_ms(&self.inner);
        let s = self.inner.state.lock();
        Ok(match s.map.get(&key) {
            None => (None, Stamp(0)),
            Some((seq, m, v)) => (m.is_live(now).then(|| to_entry(m, v)), Stamp(*seq)),
        })
    }
    /// Whether `key` has a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_entry(key)?.is_some())
    }
    /// The values of several keys, in their order.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Slice>>> {
        keys.into_iter().map(|k| self.get(k)).collect()
    }
    /// As `multi_get`, with tags and expiries.
    pub fn multi_get_entries<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>> {
        keys.into_iter().map(|k| self.get_entry(k)).collect()
    }
    /// All entries in key order.
    pub fn iter(&self) -> Iter {
        self.range::<&[u8]>(..)
    }
    /// The entries whose keys lie in the range.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        let map = Arc::new(self.inner.state.lock().map.clone());
        Iter::new(self, &map, range)
    }
    /// The entries whose keys start with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        let p = prefix.as_ref();
        match prefix_successor(p) {
            Some(end) => self.range((Bound::Included(p), Bound::Excluded(&end[..]))),
            None => self.range((Bound::Included(p), Bound::Unbounded)),
        }
    }
    /// Reads, computes and writes in one atomic step; `change` may be called several times. `None` deletes.
    pub fn update<F>(&self, key: impl AsRef<[u8]>, mut change: F) -> Result<Option<Slice>>
    where
        F: FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    {
        let key = key.as_ref();
        loop {
            let (old, stamp) = self.read(key)?;
            let new = change(old.as_ref().map(|e| &*e.value));
            let mut b = self.db().batch();
            b.expect_in(self, key, stamp);
            match &new {
                Some(v) => b.put_in(self, key, v, WriteOptions::new()),
                None => b.delete_in(self, key),
            };
            match b.commit() {
                Err(Error::Conflict) => {}
                other => return other.map(|_| new.map(Slice::from)),
            }
        }
    }
    /// Adds to the decimal integer at `key` (0 if absent) and returns the sum; keeps tag and expiry.
    pub fn increment(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64> {
        let key = key.as_ref();
        let old = match self.get(key)? {
            None => 0,
            Some(v) => std::str::from_utf8(&v)
                .ok()
                .and_then(|t| t.parse::<i64>().ok())
                .ok_or_else(|| Error::NotAnInteger("value is not an integer".into()))?,
        };
        let new = old.checked_add(delta).ok_or_else(|| Error::NotAnInteger("overflow".into()))?;
        self.put(key, new.to_string())?;
        Ok(new)
    }
    /// Removes everything in the keyspace at once.
    pub fn clear(&self) -> Result<()> {
        let mut s = self.inner.state.lock();
        let id = s.next_id;
        s.next_id += 1;
        s.names.insert(self.name.to_string(), id);
        Ok(())
    }
    /// An estimate of the number of live keys, in constant time; exact counting takes a scan.
    pub fn approximate_len(&self) -> u64 {
        self.inner.state.lock().map.len() as u64
    }
}

/// Writes that are applied together or not at all.
pub struct Batch {
    db: Db,
    entries: Vec<(Vec<u8>, EntryMeta, Vec<u8>, Option<u64>)>,
    expect: Vec<(Vec<u8>, Stamp)>,
    error: Option<Error>,
}
impl Batch {
    /// Adds a put to the default keyspace.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        let ks = self.db.default.clone();
        self.put_in(&ks, key, value, WriteOptions::new())
    }
    /// Adds a delete to the default keyspace.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        let ks = self.db.default.clone();
        self.delete_in(&ks, key)
    }
    /// Adds a put to a keyspace, with expiry and tag.
    pub fn put_in(
        &mut self,
        ks: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        o: WriteOptions,
    ) -> &mut Self {
        let now = now_ms(&ks.inner);
        let at = o.expires_at_ms.or(o.ttl.map(|t| now + t.as_millis() as u64)).unwrap_or(0);
        match ks.internal(key.as_ref()) {
            Ok(k) => self.entries.push((
                k,
                EntryMeta { kind: Kind::Put, tag: o.tag, expires_at_ms: at },
                value.as_ref().to_vec(),
                None,
            )),
            Err(e) => self.error = Some(e),
        }
        self
    }
    /// Adds a delete to a keyspace.
    pub fn delete_in(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>) -> &mut Self {
        match ks.internal(key.as_ref()) {
            Ok(k) => self.entries.push((k, EntryMeta::DELETE, Vec::new(), None)),
            Err(e) => self.error = Some(e),
        }
        self
    }
    /// Makes the commit depend on `key` not having changed since it was read with this stamp.
    pub fn expect_in(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>, stamp: Stamp) -> &mut Self {
        match ks.internal(key.as_ref()) {
            Ok(k) => self.expect.push((k, stamp)),
            Err(e) => self.error = Some(e),
        }
        self
    }
    /// The number of writes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The size of the writes in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|e| e.0.len() + e.2.len()).sum()
    }
    /// Applies all of it; returns the sequence number of the last write.
    pub fn commit(self) -> Result<u64> {
        if let Some(e) = self.error {
            return Err(e);
        }
        let inner = &self.db.inner;
        let mut s = inner.state.lock();
        for (k, stamp) in &self.expect {
            if s.map.get(k).map_or(0, |e| e.0) != stamp.0 {
                return Err(Error::Conflict);
            }
        }
        let mut last = inner.seqno.load(Ordering::Relaxed);
        for (k, m, v, _) in self.entries {
            last = inner.seqno.fetch_add(1, Ordering::Relaxed) + 1;
            s.map.insert(k, (last, m, Slice::from(v)));
        }
        Ok(last)
    }
    /// As `commit`, surviving at least what `durability` says.
    pub fn commit_with(self, _durability: Durability) -> Result<u64> {
        self.commit()
    }
}

/// A consistent view of the store.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
    map: Arc<Map>,
}
impl Snapshot {
    /// The value of `key` in the default keyspace.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        let ks = Keyspace { inner: Arc::clone(&self.inner), name: "default".into() };
        Ok(self.get_in(&ks, key)?.map(|e| e.value))
    }
    /// The entry of `key` in a keyspace.
    pub fn get_in(&self, ks: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let k = ks.internal(key.as_ref())?;
        let now = now_ms(&self.inner);
        Ok(self.map.get(&k).filter(|(_, m, _)| m.is_live(now)).map(|(_, m, v)| to_entry(m, v)))
    }
    /// The entries of the default keyspace whose keys lie in the range.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        let ks = Keyspace { inner: Arc::clone(&self.inner), name: "default".into() };
        self.range_in(&ks, range)
    }
    /// The entries of a keyspace whose keys lie in the range.
    pub fn range_in<K: AsRef<[u8]>>(&self, ks: &Keyspace, range: impl RangeBounds<K>) -> Iter {
        Iter::new(ks, &self.map, range)
    }
}

/// Entries in key order, from both ends; owns its snapshot.
pub struct Iter {
    entries: std::collections::VecDeque<(Slice, Entry)>,
    error: Option<Error>,
}
impl Iter {
    fn new<K: AsRef<[u8]>>(ks: &Keyspace, map: &Arc<Map>, range: impl RangeBounds<K>) -> Self {
        let full = match ks.internal(b"x") {
            Ok(k) => k,
            Err(e) => return Self { entries: Default::default(), error: Some(e) },
        };
        let prefix = &full[..full.len() - 1];
        let now = now_ms(&ks.inner);
        let start = range.start_bound().map(|k| k.as_ref().to_vec());
        let end = range.end_bound().map(|k| k.as_ref().to_vec());
        let bounds = (start, end);
        let entries = map
            .range(prefix.to_vec()..)
            .take_while(|(k, _)| k.starts_with(prefix))
            .filter(|(k, (_, m, _))| {
                m.is_live(now) && RangeBounds::<Vec<u8>>::contains(&bounds, &k[prefix.len()..].to_vec())
            })
            .map(|(k, (_, m, v))| (Slice::copy_from(&k[prefix.len()..]), to_entry(m, v)))
            .collect();
        Self { entries, error: None }
    }
    /// The next entry with its tag and expiry.
    pub fn next_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        if let Some(e) = self.error.take() {
            return Some(Err(e));
        }
        self.entries.pop_front().map(Ok)
    }
    /// The next entry from the back, with its tag and expiry.
    pub fn next_back_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        self.entries.pop_back().map(Ok)
    }
    /// Skips forward to the first remaining key at or after `key`.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) {
        while self.entries.front().is_some_and(|e| *e.0 < *key.as_ref()) {
            self.entries.pop_front();
        }
    }
}
impl Iterator for Iter {
    type Item = Result<(Slice, Slice)>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|r| r.map(|(k, e)| (k, e.value)))
    }
}
impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_back_entry().map(|r| r.map(|(k, e)| (k, e.value)))
    }
}
