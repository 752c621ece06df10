//! Without losses, the simulated disk behaves as a map from names to bytes, whatever the order of calls.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{disk, files, p};
use super::*;
use crate::io::tests::store;

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Write(u8, u64, Vec<u8>),
    Region(u8, u64, u64, Vec<u8>),
    Rename(u8, u8),
    Remove(u8),
    Sync(u8),
    SyncDir(bool),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0u8..6;
    let bytes = || prop::collection::vec(any::<u8>(), 0..1500);
    prop_oneof![
        3 => file().prop_map(Step::Create),
        4 => (file(), 0u64..3000, bytes()).prop_map(|(f, at, b)| Step::Write(f, at, b)),
        2 => (file(), 0u64..6000, 0u64..3000, bytes()).prop_map(|(f, len, at, b)| Step::Region(f, len, at, b)),
        2 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => file().prop_map(Step::Remove),
        1 => file().prop_map(Step::Sync),
        1 => any::<bool>().prop_map(Step::SyncDir),
        1 => Just(Step::Crash),
    ]
}

/// Half of the names lie in a directory of their own.
fn path_of(file: u8) -> PathBuf {
    PathBuf::from(if file.is_multiple_of(2) { format!("/d/{file}") } else { format!("/d/sub/{file}") })
}

/// What programs see, as a map; and the handles that they hold.
#[derive(Default)]
struct Model {
    files: BTreeMap<u8, Vec<u8>>,
    handles: BTreeMap<u8, Arc<dyn File>>,
}

impl Model {
    fn write(&mut self, file: u8, at: u64, bytes: &[u8]) {
        let content = self.files.get_mut(&file).unwrap();
        if !bytes.is_empty() {
            let end = at as usize + bytes.len();
            content.resize(content.len().max(end), 0);
            content[at as usize..end].copy_from_slice(bytes);
        }
    }

    fn apply(&mut self, fs: &mut SimFs, step: Step) {
        match step {
            Step::Create(file) => {
                let created = fs.create(&path_of(file));
                assert_eq!(created.is_err(), self.files.contains_key(&file));
                if let Ok(handle) = created {
                    self.files.insert(file, Vec::new());
                    self.handles.insert(file, handle);
                }
            }
            Step::Write(file, at, bytes) => {
                if let Some(handle) = self.handles.get(&file) {
                    handle.write_all_at(&bytes, at).unwrap();
                    self.write(file, at, &bytes);
                }
            }
            Step::Region(file, len, at, bytes) => {
                let region = fs.open_region(&path_of(file), len).unwrap();
                let content = self.files.entry(file).or_default();
                content.resize(content.len().max(len as usize), 0);
                assert_eq!(region.len(), content.len() as u64);
                if at + bytes.len() as u64 <= region.len() {
                    store(&region, at, &bytes).unwrap();
                    self.write(file, at, &bytes);
                }
            }
            Step::Rename(from, to) => {
                let renamed = fs.rename(&path_of(from), &path_of(to));
                assert_eq!(renamed.is_ok(), self.files.contains_key(&from));
                if renamed.is_ok() && from != to {
                    let content = self.files.remove(&from).unwrap();
                    self.files.insert(to, content);
                    let handle = self.handles.remove(&from);
                    self.handles.remove(&to);
                    self.handles.extend(handle.map(|handle| (to, handle)));
                }
            }
            Step::Remove(file) => {
                assert_eq!(fs.remove(&path_of(file)).is_ok(), self.files.remove(&file).is_some());
                self.handles.remove(&file);
            }
            Step::Sync(file) => self.handles.get(&file).map_or(Ok(()), |handle| handle.sync()).unwrap(),
            Step::SyncDir(sub) => fs.sync_dir(p(if sub { "/d/sub" } else { "/d" })).unwrap(),
            Step::Crash => {
                *fs = fs.crash(CrashPolicy::ProcessDeath, 0);
                self.handles.clear();
            }
        }
    }

    fn check(&self, fs: &SimFs) {
        let expected: BTreeMap<PathBuf, &Vec<u8>> =
            self.files.iter().map(|(file, bytes)| (path_of(*file), bytes)).collect();
        assert_eq!(fs.paths(), expected.keys().cloned().collect::<Vec<_>>());
        for (path, bytes) in &expected {
            assert_eq!(&&fs.read_all(path).unwrap(), bytes);
        }
        assert_eq!(fs.total_bytes(), expected.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    }
}

proptest! {
    #[test]
    fn without_power_loss_the_disk_is_a_map_from_names_to_bytes(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut fs = disk();
        fs.create_dir_all(p("/d/sub")).unwrap();
        let mut model = Model::default();
        for step in steps {
            model.apply(&mut fs, step);
            model.check(&fs);
        }
        // A power loss that keeps everything shows the same, and so does one right after syncing everything.
        model.check(&fs.crash(CrashPolicy::PowerLoss(PowerLoss::KeepAll), 0));
        for path in fs.paths() {
            fs.open(&path).unwrap().sync().unwrap();
        }
        for dir in ["/d/sub", "/d", "/d/sub"] {
            fs.sync_dir(p(dir)).unwrap();
        }
        model.handles.clear();
        for policy in CrashPolicy::ALL {
            model.check(&fs.crash(policy, 1));
        }
    }

    #[test]
    fn a_crash_is_repeatable_and_leaves_the_original_alone(
        steps in prop::collection::vec(step(), 1..40),
        seed: u64,
    ) {
        let mut fs = disk();
        fs.create_dir_all(p("/d/sub")).unwrap();
        let mut model = Model::default();
        for step in steps {
            model.apply(&mut fs, step);
        }
        for policy in CrashPolicy::ALL {
            prop_assert_eq!(files(&fs.crash(policy, seed)), files(&fs.crash(policy, seed)));
            let again = fs.crash(policy, seed);
            for path in again.paths() {
                again.overwrite(path, b"scribble").unwrap();
            }
        }
        model.check(&fs);
    }
}
