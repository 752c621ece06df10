//! The manifest across reopening, tearing and damage.

use super::*;
use crate::base::KeyspaceId;
use crate::io::fault::{Fault, FaultFs, FaultOp, FaultRule};
use crate::io::sim::{CrashPolicy, PowerLoss, SimFs};
use crate::version::edit::Placed;
use crate::version::testing::meta;

const DIR: &str = "/db";

fn new_disk() -> SimFs {
    let disk = SimFs::new();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk
}

fn shared(disk: &SimFs) -> Arc<dyn Fs> {
    Arc::new(disk.clone())
}

fn create(disk: &SimFs) -> Manifest {
    Manifest::create(shared(disk), Path::new(DIR), State::default()).unwrap()
}

fn recover(disk: &SimFs) -> Result<(Manifest, State)> {
    Manifest::recover(shared(disk), Path::new(DIR), &|_| Ok(()))
}

fn read(disk: &SimFs) -> Result<State> {
    Manifest::read(disk, Path::new(DIR)).map(|(_, state)| state)
}

fn flush(id: u64) -> Edit {
    let name = format!("k{id:04}");
    Edit {
        added: vec![Placed { level: 0, run: id, meta: meta(id, &name, &name, 100) }],
        flushed_seqno: Some(id),
        ..Edit::default()
    }
}

fn compact(from: u64, to: u64) -> Edit {
    let mut edit = flush(to);
    edit.added[0].level = 6;
    edit.removed = vec![(0, FileId(from))];
    edit.created = vec![(KeyspaceId(from as u32), format!("space{from}"))];
    edit
}

/// A store with three edits: the path of its manifest, and its state.
fn example(disk: &SimFs) -> (PathBuf, State) {
    let mut manifest = create(disk);
    for edit in [flush(1), flush(2), compact(1, 3)] {
        manifest.append(&edit).unwrap();
    }
    let path = Path::new(DIR).join(names::manifest(manifest.id()));
    assert_eq!(disk.read_all(&path).unwrap().len() as u64, RESERVED_BYTES_MIN);
    (path, manifest.state().clone())
}

#[test]
fn what_was_appended_is_recovered_again_and_again() {
    let disk = new_disk();
    let (_, expected) = example(&disk);
    assert_eq!(expected.tables.keys().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
    for round in 2..5 {
        let (manifest, state) = recover(&disk).unwrap();
        assert_eq!((&state, manifest.id()), (&expected, FileId(round)));
    }
    let (mut manifest, mut state) = recover(&disk).unwrap();
    manifest.append(&flush(9)).unwrap();
    state.apply(&flush(9)).unwrap();
    assert_eq!(read(&disk).unwrap(), state);
}

#[test]
fn a_torn_last_edit_is_dropped_at_every_length() {
    let disk = new_disk();
    let mut manifest = create(&disk);
    manifest.append(&flush(1)).unwrap();
    let before = (manifest.file_bytes(), manifest.state().clone());
    manifest.append(&flush(2)).unwrap();
    let after = manifest.state().clone();
    let path = Path::new(DIR).join(names::manifest(manifest.id()));
    let bytes = disk.read_all(&path).unwrap();
    let mut seen_both = (0, 0);
    for cut in before.0 as usize..=manifest.file_bytes() as usize {
        let mut torn = bytes[..cut].to_vec();
        torn.resize(bytes.len(), 0);
        disk.overwrite(&path, &torn).unwrap();
        match read(&disk).unwrap() {
            state if state == before.1 => seen_both.0 += 1,
            state if state == after => seen_both.1 += 1,
            state => panic!("neither before nor after: {state:?}"),
        }
    }
    assert!(seen_both.0 > 30 && seen_both.1 >= 2, "{seen_both:?}");
}

#[test]
fn no_flipped_bit_goes_unnoticed_or_changes_the_state() {
    let disk = new_disk();
    let (path, expected) = example(&disk);
    let mut errors = 0;
    for path in [path, Path::new(DIR).join(names::CURRENT)] {
        let bytes = disk.read_all(&path).unwrap();
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 16);
        for bit in 0..written.min(bytes.len()) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            disk.overwrite(&path, &damaged).unwrap();
            match read(&disk) {
                Ok(state) => assert_eq!(state, expected, "bit {bit} of {}", path.display()),
                Err(Error::Corruption { .. }) => errors += 1,
                Err(error) => panic!("bit {bit} of {}: {error}", path.display()),
            }
        }
        disk.overwrite(&path, &bytes).unwrap();
    }
    assert!(errors > 2000, "{errors}");
}

