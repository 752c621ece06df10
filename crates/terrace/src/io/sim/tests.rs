//! What each kind of crash leaves, the stop, the limits and the planted bugs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use super::*;
use crate::io::tests::store;

const LOSE: CrashPolicy = CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced);
const KEEP: CrashPolicy = CrashPolicy::PowerLoss(PowerLoss::KeepAll);
const SECTORS: CrashPolicy = CrashPolicy::PowerLoss(PowerLoss::RandomSectors);
const REORDERED: CrashPolicy = CrashPolicy::PowerLoss(PowerLoss::Reordered);
const LOSE_DIRS: CrashPolicy = CrashPolicy::PowerLoss(PowerLoss::LoseDirEntries);

pub(super) fn p(path: &str) -> &Path {
    Path::new(path)
}

/// A disk with the directory `/d`.
pub(super) fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir_all(p("/d")).unwrap();
    fs
}

/// A disk with a durable file.
fn disk_with(path: &str, bytes: &[u8]) -> SimFs {
    let fs = disk();
    fs.overwrite(path, bytes).unwrap();
    fs
}

fn write(fs: &SimFs, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.create(p(path)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// Every outcome of `policy` over many seeds: the content of each file by name.
fn outcomes(fs: &SimFs, policy: CrashPolicy) -> BTreeSet<BTreeMap<String, Vec<u8>>> {
    (0..200).map(|seed| files(&fs.crash(policy, seed))).collect()
}

pub(super) fn files(fs: &SimFs) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.strip_prefix("/d/").unwrap_or(path).to_string_lossy().into_owned();
    fs.paths().iter().map(|path| (name(path), fs.read_all(path).unwrap())).collect()
}

fn only(name: &str, bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([(name.to_string(), bytes.to_vec())])
}

#[test]
fn the_death_of_the_process_keeps_everything_and_releases_locks() {
    let fs = disk();
    let file = write(&fs, "/d/f", b"unsynced");
    let _guard = fs.lock(p("/d/LOCK"), b"me").unwrap();
    let next = fs.crash(CrashPolicy::ProcessDeath, 0);
    assert_eq!(next.read_all("/d/f").unwrap(), b"unsynced");
    assert_eq!(next.boot_id(), fs.boot_id());
    assert_eq!(next.operations(), 0);
    next.lock(p("/d/LOCK"), b"next").unwrap();

    // The original runs on, by itself, and what the dead process wrote can still be lost.
    file.write_all_at(b"original", 0).unwrap();
    assert_eq!(fs.lock(p("/d/LOCK"), b"").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(next.read_all("/d/f").unwrap(), b"unsynced");
    assert_eq!(next.crash(LOSE, 0).paths(), Vec::<PathBuf>::new());
}

#[test]
fn a_power_loss_changes_the_boot_id_and_releases_locks() {
    for policy in CrashPolicy::ALL.into_iter().filter(|policy| *policy != CrashPolicy::ProcessDeath) {
        let fs = disk();
        let _guard = fs.lock(p("/d/LOCK"), b"me").unwrap();
        let next = fs.crash(policy, 0);
        assert_ne!(next.boot_id(), fs.boot_id());
        assert_ne!(next.boot_id(), 0);
        assert_ne!(next.crash(policy, 0).boot_id(), next.boot_id());
        next.lock(p("/d/LOCK"), b"next").unwrap();
    }
}

#[test]
fn synced_data_and_names_survive_every_crash() {
    let fs = disk();
    write(&fs, "/d/f", b"data").sync().unwrap();
    let region = fs.open_region(p("/d/log"), 1024).unwrap();
    store(&region, 600, b"record").unwrap();
    region.sync().unwrap();
    fs.sync_dir(p("/d")).unwrap();
    for policy in CrashPolicy::ALL {
        let found = outcomes(&fs, policy);
        assert_eq!(found, BTreeSet::from([files(&fs)]), "{policy:?}");
    }
}

#[test]
fn without_a_directory_sync_a_new_file_is_lost_however_well_it_was_synced() {
    let fs = disk();
    write(&fs, "/d/f", b"data").sync().unwrap();
    assert!(fs.crash(LOSE, 0).paths().is_empty());
    assert!(fs.crash(LOSE_DIRS, 0).paths().is_empty());
    assert_eq!(files(&fs.crash(KEEP, 0)), only("f", b"data"));
}

#[test]
fn without_a_file_sync_a_named_file_is_empty_or_whole() {
    let fs = disk();
    write(&fs, "/d/f", b"data");
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), only("f", b""));
    assert_eq!(files(&fs.crash(KEEP, 0)), only("f", b"data"));
    assert_eq!(files(&fs.crash(LOSE_DIRS, 0)), only("f", b"data"));
}

