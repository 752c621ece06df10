//! Transactions: what they may see, what they must refuse, and that their outcome is that of some serial order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use terrace::{
    CrashPolicy, Db, Durability, Env, Error, ManualClock, Options, PowerLoss, SeededRng, SimFs, Slice,
    Transaction,
};

fn store() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().memory_budget(16 << 20).write_buffer(256 << 10).table_bytes(64 << 10);
    let db = options.open(dir.path()).unwrap();
    (dir, db)
}

fn number(value: Option<Slice>) -> i64 {
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

fn keys<'a>(iter: impl Iterator<Item = terrace::Result<(Slice, Slice)>> + 'a) -> String {
    let keys: Vec<_> = iter.map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap()).collect();
    keys.join(" ")
}

fn is_conflict<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Conflict))
}

#[test]
fn a_transaction_sees_its_own_writes_and_others_do_not() {
    let (_dir, db) = store();
    db.put_many([("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]).unwrap();
    let mut tx = db.begin();
    tx.put("bb", "2").unwrap();
    tx.put("c", "2").unwrap();
    tx.delete("a").unwrap();
    db.put("e", "1").unwrap();
    assert_eq!(tx.get("c").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!((tx.get("a").unwrap(), tx.get("e").unwrap()), (None, None));
    assert_eq!(keys(tx.range::<&str>(..)), "b bb c d");
    assert_eq!(keys(tx.range::<&str>(..).rev()), "d c bb b");
    let mut both = tx.range("b"..);
    assert_eq!(&*both.next().unwrap().unwrap().0, b"b");
    assert_eq!(&*both.next_back().unwrap().unwrap().0, b"d");
    assert_eq!(&*both.next_back().unwrap().unwrap().1, b"2");
    assert_eq!(&*both.next().unwrap().unwrap().0, b"bb");
    assert!(both.next().is_none() && both.next_back().is_none());
    drop(both);
    tx.delete_range("b".."d").unwrap();
    tx.put("bc", "3").unwrap();
    assert_eq!(keys(tx.prefix("b")), "bc");
    assert_eq!(keys(db.iter()), "a b c d e");
    assert!(is_conflict(&tx.commit()), "e is in the range that was scanned");
}

#[test]
fn savepoints_take_writes_back() {
    let (_dir, db) = store();
    let mut tx = db.begin();
    tx.put("a", "1").unwrap();
    let savepoint = tx.savepoint();
    tx.put("a", "2").unwrap();
    tx.delete_range::<&str>(..).unwrap();
    tx.rollback_to(&savepoint).unwrap();
    assert_eq!(tx.get("a").unwrap().as_deref(), Some(&b"1"[..]));
    let foreign = db.begin().savepoint();
    assert!(matches!(tx.rollback_to(&foreign), Err(Error::InvalidInput(_))));
    tx.commit().unwrap();
    assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"1"[..]));
}

/// Each of two transactions reads both keys and writes one: under snapshot isolation both would commit.
#[test]
fn write_skew_is_refused() {
    for flush in [false, true] {
        let (_dir, db) = store();
        db.put_many([("alice", "on call"), ("bob", "on call")]).unwrap();
        let leave = |name: &str| {
            let mut tx = db.begin();
            assert_eq!(tx.prefix("").count(), 2);
            tx.delete(name).unwrap();
            tx
        };
        let by_key = |name: &str| {
            let mut tx = db.begin();
            assert!(tx.get("alice").unwrap().is_some() && tx.get("bob").unwrap().is_some());
            tx.delete(name).unwrap();
            tx
        };
        for make in [&leave as &dyn Fn(&str) -> Transaction, &by_key] {
            let (first, second) = (make("alice"), make("bob"));
            first.commit().unwrap();
            if flush {
                db.compact_all().unwrap();
            }
            assert!(is_conflict(&second.commit()), "flushed: {flush}");
            db.put("alice", "on call").unwrap();
        }
    }
}

/// What somebody else does meanwhile.
type Change = fn(&Db);

#[test]
fn a_phantom_is_refused_and_what_lies_beside_the_scanned_part_is_not() {
    let changes: [(&str, Change); 5] = [
        ("put into the range", |db| db.put("k15", "new").unwrap()),
        ("delete", |db| db.delete("k10").unwrap()),
        ("range delete over it", |db| db.delete_range("k1".."k11").unwrap()),
        ("overwrite", |db| db.put("k10", "v").unwrap()),
        ("batch", |db| db.put_many([("x", "1"), ("k19", "1")]).unwrap()),
    ];
    let settles: [Change; 3] = [|_| {}, |db| db.flush().unwrap(), |db| db.compact_all().unwrap()];
    for settle in settles {
        for (what, change) in changes {
            let (_dir, db) = store();
            db.put_many([("k10", "v"), ("k20", "v"), ("k30", "v")]).unwrap();
            settle(&db);
            let mut scanning = db.begin();
            assert_eq!(keys(scanning.range("k10".."k20")), "k10");
            scanning.put("other", "1").unwrap();
            let mut partly = db.begin();
            assert!(partly.range("k2"..).next().is_some() && partly.range("k".."k3").next_back().is_some());
            partly.put("another", "1").unwrap();
            change(&db);
            settle(&db);
            assert!(is_conflict(&scanning.commit()), "{what}");
            partly.commit().unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

#[test]
fn keys_that_are_only_written_do_not_conflict_and_reads_alone_never_do() {
    let (_dir, db) = store();
    let (mut first, mut second, reader) = (db.begin(), db.begin(), db.begin());
    first.put("k", "1").unwrap();
    second.put("k", "2").unwrap();
    assert_eq!(reader.get("k").unwrap(), None);
    first.commit().unwrap();
    second.commit().unwrap();
    assert_eq!(reader.get("k").unwrap(), None);
    reader.commit().unwrap();
    assert_eq!(db.get("k").unwrap().as_deref(), Some(&b"2"[..]));
}

/// A commit whose reads were older than the last flush was refused without looking.
#[test]
fn a_flush_in_between_is_no_conflict() {
    let (_dir, db) = store();
    db.put("read", "1").unwrap();
    for settle in [Db::flush, Db::compact_all] {
        let mut tx = db.begin();
        assert!(tx.get("read").unwrap().is_some() && tx.get("absent").unwrap().is_none());
        assert_eq!(tx.prefix("r").count(), 1);
        tx.put("written", "1").unwrap();
        db.put("elsewhere", "1").unwrap();
        settle(&db).unwrap();
        tx.commit().unwrap();
    }
    // The same for a stamp, as long as the entry that was read is still there under its number.
    db.put("read", "2").unwrap();
    let snapshot = db.snapshot();
    db.put("read", "3").unwrap();
    let (_, stamp) = db.read("read").unwrap();
    db.flush().unwrap();
    let mut batch = db.batch();
    batch.expect_in(&db, "read", stamp).put("written", "2");
    batch.commit().unwrap();
    drop(snapshot);
    let mut batch = db.batch();
    batch.expect_in(&db, "read", stamp).put("written", "3");
    db.put("read", "4").unwrap();
    db.flush().unwrap();
    assert!(is_conflict(&batch.commit()));
}

#[test]
fn a_keyspace_cleared_meanwhile_is_a_conflict() {
    let (_dir, db) = store();
    let space = db.keyspace("space").unwrap();
    let mut tx = db.begin();
    tx.get_in(&space, "k").unwrap();
    tx.put("k", "v").unwrap();
    space.clear().unwrap();
    assert!(is_conflict(&tx.commit()));
    assert_eq!(db.get("k").unwrap(), None);
    let reader = db.begin();
    reader.get_in(&space, "k").unwrap();
    space.clear().unwrap();
    reader.get_in(&space, "l").unwrap();
    assert!(is_conflict(&reader.commit()), "one half is of before, the other of after");
}

#[test]
fn a_range_the_wrong_way_round_is_empty() {
    let (_dir, db) = store();
    db.put_many([("a", "1"), ("b", "1"), ("c", "1")]).unwrap();
    db.flush().unwrap();
    let mut tx = db.begin();
    assert_eq!(tx.range("c".."a").count(), 0);
    tx.delete_range("c".."a").unwrap();
    tx.put("d", "1").unwrap();
    db.delete_range("a".."c").unwrap();
    tx.commit().unwrap();
    assert_eq!(keys(db.iter()), "c d");
}

/// The ends of what was scanned: keys just inside conflict, keys just outside do not.
#[test]
fn the_borders_of_a_scan_are_exact() {
    let outside: [Change; 4] = [
        |db| db.put("c", "new").unwrap(),
        |db| db.put("az", "new").unwrap(),
        |db| db.delete_range("c"..).unwrap(),
        |db| db.delete_range(.."b").unwrap(),
    ];
    let inside: [Change; 4] = [
        |db| db.put("b", "new").unwrap(),
        |db| db.put("bzzz", "new").unwrap(),
        |db| db.delete_range("bz".."d").unwrap(),
        |db| db.delete_range("a"..="b").unwrap(),
    ];
    for (changes, conflicts) in [(outside, false), (inside, true)] {
        for (n, change) in changes.iter().enumerate() {
            let (_dir, db) = store();
            db.put_many([("a", "1"), ("b", "1"), ("c", "1")]).unwrap();
            let mut tx = db.begin();
            assert_eq!(keys(tx.range("b".."c")), "b");
            tx.put("d", "1").unwrap();
            change(&db);
            assert_eq!(is_conflict(&tx.commit()), conflicts, "{n}");
        }
    }
}

/// An error of the caller's own.
#[derive(Debug)]
enum Refused {
    NoMoney,
    Store,
}
impl From<Error> for Refused {
    fn from(_: Error) -> Self {
        Self::Store
    }
}

#[test]
fn running_again_ends_with_success_and_errors_pass_through() {
    let (_dir, db) = store();
    let mut runs = 0;
    let sum = db.transaction(|tx| -> terrace::Result<i64> {
        runs += 1;
        let sum = number(tx.get("n")?) + 1;
        if runs < 3 {
            db.put("n", runs.to_string())?;
        }
        tx.put("n", sum.to_string())?;
        Ok(sum)
    });
    assert_eq!((sum.unwrap(), runs), (3, 3));
    let refused = db.transaction(|tx| {
        tx.put("n", "0")?;
        Err::<(), _>(Refused::NoMoney)
    });
    assert!(matches!(refused, Err(Refused::NoMoney)));
    let stubborn = db.transaction(|tx| {
        tx.get("n")?;
        db.put("n", "7")?;
        tx.put("n", "8").map_err(Refused::from)
    });
    assert!(matches!(stubborn, Err(Refused::Store)), "it gives up in the end");
    assert_eq!(number(db.get("n").unwrap()), 7);
}

#[test]
fn single_key_helpers_do_what_they_say() {
    let (_dir, db) = store();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for _ in 0..200 {
                    loop {
                        let old = db.get("sum").unwrap();
                        let new = (number(old.clone()) + 1).to_string();
                        if db.compare_and_swap("sum", old.as_deref(), Some(new.as_bytes())).unwrap() {
                            break;
                        }
                    }
                }
                db.get_or_insert("first", thread.to_string()).unwrap()
            });
        }
    });
    assert_eq!(number(db.get("sum").unwrap()), 800);
    let first = db.get("first").unwrap().unwrap();
    assert_eq!(db.get_or_insert("first", "other").unwrap(), first);
    db.delete_many(["first", "sum"]).unwrap();
    assert_eq!(db.iter().count(), 0);
}

