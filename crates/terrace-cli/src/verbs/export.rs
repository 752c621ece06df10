//! `terrace export`: streams all entries to a file that `import` reads back.
//!
//! A file appears under its name only when it is complete: it is written beside it and renamed at the end.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::codec::{self, Format, Layout, Record};
use crate::exit::{Code, Failure};
use crate::progress::Progress;
use crate::store::{Access, Store, Target};

/// Flags of `export`.
#[derive(clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    layout: LayoutFlags,
    /// All keyspaces: each JSON line says which one its entry is in. For `import --all`.
    #[arg(long, conflicts_with = "keyspace")]
    all: bool,
    /// The file; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The flags that describe a file, shared with `import`.
#[derive(clap::Args)]
pub(crate) struct LayoutFlags {
    /// The format; without it, the ending of the file name decides, and otherwise JSON lines.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The field or column of the key.
    #[arg(long, value_name = "NAME", default_value = "key")]
    key_field: String,
    /// The field or column of the value.
    #[arg(long, value_name = "NAME", default_value = "value")]
    value_field: String,
    /// CSV and TSV: no line of column names; the columns are key, value, expiry in ms since 1970, tag.
    #[arg(long)]
    no_header: bool,
}

impl LayoutFlags {
    /// The layout of a file of this name.
    pub(crate) fn layout(&self, name: &str) -> Layout {
        Layout {
            format: self.format.unwrap_or_else(|| Format::of_name(name)),
            key_field: self.key_field.clone(),
            value_field: self.value_field.clone(),
            header: !self.no_header,
            escapes: true,
            keyspaces: false,
        }
    }
}

/// Refuses a format that cannot say which keyspace an entry is in.
pub(crate) fn check_all(all: bool, layout: &Layout) -> Result<()> {
    if all && layout.format != Format::Jsonl {
        return Err(Failure::error(Code::Usage, "--all needs JSON lines: --format jsonl"));
    }
    Ok(())
}

impl Export {
    pub(crate) fn run(self) -> Result<Code> {
        let name = self.output.as_deref().map_or("-".into(), Path::to_string_lossy);
        let layout = self.layout.layout(&name);
        check_all(self.all, &layout)?;
        let mut store = self.target.open(Access::Read)?;
        let summary = match &self.output {
            None => export_to(&mut *store, self.all, io::stdout().lock(), &layout)?,
            Some(path) => {
                let partial = partial_name(path);
                let file =
                    File::create(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
                let summary = export_to(&mut *store, self.all, &file, &layout);
                let done = summary.and_then(|summary| {
                    file.sync_all()?;
                    fs::rename(&partial, path)?;
                    Ok(summary)
                });
                if done.is_err() {
                    let _ = fs::remove_file(&partial); // The first error is the one to tell.
                }
                done.with_context(|| format!("cannot write {}", path.display()))?
            }
        };
        store.close()?;
        eprintln!("{summary}");
        Ok(Code::Done)
    }
}

/// `name.partial`, beside the file.
fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Writes everything; returns the final sentence.
fn export_to(store: &mut dyn Store, all: bool, output: impl Write, layout: &Layout) -> Result<String> {
    let mut progress = Progress::start("exported", store.estimate().ok(), false);
    let mut bytes = 0;
    let mut writer = codec::writer(BufWriter::with_capacity(256 << 10, output), layout)?;
    let mut pending = 0;
    let mut write = |record: Record| {
        writer.write(&record)?;
        bytes += record.len_bytes() as u64;
        pending += 1;
        // The bar costs a lock and a look at the clock, so it hears of a thousand entries at a time.
        if pending == 1_000 {
            progress.add(pending);
            progress.advance(pending);
            pending = 0;
        }
        Ok(true)
    };
    if all {
        store.dump_all(&mut write)?;
    } else {
        store.dump(&mut write)?;
    }
    progress.add(pending);
    writer.finish()?;
    Ok(progress.finish(bytes))
}
