//! Segments in ordinary operation: lanes, switches, sizes, sync, recycling.

use std::sync::atomic::Ordering;

use super::*;
use crate::io::fault::{Fault, FaultFs, FaultOp, FaultRule};
use crate::io::sim::SimFs;
use crate::wal::{Rule, WalStats};

#[test]
fn records_of_all_lanes_come_back_in_order() {
    for unmapped in [false, true] {
        let mut rig = Rig::with(4, SMALL, unmapped);
        for i in 0..500_usize {
            let body = vec![i as u8; i * 37 % 300];
            rig.write(i * 7 % 4, 1 + (i % 3) as u32, &body);
        }
        assert!(rig.files().len() > 3, "the test spans segments");
        let (found, report) = rig.replay(0).unwrap();
        assert_eq!(found, rig.written);
        assert_eq!((report.rule, report.missing, report.cut), (Rule::ProcessDeath, 0, None));
        assert_eq!((report.records, report.last_seqno), (500, rig.last));
        assert!(report.torn.is_empty(), "{:?}", report.torn);
    }
}

#[test]
fn an_empty_log_and_an_empty_directory_replay_to_nothing() {
    let rig = Rig::new(1);
    let (found, report) = rig.replay(7).unwrap();
    assert_eq!((found.len(), report.last_seqno, report.segments.len()), (0, 7, 1));
    rig.wal.remove_all().unwrap();
    let (found, report) = rig.replay(7).unwrap();
    assert_eq!((found.len(), report.last_seqno, report.max_id()), (0, 7, FileId(0)));
    assert!(rig.files().is_empty());
}

#[test]
fn flushed_records_are_skipped_and_their_segments_need_not_be_there() {
    let mut rig = Rig::new(2);
    rig.write(0, 1, b"one");
    rig.switch(0);
    rig.write(1, 2, b"two, three");
    rig.switch(0);
    rig.write(0, 1, b"four");
    let (found, _) = rig.replay(3).unwrap();
    assert_eq!(found, rig.written[2..]);
    std::fs::remove_file(rig.dir.path().join("000001.wal")).unwrap();
    assert_eq!(rig.replay(1).unwrap().0, rig.written[1..]);
    assert!(is_corruption(&rig.replay(0)), "a segment that is still needed is missed");
}

/// A log whose only segment was deleted looked like no log at all, and one whose active segment was deleted while
/// the next one was ready like an empty log.
#[test]
fn a_segment_from_the_start_on_is_missed_whether_or_not_anything_is_in_the_next_one() {
    let mut rig = Rig::new(2);
    rig.write(0, 1, b"one");
    rig.switch(0);
    rig.write(1, 1, b"two");
    rig.wal.prepare(0).unwrap();
    let replay = |start, flushed| {
        replay(&rig.env, rig.dir.path(), FileId(start), flushed, Writer::None, &mut |_, _, _| Ok(()))
    };
    assert_eq!((rig.wal.first_needed(0), rig.wal.first_needed(1)), (Some(FileId(1)), Some(FileId(2))));
    assert_eq!(rig.files(), ["000001.wal", "000002.wal", "000003.wal"]);
    let without = |id: u64, check: &dyn Fn()| {
        let path = rig.dir.path().join(format!("00000{id}.wal"));
        let away = path.with_extension("away");
        fs::rename(&path, &away).unwrap();
        check();
        fs::rename(&away, &path).unwrap();
    };
    without(1, &|| {
        assert!(is_corruption(&replay(1, 0)));
        assert_eq!(replay(2, 1).unwrap().records, 1, "it is flushed");
    });
    without(2, &|| {
        assert!(is_corruption(&replay(1, 0)), "only the empty third one names it");
        assert!(is_corruption(&replay(2, 1)));
    });
    without(3, &|| assert_eq!(replay(1, 0).unwrap().records, 2, "nothing was ever in it"));
}

