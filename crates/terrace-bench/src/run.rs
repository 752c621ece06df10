//! A run: one store, one workload after another, one row each.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tempfile::TempDir;
use terrace::Db;

use crate::config::{Config, Workload};
use crate::report::{Report, Row};
use crate::resources;
use crate::workload;

/// Does the workloads of `config` in order; `each` is told of every row as soon as it is there.
pub fn run(config: &Config, mut each: impl FnMut(&Row)) -> Result<Report> {
    let mut session = Session::open(config.clone())?;
    let mut report = Report::default();
    for &workload in &config.workloads {
        let row = session.perform(workload)?;
        each(&row);
        report.rows.push(row);
    }
    session.close()?;
    Ok(report)
}

/// What one workload did.
pub(crate) struct Outcome {
    /// Operations done.
    pub(crate) operations: u64,
    /// Entries found by reads.
    pub(crate) found: u64,
    /// Latency of each operation.
    pub(crate) latencies: Histogram<u64>,
}

/// An open store and the directory that is removed after it.
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) db: Db,
    /// How often every key has been overwritten.
    pub(crate) round: u64,
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Session {
    /// Opens the store.
    pub(crate) fn open(config: Config) -> Result<Self> {
        config.validate()?;
        let (path, temporary) = match &config.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let dir =
                    TempDir::with_prefix("terrace-bench-").context("cannot make a temporary directory")?;
                (dir.path().to_path_buf(), Some(dir))
            }
        };
        let db = config.options().open(&path)?;
        Ok(Self { config, db, round: 0, path, temporary })
    }

    /// Closes and opens the store again; returns the seconds that opening took.
    pub(crate) fn reopen(self) -> Result<(Self, f64)> {
        let Self { config, db, round, path, temporary } = self;
        db.close()?;
        drop(db);
        let started = Instant::now();
        let db = config.options().open(&path)?;
        Ok((Self { config, db, round, path, temporary }, started.elapsed().as_secs_f64()))
    }

    /// Closes the store and removes a temporary directory.
    pub(crate) fn close(self) -> Result<()> {
        self.db.close()?;
        drop(self.db);
        if let Some(dir) = self.temporary {
            dir.close().context("cannot remove the temporary directory")?;
        }
        Ok(())
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Does one workload.
    pub(crate) fn perform(&mut self, workload: Workload) -> Result<Row> {
        if workload.fills() {
            let empty = self.db.iter().next().is_none();
            ensure!(empty, "{}: {} holds entries already", workload.name(), self.path.display());
        }
        if workload == Workload::Overwrite {
            self.round += 1;
        }
        workload::prepare(self, workload)?;
        let before = self.db.stats().stalls;
        let (started, cpu_before) = (Instant::now(), resources::cpu_seconds());
        let outcome = workload::perform(self, workload).with_context(|| workload.name())?;
        let seconds = started.elapsed().as_secs_f64().max(1e-9);
        let cpu_seconds = resources::cpu_seconds() - cpu_before;
        let stats = self.db.stats();
        let (resident_bytes, resident_peak_bytes) = resources::resident_bytes();
        let row = Row {
            workload: workload.name(),
            operations: outcome.operations,
            seconds,
            cpu_seconds,
            per_second: outcome.operations as f64 / seconds,
            found: outcome.found,
            resident_bytes,
            resident_peak_bytes,
            disk_bytes: resources::disk_bytes(&self.path)?,
            write_amplification: stats.write_amplification,
            space_amplification: stats.space_amplification,
            stalls: stats.stalls.count - before.count,
            stall_max_ns: stats.stalls.max_ns,
            ..Row::default()
        };
        Ok(row.with_latencies(&outcome.latencies))
    }
}
