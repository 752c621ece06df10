//! `Case`: one workload with its parameters; and what each workload needs.

use serde::{Deserialize, Serialize};

use crate::store::{Level, Setup};
use crate::zipf::Distribution;

/// What a run does with the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Puts every key once, in key order.
    Fillseq,
    /// Puts every key once, in random order.
    Fillrandom,
    /// Puts keys again that are there, in random order, until the time is over.
    Overwrite,
    /// Puts every key once, in random order, 50 in a batch.
    #[serde(rename = "batch-50")]
    Batch50,
    /// As `Batch50`, 1,000 in a batch.
    #[serde(rename = "batch-1000")]
    Batch1000,
    /// Puts new keys in random order from 64 threads, with values of 1,024 bytes, for 5 s.
    Put64,
    /// Gets keys that are there.
    Readrandom,
    /// Gets keys that are not there, but between those that are.
    Readmissing,
    /// Gets 100 keys at a time; an operation is one key.
    #[serde(rename = "multiget-100")]
    Multiget100,
    /// Reads 10 entries from a random key on; an operation is one entry.
    #[serde(rename = "scan-10")]
    Scan10,
    /// Reads 100 entries from a random key on; an operation is one entry.
    #[serde(rename = "scan-100")]
    Scan100,
    /// Reads everything in key order, again and again; an operation is one entry.
    Fullscan,
    /// Reads the 100 entries that share the first 14 digits of a random key; an operation is one entry.
    Prefixscan,
    /// One thread overwrites as fast as it can, the others get; an operation is a get.
    Readwhilewriting,
    /// Deletes keys that are there, each once, in random order.
    Deleterandom,
    /// Half gets, half overwrites.
    #[serde(rename = "ycsb-a")]
    YcsbA,
    /// 95 % gets, 5 % overwrites.
    #[serde(rename = "ycsb-b")]
    YcsbB,
    /// Only gets.
    #[serde(rename = "ycsb-c")]
    YcsbC,
    /// 95 % gets of keys put last, 5 % puts of new keys.
    #[serde(rename = "ycsb-d")]
    YcsbD,
    /// 95 % scans of 1 to 100 entries, 5 % puts of new keys; an operation is one scan or put.
    #[serde(rename = "ycsb-e")]
    YcsbE,
    /// Half gets, half gets followed by a put of the same key; an operation is either.
    #[serde(rename = "ycsb-f")]
    YcsbF,
    /// Opens a store that was closed, and gets one key.
    Open,
    /// Fills the store that other workloads start from; no measurement.
    Load,
}

/// Where a workload gets its store from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// It starts with an empty directory.
    Fresh,
    /// It only reads a loaded store.
    Shared,
    /// It changes a loaded store, so every run has a copy of its own.
    Copied,
}

impl Task {
    /// All that measure something.
    pub const ALL: [Self; 22] = [
        Self::Fillseq,
        Self::Fillrandom,
        Self::Overwrite,
        Self::Batch50,
        Self::Batch1000,
        Self::Put64,
        Self::Readrandom,
        Self::Readmissing,
        Self::Multiget100,
        Self::Scan10,
        Self::Scan100,
        Self::Fullscan,
        Self::Prefixscan,
        Self::Readwhilewriting,
        Self::Deleterandom,
        Self::YcsbA,
        Self::YcsbB,
        Self::YcsbC,
        Self::YcsbD,
        Self::YcsbE,
        Self::YcsbF,
        Self::Open,
    ];

    /// Its name, on the command line and in JSON.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The workload of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| format!("no workload {name:?}; there are {}", known()))
    }

    pub(super) fn base(self) -> Base {
        match self {
            Self::Fillseq | Self::Fillrandom | Self::Batch50 | Self::Batch1000 | Self::Put64 | Self::Load => {
                Base::Fresh
            }
            Self::Readrandom
            | Self::Readmissing
            | Self::Multiget100
            | Self::Scan10
            | Self::Scan100
            | Self::Fullscan
            | Self::Prefixscan
            | Self::YcsbC
            | Self::Open => Base::Shared,
            Self::Overwrite
            | Self::Readwhilewriting
            | Self::Deleterandom
            | Self::YcsbA
            | Self::YcsbB
            | Self::YcsbD
            | Self::YcsbE
            | Self::YcsbF => Base::Copied,
        }
    }

    pub(super) fn writes(self) -> bool {
        self.base() != Base::Shared
    }

    /// Whether the distribution of keys plays a part.
    fn chooses(self) -> bool {
        matches!(self, Self::YcsbA | Self::YcsbB | Self::YcsbC | Self::YcsbD | Self::YcsbE | Self::YcsbF)
    }
}

/// One workload with its parameters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Case {
    /// What to do.
    pub task: Task,
    /// Entries of the loaded store, or to fill in.
    pub entries: u64,
    /// Bytes of a value, half of them compressible.
    pub value_bytes: usize,
    /// Threads that work.
    pub threads: usize,
    /// Seconds after which the run ends, if its work has not ended before.
    pub seconds: f64,
    /// How keys are chosen, where the workload leaves it open.
    pub distribution: Distribution,
    /// Chooses the order of keys.
    pub seed: u64,
    /// What the store is given.
    #[serde(flatten)]
    pub setup: Setup,
}

