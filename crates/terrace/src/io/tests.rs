//! Conformance: what every `Fs` must do alike, run on the real system and on the simulated one.
//!
//! Crashes are not covered here: the real system cannot be asked for one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::FaultFs;
use super::os::os_fs;
use super::sim::SimFs;
use super::{File, Fs, RawRegion, Region};

/// A file system and an empty directory in it.
struct Place {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    _keep: Option<tempfile::TempDir>,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Arc<dyn File> {
        let file = self.fs.create(&self.path(name)).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.fs.list(&self.dir).unwrap();
        names.sort();
        names
    }

    fn error_of_open(&self, name: &str) -> ErrorKind {
        self.fs.open(&self.path(name)).unwrap_err().kind()
    }
}

fn everywhere(check: impl Fn(&Place)) {
    // Miri knows no mapped files and few of the system calls.
    let real: &[bool] = if cfg!(miri) { &[] } else { &[false, true] };
    for &unmapped_log in real {
        let keep = tempfile::tempdir().unwrap();
        check(&Place { fs: os_fs(unmapped_log), dir: keep.path().to_path_buf(), _keep: Some(keep) });
    }
    let sim = SimFs::new();
    let faulty = FaultFs::over_sim(&sim);
    for (fs, dir) in [(Arc::new(sim) as Arc<dyn Fs>, "/data/a"), (Arc::new(faulty), "/data/b")] {
        fs.create_dir_all(Path::new(dir)).unwrap();
        check(&Place { fs, dir: PathBuf::from(dir), _keep: None });
    }
}

/// The whole content.
pub(super) fn read_all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Stores through a claim of a `Region`, which is how the engine does it.
pub(super) fn store(raw: &Arc<dyn RawRegion>, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    let region = Region::new(Arc::clone(raw));
    region.claim(offset).unwrap();
    region.claim(bytes.len() as u64).unwrap().write(0, bytes)
}

#[test]
fn a_file_reads_back_what_was_written_with_zeros_in_between() {
    everywhere(|place| {
        let file = place.write_file("f", b"head");
        assert!(!file.is_empty().unwrap());
        file.write_all_at(b"tail", 6000).unwrap();
        file.write_all_at(b"", 9000).unwrap();
        file.sync().unwrap();
        let bytes = read_all(&*place.fs.open(&place.path("f")).unwrap());
        assert_eq!(bytes.len(), 6004);
        assert_eq!((&bytes[..4], &bytes[6000..]), (&b"head"[..], &b"tail"[..]));
        assert!(bytes[4..6000].iter().all(|b| *b == 0));
    });
}

#[test]
fn reading_past_the_end_is_an_unexpected_eof() {
    everywhere(|place| {
        let file = place.write_file("f", b"12345");
        let past_end = file.read_exact_at(&mut [0; 3], 3).unwrap_err();
        assert_eq!(past_end.kind(), ErrorKind::UnexpectedEof);
        file.read_exact_at(&mut [0; 2], 3).unwrap();
    });
}

