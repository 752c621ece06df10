//! The manifest across reopening, tearing and damage.

use std::fs;

use super::*;
use crate::base::KeyspaceId;
use crate::io::os::OsFs;
use crate::version::edit::Placed;
use crate::version::testing::meta;

fn os() -> Arc<dyn Fs> {
    Arc::new(OsFs::default())
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
fn example(dir: &Path) -> (PathBuf, State) {
    let mut manifest = Manifest::create(os(), dir, State::default()).unwrap();
    for edit in [flush(1), flush(2), compact(1, 3)] {
        manifest.append(&edit).unwrap();
    }
    let path = dir.join(names::manifest(manifest.id()));
    assert_eq!(fs::metadata(&path).unwrap().len(), manifest.file_bytes());
    (path, manifest.state().clone())
}

fn read(dir: &Path) -> Result<State> {
    Manifest::read(&OsFs::default(), dir).map(|(_, state)| state)
}

#[test]
fn what_was_appended_is_recovered_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_, expected) = example(dir.path());
    assert_eq!(expected.tables.keys().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
    for round in 2..5 {
        let (manifest, state) = Manifest::recover(os(), dir.path()).unwrap();
        assert_eq!((&state, manifest.id()), (&expected, FileId(round)));
    }
    let (mut manifest, mut state) = Manifest::recover(os(), dir.path()).unwrap();
    manifest.append(&flush(9)).unwrap();
    state.apply(&flush(9)).unwrap();
    assert_eq!(read(dir.path()).unwrap(), state);
}

#[test]
fn a_torn_last_edit_is_dropped_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::create(os(), dir.path(), State::default()).unwrap();
    manifest.append(&flush(1)).unwrap();
    let before = (manifest.file_bytes(), manifest.state().clone());
    manifest.append(&flush(2)).unwrap();
    let after = manifest.state().clone();
    let path = dir.path().join(names::manifest(manifest.id()));
    let bytes = fs::read(&path).unwrap();
    let mut seen_both = (0, 0);
    for cut in before.0 as usize..=bytes.len() {
        for zeroed_tail in [false, true] {
            let mut torn = bytes[..cut].to_vec();
            if zeroed_tail {
                torn.resize(bytes.len(), 0);
            }
            fs::write(&path, &torn).unwrap();
            match read(dir.path()).unwrap() {
                state if state == before.1 => seen_both.0 += 1,
                state if state == after => seen_both.1 += 1,
                state => panic!("neither before nor after: {state:?}"),
            }
        }
    }
    assert!(seen_both.0 > 50 && seen_both.1 >= 2, "{seen_both:?}");
}

#[test]
fn no_flipped_bit_goes_unnoticed_or_changes_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let (path, expected) = example(dir.path());
    let mut errors = 0;
    for path in [path, dir.path().join(names::CURRENT)] {
        let bytes = fs::read(&path).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            match read(dir.path()) {
                Ok(state) => assert_eq!(state, expected, "bit {bit} of {}", path.display()),
                Err(Error::Corruption { .. }) => errors += 1,
                Err(error) => panic!("bit {bit} of {}: {error}", path.display()),
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(errors > 2000, "{errors}");
}

#[test]
fn a_cut_into_the_durable_part_is_corruption_or_an_older_acknowledged_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::create(os(), dir.path(), State::default()).unwrap();
    let snapshot = manifest.file_bytes();
    manifest.append(&flush(1)).unwrap();
    let path = dir.path().join(names::manifest(manifest.id()));
    let bytes = fs::read(&path).unwrap();
    // Without the settled record behind the snapshot there may be less; never without the snapshot itself.
    let settled = 13;
    for cut in 0..snapshot as usize - settled {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(matches!(read(dir.path()), Err(Error::Corruption { .. })), "cut at {cut}");
    }
}

#[test]
fn another_format_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = example(dir.path());
    let mut record = vec![HEADER];
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&7u32.to_le_bytes());
    fs::remove_file(&path).unwrap();
    let file = OsFs::default().create(&path).unwrap();
    RecordWriter::new(file, &path, FileId(1), 0).append(&record).unwrap();
    match read(dir.path()) {
        Err(Error::UnsupportedVersion { found: 7, supported: FORMAT_VERSION, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grown_manifest_is_rewritten_and_the_old_one_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::create(os(), dir.path(), State::default()).unwrap();
    for id in 1..45 {
        let mut edit = flush(id);
        edit.added[0].meta.largest = vec![b'z'; 4000];
        if id > 1 {
            edit.removed = vec![(0, FileId(id - 1))];
        }
        manifest.append(&edit).unwrap();
        assert!(manifest.file_bytes() < REWRITE_BYTES_MIN + 5000);
    }
    assert!(manifest.id() > FileId(1));
    let manifests = OsFs::default().list(dir.path()).unwrap();
    assert_eq!(manifests.iter().filter(|name| names::parse_manifest(name).is_some()).count(), 1);
    assert_eq!(read(dir.path()).unwrap(), *manifest.state());
}

#[test]
fn a_directory_without_current_is_not_taken_for_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let found = || current::probe(&OsFs::default(), dir.path());
    assert_eq!(found().unwrap(), Presence::Nothing);
    fs::write(dir.path().join("LOCK"), "1").unwrap();
    fs::write(dir.path().join("CURRENT.tmp"), "MANI").unwrap();
    fs::write(dir.path().join("MANIFEST-000001"), "half").unwrap();
    assert_eq!(found().unwrap(), Presence::Nothing, "an interrupted creation");
    let (_, state) = example(dir.path());
    assert_eq!(found().unwrap(), Presence::Store(FileId(1)));
    assert_eq!(read(dir.path()).unwrap(), state);
    fs::write(dir.path().join("000001.tbl"), "").unwrap();
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert!(matches!(found(), Err(Error::NotAStore { .. })));
    assert!(matches!(Manifest::recover(os(), dir.path()), Err(Error::NotAStore { .. })));
}

#[test]
fn an_edit_that_contradicts_the_state_is_refused_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::create(os(), dir.path(), State::default()).unwrap();
    manifest.append(&flush(1)).unwrap();
    assert!(matches!(manifest.append(&flush(1)), Err(Error::InvalidInput(_))));
    manifest.append(&flush(2)).unwrap();
    assert_eq!(read(dir.path()).unwrap(), *manifest.state());
}
