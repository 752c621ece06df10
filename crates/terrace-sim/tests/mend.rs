//! Verify and repair: every flipped bit is found and its file named, and what does not lie under it is salvaged.
//!
//! The short version of a long run: `TERRACE_FLIPS=10000` tries that many bits of each store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use terrace::{
    CrashPolicy, Db, Env, Error, Finding, KeyRange, ManualClock, Options, PowerLoss, Rng as _, Salvage,
    SeededRng, SimFs, StoreFiles, WriteOptions,
};

const STORE: &str = "/store";
const NEW: &str = "/new";

/// Every value that a key has had, with the number of its write; the last one counts. `None` is a delete.
type Model = BTreeMap<(String, Vec<u8>), Vec<(u64, Option<Vec<u8>>)>>;

fn env(sim: &SimFs) -> Env {
    Env::inline(Arc::new(sim.clone()), Arc::new(ManualClock::default()), Arc::new(SeededRng::new(5)))
}

fn open(sim: &SimFs, dir: &str) -> Result<Db, Error> {
    open_with(sim, dir, 0)
}

fn open_with(sim: &SimFs, dir: &str, blob_from: usize) -> Result<Db, Error> {
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    options.table_bytes(64 << 10).block_bytes(512).blob_from(blob_from).env(env(sim)).open(dir)
}

fn files(sim: &SimFs) -> StoreFiles {
    StoreFiles::new(STORE).env(env(sim))
}

fn value(n: u32) -> Vec<u8> {
    (0..30 + n % 40).flat_map(|i| (n.wrapping_mul(2_654_435_761) ^ i).to_le_bytes()).collect()
}

fn write(db: &Db, model: &mut Model, space: &str, key: String, value: Option<Vec<u8>>) {
    let keyspace = db.keyspace(space).unwrap();
    let mut batch = db.batch();
    match &value {
        Some(value) => batch.put_in(&keyspace, &key, value, WriteOptions::new()),
        None => batch.delete_in(&keyspace, &key),
    };
    let seqno = batch.commit().unwrap();
    model.entry((space.to_string(), key.into_bytes())).or_default().push((seqno, value));
}

fn fill(db: &Db, model: &mut Model, keys: std::ops::Range<u32>) {
    for n in keys {
        write(db, model, "default", format!("key{:04}", n * 7 % 1000), Some(value(n)));
        if n % 5 == 0 {
            write(db, model, "other", format!("o{:04}", n * 3 % 1000), Some(value(n)));
        }
        if n % 17 == 0 {
            write(db, model, "default", format!("key{:04}", n * 5 % 1000), None);
        }
    }
}

/// Tables in several levels and, unless it is closed, a log.
fn store(closed: bool) -> (SimFs, Model) {
    store_with(closed, 0)
}

/// The same; values from this length on are in blob files.
fn store_with(closed: bool, blob_from: usize) -> (SimFs, Model) {
    let (sim, mut model) = (SimFs::new(), Model::new());
    let open = |sim: &SimFs, dir: &str| open_with(sim, dir, blob_from);
    let db = open(&sim, STORE).unwrap();
    fill(&db, &mut model, 0..500);
    db.compact_all().unwrap();
    fill(&db, &mut model, 500..700);
    db.flush().unwrap();
    if closed {
        fill(&db, &mut model, 700..800);
        db.close().unwrap();
        return (sim, model);
    }
    // The log that the next opening starts is a new file, without the remains of an earlier use.
    db.close().unwrap();
    let db = open(&sim, STORE).unwrap();
    fill(&db, &mut model, 700..800);
    db.sync().unwrap();
    fill(&db, &mut model, 800..801);
    db.sync().unwrap();
    let left = sim.crash(CrashPolicy::ProcessDeath, 0);
    sim.stop_at(0);
    (left, model)
}

/// The bytes of a file that mean something: in a log, padding and what was reserved ahead do not.
fn meaningful(path: &Path, bytes: &[u8]) -> Vec<usize> {
    let is_log = path.extension().is_some_and(|end| end == "wal");
    (0..bytes.len()).filter(|at| !is_log || bytes[*at] != 0).collect()
}

fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy();
    name.trim_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '.').to_string()
}

/// The files whose content counts, by their kind.
fn kinds(sim: &SimFs) -> BTreeMap<String, Vec<PathBuf>> {
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in sim.paths() {
        if !["LOCK", "spare"].contains(&&kind(&path)[..]) {
            kinds.entry(kind(&path)).or_default().push(path);
        }
    }
    kinds
}

fn flips() -> usize {
    std::env::var("TERRACE_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(100)
}

/// Flips random bits of a store, all kinds of files alike, and hands each damaged copy on.
fn flip(sim: &SimFs, seed: u64, mut look: impl FnMut(&SimFs, (&Path, usize), &str)) {
    let rng = SeededRng::new(seed);
    let below = |limit: usize| (rng.next_u64() % limit as u64) as usize;
    let kinds: Vec<_> = kinds(sim).into_values().collect();
    for round in 0..flips() {
        let path = &kinds[round % kinds.len()][below(kinds[round % kinds.len()].len())];
        let mut bytes = sim.read_all(path).unwrap();
        let places = meaningful(path, &bytes);
        let (at, bit) = (places[below(places.len())], below(8));
        bytes[at] ^= 1 << bit;
        let damaged = sim.crash(CrashPolicy::ProcessDeath, 0);
        damaged.overwrite(path, &bytes).unwrap();
        look(
            &damaged,
            (path, at),
            &format!("bit {bit} of byte {at} of {} ({} bytes)", path.display(), bytes.len()),
        );
    }
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    for (closed, blob_from, seed) in [(true, 0, 1), (false, 0, 2), (true, 200, 5)] {
        let (sim, _) = store_with(closed, blob_from);
        let sound = files(&sim).verify(|_| ()).unwrap();
        assert!(sound.is_sound(), "{:?}", sound.findings);
        assert!(sound.tables + sound.blobs > 3 && (sound.blobs > 0) == (blob_from > 0), "{sound:?}");
        assert!(sound.entries > 500 && (sound.log_records > 0) != closed, "{sound:?}");
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        flip(&sim, seed, |damaged, (path, at), what| {
            let before = damaged.operations();
            let outcome = files(damaged).verify(|_| ()).unwrap();
            let named = |finding: &&Finding| finding.path == path;
            let finding = outcome.findings.iter().find(named);
            let finding = finding.unwrap_or_else(|| panic!("{what}: {:?}", outcome.findings));
            // Header and footer of a blob file have no keys.
            let records = 32..sim.read_all(path).unwrap().len().saturating_sub(40);
            let of_keys = kind(path) == "tbl" || (kind(path) == "blob" && records.contains(&at));
            assert!(finding.keys.is_some() || !of_keys, "{what}: {finding}");
            assert_eq!(damaged.operations(), before, "verification changes nothing");
            *found.entry(kind(path)).or_default() += 1;
        });
        println!("closed: {closed}: all {} flips found: {found:?}", flips());
    }
}

fn holds(range: &KeyRange, space: &str, key: &[u8]) -> bool {
    let at = |name: &str| ["default", "other"].iter().position(|known| *known == name);
    let (this, first) = ((at(space), key), (at(&range.first.keyspace), &range.first.key[..]));
    first <= this && range.last.as_ref().is_none_or(|last| this <= (at(&last.keyspace), &last.key[..]))
}

/// Compares a salvaged store with what was written; returns the number of keys that are not what they were.
fn compare(db: &Db, model: &Model, salvage: &Salvage, what: &str) -> usize {
    let mut lost = 0;
    for ((space, key), writes) in model {
        let found = db.find_keyspace(space).and_then(|keyspace| keyspace.get(key).unwrap());
        let (seqno, last) = writes.last().unwrap();
        if found.as_deref() == last.as_deref() {
            continue;
        }
        lost += 1;
        let known = found.is_none() || writes.iter().any(|(_, value)| value.as_deref() == found.as_deref());
        assert!(known, "{what}: {space}/{key:?} has a value that nobody wrote");
        let by_keys = salvage.lost.iter().filter_map(|finding| finding.keys.as_ref());
        let missing = salvage.missing_writes.iter().any(|(first, last)| (first..=last).contains(&seqno));
        let excused = missing || by_keys.clone().any(|range| holds(range, space, key));
        let key = String::from_utf8_lossy(key);
        assert!(excused, "{what}: {space}/{key} is lost and not in {salvage:?}");
    }
    lost
}

#[test]
fn what_is_not_under_the_flipped_bit_is_salvaged() {
    for (closed, blob_from, seed) in [(true, 0, 3), (false, 0, 4), (true, 200, 6)] {
        let (sim, model) = store_with(closed, blob_from);
        // A block of pointers has more keys than one of values.
        let at_most = if blob_from > 0 { 40 } else { 15 };
        let (mut lost, mut most, mut complete) = (0, 0, 0);
        flip(&sim, seed, |damaged, _, what| {
            let source = |sim: &SimFs| -> Vec<_> {
                let paths = sim.paths().into_iter().filter(|path| path.starts_with(STORE));
                paths.map(|path| (sim.read_all(&path).unwrap(), path)).collect()
            };
            let before = source(damaged);
            let salvage =
                files(damaged).repair(NEW, |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(before == source(damaged), "{what}: the source was touched");
            assert!(!salvage.lost.is_empty() || !salvage.mended.is_empty(), "{what}: {salvage:?}");
            let db = open(damaged, NEW).unwrap_or_else(|error| panic!("{what}: {error}"));
            db.verify().unwrap();
            let now = compare(&db, &model, &salvage, what);
            assert!(now <= at_most, "{what}: {now} keys lost, more than a block or a record can hold");
            (lost, most, complete) = (lost + now, most.max(now), complete + usize::from(now == 0));
            // It is a store like any other.
            db.put("new", "entry").unwrap();
            db.close().unwrap();
            assert!(StoreFiles::new(NEW).env(env(damaged)).verify(|_| ()).unwrap().is_sound(), "{what}");
        });
        println!(
            "closed: {closed}: {} repairs, {complete} without any loss, {lost} of {} keys lost in all, {most} at most",
            flips(),
            model.len()
        );
    }
}

#[test]
fn a_store_without_current_or_manifest_is_rebuilt_from_its_tables() {
    let (sim, model) = store(true);
    for gone in ["CURRENT", "MANIFEST"] {
        let damaged = sim.crash(CrashPolicy::ProcessDeath, 0);
        for path in kinds(&damaged).remove(gone).unwrap() {
            damaged.remove_durably(path).unwrap();
        }
        let verified = files(&damaged).verify(|_| ()).unwrap();
        assert!(!verified.is_sound());
        let salvage = files(&damaged).repair(NEW, |_| ()).unwrap();
        assert_eq!(salvage.manifest_rebuilt, gone == "MANIFEST");
        let db = open(&damaged, NEW).unwrap();
        let default: Vec<_> = model.iter().filter(|((space, _), _)| space == "default").collect();
        for ((_, key), writes) in default {
            assert_eq!(
                db.get(key).unwrap().as_deref(),
                writes.last().unwrap().1.as_deref(),
                "without {gone}"
            );
        }
        let names = db.keyspaces();
        assert_eq!(names, if gone == "MANIFEST" { ["default", "recovered-1"] } else { ["default", "other"] });
    }
}

#[test]
fn a_missing_table_costs_its_keys_and_no_others() {
    let (sim, model) = store(true);
    for path in kinds(&sim).remove("tbl").unwrap() {
        let damaged = sim.crash(CrashPolicy::ProcessDeath, 0);
        damaged.remove_durably(&path).unwrap();
        let verified = files(&damaged).verify(|_| ()).unwrap();
        assert!(verified.findings.iter().any(|finding| finding.path == path && finding.keys.is_some()));
        let salvage = files(&damaged).repair(NEW, |_| ()).unwrap();
        compare(&open(&damaged, NEW).unwrap(), &model, &salvage, &format!("without {}", path.display()));
    }
}

#[test]
fn a_store_in_use_is_left_alone_and_one_that_lost_power_is_no_damage() {
    let (sim, _) = store(false);
    let restarted = sim.crash(CrashPolicy::PowerLoss(PowerLoss::KeepAll), 0);
    assert!(files(&restarted).verify(|_| ()).unwrap().is_sound());
    let db = open(&sim, STORE).unwrap();
    assert!(matches!(files(&sim).verify(|_| ()), Err(Error::Locked { .. })));
    assert!(matches!(files(&sim).repair(NEW, |_| ()), Err(Error::Locked { .. })));
    drop(db);
    assert!(files(&sim).verify(|_| ()).unwrap().is_sound());
    let nothing = StoreFiles::new("/nothing").env(env(&sim)).verify(|_| ()).unwrap_err();
    assert!(matches!(nothing, Error::NotAStore { .. }), "{nothing}");
}

#[test]
fn inspect_and_dump_show_every_part_of_a_store() {
    let (sim, model) = store(false);
    let seen = files(&sim).inspect().unwrap();
    assert!(seen.errors.is_empty(), "{:?}", seen.errors);
    assert_eq!(seen.keyspaces, [(0, "default".to_string()), (1, "other".to_string())]);
    assert!(seen.tables.len() > 3 && seen.tables.iter().any(|table| table.level > 0));
    assert!(seen.tables.iter().all(|table| table.blocks > 0 && table.filter_bits_per_entry > 5.0));
    assert!(seen.log.iter().map(|segment| segment.records).sum::<u64>() > 50);
    let mut lines = Vec::new();
    for path in kinds(&sim).into_values().flatten() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut keep = |line: &str| {
            lines.push(line.to_string());
            Ok(())
        };
        files(&sim).dump(&name, &mut keep).unwrap();
    }
    assert!(lines.iter().all(|line| !line.contains("DAMAGE")), "{lines:?}");
    for ((_, key), _) in model.iter().filter(|(_, writes)| writes.last().unwrap().1.is_some()) {
        let key = format!("\"{}\"", key.escape_ascii());
        assert!(lines.iter().any(|line| line.contains(&key)), "{key}");
    }
    sim.overwrite("/store/notes.txt", b"something else entirely").unwrap();
    let refused = files(&sim).dump("notes.txt", &mut |_| Ok(())).unwrap_err();
    assert!(refused.to_string().contains("expected a table"), "{refused}");
}

#[test]
fn inspect_tells_what_has_expired() {
    let sim = SimFs::new();
    let clock = Arc::new(ManualClock::default());
    let mut env = env(&sim);
    env.clock = Arc::clone(&clock) as Arc<dyn terrace::Clock>;
    let now_ms = env.clock.now_ms();
    let db = Options::new().background_compaction(false).env(env.clone()).open(STORE).unwrap();
    let put = |key: String, after_ms: u64| {
        let options = WriteOptions::new();
        let options = if after_ms == 0 { options } else { options.expires_at_ms(now_ms + after_ms) };
        db.put_with(key, "value", options).unwrap();
    };
    // One table without expiries, one that expires as a whole, one that does in part.
    (0..10).for_each(|n| put(format!("a{n}"), 0));
    db.flush().unwrap();
    (0..10).for_each(|n| put(format!("b{n}"), 1000 + n));
    db.flush().unwrap();
    (0..10).for_each(|n| put(format!("c{n}"), n * 1000));
    db.flush().unwrap();
    drop(db);
    let files = StoreFiles::new(STORE).env(env);
    let expired = |seen: terrace::Inspection| -> Vec<_> {
        let mut all: Vec<_> = seen.tables.iter().map(|t| (t.keys.first.key.clone(), t.expired)).collect();
        all.sort();
        all.into_iter().map(|(_, expired)| expired).collect()
    };
    assert_eq!(expired(files.inspect().unwrap()), [Some(0), Some(0), Some(0)]);
    clock.advance(std::time::Duration::from_millis(3500));
    assert_eq!(expired(files.inspect().unwrap()), [Some(0), Some(10), None]);
    assert_eq!(expired(files.inspect_expired().unwrap()), [Some(0), Some(10), Some(3)]);
}
