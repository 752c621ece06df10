//! Merge operators: what readers see of operands wherever these lie, what compaction makes of them, and what happens
//! without the operator.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use terrace::{
    Append, CrashPolicy, Db, Durability, Env, Error, IntegerAdd, ManualClock, MergeOperator, Options,
    PowerLoss, SeededRng, SimFs, StoreFiles, WriteOptions,
};

const STORE: &str = "/store";

/// Keeps the larger of two values, bytewise; knows no operand for two operands, and refuses to make a value of "bad".
struct Largest;

impl MergeOperator for Largest {
    fn name(&self) -> &'static str {
        "largest"
    }

    fn check_operand(&self, operand: &[u8]) -> Result<(), String> {
        if operand.is_empty() { Err("it is empty".to_string()) } else { Ok(()) }
    }

    fn full_merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String> {
        if base == Some(b"bad") {
            return Err("the value is bad".to_string());
        }
        Ok(operands.iter().copied().chain(base).max().unwrap_or_default().to_vec())
    }
}

fn env(sim: &SimFs, clock: &Arc<ManualClock>) -> Env {
    Env::inline(Arc::new(sim.clone()), Arc::<ManualClock>::clone(clock), Arc::new(SeededRng::new(1)))
}

fn options(sim: &SimFs) -> Options {
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    options.block_bytes(512).table_bytes(64 << 10).env(env(sim, &Arc::default()))
}

fn files(sim: &SimFs) -> StoreFiles {
    StoreFiles::new(STORE).env(env(sim, &Arc::default()))
}

fn text(db: &Db, key: &str) -> String {
    db.get(key).unwrap().map_or("-".to_string(), |value| String::from_utf8(value.to_vec()).unwrap())
}

/// Every entry of the default keyspace by each way of scanning, which must agree.
fn scanned(db: &Db) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let shown = |(key, value): (terrace::Slice, terrace::Slice)| format!("{}={}", text(&key), text(&value));
    let forward: Vec<_> = db.iter().map(|entry| shown(entry.unwrap())).collect();
    let mut backward: Vec<_> = db.iter().rev().map(|entry| shown(entry.unwrap())).collect();
    backward.reverse();
    let (mut in_place, mut iter) = (Vec::new(), db.iter());
    while let Some(entry) = iter.next_ref() {
        let (key, value) = entry.unwrap();
        in_place.push(format!("{}={}", text(key), text(value)));
    }
    assert_eq!((&forward, &forward), (&backward, &in_place));
    forward.join(" ")
}

fn entries(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.entries).sum()
}

#[test]
fn operands_are_folded_wherever_they_lie() {
    let sim = SimFs::new();
    let db = options(&sim).merge_operator(Append).background_compaction(false).open(STORE).unwrap();
    db.put_with("a", "0", WriteOptions::new().tag(3)).unwrap();
    db.merge("b", "x").unwrap();
    db.merge("gone", "x").unwrap();
    db.flush().unwrap();
    db.merge("a", "1").unwrap();
    db.merge("a", "2").unwrap();
    db.delete("b").unwrap();
    db.merge("b", "y").unwrap();
    db.delete("gone").unwrap();
    db.merge("ranged", "x").unwrap();
    db.flush().unwrap();
    db.delete_range("ranged".."ranged~").unwrap();
    db.merge("ranged", "new").unwrap();
    db.merge("a", "3").unwrap();
    let expected = "a=0123 b=y ranged=new";
    for settle in [|_: &Db| Ok(()), Db::flush, Db::compact_all] {
        settle(&db).unwrap();
        assert_eq!(scanned(&db), expected);
        let keys = ["a", "b", "gone", "ranged"];
        let found = db.multi_get(keys).unwrap();
        let found: Vec<_> =
            found.iter().map(|v| v.as_deref().map_or("-", |v| std::str::from_utf8(v).unwrap())).collect();
        assert_eq!(found, ["0123", "y", "-", "new"]);
        assert_eq!(db.get_entry("a").unwrap().unwrap().tag, 3, "the tag is that of the value below");
    }
    // Both ends at once, over entries that are folded again.
    db.merge("a", "4").unwrap();
    db.merge("b", "z").unwrap();
    let mut iter = db.iter();
    assert_eq!(&*iter.next().unwrap().unwrap().1, b"01234");
    assert_eq!(&*iter.next_back().unwrap().unwrap().1, b"new");
    assert_eq!(&*iter.next_back().unwrap().unwrap().1, b"yz");
    assert!(iter.next_back().is_none() && iter.next().is_none());
    db.close().unwrap();
    assert!(files(&sim).verify(|_| ()).unwrap().is_sound());
}