#[test]
fn a_record_longer_than_a_segment_gets_one_that_fits() {
    let mut rig = Rig::new(3);
    rig.write(0, 1, b"small");
    let huge = vec![0xab; 200 << 10];
    rig.write(1, 9, &huge);
    rig.write(2, 1, b"after");
    rig.write(1, 1, &[7; 900]);
    assert_eq!(rig.replay(0).unwrap().0, rig.written);
    assert!(rig.active.len() > 200 << 10);
    let path = rig.active_path();
    rig.switch(0);
    rig.wal.retire(rig.last).unwrap();
    assert!(!path.exists(), "an oversized segment is not kept");
    assert_eq!(rig.active.len(), SMALL.segment_bytes);
}

#[test]
fn a_prepared_segment_that_is_too_small_is_replaced() {
    let mut rig = Rig::new(1);
    rig.wal.prepare(0).unwrap();
    rig.wal.prepare(0).unwrap();
    assert_eq!(rig.files(), ["000001.wal", "000002.wal"], "preparing twice does nothing");
    rig.wal.prepare(100 << 10).unwrap();
    assert_eq!(rig.files(), ["000001.wal", "000002.spare", "000003.wal"]);
    rig.write(0, 1, b"x");
    rig.active = rig.wal.switch(rig.last + 1).unwrap();
    assert_eq!(rig.active.id(), FileId(3));
    assert!(rig.wal.switch(rig.last + 1).is_none(), "nothing is prepared");
}

#[test]
fn a_body_over_the_limit_is_refused_and_a_full_segment_says_so() {
    let mut rig = Rig::new(1);
    let too_long = rig.lanes[0].reserve(&rig.active, usize::MAX / 2);
    assert!(matches!(too_long, Err(Error::InvalidInput(_))), "{too_long:?}");
    assert_eq!(rig.lanes[0].reserve(&rig.active, 64 << 10).unwrap(), Reserve::SegmentFull);
    assert_eq!(rig.lanes[0].reserve(&rig.active, 10).unwrap(), Reserve::Ready);
}

#[test]
fn files_are_recycled_up_to_the_limit_and_their_stale_records_never_come_back() {
    let mut rig = Rig::new(2);
    for round in 0..12_u8 {
        while rig.active.claimed() < rig.active.len() / 2 {
            rig.write(usize::from(round % 2), 1, &[round; 100]);
        }
        rig.switch(0);
    }
    rig.wal.retire(rig.last).unwrap();
    assert_eq!(rig.files().iter().filter(|name| name.contains("spare")).count(), SMALL.recycle_limit);
    let flushed = rig.last;
    // The new content covers little of the old.
    rig.switch(0);
    rig.write(0, 1, b"new");
    assert_eq!(rig.wal.stats().recycled, 1);
    assert!(std::fs::read(rig.active_path()).unwrap()[8192..].iter().any(|byte| *byte != 0), "stale bytes");
    let (found, report) = rig.replay(flushed).unwrap();
    assert_eq!(found, rig.written[rig.written.len() - 1..]);
    assert!(report.torn.is_empty());
    rig.reboot();
    assert_eq!(rig.replay(flushed).unwrap().0, found);
}

#[test]
fn only_sealed_segments_whose_records_are_all_flushed_retire() {
    let mut rig = Rig::new(1);
    rig.write(0, 5, b"1..5");
    rig.switch(0);
    rig.write(0, 5, b"6..10");
    rig.wal.retire(4).unwrap();
    assert_eq!(rig.wal.stats().segments_live, 2);
    rig.wal.retire(5).unwrap();
    assert_eq!(rig.wal.stats().segments_live, 1);
    rig.wal.retire(10).unwrap();
    assert_eq!(rig.wal.stats().segments_live, 1, "the active segment stays");
    assert_eq!(rig.replay(5).unwrap().0, rig.written[1..]);
}