#[test]
fn a_removal_is_undone_unless_the_directory_was_synced() {
    let fs = disk_with("/d/f", b"data");
    fs.remove(p("/d/f")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), only("f", b"data"));
    assert!(fs.crash(KEEP, 0).paths().is_empty());
    fs.sync_dir(p("/d")).unwrap();
    assert!(fs.crash(LOSE, 0).paths().is_empty());
}

#[test]
fn each_sector_is_kept_or_lost_on_its_own() {
    let fs = disk_with("/d/f", &[1; 2048]);
    let region = fs.open_region(p("/d/f"), 0).unwrap();
    store(&region, 256, &[2; 1024]).unwrap();
    let found = outcomes(&fs, SECTORS);
    // The store covers parts of three sectors.
    assert_eq!(found.len(), 8);
    for outcome in found {
        let bytes = &outcome["f"];
        assert_eq!(bytes.len(), 2048);
        let mut expected = vec![1; 2048];
        for (sector, range) in [(0, 256..512), (1, 512..1024), (2, 1024..1280)] {
            if bytes[sector * 512 + 256] == 2 || (sector == 2 && bytes[1024] == 2) {
                expected[range].fill(2);
            }
        }
        assert_eq!(bytes, &expected);
    }
}

#[test]
fn a_sector_never_shows_a_later_write_without_the_earlier_one() {
    let fs = disk_with("/d/f", &[0; 512]);
    let region = fs.open_region(p("/d/f"), 0).unwrap();
    store(&region, 0, b"1").unwrap();
    store(&region, 1, b"2").unwrap();
    let heads: BTreeSet<Vec<u8>> =
        outcomes(&fs, SECTORS).into_iter().map(|files| files["f"][..2].to_vec()).collect();
    assert_eq!(heads, BTreeSet::from([b"\0\0".to_vec(), b"1\0".to_vec(), b"12".to_vec()]));
}

#[test]
fn a_file_is_as_long_as_the_kept_writes_reach_and_holes_are_zeros() {
    let fs = disk_with("/d/f", b"");
    fs.remove_durably("/d/f").unwrap();
    let file = write(&fs, "/d/f", &[7; 512]);
    fs.sync_dir(p("/d")).unwrap();
    file.write_all_at(&[8; 100], 512).unwrap();
    let empty = vec![];
    let first = vec![7; 512];
    let both = [vec![7; 512], vec![8; 100]].concat();
    let hole = [vec![0; 512], vec![8; 100]].concat();
    for policy in [SECTORS, REORDERED] {
        let lengths: BTreeSet<Vec<u8>> =
            outcomes(&fs, policy).into_iter().map(|files| files["f"].clone()).collect();
        assert_eq!(lengths, BTreeSet::from([empty.clone(), first.clone(), both.clone(), hole.clone()]));
    }
}

#[test]
fn reordered_writes_are_kept_or_lost_as_a_whole() {
    let fs = disk_with("/d/f", &[0; 4096]);
    let region = fs.open_region(p("/d/f"), 0).unwrap();
    store(&region, 0, &[1; 2000]).unwrap();
    store(&region, 2000, &[2; 2000]).unwrap();
    let found = outcomes(&fs, REORDERED);
    assert_eq!(found.len(), 4);
    for outcome in found {
        let bytes = &outcome["f"];
        assert!(bytes[..2000].iter().all(|b| *b == bytes[0]));
        assert!(bytes[2000..4000].iter().all(|b| *b == bytes[2000]));
    }
}

#[test]
fn preallocation_is_lost_without_a_sync() {
    let fs = disk();
    let region = fs.open_region(p("/d/log"), 4096).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(fs.crash(LOSE, 0).read_all("/d/log").unwrap(), b"");
    region.sync().unwrap();
    store(&region, 8, b"lost").unwrap();
    let next = fs.crash(LOSE, 0);
    assert_eq!(next.read_all("/d/log").unwrap(), vec![0; 4096]);
    assert_eq!(next.open_region(p("/d/log"), 1).unwrap().len(), 4096);
}