const ACCOUNTS: u64 = 40;
const START: i64 = 100;

fn account(n: u64) -> String {
    format!("account{n:03}")
}

/// Moves money, or checks the sum inside a transaction that also writes.
fn bank_step(db: &Db, rng: &SeededRng) {
    let moved = db.transaction(|tx| -> terrace::Result<()> {
        if rng.chance(10) {
            let sum: i64 = tx.prefix("account").map(|entry| number(Some(entry.unwrap().1))).sum();
            assert_eq!(sum, ACCOUNTS as i64 * START, "seen inside a transaction");
            return tx.put("audit", sum.to_string());
        }
        let (from, to) = (account(rng.below(ACCOUNTS)), account(rng.below(ACCOUNTS)));
        let amount = rng.below(30) as i64;
        let balance = number(tx.get(&from)?);
        if balance >= amount {
            tx.put(&from, (balance - amount).to_string())?;
            let there = number(tx.get(&to)?);
            tx.put(&to, (there + amount).to_string())?;
        }
        Ok(())
    });
    match moved {
        Ok(()) | Err(Error::Conflict) => {}
        Err(error) => panic!("{error}"),
    }
}

fn sum(db: &Db) -> i64 {
    db.prefix("account").map(|entry| number(Some(entry.unwrap().1))).sum()
}

