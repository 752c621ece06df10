//! What recovery makes of the traces of crashes: torn tails, gaps, lost pages, damaged bytes.

use super::*;
use crate::wal::format::{CHUNK_HEADER_BYTES, CHUNKS_START, HORIZON_OFFSETS};
use crate::wal::{Cut, Rule};

const FIRST_RECORD: usize = CHUNKS_START as usize + CHUNK_HEADER_BYTES;

/// The place of the n-th record in the first chunk, given bodies of `len` bytes.
fn record_at(n: usize, len: usize) -> usize {
    FIRST_RECORD + n * record_bytes(len) as usize
}

/// One lane with `n` records of 20 bytes.
fn one_lane(n: u8) -> Rig {
    let mut rig = Rig::new(1);
    for i in 0..n {
        rig.write(0, 1, &[i; 20]);
    }
    rig
}

#[test]
fn a_segment_cut_off_at_any_byte_of_a_chunk_replays_the_whole_records_before() {
    let rig = one_lane(8);
    let path = rig.active_path();
    let whole = std::fs::read(&path).unwrap();
    let end = record_at(8, 20);
    for fill in [0, 0xff] {
        for cut in FIRST_RECORD..end {
            let mut bytes = whole.clone();
            bytes[cut..CHUNKS_START as usize + 1024].fill(fill);
            std::fs::write(&path, &bytes).unwrap();
            let (found, report) = rig.replay(0).unwrap();
            // A body may end in the very bytes that fill the cut.
            let complete = (cut - FIRST_RECORD) / record_bytes(20) as usize;
            assert!(found.len() == complete || found.len() == complete + 1, "cut at {cut}");
            assert_eq!(found, rig.written[..found.len()], "cut at {cut}");
            assert_eq!(report.last_seqno, found.len() as u64);
        }
    }
}

#[test]
fn a_torn_record_at_the_end_of_a_lane_is_reported_and_does_not_swallow_the_next_write() {
    let mut rig = one_lane(4);
    patch(&rig.active_path(), |bytes| bytes[record_at(3, 20) + 30] ^= 1);
    let report = rig.recover();
    assert_eq!((report.records, report.torn.len(), report.last_seqno), (3, 1, 3));
    assert_eq!(report.torn[0].offset, record_at(3, 20) as u64);
    rig.write(0, 1, b"acknowledged after the crash");
    rig.sync();
    rig.reboot();
    let (found, report) = rig.replay(3).unwrap();
    assert_eq!(found, rig.written);
    assert_eq!((found[0].first, report.cut), (4, None));
}

#[test]
fn a_bad_record_with_a_valid_one_behind_it_is_corruption() {
    let rig = one_lane(4);
    for place in [record_at(1, 20), record_at(1, 20) + 5, record_at(1, 20) + 40] {
        let whole = std::fs::read(rig.active_path()).unwrap();
        patch(&rig.active_path(), |bytes| bytes[place] ^= 0x10);
        let result = rig.replay(0);
        assert!(is_corruption(&result), "byte {place}: {result:?}");
        std::fs::write(rig.active_path(), whole).unwrap();
    }
}

#[test]
fn a_zeroed_record_with_a_valid_one_behind_it_is_corruption() {
    let rig = one_lane(4);
    patch(&rig.active_path(), |bytes| bytes[record_at(1, 20)..record_at(2, 20)].fill(0));
    assert!(is_corruption(&rig.replay(0)));
}

#[test]
fn a_lane_that_goes_on_in_a_later_chunk_had_no_torn_record_before() {
    let mut rig = Rig::new(1);
    while rig.active.claimed() < CHUNKS_START + 3 * 1024 {
        rig.write(0, 1, &[3; 100]);
    }
    let last_of_first_chunk = record_at(6, 100);
    patch(&rig.active_path(), |bytes| bytes[last_of_first_chunk + 50] ^= 1);
    assert!(is_corruption(&rig.replay(0)));
}

#[test]
fn a_damaged_chunk_header_loses_nothing_silently() {
    let mut rig = Rig::new(2);
    for i in 0..40_u8 {
        rig.write(usize::from(i) % 2, 1, &[i; 60]);
    }
    for slot in 0..4_usize {
        let whole = std::fs::read(rig.active_path()).unwrap();
        patch(&rig.active_path(), |bytes| bytes[CHUNKS_START as usize + slot * 1024 + 9] ^= 1);
        assert!(is_corruption(&rig.replay(0)), "slot {slot}");
        std::fs::write(rig.active_path(), whole).unwrap();
    }
}

#[test]
fn after_a_process_death_an_unfinished_write_is_only_a_gap() {
    let mut rig = Rig::new(2);
    rig.write(0, 1, b"one");
    // Lane 1 took the numbers 2..=4 and died before its append.
    assert_eq!(rig.lanes[1].reserve(&rig.active, 10).unwrap(), Reserve::Ready);
    rig.last += 3;
    rig.write(0, 1, b"five");
    let (found, report) = rig.replay(0).unwrap();
    assert_eq!(found, rig.written);
    assert_eq!((report.rule, report.missing, report.last_seqno), (Rule::ProcessDeath, 3, 5));
    rig.reboot();
    let (found, report) = rig.replay(0).unwrap();
    assert_eq!(found, rig.written[..1]);
    assert_eq!(report.rule, Rule::PowerLoss);
    assert_eq!((report.cut, report.last_seqno), (Some(Cut { first_missing: 2, next_found: 5 }), 1));
}

#[test]
fn an_unknown_boot_id_counts_as_a_power_loss() {
    let rig = one_lane(2);
    rig.fs.boot.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(rig.replay(0).unwrap().1.rule, Rule::PowerLoss);
}

