//! Random batches, crashes and flips against the list of what was written.

use proptest::prelude::*;

use super::*;
use crate::wal::format::{CHUNKS_START, HORIZON_OFFSETS};

/// A step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Write { lane: usize, count: u32, len: usize },
    Sync,
    Switch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 0..200_usize, 2 => 200..3000_usize, 1 => 8000..40000_usize];
    let write = (0..4_usize, 1..5_u32, len).prop_map(|(lane, count, len)| Step::Write { lane, count, len });
    prop::collection::vec(prop_oneof![20 => write, 2 => Just(Step::Sync), 1 => Just(Step::Switch)], 1..80)
}

/// Everything on disk at one moment.
type Image = Vec<(PathBuf, Vec<u8>)>;

fn image(rig: &Rig) -> Image {
    let mut paths: Vec<_> = rig.files().iter().map(|name| rig.dir.path().join(name)).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

fn restore(image: &Image) {
    for (path, bytes) in image {
        fs::write(path, bytes).unwrap();
    }
}

/// Runs the steps; returns the rig and the disk as it was when the last sync had returned.
fn run(steps: &[Step]) -> (Rig, Seqno, Image) {
    let mut rig = Rig::new(4);
    let (mut synced, mut durable) = (0, image(&rig));
    for (i, step) in steps.iter().enumerate() {
        match *step {
            Step::Write { lane, count, len } => {
                let body: Vec<u8> = (0..len).map(|at| (at * 31 + i) as u8).collect();
                rig.write(lane, count, &body);
            }
            Step::Sync => {
                rig.sync();
                (synced, durable) = (rig.last, image(&rig));
            }
            Step::Switch => rig.switch(0),
        }
    }
    (rig, synced, durable)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn everything_written_is_replayed_after_a_process_death(steps in steps(), flushed_at in 0..40_usize) {
        let (rig, _, _) = run(&steps);
        let (found, report) = rig.replay(0).unwrap();
        prop_assert_eq!(&found, &rig.written);
        prop_assert_eq!((report.missing, report.torn.len()), (0, 0));
        let flushed = rig.written.get(flushed_at).map_or(0, |batch| batch.first - 1);
        let rest = rig.written.iter().position(|batch| batch.first > flushed).unwrap_or(0);
        prop_assert_eq!(rig.replay(flushed).unwrap().0, &rig.written[rest..]);
    }

    /// Each 512-byte sector written since the last sync is, at random, on the disk or not.
    #[test]
    fn a_power_loss_leaves_a_prefix_that_reaches_the_last_sync(steps in steps(), seed: u64) {
        let (rig, synced, durable) = run(&steps);
        let mut random = seed | 1;
        let mut crashed = image(&rig);
        for (path, bytes) in &mut crashed {
            // A file made since the last sync has a durable header; the rest of it is up to chance.
            let old = durable.iter().find(|(old, _)| old == path).map(|(_, old)| old.clone());
            let old = old.unwrap_or_else(|| {
                let mut fresh = vec![0x5a; bytes.len()];
                fresh[..CHUNKS_START as usize].copy_from_slice(&bytes[..CHUNKS_START as usize]);
                for offset in HORIZON_OFFSETS {
                    fresh[offset as usize..][..32].fill(0);
                }
                fresh
            });
            for (new, old) in bytes.chunks_mut(512).zip(old.chunks(512)) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random % 3 == 0 {
                    new.copy_from_slice(old);
                }
            }
        }
        restore(&crashed);
        rig.reboot();
        let (found, report) = rig.replay(0).unwrap();
        prop_assert_eq!(&found, &rig.written[..found.len()]);
        prop_assert!(report.last_seqno >= synced, "synced to {}, found {}", synced, report.last_seqno);
        prop_assert!(report.horizon <= synced);
        prop_assert_eq!(rig.replay(0).unwrap().0, found, "a second recovery finds the same");
    }

    /// A flipped bit leads to an error or to records that were written; nothing is invented or changed.
    #[test]
    fn a_flipped_bit_never_yields_a_wrong_record(
        steps in steps(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 24),
        reboot: bool,
    ) {
        let (rig, _, _) = run(&steps);
        if reboot {
            rig.reboot();
        }
        let whole = image(&rig);
        let used: usize = whole.iter().map(|(_, bytes)| bytes.len()).sum();
        for (index, bit) in flips {
            let mut at = index.index(used);
            let (path, bytes) = whole.iter().find(|(_, bytes)| {
                let here = at < bytes.len();
                if !here {
                    at -= bytes.len();
                }
                here
            }).unwrap();
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            fs::write(path, &damaged).unwrap();
            match rig.replay(0) {
                Ok((found, _)) => prop_assert!(is_subsequence(&found, &rig.written)),
                Err(error) => prop_assert!(
                    matches!(error, Error::Corruption { .. } | Error::UnsupportedVersion { .. }),
                    "{error}"
                ),
            }
            fs::write(path, bytes).unwrap();
        }
    }

    /// Anything at all behind a valid header.
    #[test]
    fn random_content_never_panics_and_holds_no_record(bytes in prop::collection::vec(any::<u8>(), 1..4096)) {
        let rig = Rig::new(1);
        patch(&rig.active_path(), |file| {
            let end = CHUNKS_START as usize + bytes.len();
            file[CHUNKS_START as usize..end].copy_from_slice(&bytes);
        });
        prop_assert_eq!(rig.replay(0).unwrap().0.len(), 0);
        fs::write(rig.active_path(), &bytes).unwrap();
        prop_assert!(is_corruption(&rig.replay(0)));
    }
}

fn is_subsequence(found: &[Batch], written: &[Batch]) -> bool {
    let mut rest = written.iter();
    found.iter().all(|batch| rest.any(|other| other == batch))
}