#[test]
fn a_region_reopened_after_a_crash_holds_the_crashed_content() {
    let fs = disk();
    let region = fs.open_region(p("/d/log"), 2048).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    store(&region, 0, b"synced").unwrap();
    region.sync().unwrap();
    store(&region, 1024, b"volatile").unwrap();
    let at = |fs: &SimFs, offset: usize, len: usize| {
        fs.open_region(p("/d/log"), 2048).unwrap();
        fs.read_all("/d/log").unwrap()[offset..offset + len].to_vec()
    };
    let killed = fs.crash(CrashPolicy::ProcessDeath, 0);
    assert_eq!(at(&killed, 1024, 8), b"volatile");
    let unplugged = fs.crash(LOSE, 0);
    assert_eq!((at(&unplugged, 0, 6), at(&unplugged, 1024, 8)), (b"synced".to_vec(), vec![0; 8]));
}

#[test]
fn the_target_of_a_rename_is_old_or_new_and_never_missing() {
    let fs = disk_with("/d/CURRENT", b"old");
    write(&fs, "/d/tmp", b"new").sync().unwrap();
    fs.rename(p("/d/tmp"), p("/d/CURRENT")).unwrap();
    let old = only("CURRENT", b"old");
    let new = only("CURRENT", b"new");
    let old_and_tmp: BTreeMap<_, _> = old.clone().into_iter().chain(only("tmp", b"new")).collect();
    assert_eq!(files(&fs.crash(LOSE, 0)), old);
    assert_eq!(files(&fs.crash(LOSE_DIRS, 0)), old);
    assert_eq!(files(&fs.crash(KEEP, 0)), new);
    for policy in [SECTORS, REORDERED] {
        let expected = BTreeSet::from([old.clone(), new.clone(), old_and_tmp.clone()]);
        assert_eq!(outcomes(&fs, policy), expected, "{policy:?}");
    }
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), new);
}

#[test]
fn a_rename_survives_without_the_data_that_was_not_synced() {
    let fs = disk_with("/d/CURRENT", b"old");
    write(&fs, "/d/tmp", b"new");
    fs.rename(p("/d/tmp"), p("/d/CURRENT")).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), only("CURRENT", b""));
}

#[test]
fn a_file_renamed_twice_keeps_one_name() {
    let fs = disk_with("/d/a", b"data");
    fs.rename(p("/d/a"), p("/d/b")).unwrap();
    fs.rename(p("/d/b"), p("/d/c")).unwrap();
    let expected: BTreeSet<_> = ["a", "b", "c"].map(|name| only(name, b"data")).into();
    for policy in [SECTORS, REORDERED] {
        assert_eq!(outcomes(&fs, policy), expected, "{policy:?}");
    }
}

#[test]
fn unrelated_directory_operations_survive_out_of_order_only_when_reordered() {
    let fs = disk();
    write(&fs, "/d/first", b"").sync().unwrap();
    write(&fs, "/d/second", b"").sync().unwrap();
    let names = |policy| -> BTreeSet<Vec<String>> {
        outcomes(&fs, policy).into_iter().map(|files| files.into_keys().collect()).collect()
    };
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let prefixes = [list(&[]), list(&["first"]), list(&["first", "second"])];
    assert_eq!(names(SECTORS), BTreeSet::from(prefixes.clone()));
    let with_gap = prefixes.into_iter().chain([list(&["second"])]).collect();
    assert_eq!(names(REORDERED), with_gap);
}

#[test]
fn a_move_between_directories_never_loses_or_doubles_the_file() {
    let fs = disk_with("/d/f", b"data");
    fs.create_dir_all(p("/d/sub")).unwrap();
    fs.rename(p("/d/f"), p("/d/sub/f")).unwrap();
    let moved = only("sub/f", b"data");
    let stayed = only("f", b"data");
    for policy in [SECTORS, REORDERED] {
        assert_eq!(outcomes(&fs, policy), BTreeSet::from([moved.clone(), stayed.clone()]));
    }
    // Syncing either directory settles the move, and what came before it in the other one.
    write(&fs, "/d/f", b"new").sync().unwrap();
    let mut both = moved.clone();
    both.extend(only("f", b"new"));
    fs.sync_dir(p("/d/sub")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), moved);
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), both);
}

#[test]
fn a_lost_move_ends_the_kept_prefix_of_both_directories() {
    let fs = disk_with("/d/f", b"");
    fs.create_dir_all(p("/d/sub")).unwrap();
    fs.rename(p("/d/f"), p("/d/sub/f")).unwrap();
    write(&fs, "/d/later", b"").sync().unwrap();
    let names: BTreeSet<Vec<String>> =
        outcomes(&fs, SECTORS).into_iter().map(|files| files.into_keys().collect()).collect();
    let expected = [vec!["f"], vec!["later", "sub/f"], vec!["sub/f"]];
    assert_eq!(names, expected.map(|names| names.into_iter().map(String::from).collect()).into());
}