/// A manifest that was cut behind one of its records was a sound manifest of an earlier state: the last edits were
/// lost without a word, and the opening deleted the tables that they had brought.
#[test]
fn a_file_that_is_cut_anywhere_is_corruption() {
    let disk = new_disk();
    let (path, _) = example(&disk);
    let bytes = disk.read_all(&path).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let history = |disk: &SimFs| crate::version::History::read(disk, &path, FileId(1)).unwrap();
    assert!(history(&disk).is_whole && history(&disk).wrong.is_empty());
    for cut in (0..written + 20).chain([bytes.len() - 1]) {
        disk.overwrite(&path, &bytes[..cut]).unwrap();
        assert!(matches!(read(&disk), Err(Error::Corruption { .. })), "cut at {cut}");
        assert!(!history(&disk).is_whole, "cut at {cut}");
        assert!(cut < 41 || !history(&disk).wrong.is_empty(), "cut at {cut}");
    }
}

#[test]
fn an_edit_that_finds_no_room_and_no_new_file_goes_behind_the_reserved_length() {
    let disk = new_disk();
    let faults = FaultFs::over_sim(&disk);
    let mut manifest = Manifest::create(Arc::new(faults.clone()), Path::new(DIR), State::default()).unwrap();
    faults.add(FaultRule::new(FaultOp::Create, Fault::Enospc).on("MANIFEST").from_nth(1));
    for edit in long_edits() {
        manifest.append(&edit).unwrap();
    }
    assert!(manifest.id() == FileId(1) && manifest.file_bytes() > RESERVED_BYTES_MIN);
    assert_eq!(read(&disk).unwrap(), *manifest.state());
    let disk = disk.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0);
    assert_eq!(read(&disk).unwrap(), *manifest.state());
}