#[test]
fn a_sync_covers_the_sealed_segment_too_and_skips_what_is_synced() {
    let mut rig = Rig::new(2);
    let syncs = |rig: &Rig| rig.fs.region_syncs.load(Ordering::Relaxed);
    rig.write(0, 1, b"old");
    rig.wal.prepare(0).unwrap();
    rig.switch(0);
    rig.write(1, 1, b"new");
    let before = syncs(&rig);
    rig.sync();
    assert_eq!(syncs(&rig) - before, 2, "both segments hold unsynced records");
    rig.sync();
    assert_eq!(syncs(&rig) - before, 2, "nothing is left to sync");
    rig.write(1, 1, b"newer");
    rig.sync();
    assert_eq!(syncs(&rig) - before, 3, "the sealed segment is not synced again");
    assert_eq!(rig.wal.durable_horizon(), rig.last);
    let WalStats { syncs, segments_live, appended_bytes, .. } = rig.wal.stats();
    assert_eq!((syncs, segments_live, appended_bytes), (2, 2, 2 << 10));
}

#[test]
fn a_failed_sync_fails_for_good() {
    let mut rig = Rig::new(1);
    rig.write(0, 1, b"x");
    rig.fs.fail_sync.store(true, Ordering::Relaxed);
    assert!(rig.wal.sync(1).is_err());
    rig.fs.fail_sync.store(false, Ordering::Relaxed);
    assert!(rig.wal.sync(1).is_err(), "the kernel forgets pages that it could not write");
    assert_eq!(rig.wal.durable_horizon(), 0);
}

#[test]
fn a_failed_preparation_leaves_no_file_and_can_be_tried_again() {
    let mut rig = Rig::new(1);
    rig.fs.fail_sync.store(true, Ordering::Relaxed);
    assert!(rig.wal.prepare(0).is_err());
    assert_eq!(rig.files(), ["000001.wal"]);
    rig.fs.fail_sync.store(false, Ordering::Relaxed);
    rig.switch(0);
    rig.write(0, 1, b"x");
    assert_eq!(rig.replay(0).unwrap().0, rig.written);
}

#[test]
fn the_clock_never_goes_back() {
    let rig = Rig::new(1);
    rig.wal.raise_clock(u64::MAX - 1);
    rig.wal.prepare(0).unwrap();
    assert_eq!(rig.replay(0).unwrap().1.clock_high_water_ms, u64::MAX - 1);
}

#[test]
fn prefaulting_keeps_ahead_of_the_claims() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.active.prefault_due(SMALL.prefault_bytes), None, "preparation has populated the start");
    while rig.active.claimed() < 16 << 10 {
        rig.write(0, 1, &[1; 100]);
    }
    let due = rig.active.prefault_due(SMALL.prefault_bytes).unwrap();
    assert_eq!(due, 16 << 10..24 << 10);
    rig.wal.prefault_ahead();
    assert_eq!(rig.active.prefault_due(SMALL.prefault_bytes), None);
}

/// The fault tests found that a segment whose file was renamed, but not durably, was given back again and
/// again without success, and that the store could not even be closed.
#[test]
fn a_spare_whose_new_name_is_not_durable_is_not_used_again() {
    let sim = SimFs::new();
    let faulty = FaultFs::over_sim(&sim);
    let env = Env { fs: Arc::new(faulty.clone()), ..Env::default() };
    let (wal, first) = start(&env, Path::new("/"), SMALL, FileId(0), 0);
    wal.prepare(0).unwrap();
    wal.switch(1).unwrap();
    faulty.add(FaultRule::new(FaultOp::SyncDir, Fault::Eio));
    wal.retire(0).unwrap();
    wal.prepare(0).unwrap();
    assert_eq!(wal.stats().recycled, 0);
    assert!(sim.paths().contains(&PathBuf::from(format!("/{}.spare", first.id()))));
    wal.remove_all().unwrap();
}