#[test]
fn compaction_folds_as_far_as_snapshots_allow() {
    let sim = SimFs::new();
    let db = options(&sim).merge_operator(IntegerAdd).background_compaction(false).open(STORE).unwrap();
    db.put("n", "100").unwrap();
    for _ in 0..50 {
        db.merge("n", "1").unwrap();
    }
    let snapshot = db.snapshot();
    for _ in 0..50 {
        db.merge("n", "1").unwrap();
    }
    db.merge("only", "5").unwrap();
    db.merge("only", "5").unwrap();
    let check = |after: &str, stored: u64| {
        assert_eq!((text(&db, "n"), text(&db, "only")), ("200".to_string(), "10".to_string()), "{after}");
        assert_eq!(snapshot.get("n").unwrap().as_deref(), Some(&b"150"[..]), "{after}");
        assert_eq!(entries(&db), stored, "{after}");
    };
    db.flush().unwrap();
    check("flush: a value, an operand above it, an operand of which nobody knows what is below", 3);
    db.compact_all().unwrap();
    check("compaction", 3);
    drop(snapshot);
    db.compact_all().unwrap();
    // A lone table at the bottom is left alone until something is merged into it.
    db.merge("n", "0").unwrap();
    db.compact_all().unwrap();
    assert_eq!((scanned(&db).as_str(), entries(&db)), ("n=200 only=10", 2));
}

/// What is merged onto a value that expires outlives it, whether compaction comes before or after.
#[test]
fn operands_outlive_a_value_that_expires() {
    for (compact_before, compact_after) in [(false, false), (true, false), (false, true), (true, true)] {
        let (sim, clock) = (SimFs::new(), Arc::new(ManualClock::default()));
        let db = options(&sim).merge_operator(Append).env(env(&sim, &clock)).open(STORE).unwrap();
        db.put_with("k", "base", WriteOptions::new().ttl(Duration::from_secs(10)).tag(5)).unwrap();
        db.merge("k", "+1").unwrap();
        db.merge("k", "+2").unwrap();
        if compact_before {
            db.compact_all().unwrap();
        }
        let entry = db.get_entry("k").unwrap().unwrap();
        assert_eq!((&*entry.value, entry.tag, entry.expires_at_ms), (&b"base+1+2"[..], 5, None));
        clock.advance(Duration::from_secs(11));
        db.merge("k", "+3").unwrap();
        if compact_after {
            db.compact_all().unwrap();
        }
        let entry = db.get_entry("k").unwrap().unwrap();
        assert_eq!((&*entry.value, entry.tag), (&b"+1+2+3"[..], 0), "{compact_before} {compact_after}");
        assert_eq!(scanned(&db), "k=+1+2+3");
    }
}

/// A compaction that left out an expired value at the bottom took the operands above it, which were newer than a
/// snapshot, for operands that no snapshot tells apart: they became a value without a sequence number, and the
/// snapshot saw it. Only random histories with snapshots, expiry and merges together had all of this.
#[test]
fn an_operand_over_an_expired_value_does_not_show_in_older_snapshots() {
    let (sim, clock) = (SimFs::new(), Arc::new(ManualClock::default()));
    let db = options(&sim).merge_operator(Append).env(env(&sim, &clock)).open(STORE).unwrap();
    db.put_with("k", "base", WriteOptions::new().ttl(Duration::from_secs(10))).unwrap();
    let snapshot = db.snapshot();
    db.merge("k", "+1").unwrap();
    clock.advance(Duration::from_secs(11));
    db.compact_all().unwrap();
    assert_eq!(snapshot.get("k").unwrap(), None);
    assert_eq!(text(&db, "k"), "+1");
    drop(snapshot);
    db.compact_all().unwrap();
    assert_eq!(scanned(&db), "k=+1");
}

