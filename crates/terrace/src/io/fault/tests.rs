//! Each kind of rule and fault, over the simulated disk.

use std::io::ErrorKind;

use super::*;
use crate::io::sim::{CrashPolicy, PowerLoss};
use crate::io::tests::{read_all, store};

const EIO: i32 = 5;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn disk() -> (SimFs, FaultFs) {
    let sim = SimFs::new();
    sim.create_dir_all(p("/d")).unwrap();
    let fs = FaultFs::over_sim(&sim);
    (sim, fs)
}

fn is_eio<T>(result: io::Result<T>) -> bool {
    result.err().is_some_and(|error| error.raw_os_error() == Some(EIO))
}

fn after_power_loss(sim: &SimFs, path: &str) -> Vec<u8> {
    sim.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0).read_all(path).unwrap()
}

#[test]
fn only_the_nth_matching_call_fails() {
    let (_, fs) = disk();
    fs.add(FaultRule::new(FaultOp::Write, Fault::Eio).on("wanted").nth(2));
    let wanted = fs.create(p("/d/wanted")).unwrap();
    let other = fs.create(p("/d/other")).unwrap();
    other.write_all_at(b"a", 0).unwrap();
    wanted.write_all_at(b"a", 0).unwrap();
    other.write_all_at(b"a", 0).unwrap();
    assert!(is_eio(wanted.write_all_at(b"b", 0)));
    assert_eq!(read_all(&*wanted), b"a");
    wanted.write_all_at(b"c", 0).unwrap();
    assert_eq!((fs.calls(FaultOp::Write), fs.calls(FaultOp::Create), fs.calls(FaultOp::Sync)), (5, 2, 0));
}

#[test]
fn every_call_from_the_nth_on_fails_until_the_rules_are_cleared() {
    let (_, fs) = disk();
    fs.add(FaultRule::new(FaultOp::Create, Fault::Enospc).from_nth(2));
    fs.create(p("/d/1")).unwrap();
    for _ in 0..3 {
        assert_eq!(fs.create(p("/d/2")).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert!(!fs.exists(p("/d/2")).unwrap());
    fs.clear();
    fs.create(p("/d/2")).unwrap();
    assert_eq!(fs.calls(FaultOp::Create), 5);
}

#[test]
fn every_operation_can_fail_and_then_does_nothing() {
    let (sim, fs) = disk();
    let file = fs.create(p("/d/f")).unwrap();
    let region = fs.open_region(p("/d/log"), 100).unwrap();
    let before = sim.operations();
    let fails_once = |op: FaultOp, call: &dyn Fn() -> io::Result<()>| {
        fs.add(FaultRule::new(op, Fault::Eio));
        assert!(is_eio(call()), "{op:?}");
        fs.clear();
    };
    fails_once(FaultOp::Create, &|| fs.create(p("/d/g")).map(drop));
    fails_once(FaultOp::OpenRead, &|| fs.open(p("/d/f")).map(drop));
    fails_once(FaultOp::Read, &|| file.read_exact_at(&mut [], 0));
    fails_once(FaultOp::Write, &|| file.write_all_at(b"x", 0));
    fails_once(FaultOp::OpenRegion, &|| fs.open_region(p("/d/new"), 10).map(drop));
    fails_once(FaultOp::RegionWrite, &|| store(&region, 0, b"x"));
    fails_once(FaultOp::Sync, &|| file.sync());
    fails_once(FaultOp::RegionSync, &|| region.sync());
    fails_once(FaultOp::SyncDir, &|| fs.sync_dir(p("/d")));
    fails_once(FaultOp::Rename, &|| fs.rename(p("/d/f"), p("/d/g")));
    fails_once(FaultOp::Remove, &|| fs.remove(p("/d/f")));
    fails_once(FaultOp::List, &|| fs.list(p("/d")).map(drop));
    assert_eq!(sim.operations(), before);
}

#[test]
fn a_rename_matches_either_path() {
    let (_, fs) = disk();
    fs.create(p("/d/a")).unwrap();
    for part in ["d/a", "d/b"] {
        fs.add(FaultRule::new(FaultOp::Rename, Fault::Eio).on(part));
        assert!(is_eio(fs.rename(p("/d/a"), p("/d/b"))));
        fs.clear();
    }
}

#[test]
fn a_short_write_leaves_its_first_bytes() {
    let (_, fs) = disk();
    fs.add(FaultRule::new(FaultOp::Write, Fault::ShortWrite(3)));
    fs.add(FaultRule::new(FaultOp::RegionWrite, Fault::ShortWrite(100)));
    let file = fs.create(p("/d/f")).unwrap();
    assert!(is_eio(file.write_all_at(b"abcdef", 1)));
    assert_eq!(read_all(&*file), b"\0abc");
    let region = fs.open_region(p("/d/log"), 6).unwrap();
    assert!(is_eio(store(&region, 2, b"cd")));
    assert_eq!(read_all(&*fs.open(p("/d/log")).unwrap()), b"\0\0cd\0\0");
}

#[test]
fn a_failed_sync_loses_the_data_although_the_next_sync_succeeds() {
    let (sim, fs) = disk();
    let file = fs.create(p("/d/f")).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    file.write_all_at(b"safe", 0).unwrap();
    file.sync().unwrap();
    file.write_all_at(b"lost", 4).unwrap();
    fs.rename(p("/d/f"), p("/d/g")).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    fs.add(FaultRule::new(FaultOp::Sync, Fault::FailedSync).on("/d/f"));
    assert!(is_eio(file.sync()));
    file.write_all_at(b"late", 8).unwrap();
    file.sync().unwrap();
    assert_eq!(read_all(&*file), b"safelostlate");
    assert_eq!(after_power_loss(&sim, "/d/g"), b"safe\0\0\0\0late");
}

#[test]
fn a_failed_region_sync_loses_its_stores() {
    let (sim, fs) = disk();
    let region = fs.open_region(p("/d/log"), 8).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    region.sync().unwrap();
    store(&region, 0, b"lost").unwrap();
    fs.add(FaultRule::new(FaultOp::RegionSync, Fault::FailedSync));
    assert!(is_eio(region.sync()));
    region.sync().unwrap();
    assert_eq!(read_all(&*fs.open(p("/d/log")).unwrap()), b"lost\0\0\0\0");
    assert_eq!(after_power_loss(&sim, "/d/log"), [0; 8]);
}

#[test]
fn a_plain_sync_error_loses_nothing_by_itself() {
    let (sim, fs) = disk();
    let file = fs.create(p("/d/f")).unwrap();
    fs.sync_dir(p("/d")).unwrap();
    file.write_all_at(b"data", 0).unwrap();
    fs.add(FaultRule::new(FaultOp::Sync, Fault::Eio));
    assert!(is_eio(file.sync()));
    file.sync().unwrap();
    assert_eq!(after_power_loss(&sim, "/d/f"), b"data");
}
