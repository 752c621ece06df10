//! `terrace backup`: generations of a store in a directory of their own.

use std::path::PathBuf;

use anyhow::Result;
use terrace::{Backups, Generation, Options};

use crate::exit::{self, Code, Failure};
use crate::progress::FileBar;
use crate::store::Place;
use crate::{table, units};

/// Flags of `backup`.
#[derive(clap::Args)]
pub(crate) struct Backup {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make a new generation: copies the tables that are not in the backup yet.
    Create(Create),
    /// List the generations.
    List(List),
    /// Read every file and compare it with the checksum it was stored under.
    Verify(Verify),
    /// Put a generation back together as a store in a new or empty directory.
    Restore(Restore),
    /// Remove all generations but the last few, and the files that only those needed.
    Prune(Prune),
}

#[derive(clap::Args)]
struct Create {
    #[command(flatten)]
    place: Place,
    /// The directory of the backups; made if it is missing. With --url, on the server's machine.
    #[arg(long, value_name = "BACKUPS")]
    to: PathBuf,
}

/// Where the backups are.
#[derive(clap::Args)]
struct From {
    /// The directory of the backups.
    #[arg(long, value_name = "BACKUPS")]
    from: PathBuf,
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    at: From,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Verify {
    #[command(flatten)]
    at: From,
    /// Only this generation; otherwise all.
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
}

#[derive(clap::Args)]
struct Restore {
    #[command(flatten)]
    at: From,
    /// The directory of the new store, which must be missing or empty.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The generation; otherwise the latest.
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
}

#[derive(clap::Args)]
struct Prune {
    #[command(flatten)]
    at: From,
    /// How many generations stay.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

impl Backup {
    pub(crate) fn run(self) -> Result<Code> {
        match self.verb {
            Verb::Create(verb) => verb.run(),
            Verb::List(verb) => verb.run(),
            Verb::Verify(verb) => verb.run(),
            Verb::Restore(verb) => verb.run(),
            Verb::Prune(verb) => verb.run(),
        }
    }
}

fn in_words(generation: &Generation) -> String {
    let Generation { number, files, bytes, new_files, new_bytes, .. } = generation;
    let (bytes, new_bytes) = (units::bytes(*bytes), units::bytes(*new_bytes));
    format!("generation {number}: {files} tables, {bytes}; {new_files} of them new, {new_bytes}")
}

impl Create {
    fn run(self) -> Result<Code> {
        let Some(dir) = self.place.dir() else {
            let reply = self.place.connect()?.backup(&self.to)?;
            println!("{reply}");
            return Ok(Code::Done);
        };
        let db = Options::new().create_if_missing(false).open(dir).map_err(exit::explain_open)?;
        let bar = FileBar::start();
        let made = Backups::new(&self.to).create(&db, |progress| bar.show(progress));
        bar.finish();
        let generation = made?;
        db.close()?;
        println!("{}", in_words(&generation));
        Ok(Code::Done)
    }
}

impl List {
    fn run(self) -> Result<Code> {
        let catalog = Backups::new(&self.at.from).list()?;
        if self.json {
            let generations: Vec<_> = catalog.generations.iter().map(to_json).collect();
            let damaged = catalog.damaged.iter().map(
                |(number, error)| serde_json::json!({ "generation": number, "error": error.to_string() }),
            );
            let damaged: Vec<_> = damaged.collect();
            println!("{}", serde_json::json!({ "generations": generations, "damaged": damaged }));
        } else {
            let header = ["generation", "made (UTC)", "writes up to", "tables", "size", "new tables", "new"];
            let rows = catalog.generations.iter().map(|generation| {
                vec![
                    generation.number.to_string(),
                    units::utc(generation.created_at_ms),
                    units::grouped(generation.last_seqno),
                    units::grouped(generation.files),
                    units::bytes(generation.bytes),
                    units::grouped(generation.new_files),
                    units::bytes(generation.new_bytes),
                ]
            });
            print!("{}", table::rows(&header, rows));
            for (number, error) in &catalog.damaged {
                println!("generation {number} is damaged: {error}");
            }
        }
        Ok(if catalog.damaged.is_empty() { Code::Done } else { Code::Difference })
    }
}

fn to_json(generation: &Generation) -> serde_json::Value {
    serde_json::json!({
        "generation": generation.number,
        "created_at_ms": generation.created_at_ms,
        "last_seqno": generation.last_seqno,
        "tables": generation.files,
        "bytes": generation.bytes,
        "new_tables": generation.new_files,
        "new_bytes": generation.new_bytes,
    })
}

impl Verify {
    fn run(self) -> Result<Code> {
        let bar = FileBar::start();
        let wrong = Backups::new(&self.at.from).verify(self.generation, |progress| bar.show(progress));
        let read = bar.finish();
        let wrong = wrong?;
        for error in &wrong {
            println!("{error}");
        }
        let files = units::grouped(read.files);
        let verdict = if wrong.is_empty() { "sound".to_string() } else { format!("{} damaged", wrong.len()) };
        println!("checked {files} tables, {}: {verdict}", units::bytes(read.bytes));
        Ok(if wrong.is_empty() { Code::Done } else { Code::Difference })
    }
}

impl Restore {
    fn run(self) -> Result<Code> {
        let bar = FileBar::start();
        let restored =
            Backups::new(&self.at.from).restore(self.generation, &self.dir, |progress| bar.show(progress));
        bar.finish();
        let generation = restored.map_err(|error| match &error {
            terrace::Error::Corruption { .. } => Failure::error(
                Code::Store,
                format!("{error}; nothing was restored: try another generation (backup list, backup verify)"),
            ),
            _ => error.into(),
        })?;
        println!("restored {} to {}", in_words(&generation), self.dir.display());
        Ok(Code::Done)
    }
}

impl Prune {
    fn run(self) -> Result<Code> {
        let pruned = Backups::new(&self.at.from).prune(self.keep as usize)?;
        let (generations, files) = (pruned.generations.len(), units::grouped(pruned.files));
        println!("removed {generations} generations and {files} tables, {}", units::bytes(pruned.bytes));
        Ok(Code::Done)
    }
}