#[test]
fn without_the_operator_merged_keys_are_refused_and_all_else_works() {
    let sim = SimFs::new();
    let with = || options(&sim).merge_operator(Largest).open(STORE);
    let db = with().unwrap();
    db.put("other", "v").unwrap();
    for n in 0..3000 {
        db.merge("merged", format!("{n:05}")).unwrap();
    }
    db.merge("replaced", "a").unwrap();
    assert!(matches!(db.merge("merged", ""), Err(Error::InvalidInput(_))));
    db.flush().unwrap();
    db.merge("merged", "1").unwrap();
    db.close().unwrap();

    let db = options(&sim).open(STORE).unwrap();
    let refused = |outcome: Result<(), Error>| match outcome {
        Err(Error::WrongMergeOperator { stored, given: None }) => {
            assert_eq!(stored.as_deref(), Some("largest"));
        }
        other => panic!("found {other:?}"),
    };
    assert_eq!(text(&db, "other"), "v");
    refused(db.get("merged").map(|_| ()));
    refused(db.read("merged").map(|_| ()));
    refused(db.multi_get(["other", "merged"]).map(|_| ()));
    refused(db.increment("merged", 1).map(|_| ()));
    refused(db.iter().find_map(Result::err).map_or(Ok(()), Err));
    refused(db.iter().rev().find_map(Result::err).map_or(Ok(()), Err));
    refused(db.snapshot().get("merged").map(|_| ()));
    refused(db.begin().get("merged").map(|_| ()));
    refused(db.merge("other", "w"));
    db.put("replaced", "b").unwrap();
    assert_eq!(text(&db, "replaced"), "b");
    db.compact_all().unwrap();
    refused(db.get("merged").map(|_| ()));
    db.close().unwrap();

    let other = options(&sim).merge_operator(Append).open(STORE);
    assert!(matches!(other, Err(Error::WrongMergeOperator { given: Some(_), .. })), "{other:?}");
    assert!(files(&sim).verify(|_| ()).unwrap().is_sound());
    let salvage = files(&sim).repair("/repaired", |_| ()).unwrap();
    assert!(salvage.lost.is_empty(), "{salvage:?}");
    for dir in [STORE, "/repaired"] {
        let db = options(&sim).merge_operator(Largest).open(dir).unwrap();
        assert_eq!((text(&db, "merged"), text(&db, "replaced")), ("1".to_string(), "b".to_string()), "{dir}");
        // Something beside it, or a lone table at the bottom is left alone.
        db.merge("merged", "0").unwrap();
        db.compact_all().unwrap();
        assert_eq!(text(&db, "merged"), "1", "{dir}");
        assert_eq!(entries(&db), 3, "{dir}: folded, though there is no operand for several");
    }
}

#[test]
fn an_operator_that_comes_with_the_library_need_not_be_given_again() {
    let sim = SimFs::new();
    let plain = options(&sim).open(STORE).unwrap();
    assert!(matches!(plain.merge("n", "1"), Err(Error::InvalidInput(_))));
    plain.put("n", "1").unwrap();
    plain.close().unwrap();
    let db = options(&sim).merge_operator(IntegerAdd).open(STORE).unwrap();
    db.merge("n", "41").unwrap();
    db.close().unwrap();
    let db = options(&sim).open(STORE).unwrap();
    assert_eq!(text(&db, "n"), "42");
    db.merge("n", "1").unwrap();
    assert_eq!(db.increment("n", 1).unwrap(), 44);
    db.checkpoint("/copy").unwrap();
    db.close().unwrap();
    assert_eq!(text(&options(&sim).open("/copy").unwrap(), "n"), "44");
    let mut dump = String::new();
    let name = files(&sim).inspect().unwrap().manifest;
    files(&sim)
        .dump(&name, &mut |line| {
            dump.push_str(line);
            Ok(())
        })
        .unwrap();
    assert!(dump.contains("merge operator \"terrace.integer-add\""), "{dump}");
}

#[test]
fn what_cannot_be_merged_is_an_error_until_it_is_overwritten() {
    let sim = SimFs::new();
    let db = options(&sim).merge_operator(IntegerAdd).open(STORE).unwrap();
    assert!(matches!(db.merge("n", "one"), Err(Error::InvalidInput(_))));
    db.put("word", "abc").unwrap();
    db.merge("word", "1").unwrap();
    db.put("max", i64::MAX.to_string()).unwrap();
    db.merge("max", "1").unwrap();
    for _ in 0..2 {
        assert!(matches!(db.get("word"), Err(Error::Merge { .. })));
        let error = db.get("max").unwrap_err().to_string();
        assert!(error.contains("max") && error.contains("64 bits"), "{error}");
        // Compaction neither fails nor loses anything.
        db.compact_all().unwrap();
    }
    db.merge("max", "-1").unwrap();
    assert_eq!(text(&db, "max"), i64::MAX.to_string());
    db.put("word", "7").unwrap();
    db.merge("word", "1").unwrap();
    assert_eq!(scanned(&db), format!("max={} word=8", i64::MAX));
}