/// 16-byte keys and 100-byte values, 32 MiB of cache and 16 MiB write buffers for everyone.
impl Default for Case {
    fn default() -> Self {
        Self {
            task: Task::Fillrandom,
            entries: 1_000_000,
            value_bytes: 100,
            threads: 1,
            seconds: 2.0,
            distribution: Distribution::Zipfian,
            seed: 1,
            setup: Setup {
                cache_bytes: 32 << 20,
                write_buffer_bytes: 16 << 20,
                shards: 16,
                durability: Level::Process,
                cold: false,
            },
        }
    }
}

impl Case {
    /// The case of a workload with what belongs to its name.
    pub fn of(task: Task) -> Self {
        let case = Self { task, ..Self::default() };
        match task {
            Task::Put64 => Self { threads: 64, value_bytes: 1024, seconds: 5.0, ..case },
            Task::Readwhilewriting => Self { threads: 2, ..case },
            _ => case,
        }
    }

    /// What tells this case from the others in a table: the workload, and every parameter that is not usual.
    pub fn title(&self) -> String {
        let usual = Self::of(self.task);
        let mut title = self.task.name();
        let mut add = |differs: bool, text: String| {
            if differs {
                title.push_str(", ");
                title.push_str(&text);
            }
        };
        let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
        add(self.task != Task::Put64 && self.task != Task::Open, threads);
        add(self.setup.durability == Level::Sync, "sync".into());
        add(self.setup.durability == Level::Interval, "interval".into());
        add(self.task.chooses() && self.distribution == Distribution::Uniform, "uniform".into());
        add(self.value_bytes != usual.value_bytes, format!("{} B values", self.value_bytes));
        add(self.entries != usual.entries, format!("{} entries", self.entries));
        let cache = self.setup.cache_bytes >> 20;
        add(self.setup.cache_bytes != usual.setup.cache_bytes, format!("{cache} MiB cache"));
        let buffer = self.setup.write_buffer_bytes >> 20;
        add(self.setup.write_buffer_bytes != usual.setup.write_buffer_bytes, format!("{buffer} MiB buffers"));
        add(self.setup.shards != usual.setup.shards, format!("{} shards", self.setup.shards));
        add(self.setup.cold, "cold".into());
        title
    }

    /// Says what is out of range, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        let limit = crate::keys::LIMIT / 2;
        if !(1..=limit).contains(&self.entries) {
            return Err(format!("entries: {}; 1 to {limit}", self.entries));
        }
        if !(1..=1024).contains(&self.threads) {
            return Err(format!("threads: {}; 1 to 1,024", self.threads));
        }
        if self.task == Task::Readwhilewriting && self.threads < 2 {
            return Err("readwhilewriting needs at least 2 threads, one of them the writer".into());
        }
        if !(1..=16 << 20).contains(&self.value_bytes) {
            return Err(format!("value-bytes: {}; 1 to 16 MiB", self.value_bytes));
        }
        if !(self.seconds > 0.0 && self.seconds <= 100_000.0) {
            return Err(format!("seconds: {}; above 0, at most 100,000", self.seconds));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for task in Task::ALL {
            assert_eq!(Task::parse(&task.name()), Ok(task));
        }
        assert_eq!(Task::parse("multiget-100"), Ok(Task::Multiget100));
        assert!(Task::parse("fill").unwrap_err().contains("fillrandom"));
    }

    #[test]
    fn a_title_names_what_is_unusual_and_nothing_else() {
        let case = Case::of(Task::Fillrandom);
        assert_eq!(case.title(), "fillrandom, 1 thread");
        let sync = Setup { durability: Level::Sync, ..case.setup };
        assert_eq!(Case { threads: 8, setup: sync, ..case }.title(), "fillrandom, 8 threads, sync");
        assert_eq!(Case::of(Task::Put64).title(), "put64");
        let case = Case { distribution: Distribution::Uniform, ..Case::of(Task::YcsbA) };
        assert_eq!(case.title(), "ycsb-a, 1 thread, uniform");
    }

    #[test]
    fn a_case_survives_json() {
        let case = Case::of(Task::Batch50);
        let json = serde_json::to_string(&case).unwrap();
        assert!(json.contains("\"batch-50\"") && json.contains("\"cache_bytes\""));
        assert_eq!(serde_json::from_str::<Case>(&json).unwrap(), case);
    }

    #[test]
    fn a_case_out_of_range_is_refused() {
        assert_eq!(Case::default().check(), Ok(()));
        assert!(Case { entries: 0, ..Case::default() }.check().is_err());
        assert!(Case { seconds: f64::NAN, ..Case::default() }.check().is_err());
        assert!(Case { threads: 1, ..Case::of(Task::Readwhilewriting) }.check().is_err());
    }
}
