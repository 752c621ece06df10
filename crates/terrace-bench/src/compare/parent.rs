//! The parent: which runs there are, in which order, and on which directories.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{statfs, syncfs};
use tempfile::TempDir;

use super::case::{Base, Case, Task};
use super::child::Run;
use super::record::{Figures, Record};
use crate::store::{Engine, Level};

/// What a comparison does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to do on every store.
    pub cases: Vec<Case>,
    /// The stores.
    pub engines: Vec<Engine>,
    /// How often.
    pub rounds: u32,
    /// Where to make the directory for the stores; on a disk, if anything is to be synced.
    pub dir: PathBuf,
    /// The program whose `run` command, with a [`Run`] as JSON, calls [`super::run_one`].
    pub program: PathBuf,
}

/// Does all runs of a plan, every one in a process of its own: for each case round after round, and within a round
/// one store after another. `each` is told of every record as soon as it is there. A run that fails leaves a record
/// with the reason, and the comparison goes on.
pub fn compare(plan: &Plan, mut each: impl FnMut(&Record) -> Result<()>) -> Result<()> {
    for case in &plan.cases {
        case.check().map_err(anyhow::Error::msg)?;
    }
    if plan.cases.iter().any(|case| case.setup.durability != Level::Process) {
        refuse_memory(&plan.dir)?;
    }
    let scratch = TempDir::with_prefix_in("terrace-compare-", &plan.dir)
        .with_context(|| format!("cannot make a directory in {}", plan.dir.display()))?;
    let mut stage = Stage { plan, scratch: scratch.path(), loaded: HashMap::new() };
    for case in &plan.cases {
        let engines: Vec<Engine> = plan.engines.iter().copied().filter(|e| takes_part(*e, case)).collect();
        for round in 1..=plan.rounds {
            // Another store begins each time: what the one before leaves to the disk hits no store always.
            for turn in 0..engines.len() {
                let engine = engines[(turn + round as usize - 1) % engines.len()];
                let (figures, error) = match stage.run(engine, case) {
                    Ok(figures) => (Some(figures), None),
                    Err(error) => (None, Some(format!("{error:#}"))),
                };
                each(&Record { store: engine, round, case: case.clone(), figures, error })?;
            }
        }
    }
    scratch.close().context("cannot remove the directory of the stores")
}

/// The yardstick only says what a durable put costs at least.
fn takes_part(engine: Engine, case: &Case) -> bool {
    let durable_puts = case.setup.durability == Level::Sync && case.task == Task::Fillrandom;
    engine != Engine::Raw || (durable_puts && case.threads == 1)
}

/// A sync costs nothing on a file system in memory.
fn refuse_memory(dir: &Path) -> Result<()> {
    const TMPFS: u64 = 0x0102_1994;
    let found = statfs(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    ensure!(found.f_type as u64 != TMPFS, "{} lies in memory: give a directory on a disk", dir.display());
    Ok(())
}

/// Where the runs take place, and the stores that are loaded already.
struct Stage<'a> {
    plan: &'a Plan,
    scratch: &'a Path,
    loaded: HashMap<(Engine, u64, usize, usize), PathBuf>,
}

impl Stage<'_> {
    fn run(&mut self, engine: Engine, case: &Case) -> Result<Figures> {
        ensure!(engine.built(), "this build has no {0}: build with --features peer-{0}", engine.name());
        let own = self.scratch.join("run");
        let dir = match case.task.base() {
            Base::Fresh => {
                fs::create_dir(&own)?;
                own.clone()
            }
            Base::Shared => self.loaded(engine, case)?,
            Base::Copied => {
                copy(&self.loaded(engine, case)?, &own)?;
                own.clone()
            }
        };
        // What earlier runs and the copying left to write back would disturb this one.
        syncfs(File::open(self.scratch)?)?;
        let figures = self.child(&Run { engine, dir, case: case.clone() });
        if own.exists() {
            fs::remove_dir_all(&own).context("cannot remove the directory of the run")?;
        }
        figures
    }

    /// The loaded store of an engine, made when it is first asked for.
    fn loaded(&mut self, engine: Engine, case: &Case) -> Result<PathBuf> {
        let id = (engine, case.entries, case.value_bytes, case.setup.shards);
        if let Some(dir) = self.loaded.get(&id) {
            return Ok(dir.clone());
        }
        let dir = self.scratch.join(format!(
            "{}-{}-{}-{}",
            engine.name(),
            case.entries,
            case.value_bytes,
            case.setup.shards
        ));
        if dir.exists() {
            bail!("loading {} has failed before", dir.display());
        }
        fs::create_dir(&dir)?;
        let mut load = Case { task: Task::Load, threads: 1, ..case.clone() };
        load.setup.durability = Level::Process;
        load.setup.cold = false;
        self.child(&Run { engine, dir: dir.clone(), case: load }).context("loading")?;
        self.loaded.insert(id, dir.clone());
        Ok(dir)
    }

    fn child(&self, run: &Run) -> Result<Figures> {
        let complaints = self.scratch.join("stderr");
        let mut child = Command::new(&self.plan.program)
            .arg("run")
            .arg(serde_json::to_string(run)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&complaints)?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.plan.program.display()))?;
        let limit = Duration::from_secs_f64(300.0 + 5.0 * run.case.seconds);
        let limit = if run.case.task == Task::Load { Duration::from_secs(3600) } else { limit };
        let Some(status) = wait(&mut child, limit)? else {
            bail!("stopped after {} s", limit.as_secs());
        };
        let output = child.wait_with_output()?;
        if !status.success() {
            let said = fs::read_to_string(&complaints).unwrap_or_default();
            bail!("{status}: {}", said.trim().chars().take(500).collect::<String>());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next_back().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("the child said {line:?}"))
    }
}

/// Waits for a child, which writes less than a pipe holds; kills it when the time is over.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Copies a directory. The program does it because it keeps holes: a file of LMDB is as long as its map.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status =
        Command::new("cp").args(["-a", "--sparse=always", "--reflink=auto"]).arg(from).arg(to).status();
    let status = status.context("cannot start cp")?;
    ensure!(status.success(), "cp {} {}: {status}", from.display(), to.display());
    Ok(())
}