#[test]
fn another_format_version_is_refused_by_name() {
    let disk = new_disk();
    let (path, _) = example(&disk);
    let mut record = vec![HEADER];
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&7u32.to_le_bytes());
    disk.remove(&path).unwrap();
    let file = disk.create(&path).unwrap();
    RecordWriter::new(file, &path, FileId(1), 0).append(&record).unwrap();
    match read(&disk) {
        Err(Error::UnsupportedVersion { found: 7, supported: FORMAT_VERSION, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grown_manifest_is_rewritten_and_the_old_one_removed() {
    let disk = new_disk();
    let mut manifest = create(&disk);
    for id in 1..45 {
        let mut edit = flush(id);
        edit.added[0].meta.largest = vec![b'z'; 4000];
        if id > 1 {
            edit.removed = vec![(0, FileId(id - 1))];
        }
        manifest.append(&edit).unwrap();
        assert!(manifest.file_bytes() < RESERVED_BYTES_MIN);
    }
    assert!(manifest.id() > FileId(1));
    let manifests = disk.list(Path::new(DIR)).unwrap();
    assert_eq!(manifests.iter().filter(|name| names::parse_manifest(name).is_some()).count(), 1);
    assert_eq!(read(&disk).unwrap(), *manifest.state());
}

#[test]
fn a_directory_without_current_is_not_taken_for_a_store() {
    let disk = new_disk();
    let found = || current::probe(&disk, Path::new(DIR));
    assert_eq!(found().unwrap(), Presence::Nothing);
    disk.overwrite(Path::new(DIR).join("LOCK"), "1".as_bytes()).unwrap();
    disk.overwrite(Path::new(DIR).join("CURRENT.tmp"), "MANI".as_bytes()).unwrap();
    disk.overwrite(Path::new(DIR).join("MANIFEST-000001"), "half".as_bytes()).unwrap();
    assert_eq!(found().unwrap(), Presence::Nothing, "an interrupted creation");
    let (_, state) = example(&disk);
    assert_eq!(found().unwrap(), Presence::Store(FileId(1)));
    assert_eq!(read(&disk).unwrap(), state);
    disk.overwrite(Path::new(DIR).join("000001.tbl"), "".as_bytes()).unwrap();
    disk.remove(&Path::new(DIR).join("CURRENT")).unwrap();
    assert!(matches!(found(), Err(Error::NotAStore { .. })));
    assert!(matches!(recover(&disk), Err(Error::NotAStore { .. })));
}

#[test]
fn an_edit_that_contradicts_the_state_is_refused_and_not_written() {
    let disk = new_disk();
    let mut manifest = create(&disk);
    manifest.append(&flush(1)).unwrap();
    assert!(matches!(manifest.append(&flush(1)), Err(Error::InvalidInput(_))));
    manifest.append(&flush(2)).unwrap();
    assert_eq!(read(&disk).unwrap(), *manifest.state());
}

/// Edits that make the manifest grow beyond its limit and be rewritten.
fn long_edits() -> Vec<Edit> {
    let edit = |id| {
        let mut edit = flush(id);
        edit.added[0].meta.largest = vec![b'z'; 8000];
        edit.removed = if id > 1 { vec![(0, FileId(id - 1))] } else { vec![] };
        edit
    };
    (1..14).map(edit).collect()
}

/// Creates a store and appends until the disk stops. The acknowledged state, if there is one, and the one that
/// was about to be.
fn live(disk: &SimFs) -> (Option<State>, State) {
    let mut attempted = State::default();
    let Ok(mut manifest) = Manifest::create(shared(disk), Path::new(DIR), attempted.clone()) else {
        return (None, attempted);
    };
    let mut acknowledged = attempted.clone();
    for edit in long_edits() {
        attempted.apply(&edit).unwrap();
        if manifest.append(&edit).is_err() {
            break;
        }
        acknowledged = attempted.clone();
    }
    (Some(acknowledged), attempted)
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let whole = new_disk();
    let before = whole.operations();
    live(&whole);
    assert!(whole.read_all("/db/MANIFEST-000002").is_ok(), "the workload rewrites the manifest");
    for stop in before..=whole.operations() {
        let disk = new_disk();
        disk.stop_at(stop);
        let (acknowledged, attempted) = live(&disk);
        for policy in CrashPolicy::ALL {
            for seed in 0..32 {
                let disk = disk.crash(policy, seed);
                let place = format!("stopped at {stop}, {policy:?}, seed {seed}");
                match current::probe(&disk, Path::new(DIR)) {
                    Ok(Presence::Nothing) => assert!(acknowledged.is_none(), "{place}"),
                    Ok(Presence::Store(_)) => {
                        let state = read(&disk).unwrap_or_else(|error| panic!("{place}: {error}"));
                        let right = Some(&state) == acknowledged.as_ref() || state == attempted;
                        assert!(right, "{place}: {state:?}");
                        assert_eq!(recover(&disk).unwrap().1, state, "{place}");
                        let disk = disk.crash(CrashPolicy::ALL[1], 0);
                        assert_eq!(recover(&disk).unwrap().1, state, "{place}, again");
                    }
                    Err(error) => panic!("{place}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_the_edit_and_later_ones_succeed() {
    let disk = new_disk();
    let faults = FaultFs::over_sim(&disk);
    let mut manifest = Manifest::create(Arc::new(faults.clone()), Path::new(DIR), State::default()).unwrap();
    manifest.append(&flush(1)).unwrap();
    let before = manifest.state().clone();
    faults.add(FaultRule::new(FaultOp::Write, Fault::Enospc).on("MANIFEST"));
    assert!(matches!(manifest.append(&flush(2)), Err(Error::Full { .. })));
    assert_eq!((manifest.state(), &read(&disk).unwrap()), (&before, &before));
    faults.add(FaultRule::new(FaultOp::Write, Fault::Enospc).on("MANIFEST"));
    assert!(matches!(manifest.append(&flush(2)), Err(Error::Full { .. })), "no room for a new file either");
    assert_eq!(read(&disk).unwrap(), before);
    manifest.append(&flush(3)).unwrap();
    assert_eq!(read(&disk).unwrap(), *manifest.state());
    assert_eq!(manifest.id(), FileId(2), "the torn file was left");
}

#[test]
fn a_failed_sync_poisons_and_opening_again_heals() {
    let disk = new_disk();
    let faults = FaultFs::over_sim(&disk);
    let mut manifest = Manifest::create(Arc::new(faults.clone()), Path::new(DIR), State::default()).unwrap();
    manifest.append(&flush(1)).unwrap();
    let before = manifest.state().clone();
    faults.add(FaultRule::new(FaultOp::Sync, Fault::FailedSync));
    assert!(matches!(manifest.append(&flush(2)), Err(Error::Io { .. })));
    assert!(matches!(manifest.append(&flush(3)), Err(Error::Poisoned { .. })));
    let disk = disk.crash(CrashPolicy::ALL[1], 0);
    let (mut manifest, state) = recover(&disk).unwrap();
    assert_eq!(state, before);
    manifest.append(&flush(2)).unwrap();
}

/// The fault tests found that a failed write behind a durable edit poisoned the manifest without a word: the
/// edit was acknowledged, and the next one, however much later, was refused with the old failure.
#[test]
fn a_failed_mark_behind_a_durable_edit_only_begins_a_new_file() {
    let dir = Path::new("/");
    for fault in [Fault::Eio, Fault::ShortWrite(5), Fault::Enospc] {
        let sim = SimFs::new();
        let faulty = FaultFs::over_sim(&sim);
        let mut manifest = Manifest::create(Arc::new(faulty.clone()), dir, State::default()).unwrap();
        faulty.add(FaultRule::new(FaultOp::Write, fault).nth(2));
        manifest.append(&flush(1)).unwrap();
        assert_eq!(manifest.id(), FileId(1));
        manifest.append(&flush(2)).unwrap();
        assert_eq!(manifest.id(), FileId(2), "{fault:?}");
        manifest.append(&flush(3)).unwrap();
        let left = sim.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0);
        assert_eq!(Manifest::read(&left, dir).unwrap(), (FileId(2), manifest.state().clone()));
    }
}

/// The crash explorer found a directory that was neither a store nor empty: a process died between the first
/// rename of `CURRENT` and its sync; the next one began a second manifest; and a power loss kept that and took
/// `CURRENT`.
#[test]
fn an_opening_builds_on_no_current_that_a_power_loss_could_take() {
    let dir = Path::new("/");
    let create = |sim: &SimFs| Manifest::create(Arc::new(sim.clone()), dir, State::default());
    let whole = SimFs::new();
    drop(create(&whole).unwrap());
    let interrupted = SimFs::new();
    interrupted.stop_at(whole.operations() - 1);
    assert!(create(&interrupted).is_err());
    for stop in 0.. {
        let again = interrupted.crash(CrashPolicy::ProcessDeath, 0);
        again.stop_at(stop);
        let finished = Manifest::recover(Arc::new(again.clone()), dir, &|_| Ok(())).is_ok();
        for seed in 0..64 {
            let left = again.crash(CrashPolicy::PowerLoss(PowerLoss::Reordered), seed);
            crate::version::probe(&left, dir).unwrap();
        }
        if finished {
            break;
        }
    }
}