#[test]
fn eight_threads_neither_make_nor_lose_money() {
    let (dir, db) = store();
    db.put_many((0..ACCOUNTS).map(|n| (account(n), START.to_string()))).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let db = &db;
            scope.spawn(move || {
                let rng = SeededRng::new(seed);
                for step in 0..400 {
                    bank_step(db, &rng);
                    if seed == 0 && step % 100 == 50 {
                        db.flush().unwrap();
                    }
                    assert_eq!(sum(db), ACCOUNTS as i64 * START);
                }
            });
        }
    });
    db.close().unwrap();
    assert_eq!(sum(&Db::open(dir.path()).unwrap()), ACCOUNTS as i64 * START);
}

#[test]
fn no_crash_makes_or_loses_money() {
    let open = |sim: &SimFs| {
        let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(1)));
        let env = Env::inline(Arc::new(sim.clone()), clock, rng);
        let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(4);
        options.durability(Durability::Process).env(env).open(Path::new("/store"))
    };
    let policies = [
        CrashPolicy::ProcessDeath,
        CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced),
        CrashPolicy::PowerLoss(PowerLoss::RandomSectors),
    ];
    let rng = SeededRng::new(17);
    let mut sim = SimFs::new();
    let db = open(&sim).unwrap();
    db.put_many((0..ACCOUNTS).map(|n| (account(n), START.to_string()))).unwrap();
    db.sync().unwrap();
    drop(db);
    for round in 0..60 {
        let db = open(&sim).unwrap();
        assert_eq!(sum(&db), ACCOUNTS as i64 * START, "round {round}");
        for _ in 0..rng.below(60) {
            bank_step(&db, &rng);
        }
        if rng.chance(30) {
            db.flush().unwrap();
        }
        let left = sim.crash(policies[rng.below(3) as usize], round);
        sim.stop_at(0);
        drop(db);
        sim = left;
    }
}