#[test]
fn a_gap_or_damage_below_the_horizon_is_corruption_after_any_crash() {
    let mut rig = one_lane(3);
    rig.sync();
    rig.write(0, 1, b"four");
    rig.sync(); // Makes the horizon 3 durable.
    rig.write(0, 1, b"five");
    let path = rig.active_path();
    let whole = std::fs::read(&path).unwrap();
    for reboot in [false, true] {
        if reboot {
            rig.reboot();
        }
        assert_eq!(rig.replay(0).unwrap().1.horizon, 4);
        for place in [record_at(0, 20), record_at(2, 20) + 30] {
            patch(&path, |bytes| bytes[place] ^= 4);
            let result = rig.replay(0);
            let Err(Error::Corruption { path: named, offset, .. }) = &result else { panic!("{result:?}") };
            assert_eq!(named, &path);
            assert!(*offset as usize <= place && *offset as usize + 48 > place, "{offset} names {place}");
            std::fs::write(&path, &whole).unwrap();
        }
        // Everything from the second record on is gone, without a trace.
        patch(&path, |bytes| bytes[record_at(1, 20)..].fill(0));
        assert!(is_corruption(&rig.replay(0)));
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_torn_horizon_slot_leaves_the_one_before_it() {
    let mut rig = one_lane(1);
    for _ in 0..4 {
        rig.write(0, 1, b"x");
        rig.sync();
        let newest = rig.replay(0).unwrap().1.horizon;
        let path = rig.active_path();
        let whole = std::fs::read(&path).unwrap();
        let horizons: Vec<_> = HORIZON_OFFSETS
            .iter()
            .map(|offset| {
                patch(&path, |bytes| bytes[*offset as usize + 6] ^= 1);
                let horizon = rig.replay(0).unwrap().1.horizon;
                std::fs::write(&path, &whole).unwrap();
                horizon
            })
            .collect();
        assert_eq!(horizons.iter().max(), Some(&newest));
        assert!(*horizons.iter().min().unwrap() + 2 >= newest);
    }
}

#[test]
fn damage_beyond_the_horizon_cuts_the_log_after_a_power_loss() {
    let mut rig = Rig::new(3);
    for i in 0..30_u8 {
        rig.write(usize::from(i) % 3, 2, &[i; 20]);
    }
    // The fourth record of lane 1 holds the numbers 21 and 22.
    let chunk = CHUNKS_START as usize + 1024;
    patch(&rig.active_path(), |bytes| bytes[chunk + CHUNK_HEADER_BYTES + 3 * 48 + 1] ^= 1);
    assert!(is_corruption(&rig.replay(0)), "a dead process does not explain it");
    rig.reboot();
    let (found, report) = rig.replay(0).unwrap();
    assert_eq!(found, rig.written[..10]);
    assert_eq!(report.cut, Some(Cut { first_missing: 21, next_found: 23 }));
    assert_eq!(rig.replay(0).unwrap().0, found, "replay changes nothing");
}

/// The crash explorer found a store that did not open: a power loss had kept records and lost the headers of
/// all their chunks, so no segment looked used, none spoke against a mere process death, and a record without
/// its chunk header was called damage.
#[test]
fn a_power_loss_may_take_all_chunk_headers_and_leave_the_records() {
    let mut rig = one_lane(1);
    rig.write(0, 1, b"more");
    let start = CHUNKS_START as usize;
    patch(&rig.active_path(), |bytes| bytes[start..start + CHUNK_HEADER_BYTES].fill(0));
    assert!(is_corruption(&rig.replay(0)), "a dead process does not explain it");
    rig.reboot();
    let (found, report) = rig.replay(0).unwrap();
    assert_eq!((found.len(), report.rule), (0, Rule::PowerLoss));
}

#[test]
fn a_segment_file_with_a_bad_header_is_named_and_nothing_is_replayed_from_it() {
    let rig = one_lane(2);
    let path = rig.active_path();
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..76 * 8 {
        patch(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let result = rig.replay(0);
        let version = matches!(&result, Err(Error::UnsupportedVersion { path: named, .. }) if *named == path);
        assert!(
            is_corruption(&result) || (version && (12..16).contains(&(bit / 8))),
            "bit {bit}: {result:?}"
        );
        std::fs::write(&path, &whole).unwrap();
    }
    for len in [0, 1, 4095, 4096, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(is_corruption(&rig.replay(0)), "{len} bytes");
    }
    std::fs::rename(&path, rig.dir.path().join("000009.wal")).unwrap();
    std::fs::write(rig.dir.path().join("000009.wal"), &whole).unwrap();
    assert!(is_corruption(&rig.replay(0)), "a segment under another name");
}

#[test]
fn the_same_numbers_twice_are_corruption() {
    let mut rig = one_lane(3);
    rig.last = 2;
    rig.switch(0);
    rig.write(0, 1, b"again");
    assert!(is_corruption(&rig.replay(0)));
}

#[test]
fn spares_and_foreign_files_are_not_read() {
    let rig = one_lane(2);
    for name in ["000009.spare", "notes.txt", "7.wal"] {
        std::fs::write(rig.dir.path().join(name), b"anything").unwrap();
    }
    let (found, report) = rig.replay(0).unwrap();
    assert_eq!(found, rig.written);
    assert_eq!((report.spares.as_slice(), report.max_id()), (&[FileId(9)][..], FileId(9)));
    report.remove_files(&rig.env, rig.dir.path()).unwrap();
    assert_eq!(rig.files(), ["7.wal", "notes.txt"]);
}
