//! `Config`: what a run does and on what store.

use std::path::PathBuf;

use terrace::{Durability, Options};

/// One thing to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// Puts every key once, in random order.
    FillRandom,
    /// Puts every key once, in key order.
    FillSeq,
    /// Puts every key again, in another random order.
    Overwrite,
    /// Waits until flushes and compactions have nothing left to do.
    Settle,
    /// Gets keys of a working set that fits in the cache, after one warming pass.
    ReadWarm,
    /// Gets keys from all over the store.
    ReadRandom,
    /// Gets keys that are not there but lie between those that are.
    ReadMissing,
    /// Gets 100 random keys at a time.
    MultiGet,
    /// Reads 100 entries from a random key on.
    Scan100,
    /// Reads everything in key order.
    FullScan,
}

impl Workload {
    /// All workloads with their names.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::FillRandom, "fillrandom"),
        (Self::FillSeq, "fillseq"),
        (Self::Overwrite, "overwrite"),
        (Self::Settle, "settle"),
        (Self::ReadWarm, "readwarm"),
        (Self::ReadRandom, "readrandom"),
        (Self::ReadMissing, "readmissing"),
        (Self::MultiGet, "multiget"),
        (Self::Scan100, "scan100"),
        (Self::FullScan, "fullscan"),
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(workload, _)| *workload == self).map_or("", |(_, name)| name)
    }

    /// The workload of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(|(_, name)| name).join(", ");
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found
            .map(|(workload, _)| *workload)
            .ok_or_else(|| format!("no workload {name:?}; there are {}", known()))
    }

    /// Whether it writes keys into an empty store.
    pub(crate) fn fills(self) -> bool {
        matches!(self, Self::FillRandom | Self::FillSeq)
    }
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Config {
    /// The number of keys.
    pub entries: u64,
    /// The size of a value in bytes.
    pub value_bytes: usize,
    /// Threads that put or get.
    pub threads: usize,
    /// Operations of each reading workload, over all threads.
    pub gets: u64,
    /// Keys of the working set of `readwarm`; `None` chooses as many as fit in an eighth of the memory budget.
    pub working_set: Option<u64>,
    /// The store's memory budget in bytes; `None` keeps the engine's default.
    pub memory_bytes: Option<u64>,
    /// The store's durability; `None` keeps the engine's default.
    pub durability: Option<Durability>,
    /// The directory; `None` makes a temporary one and removes it afterwards.
    pub dir: Option<PathBuf>,
    /// What to do, in order.
    pub workloads: Vec<Workload>,
    /// Chooses the random order; the same seed gives the same order of keys.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            value_bytes: 100,
            threads: 1,
            gets: 1_000_000,
            working_set: None,
            memory_bytes: None,
            durability: None,
            dir: None,
            workloads: vec![Workload::FillRandom, Workload::Settle, Workload::ReadWarm],
            seed: 1,
        }
    }
}

impl Config {
    /// Checks the ranges.
    pub(crate) fn validate(&self) -> terrace::Result<()> {
        let limit = crate::keys::LIMIT;
        let check = |ok: bool, what: &str| {
            if ok { Ok(()) } else { Err(terrace::Error::InvalidInput(what.to_owned())) }
        };
        check((1..=limit).contains(&self.entries), "entries: 1 to 10^15")?;
        check((1..=1024).contains(&self.threads), "threads: 1 to 1,024")?;
        check(self.value_bytes <= 64 << 20, "value-bytes: at most 64 MiB")?;
        check(self.working_set != Some(0), "working-set: at least 1")?;
        Ok(())
    }

    /// The options of the store.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new();
        if let Some(bytes) = self.memory_bytes {
            options = options.memory_budget(bytes);
        }
        if let Some(durability) = self.durability {
            options = options.durability(durability);
        }
        options
    }

    /// The memory budget in force.
    pub(crate) fn budget_bytes(&self) -> u64 {
        self.memory_bytes.unwrap_or(terrace::DEFAULT_MEMORY_BUDGET_BYTES)
    }

    /// Bytes of one key and its value.
    pub(crate) fn entry_bytes(&self) -> u64 {
        (crate::keys::KEY_BYTES + self.value_bytes) as u64
    }

    /// Keys of the working set.
    pub(crate) fn working_set(&self) -> u64 {
        let fits = self.budget_bytes() / 8 / self.entry_bytes();
        self.working_set.unwrap_or(fits).clamp(1, self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for (workload, name) in Workload::ALL {
            assert_eq!((Workload::parse(name), workload.name()), (Ok(workload), name));
        }
        assert!(Workload::parse("fill").unwrap_err().contains("fillrandom"));
    }

    #[test]
    fn the_working_set_fits_in_the_cache_and_the_store() {
        let config = Config { memory_bytes: Some(8 << 20), ..Config::default() };
        assert_eq!(config.working_set(), (1 << 20) / 116);
        assert_eq!(Config { entries: 10, ..Config::default() }.working_set(), 10);
    }
}