#[test]
fn a_file_moved_to_and_fro_is_in_one_place_after_any_crash() {
    let fs = disk_with("/d/1", b"data");
    fs.create_dir_all(p("/d/sub")).unwrap();
    let path = ["/d/1", "/d/sub/2", "/d/3", "/d/sub/4", "/d/5"].map(p);
    for step in path.windows(2) {
        write(&fs, &format!("{}-before", step[1].display()), b"").sync().unwrap();
        fs.rename(step[0], step[1]).unwrap();
    }
    for policy in [SECTORS, REORDERED] {
        let mut places = BTreeSet::new();
        for outcome in outcomes(&fs, policy) {
            let holders: Vec<_> = outcome.into_iter().filter(|(_, bytes)| bytes == b"data").collect();
            assert_eq!(holders.len(), 1, "{policy:?}: {holders:?}");
            places.insert(holders[0].0.clone());
        }
        assert_eq!(places.len(), 5, "{policy:?}");
    }
    fs.sync_dir(p("/d/sub")).unwrap();
    assert_eq!(fs.crash(LOSE, 0).read_all("/d/5").unwrap(), b"data");
}

#[test]
fn a_directory_made_durably_survives_and_takes_its_files_along_when_lost() {
    let fs = SimFs::new();
    fs.create_dir_all(p("/a/b")).unwrap();
    assert!(fs.crash(LOSE, 0).exists(p("/a/b")).unwrap());
    fs.ignore_sync_dir(true);
    fs.create_dir_all(p("/a/b/c")).unwrap();
    fs.ignore_sync_dir(false);
    write(&fs, "/a/b/c/f", b"data").sync().unwrap();
    fs.sync_dir(p("/a/b/c")).unwrap();
    let next = fs.crash(LOSE, 0);
    assert!(next.paths().is_empty() && !next.exists(p("/a/b/c")).unwrap());
    assert_eq!(fs.crash(KEEP, 0).read_all("/a/b/c/f").unwrap(), b"data");
}

#[test]
fn the_machine_stops_before_the_given_operation_and_stays_dead() {
    let run = |fs: &SimFs| -> io::Result<()> {
        fs.create_dir_all(p("/d"))?;
        let file = fs.create(p("/d/f"))?;
        file.write_all_at(b"one", 0)?;
        file.write_all_at(b"two", 3)?;
        file.sync()?;
        fs.sync_dir(p("/d"))
    };
    let whole = SimFs::new();
    run(&whole).unwrap();
    assert_eq!(whole.operations(), 7);
    for limit in 0..7 {
        let fs = SimFs::new();
        fs.stop_at(limit);
        let error = run(&fs).unwrap_err();
        assert!(SimFs::is_death(&error) && fs.is_stopped());
        assert_eq!(fs.operations(), limit);
        assert!(SimFs::is_death(&fs.list(p("/d")).unwrap_err()));
        assert!(SimFs::is_death(&fs.open(p("/d/f")).unwrap_err()));
        assert!(SimFs::is_death(&fs.exists(p("/d/f")).unwrap_err()));
        assert!(SimFs::is_death(&fs.lock(p("/d/LOCK"), b"").unwrap_err()));
        let expected: &[u8] = match limit {
            0..=3 => b"",
            4 => b"one",
            _ => b"onetwo",
        };
        let next = fs.crash(CrashPolicy::ProcessDeath, 0);
        assert_eq!(next.read_all("/d/f").unwrap_or_default(), expected, "after {limit} operations");
        next.create_dir_all(p("/d")).unwrap();
        assert!(next.crash(LOSE, 0).read_all("/d/f").is_err(), "after {limit} operations");
    }
    assert!(!SimFs::is_death(&io::Error::other("something else")));
}

#[test]
fn handles_die_with_the_machine() {
    let fs = disk();
    let file = write(&fs, "/d/f", b"data");
    let region = fs.open_region(p("/d/log"), 100).unwrap();
    fs.stop_at(fs.operations());
    assert!(!fs.is_stopped());
    file.read_exact_at(&mut [0; 4], 0).unwrap();
    assert!(SimFs::is_death(&store(&region, 0, b"x").unwrap_err()));
    assert!(SimFs::is_death(&file.read_exact_at(&mut [0; 4], 0).unwrap_err()));
    assert!(SimFs::is_death(&file.len().unwrap_err()));
    assert!(SimFs::is_death(&file.sync().unwrap_err()));
    assert!(SimFs::is_death(&region.sync().unwrap_err()));
}

