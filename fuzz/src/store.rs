//! The interface of the store as a state machine: bytes are operations, a map is the model, and the disk is
//! simulated, so that it can also lose power in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use terrace::{CrashPolicy, Db, Durability, Env, ManualClock, Options, PowerLoss, SeededRng, SimFs};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(disk: &SimFs) -> Db {
    let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(1)));
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2).block_bytes(512);
    let options = options.l0_runs(2).level_ratio(2).durability(Durability::Sync);
    options.env(Env::inline(Arc::new(disk.clone()), clock, rng)).open(Path::new("/store")).expect("it opens")
}

/// Runs the operations that the bytes name: two bytes each, what to do and with which key.
pub fn store(bytes: &[u8]) {
    let (mut disk, mut model) = (SimFs::new(), Model::new());
    let mut db = open(&disk);
    for (at, pair) in bytes.chunks_exact(2).take(200).enumerate() {
        let key = vec![b'k'; usize::from(pair[1] % 40) + 1];
        match pair[0] % 16 {
            0..=5 => {
                let value = vec![at as u8; usize::from(pair[1]) * usize::from(pair[0] >> 4)];
                db.put(&key, &value).expect("a put succeeds");
                model.insert(key, value);
            }
            6..=7 => {
                db.delete(&key).expect("a delete succeeds");
                model.remove(&key);
            }
            8..=9 => {
                let found = db.get(&key).expect("a get succeeds");
                assert_eq!(found.as_deref(), model.get(&key).map(|value| &value[..]));
            }
            10 => {
                let mut batch = db.batch();
                batch.put(&key, "batched").delete(&key[1..]);
                if batch.commit().is_ok() {
                    model.insert(key.clone(), b"batched".to_vec());
                    model.remove(&key[1..]);
                }
            }
            11 => db.flush().expect("a flush succeeds"),
            12 => db.compact_all().expect("a compaction succeeds"),
            13 => {
                let found = db.range(&key[..]..).next().map(|entry| entry.expect("a scan succeeds").0.to_vec());
                assert_eq!(found.as_ref(), model.range(key..).next().map(|(key, _)| key));
            }
            _ => {
                let policy = match pair[1] % 3 {
                    0 => CrashPolicy::ProcessDeath,
                    1 => CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced),
                    _ => CrashPolicy::PowerLoss(PowerLoss::RandomSectors),
                };
                let left = disk.crash(policy, at as u64);
                disk.stop_at(0);
                disk = left;
                db = open(&disk);
            }
        }
    }
    let found: Model = db.iter().map(|e| e.expect("a scan succeeds")).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    assert!(found == model, "{} of {} entries", found.len(), model.len());
    disk.stop_at(0);
}