/// What one transaction did, with values that name their writer.
#[derive(Clone, Default, Debug)]
struct Done {
    /// Key and the transaction whose value was read there; 0 for none.
    reads: Vec<(u64, u64)>,
    writes: BTreeSet<u64>,
    seqno: u64,
}

const KEYS: u64 = 12;

fn random_transaction(db: &Db, rng: &SeededRng, id: u64) -> Option<Done> {
    let mut tx = db.begin();
    let mut done = Done::default();
    let key = |n: u64| format!("k{n:02}");
    for _ in 0..=rng.below(4) {
        let n = rng.below(KEYS);
        match rng.below(4) {
            0 => {
                let high = (n + rng.below(5)).min(KEYS);
                let found: BTreeMap<u64, u64> = tx
                    .range(key(n)..key(high))
                    .map(|entry| entry.unwrap())
                    .map(|(k, v)| (number(Some(Slice::from(&k[1..]))) as u64, number(Some(v)) as u64))
                    .collect();
                done.reads.extend((n..high).map(|n| (n, found.get(&n).copied().unwrap_or(0))));
            }
            1 => done.reads.push((n, number(tx.get(key(n)).unwrap()) as u64)),
            _ => {
                tx.put(key(n), id.to_string()).unwrap();
                done.writes.insert(n);
            }
        }
        std::thread::yield_now();
    }
    // Its own values tell nothing.
    done.reads.retain(|(_, writer)| *writer != id);
    done.seqno = tx.commit().ok()?;
    Some(done)
}