/// Operands of one key are held back only up to a limit, and are not lost there.
#[test]
fn a_long_chain_comes_through() {
    for buffer in [256 << 10, 8 << 20] {
        let sim = SimFs::new();
        let options = || options(&sim).memory_budget(64 << 20).write_buffer(buffer);
        let db = options().merge_operator(Append).open(STORE).unwrap();
        let mut expected = String::new();
        for n in 0..6000 {
            let operand = format!("{n:0width$},", width = if n % 10 == 0 { 4000 } else { 4 });
            db.merge("chain", &operand).unwrap();
            expected.push_str(&operand);
        }
        assert!(text(&db, "chain") == expected);
        db.flush().unwrap();
        assert!(text(&db, "chain") == expected);
        db.compact_all().unwrap();
        assert!(text(&db, "chain") == expected);
        assert_eq!(entries(&db), 1);
    }
}

#[test]
fn merges_do_not_conflict_with_each_other_but_with_readers() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().merge_operator(IntegerAdd).open(dir.path()).unwrap();
    let (mut first, mut second, mut reader) = (db.begin(), db.begin(), db.begin());
    first.merge("n", "1").unwrap();
    second.merge("n", "2").unwrap();
    assert_eq!(reader.prefix("n").count(), 0);
    reader.put("seen", "0").unwrap();
    first.commit().unwrap();
    second.commit().unwrap();
    assert!(matches!(reader.commit(), Err(Error::Conflict)));
    let mut tx = db.begin();
    tx.merge("n", "4").unwrap();
    tx.merge("new", "1").unwrap();
    assert_eq!(tx.get("n").unwrap().as_deref(), Some(&b"7"[..]));
    let all: Vec<_> = tx.prefix("n").map(|entry| entry.unwrap().1.to_vec()).collect();
    assert_eq!(all, [b"7", b"1"]);
    db.merge("n", "8").unwrap();
    assert!(matches!(tx.commit(), Err(Error::Conflict)), "it has read the value below its operand");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..2000 {
                    db.merge(format!("count{}", n % 3), "1").unwrap();
                    if n % 500 == 0 {
                        db.flush().unwrap();
                    }
                }
            });
        }
    });
    let sum: i64 = db
        .prefix("count")
        .map(|e| String::from_utf8(e.unwrap().1.to_vec()).unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(sum, 8000);
}

/// After any crash the store holds a prefix of the merges: no operand is lost in the middle, none counts twice.
#[test]
fn no_crash_loses_or_repeats_an_operand() {
    let policies = [
        CrashPolicy::ProcessDeath,
        CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced),
        CrashPolicy::PowerLoss(PowerLoss::RandomSectors),
    ];
    let rng = SeededRng::new(23);
    let mut sim = SimFs::new();
    // The operands so far, in order; those up to `durable` must be there.
    let mut history: Vec<(String, String)> = Vec::new();
    let mut durable = 0;
    let state = |history: &[(String, String)]| {
        let mut state = BTreeMap::<String, String>::new();
        for (key, operand) in history {
            state.entry(key.clone()).or_default().push_str(operand);
        }
        state
    };
    let mut policy = policies[0];
    for round in 0..80 {
        let open =
            || options(&sim).merge_operator(Append).durability(Durability::Process).open(Path::new(STORE));
        let db = open().unwrap();
        let found: BTreeMap<String, String> = db
            .iter()
            .map(|entry| entry.unwrap())
            .map(|(k, v)| (String::from_utf8(k.to_vec()).unwrap(), String::from_utf8(v.to_vec()).unwrap()))
            .collect();
        let kept: usize = found.values().map(|value| value.matches('+').count()).sum();
        assert!(kept >= durable, "round {round}, {policy:?}: {kept} of {durable} durable operands");
        history.truncate(kept);
        assert_eq!(found, state(&history), "round {round}, {policy:?}");
        for _ in 0..rng.below(120) {
            let (key, operand) = (format!("k{}", rng.below(5)), format!("{}+", history.len()));
            db.merge(&key, &operand).unwrap();
            history.push((key, operand));
        }
        durable = kept;
        match rng.below(4) {
            0 => db.flush().unwrap(),
            1 => db.compact_all().unwrap(),
            2 => db.sync().unwrap(),
            _ => {}
        }
        if rng.chance(50) {
            db.sync().unwrap();
            durable = history.len();
        }
        policy = policies[rng.below(3) as usize];
        if matches!(policy, CrashPolicy::ProcessDeath) {
            durable = history.len();
        }
        let left = sim.crash(policy, round);
        sim.stop_at(0);
        drop(db);
        sim = left;
    }
}