#[test]
fn creating_an_existing_file_fails_and_leaves_it_alone() {
    everywhere(|place| {
        place.write_file("f", b"old");
        assert_eq!(place.fs.create(&place.path("f")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(read_all(&*place.fs.open(&place.path("f")).unwrap()), b"old");
    });
}

#[test]
fn a_file_opened_for_reading_refuses_writes() {
    everywhere(|place| {
        place.write_file("f", b"old");
        let file = place.fs.open(&place.path("f")).unwrap();
        assert!(file.write_all_at(b"new", 0).is_err());
        assert_eq!(read_all(&*file), b"old");
    });
}

#[test]
fn a_mapped_file_reads_as_any_other() {
    everywhere(|place| {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        place.write_file("f", &bytes);
        let path = place.path("f");
        let file = place.fs.open_mapped(&path).unwrap();
        assert_eq!(file.len().unwrap(), 20_000);
        assert_eq!(read_all(&*file), bytes);
        let mut middle = [0; 5000];
        file.read_exact_at(&mut middle, 4095).unwrap();
        assert_eq!(middle, bytes[4095..9095]);
        file.read_exact_at(&mut [], 20_000).unwrap();
        for (len, offset) in [(1, 20_000), (5000, 15_001), (1, u64::MAX - 1), (2, u64::MAX - 1)] {
            let error = file.read_exact_at(&mut vec![0; len], offset).unwrap_err().kind();
            // The system takes an offset only up to the largest signed number.
            assert!(matches!(error, ErrorKind::UnexpectedEof | ErrorKind::InvalidInput), "{error}");
        }
        assert!(file.write_all_at(b"new", 0).is_err());
        place.fs.remove(&path).unwrap();
        assert_eq!(read_all(&*file), bytes, "a removed file lives as long as it is open");
        assert_eq!(place.fs.open_mapped(&path).unwrap_err().kind(), ErrorKind::NotFound);
        place.write_file("empty", b"");
        let empty = place.fs.open_mapped(&place.path("empty")).unwrap();
        assert!(empty.is_empty().unwrap() && empty.read_exact_at(&mut [0], 0).is_err());
    });
}

#[test]
fn missing_files_and_directories_are_not_found() {
    everywhere(|place| {
        let missing = place.path("missing");
        assert_eq!(place.error_of_open("missing"), ErrorKind::NotFound);
        assert!(!place.fs.exists(&missing).unwrap());
        assert_eq!(place.fs.remove(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(place.fs.rename(&missing, &place.path("x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(place.fs.list(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(place.fs.sync_dir(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(place.fs.create(&missing.join("f")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(place.fs.open_region(&missing.join("f"), 1).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(place.fs.lock(&missing.join("f"), b"").unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_rename_replaces_the_target() {
    everywhere(|place| {
        place.write_file("from", b"new");
        place.write_file("to", b"old");
        let old = place.fs.open(&place.path("to")).unwrap();
        place.fs.rename(&place.path("from"), &place.path("to")).unwrap();
        assert_eq!(place.names(), ["to"]);
        assert_eq!(read_all(&*place.fs.open(&place.path("to")).unwrap()), b"new");
        assert_eq!(read_all(&*old), b"old");
    });
}

#[test]
fn a_file_can_move_to_another_directory() {
    everywhere(|place| {
        place.write_file("f", b"bytes");
        place.fs.create_dir_all(&place.path("sub/deep")).unwrap();
        place.fs.rename(&place.path("f"), &place.path("sub/deep/g")).unwrap();
        assert_eq!(place.names(), Vec::<String>::new());
        assert_eq!(place.fs.list(&place.path("sub/deep")).unwrap(), ["g"]);
        assert_eq!(place.fs.rename(&place.path("sub"), &place.path("sub/x")).ok(), None);
        place.fs.rename(&place.path("sub"), &place.path("moved")).unwrap();
        assert_eq!(read_all(&*place.fs.open(&place.path("moved/deep/g")).unwrap()), b"bytes");
    });
}

#[test]
fn a_removed_file_lives_on_in_its_handles() {
    everywhere(|place| {
        let file = place.write_file("f", b"old");
        let reader = place.fs.open(&place.path("f")).unwrap();
        place.fs.remove(&place.path("f")).unwrap();
        place.fs.sync_dir(&place.dir).unwrap();
        assert_eq!(place.error_of_open("f"), ErrorKind::NotFound);
        place.write_file("f", b"another");
        file.write_all_at(b"older", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(read_all(&*reader), b"older");
        assert_eq!(read_all(&*place.fs.open(&place.path("f")).unwrap()), b"another");
    });
}

#[test]
fn a_listing_has_files_only() {
    everywhere(|place| {
        place.write_file("b", b"");
        place.write_file("a", b"");
        place.fs.create_dir_all(&place.path("sub")).unwrap();
        place.fs.create_dir_all(&place.path("sub")).unwrap();
        assert_eq!(place.names(), ["a", "b"]);
        assert!(place.fs.exists(&place.path("sub")).unwrap());
        assert!(place.fs.exists(&place.path("a")).unwrap());
        assert!(place.fs.remove(&place.path("sub")).is_err());
        assert!(place.fs.create_dir_all(&place.path("a/x")).is_err());
    });
}

#[test]
fn a_new_region_reads_as_zeros_and_keeps_what_is_stored() {
    everywhere(|place| {
        let region = place.fs.open_region(&place.path("log"), 10_000).unwrap();
        assert_eq!(region.len(), 10_000);
        region.prefault(0..10_000);
        store(&region, 4090, b"across pages").unwrap();
        region.sync().unwrap();
        let bytes = read_all(&*place.fs.open(&place.path("log")).unwrap());
        assert_eq!(bytes.len(), 10_000);
        assert_eq!(&bytes[4090..4102], b"across pages");
        assert!(bytes[..4090].iter().chain(&bytes[4102..]).all(|b| *b == 0));
    });
}

#[test]
fn reopening_a_region_keeps_its_content_and_the_larger_length() {
    everywhere(|place| {
        let first = place.fs.open_region(&place.path("log"), 1000).unwrap();
        store(&first, 100, b"old").unwrap();
        drop(first);
        assert_eq!(place.fs.open_region(&place.path("log"), 500).unwrap().len(), 1000);
        let grown = place.fs.open_region(&place.path("log"), 2000).unwrap();
        assert_eq!(grown.len(), 2000);
        store(&grown, 102, b"dest").unwrap();
        let bytes = read_all(&*place.fs.open(&place.path("log")).unwrap());
        assert_eq!((bytes.len(), &bytes[100..106]), (2000, &b"oldest"[..]));
    });
}

#[test]
fn a_region_follows_its_file_through_a_rename() {
    everywhere(|place| {
        let region = place.fs.open_region(&place.path("1.log"), 100).unwrap();
        place.fs.rename(&place.path("1.log"), &place.path("2.log")).unwrap();
        store(&region, 0, b"here").unwrap();
        assert_eq!(&read_all(&*place.fs.open(&place.path("2.log")).unwrap())[..4], b"here");
    });
}

#[test]
fn a_lock_excludes_others_until_it_is_dropped() {
    everywhere(|place| {
        let guard = place.fs.lock(&place.path("LOCK"), b"process 12345").unwrap();
        let refused = place.fs.lock(&place.path("LOCK"), b"process 6").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert_eq!(read_all(&*place.fs.open(&place.path("LOCK")).unwrap()), b"process 12345");
        drop(guard);
        let _guard = place.fs.lock(&place.path("LOCK"), b"process 6").unwrap();
        assert_eq!(read_all(&*place.fs.open(&place.path("LOCK")).unwrap()), b"process 6");
    });
}

#[test]
fn the_boot_id_is_steady() {
    everywhere(|place| assert_eq!(place.fs.boot_id(), place.fs.boot_id()));
}

/// What was just written is in memory; whatever `false` means, the plain read then says what is the matter.
#[test]
fn a_read_that_does_not_wait_gives_the_bytes_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fs = os_fs(false);
    let path = dir.path().join("file");
    let file = fs.create(&path).unwrap();
    let bytes: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
    file.write_all_at(&bytes, 0).unwrap();
    for (offset, len) in [(0, 10), (4_090, 20), (3, 60_000), (79_999, 1), (50, 0)] {
        let mut buf = vec![0; len];
        if file.try_read_exact_at(&mut buf, offset as u64) {
            assert_eq!(buf, bytes[offset..][..len]);
        }
    }
    assert!(!file.try_read_exact_at(&mut [0; 10], 79_995), "behind the end");
    let mapped = fs.open_mapped(&path).unwrap();
    assert!(!mapped.try_read_exact_at(&mut [0; 10], 0), "a mapping cannot tell");
}
