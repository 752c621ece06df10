//! Many threads on one store, on the real file system, with buffers so small that flushes and compactions
//! run all the time: no lost update, no torn batch, no value that goes back in time, no snapshot that moves.
//!
//! `TERRACE_THREADS_SECONDS=n` lets it run longer.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use terrace::{Db, Durability, Error, Options, SeededRng, Slice, Snapshot, WriteOptions};

const WRITERS: u64 = 8;
const READERS: u64 = 8;
const COUNTERS: u64 = 12;
/// Each batch writes one number to all keys of a group.
const GROUPS: u64 = 6;
const GROUP_KEYS: u64 = 24;
/// Keys of one writer each, whose values count up.
const VERSIONED: u64 = 40;
/// Accounts whose sum never changes.
const ACCOUNTS: u64 = 10;
const START_BALANCE: i64 = 1_000;

fn options() -> Options {
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10);
    options.table_bytes(64 << 10).block_bytes(1 << 10).l0_runs(2).level_ratio(3).shards(16)
}

fn open(dir: &Path) -> Db {
    options().open(dir).unwrap()
}

fn seconds() -> u64 {
    std::env::var("TERRACE_THREADS_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5)
}

fn padded(n: u64) -> Vec<u8> {
    // The number, and enough after it that the buffers fill.
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + 400, n as u8);
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    let n = u64::from_le_bytes(*bytes.first_chunk().expect("a value starts with a number"));
    assert_eq!(bytes, padded(n), "a value is whole");
    n
}

fn integer(found: Option<Slice>) -> i64 {
    found.map_or(0, |bytes| std::str::from_utf8(&bytes).unwrap().parse().unwrap())
}

fn group_key(group: u64, n: u64) -> String {
    format!("group{group}/{n:02}")
}

fn account(n: u64) -> String {
    format!("account{n}")
}

/// What the writers know that the store must know too.
struct Ledger {
    stop: AtomicBool,
    /// Successful increments of each counter.
    counters: Vec<AtomicI64>,
    /// The last acknowledged version of each versioned key, by writer.
    versions: Vec<AtomicU64>,
    conflicts: AtomicU64,
    transfers: AtomicU64,
}