/// Whether the transactions have the outcome of some serial order: no cycle among who must come before whom. The
/// order of the writers of a key is that of their commits.
fn check_serializable(all: &BTreeMap<u64, Done>) -> Result<(), String> {
    let mut writers: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for (id, done) in all {
        for key in &done.writes {
            writers.entry(*key).or_default().push((done.seqno, *id));
        }
    }
    let mut after: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for list in writers.values_mut() {
        list.sort_unstable();
        for pair in list.windows(2) {
            after.entry(pair[0].1).or_default().insert(pair[1].1);
        }
    }
    for (id, done) in all {
        for (key, writer) in &done.reads {
            let list = writers.get(key).map_or(&[][..], |list| list);
            let place = list.iter().position(|(_, w)| w == writer);
            if *writer != 0 {
                place.ok_or_else(|| format!("{id} read a value of {writer}, which never committed"))?;
                after.entry(*writer).or_default().insert(*id);
            }
            let next = list.get(place.map_or(0, |place| place + 1)).map(|(_, next)| *next);
            if let Some(next) = next.filter(|next| next != id) {
                after.entry(*id).or_default().insert(next);
            }
        }
    }
    // Take away whoever has nobody before it, until nobody is left.
    let mut before: BTreeMap<u64, usize> = all.keys().map(|id| (*id, 0)).collect();
    after.values().flatten().for_each(|id| *before.entry(*id).or_default() += 1);
    let mut free: Vec<u64> = before.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    while let Some(id) = free.pop() {
        before.remove(&id);
        for next in after.get(&id).into_iter().flatten() {
            if let Some(n) = before.get_mut(next) {
                *n -= 1;
                if *n == 0 {
                    free.push(*next);
                }
            }
        }
    }
    if before.is_empty() { Ok(()) } else { Err(format!("a cycle among {:?}", before.keys())) }
}

#[test]
fn random_histories_are_serializable() {
    let first = Env::default().rng.next_u64();
    for round in 0..8 {
        let seed = first.wrapping_add(round);
        let (_dir, db) = store();
        let ids = AtomicU64::new(1);
        let work = |thread: u64| {
            let rng = SeededRng::new(seed ^ (thread << 32));
            let mut done = BTreeMap::new();
            for step in 0..250 {
                let id = ids.fetch_add(1, Ordering::Relaxed);
                done.extend(random_transaction(&db, &rng, id).map(|d| (id, d)));
                if thread == 0 && step % 40 == 20 {
                    db.flush().unwrap();
                }
                if thread == 1 && step % 60 == 30 {
                    db.compact_all().unwrap();
                }
            }
            done
        };
        let done: BTreeMap<u64, Done> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let work = &work;
                    scope.spawn(move || work(thread))
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(done.len() > 100, "seed {seed}: {} committed", done.len());
        check_serializable(&done).unwrap_or_else(|detail| panic!("seed {seed}: {detail}"));
    }
}

#[test]
fn the_checker_finds_a_cycle() {
    let done =
        |reads: &[(u64, u64)], write, seqno| Done { reads: reads.to_vec(), writes: [write].into(), seqno };
    let skew = BTreeMap::from([(1, done(&[(0, 0), (1, 0)], 0, 1)), (2, done(&[(0, 0), (1, 0)], 1, 2))]);
    assert!(check_serializable(&skew).is_err());
    let fine = BTreeMap::from([(1, done(&[(0, 0), (1, 0)], 0, 1)), (2, done(&[(0, 1), (1, 0)], 1, 2))]);
    check_serializable(&fine).unwrap();
}