#[test]
fn the_log_tells_the_schedule() {
    let fs = SimFs::new();
    fs.log_operations(true);
    fs.create_dir_all(p("/d")).unwrap();
    fs.stop_at(4);
    write(&fs, "/d/f", b"data");
    fs.remove(p("/d/f")).unwrap_err();
    assert_eq!(
        fs.operation_log(),
        [
            "0: create dir /d",
            "1: sync dir above /d",
            "2: create /d/f",
            "3: write /d/f 0+4",
            "stopped before: remove /d/f"
        ]
    );
    assert!(fs.crash(KEEP, 0).operation_log().is_empty());
}

#[test]
fn a_full_disk_takes_what_fits_and_reports_the_rest() {
    let fs = disk();
    fs.set_capacity(1000);
    let file = write(&fs, "/d/f", &[1; 600]);
    assert_eq!(fs.open_region(p("/d/log"), 401).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_all_at(&[2; 600], 590).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((file.len().unwrap(), fs.total_bytes()), (1000, 1000));
    file.write_all_at(&[3; 1000], 0).unwrap();
    assert_eq!(fs.crash(KEEP, 0).open_region(p("/d/log"), 1).unwrap_err().kind(), ErrorKind::StorageFull);
    // A removed file keeps its space until it is closed.
    fs.remove(p("/d/f")).unwrap();
    assert_eq!(fs.total_bytes(), 1000);
    drop(file);
    assert_eq!(fs.total_bytes(), 0);
    assert_eq!(fs.open_region(p("/d/log"), 1000).unwrap().len(), 1000);
}

#[test]
fn planted_bugs_lose_what_was_synced() {
    let fs = disk();
    fs.ignore_sync(true);
    write(&fs, "/d/f", b"data").sync().unwrap();
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(files(&fs.crash(LOSE, 0)), only("f", b""));

    let fs = disk();
    fs.ignore_sync_dir(true);
    write(&fs, "/d/f", b"data").sync().unwrap();
    fs.sync_dir(p("/d")).unwrap();
    assert!(fs.crash(LOSE, 0).paths().is_empty());
}

#[test]
fn damage_is_durable_uncounted_and_visible_to_open_handles() {
    let fs = disk();
    let file = write(&fs, "/d/f", b"data");
    let before = fs.operations();
    fs.overwrite("/d/f", b"damaged").unwrap();
    fs.overwrite("/d/planted", b"orphan").unwrap();
    fs.overwrite("/d/gone", b"").unwrap();
    fs.remove_durably("/d/gone").unwrap();
    assert_eq!(fs.operations(), before);
    assert_eq!(file.len().unwrap(), 7);
    let next = fs.crash(LOSE, 0);
    assert_eq!(next.paths(), [p("/d/f"), p("/d/planted")]);
    assert_eq!(next.read_all("/d/f").unwrap(), b"damaged");
}

#[test]
fn files_without_names_and_handles_are_forgotten() {
    let fs = disk();
    let file = write(&fs, "/d/f", b"data");
    fs.remove(p("/d/f")).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(fs.shared.lock().files.len(), 1);
    drop(file);
    fs.sync_dir(p("/d")).unwrap();
    assert_eq!(fs.shared.lock().files.len(), 0);
}

#[test]
fn a_range_sync_keeps_its_range_and_nothing_else() {
    let sim = SimFs::new();
    let path = Path::new("/region");
    let region = sim.open_region(path, 4096).unwrap();
    sim.sync_dir(Path::new("/")).unwrap();
    let claimed = crate::io::Region::new(Arc::clone(&region));
    let mut claim = claimed.claim(4096).unwrap();
    claim.write(0, &[1; 4096]).unwrap();
    claim.write(500, &[2; 100]).unwrap();
    region.sync_range(512..1024).unwrap();
    claim.write(600, &[3; 100]).unwrap();
    let left = sim.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0).read_all(path).unwrap();
    let mut expected = vec![0; 4096];
    expected[512..1024].fill(1);
    expected[512..600].fill(2);
    assert_eq!(left, expected);
    let all = sim.crash(CrashPolicy::ProcessDeath, 0).read_all(path).unwrap();
    assert_eq!((all[0], all[511], all[512], all[650], all[4095]), (1, 2, 2, 3, 1));
}