impl Ledger {
    fn new() -> Self {
        Self {
            stop: AtomicBool::new(false),
            counters: (0..COUNTERS).map(|_| AtomicI64::new(0)).collect(),
            versions: (0..WRITERS * VERSIONED).map(|_| AtomicU64::new(0)).collect(),
            conflicts: AtomicU64::new(0),
            transfers: AtomicU64::new(0),
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn versioned_key(slot: u64) -> String {
    format!("versioned{slot:04}")
}

fn write(db: &Db, ledger: &Ledger, writer: u64) {
    let rng = SeededRng::new(writer);
    let mut round = 0;
    while ledger.goes_on() {
        round += 1;
        match rng.below(10) {
            0..=2 => {
                let counter = rng.below(COUNTERS);
                let delta = 1 + rng.below(5) as i64;
                db.increment(format!("counter{counter}"), delta).unwrap();
                ledger.counters[counter as usize].fetch_add(delta, Ordering::Relaxed);
            }
            3..=4 => {
                let group = rng.below(GROUPS);
                let stamp = padded(writer << 40 | round);
                let mut batch = db.batch();
                for n in 0..GROUP_KEYS {
                    batch.put(group_key(group, n), &stamp);
                }
                batch.commit().unwrap();
            }
            5 => transfer(db, ledger, &rng),
            6 => db.delete(format!("garbage{}", rng.below(500))).unwrap(),
            7 => db.put(format!("garbage{}", rng.below(500)), padded(round)).unwrap(),
            _ => {
                let slot = writer * VERSIONED + rng.below(VERSIONED);
                let version = &ledger.versions[slot as usize];
                let next = version.load(Ordering::Acquire) + 1;
                db.put(versioned_key(slot), padded(next)).unwrap();
                version.store(next, Ordering::Release);
            }
        }
    }
}

/// Moves money between two accounts by a conditional commit; tries once.
fn transfer(db: &Db, ledger: &Ledger, rng: &SeededRng) {
    let (from, to) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS));
    if from == to {
        return;
    }
    let ((old_from, stamp_from), (old_to, stamp_to)) =
        (db.read(account(from)).unwrap(), db.read(account(to)).unwrap());
    let balance = |entry: Option<terrace::Entry>| integer(entry.map(|entry| entry.value));
    let amount = rng.below(50) as i64;
    let mut batch = db.batch();
    batch.expect_in(db, account(from), stamp_from).expect_in(db, account(to), stamp_to);
    batch.put(account(from), (balance(old_from) - amount).to_string());
    batch.put(account(to), (balance(old_to) + amount).to_string());
    match batch.commit() {
        Ok(_) => ledger.transfers.fetch_add(1, Ordering::Relaxed),
        Err(Error::Conflict) => ledger.conflicts.fetch_add(1, Ordering::Relaxed),
        Err(error) => panic!("{error}"),
    };
}

fn read(db: &Db, ledger: &Ledger, reader: u64) -> u64 {
    let rng = SeededRng::new(1_000 + reader);
    let mut seen = vec![0; (WRITERS * VERSIONED) as usize];
    let mut checks = 0;
    while ledger.goes_on() {
        checks += 1;
        match rng.below(8) {
            0..=3 => check_progress(db, ledger, &rng, &mut seen),
            4..=5 => check_groups(&db.snapshot(), rng.below(GROUPS)),
            6 => check_snapshot(db, &db.snapshot(), &rng),
            _ => check_both_directions(db, &rng),
        }
    }
    checks
}

/// A key never goes back, and never shows less than was acknowledged before the read.
fn check_progress(db: &Db, ledger: &Ledger, rng: &SeededRng, seen: &mut [u64]) {
    for _ in 0..20 {
        let slot = rng.below(WRITERS * VERSIONED);
        let acknowledged = ledger.versions[slot as usize].load(Ordering::Acquire);
        let found = match rng.below(3) {
            0 => db.prefix(versioned_key(slot)).next().map(|entry| entry.unwrap().1),
            1 => db.snapshot().get(versioned_key(slot)).unwrap(),
            _ => db.get(versioned_key(slot)).unwrap(),
        };
        let version = found.map_or(0, |value| number(&value));
        assert!(version >= acknowledged, "key {slot}: {version} after {acknowledged} was acknowledged");
        assert!(version >= seen[slot as usize], "key {slot}: {version} after {}", seen[slot as usize]);
        seen[slot as usize] = version;
    }
}

/// A snapshot sees a batch whole: all keys of a group have one number; and money is neither made nor lost.
fn check_groups(snapshot: &Snapshot, group: u64) {
    let numbers: Vec<u64> =
        snapshot.prefix(format!("group{group}/")).map(|entry| number(&entry.unwrap().1)).collect();
    assert!(numbers.is_empty() || numbers.len() as u64 == GROUP_KEYS, "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "a torn batch: {numbers:?}");
    let gets =
        (0..GROUP_KEYS).map(|n| snapshot.get(group_key(group, n)).unwrap().map(|value| number(&value)));
    assert!(gets.flatten().eq(numbers), "gets and scan of a snapshot differ");
    let sum: i64 = (0..ACCOUNTS).map(|n| integer(snapshot.get(account(n)).unwrap())).sum();
    assert_eq!(sum, ACCOUNTS as i64 * START_BALANCE);
}

/// A snapshot gives the same answers for as long as it lives.
fn check_snapshot(db: &Db, snapshot: &Snapshot, rng: &SeededRng) {
    let scan = |snapshot: &Snapshot| -> Vec<(Vec<u8>, Vec<u8>)> {
        snapshot
            .iter()
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
            .collect()
    };
    let first = scan(snapshot);
    if rng.chance(20) {
        std::thread::sleep(Duration::from_millis(rng.below(60)));
    }
    if rng.chance(5) {
        db.flush().unwrap();
    }
    let second = scan(&snapshot.clone());
    assert!(first == second, "a snapshot changed: {} and {} entries", first.len(), second.len());
    for _ in 0..30.min(first.len()) {
        let (key, value) = &first[rng.below(first.len() as u64) as usize];
        assert_eq!(snapshot.get(key).unwrap().as_deref(), Some(&value[..]));
    }
}

/// Whichever ends an iterator is taken from, it gives each entry once, in order.
fn check_both_directions(db: &Db, rng: &SeededRng) {
    let snapshot = db.snapshot();
    let start = versioned_key(rng.below(WRITERS * VERSIONED));
    let forward: Vec<_> = snapshot.range(&start[..]..).map(Result::unwrap).collect();
    let mut backward: Vec<_> = snapshot.range(&start[..]..).rev().map(Result::unwrap).collect();
    backward.reverse();
    assert!(forward == backward, "{} entries forwards, {} backwards", forward.len(), backward.len());
    assert!(forward.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let (mut low, mut high, mut iter) = (Vec::new(), Vec::new(), snapshot.range(&start[..]..));
    loop {
        let (end, found) =
            if rng.chance(50) { (&mut low, iter.next()) } else { (&mut high, iter.next_back()) };
        let Some(found) = found else { break };
        end.push(found.unwrap());
    }
    high.reverse();
    low.extend(high);
    assert!(low == forward, "{} entries from both ends, {} forwards", low.len(), forward.len());
}

fn check_end(db: &Db, ledger: &Ledger) {
    for (n, expected) in ledger.counters.iter().enumerate() {
        let found = integer(db.get(format!("counter{n}")).unwrap());
        assert_eq!(found, expected.load(Ordering::Relaxed), "counter {n}: a lost or doubled update");
    }
    for (slot, expected) in ledger.versions.iter().enumerate() {
        let found = db.get(versioned_key(slot as u64)).unwrap().map_or(0, |value| number(&value));
        assert_eq!(found, expected.load(Ordering::Relaxed), "key {slot}");
    }
    (0..GROUPS).for_each(|group| check_groups(&db.snapshot(), group));
}

#[test]
fn writers_and_readers_on_the_same_keys_agree() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let ledger = Ledger::new();
    (0..ACCOUNTS).for_each(|n| db.put(account(n), START_BALANCE.to_string()).unwrap());
    let checks: u64 = std::thread::scope(|scope| {
        let (db, ledger) = (&db, &ledger);
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || write(db, ledger, n))).collect();
        let readers: Vec<_> = (0..READERS).map(|n| scope.spawn(move || read(db, ledger, n))).collect();
        let end = Instant::now() + Duration::from_secs(seconds());
        // A thread that ends early has failed; then nobody needs to wait for the others.
        while Instant::now() < end
            && !writers.iter().any(ScopedJoinHandle::is_finished)
            && !readers.iter().any(ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        ledger.stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    let stats = db.stats();
    let compactions: u64 = stats.levels[1..].iter().map(|level| level.compactions).sum();
    let (transfers, conflicts) =
        (ledger.transfers.load(Ordering::Relaxed), ledger.conflicts.load(Ordering::Relaxed));
    println!(
        "{} writes, {checks} checks, {transfers} transfers, {conflicts} conflicts, {} flushes, {compactions} compactions",
        stats.last_seqno, stats.memtable.flushes
    );
    assert!(checks > 100 && transfers > 100, "{checks} {transfers}");
    assert!(stats.memtable.flushes >= 5, "{}", stats.memtable.flushes);
    assert!(compactions >= 3, "{compactions}");
    assert_eq!(stats.background_error, None);
    check_end(&db, &ledger);
    db.close().unwrap();
    let db = open(dir.path());
    check_end(&db, &ledger);
    db.compact_all().unwrap();
    check_end(&db, &ledger);
}

#[test]
fn conditional_commits_on_one_key_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let per_thread = 300;
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..per_thread {
                    // Each call appends one byte, so that the length counts the calls and the bytes the callers.
                    let append =
                        |old: Option<&[u8]>| Some([old.unwrap_or_default(), &[thread as u8]].concat());
                    db.update("shared", append).unwrap();
                    if n % 100 == 50 {
                        db.flush().unwrap();
                    }
                }
            });
        }
    });
    let bytes = db.get("shared").unwrap().unwrap();
    assert_eq!(bytes.len(), 8 * per_thread);
    for thread in 0..8 {
        assert_eq!(bytes.iter().map(|byte| usize::from(*byte == thread)).sum::<usize>(), per_thread);
    }
}

#[test]
fn synced_writes_of_many_threads_share_syncs_and_are_all_durable() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..20 {
                    let raised = WriteOptions::new().durability(Durability::Sync);
                    db.put_with(format!("{thread}/{n}"), "v", raised).unwrap();
                }
            });
        }
    });
    let stats = db.stats();
    assert!(stats.log.durable_seqno >= stats.last_seqno, "{stats:?}");
    assert!(stats.log.syncs <= 160, "{}", stats.log.syncs);
    assert_eq!(db.iter().count(), 160);
}
