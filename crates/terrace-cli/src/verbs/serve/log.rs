//! The log of the server: where it goes, in which form, and how much of it. The level may change while it runs.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use terrace_server::{Configuration, LogLevelHook};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{Registry, fmt, reload};

/// Starts the log; returns what changes its level.
pub(super) fn start(configuration: &Configuration) -> Result<LogLevelHook> {
    let file = configuration.get("logfile");
    let writer = if file.is_empty() {
        BoxMakeWriter::new(io::stderr)
    } else {
        let opened = OpenOptions::new().create(true).append(true).open(file);
        BoxMakeWriter::new(Mutex::new(opened.with_context(|| format!("cannot open the log file {file}"))?))
    };
    let colours = file.is_empty() && io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(writer).with_ansi(colours).with_target(false);
    let lines = match configuration.get("log-format") {
        "json" => lines.json().boxed(),
        _ => lines.boxed(),
    };
    let (level, handle) = reload::Layer::new(filter(configuration.get("loglevel")));
    tracing::subscriber::set_global_default(Registry::default().with(level).with(lines))
        .context("cannot start the log")?;
    Ok(Arc::new(move |level| {
        // It fails only when the log has gone, and then there is nobody to tell.
        let _ = handle.reload(filter(level));
    }))
}

/// What a level of Redis lets through.
fn filter(level: &str) -> LevelFilter {
    match level {
        "debug" | "verbose" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}
