//! The operations of a workload that concern the store as a whole: compaction, keyspaces, refusals, statistics.

use std::cell::RefCell;
use std::time::Duration;

use terrace::{Error, WriteOptions};

use super::{Step, Trouble, Workload, check, is_outage, show, wrong};
use crate::model::Change;

impl Workload {
    pub(super) fn compact(&mut self) -> Step {
        if self.rng.chance(50) {
            self.db.compact_all().map_err(show)?;
            self.settle();
            return Ok(());
        }
        let (mut low, mut high) = (self.key(), self.key());
        if low > high {
            std::mem::swap(&mut low, &mut high);
        }
        self.db.compact(low..high).map_err(show)
    }

    pub(super) fn keyspaces(&mut self) -> Step {
        let name = format!("space{}", self.rng.below(4));
        match self.rng.below(3) {
            0 => {
                self.model.change(Change::Create(name.clone()));
                self.db.keyspace(&name).map_err(show)?;
            }
            1 => {
                let handle = self.db.find_keyspace(&name);
                let known = self.model.keyspaces.contains_key(&name);
                self.model.change(Change::Drop(name.clone()));
                match self.db.drop_keyspace(&name) {
                    Ok(()) if known => self.forget(&name, true),
                    Err(Error::UnknownKeyspace { .. }) if !known => {}
                    Err(error) if is_outage(&error) => return Err(Trouble::Store(error)),
                    found => return wrong(format!("drop: found {found:?}, known: {known}")),
                }
                if let Some(handle) = handle {
                    let refused = matches!(handle.get("k"), Err(Error::UnknownKeyspace { .. }));
                    check("a dropped handle is refused", &refused, &true)?;
                }
            }
            _ => {
                let (name, keyspace) = self.keyspace();
                self.model.change(Change::Clear(name.clone()));
                keyspace.clear().map_err(show)?;
                self.forget(&name, false);
            }
        }
        check("names", &self.db.keyspaces(), &self.model.keyspaces.keys().cloned().collect())
    }

    /// A keyspace that was dropped or cleared is gone from snapshots too.
    fn forget(&mut self, name: &str, dropped: bool) {
        for (_, model) in &mut self.snapshots {
            if dropped {
                model.keyspaces.remove(name);
            } else if let Some(cells) = model.keyspaces.get_mut(name) {
                cells.clear();
            }
        }
    }

    pub(super) fn bad_input(&mut self) -> Step {
        let outage = RefCell::new(None);
        let refused = |outcome: Result<(), Error>| match outcome {
            Err(Error::InvalidInput(_)) => true,
            Err(error) if is_outage(&error) => outage.replace(Some(error)).is_none(),
            _ => false,
        };
        let zero_ttl = self.db.put_with("k", "v", WriteOptions::new().ttl(Duration::ZERO));
        let mut batch = self.db.batch();
        batch.put("half of a refused batch", "x").put("", "empty key");
        let all = [
            refused(self.db.put("", "v")),
            refused(self.db.put(vec![b'k'; 65_536], "v")),
            refused(self.db.delete("")),
            refused(zero_ttl),
            refused(self.db.put_with("k", "v", WriteOptions::new().tag(16))),
            refused(batch.commit().map(|_| ())),
            refused(self.db.keyspace("").map(|_| ())),
            refused(self.db.drop_keyspace("default")),
        ];
        if let Some(error) = outage.take() {
            return Err(Trouble::Store(error));
        }
        check("refused", &all, &[true; 8])?;
        check("nothing of it", &self.db.contains("half of a refused batch").map_err(show)?, &false)
    }

    pub(super) fn statistics(&mut self) -> Step {
        let stats = self.db.stats();
        check("levels", &stats.levels.len(), &7)?;
        if !self.unreliable {
            check("background error", &stats.background_error, &None)?;
            check("damage", &stats.damage, &Vec::new())?;
        }
        check("snapshots", &stats.snapshots, &(self.snapshots.len() as u64))
    }
}
