//! The progress line of a long copy, on standard error and only when that is a terminal.

use std::cell::Cell;
use std::io::{self, Read};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::units;

/// What a copy has done so far; prints it while it runs.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    entries: u64,
    verb: &'static str,
}

impl Progress {
    /// Starts; `total` is the number of bytes or entries to come, when known.
    pub(crate) fn start(verb: &'static str, total: Option<u64>, counts_bytes: bool) -> Self {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let amount = match (total.is_some(), counts_bytes) {
            (true, true) => "{wide_bar} {binary_bytes}/{binary_total_bytes} {msg} eta {eta}",
            (true, false) => "{wide_bar} {pos}/~{len} {msg}",
            (false, true) => "{spinner} {binary_bytes} {msg}",
            (false, false) => "{spinner} {pos} {msg}",
        };
        // The templates are constants; a wrong one would only cost its looks.
        let style = ProgressStyle::with_template(amount).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar, started: Instant::now(), entries: 0, verb }
    }

    /// Wraps an input so that what is read from it moves the bar.
    pub(crate) fn reading<R: Read>(&self, inner: R) -> impl Read + use<R> {
        Counted { inner, bar: self.bar.clone() }
    }

    /// Counts entries.
    pub(crate) fn add(&mut self, entries: u64) {
        self.entries += entries;
        let rate = self.entries as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let (entries, rate) = (units::grouped(self.entries), units::grouped(rate as u64));
        self.bar.set_message(format!("{entries} entries, {rate}/s"));
    }

    /// Moves the bar of a copy that counts entries.
    pub(crate) fn advance(&self, entries: u64) {
        self.bar.inc(entries);
    }

    /// Entries so far.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Prints a line above the bar, or just prints it.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away and returns the final sentence.
    pub(crate) fn finish(&self, bytes: u64) -> String {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let rate = |amount: u64| (amount as f64 / seconds) as u64;
        format!(
            "{} {} entries ({}) in {seconds:.2} s: {} entries/s, {}/s",
            self.verb,
            units::grouped(self.entries),
            units::bytes(bytes),
            units::grouped(rate(self.entries)),
            units::bytes(rate(bytes)),
        )
    }
}

struct Counted<R> {
    inner: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

/// The bar of a job that works through files.
pub(crate) struct FileBar {
    bar: ProgressBar,
    last: Cell<terrace::Progress>,
}

impl FileBar {
    /// Starts; shows nothing before it hears of the job.
    pub(crate) fn start() -> Self {
        let bar = ProgressBar::new(0);
        let style =
            ProgressStyle::with_template("{wide_bar} {binary_bytes}/{binary_total_bytes} {msg} eta {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, last: Cell::default() }
    }

    /// Shows how far the job has come.
    pub(crate) fn show(&self, progress: terrace::Progress) {
        let before = self.last.replace(progress);
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes);
        if before.files != progress.files || before.files_total != progress.files_total {
            self.bar.set_message(format!("{}/{} tables", progress.files, progress.files_total));
        }
    }

    /// Takes the bar away; how far the job has come.
    pub(crate) fn finish(&self) -> terrace::Progress {
        self.bar.finish_and_clear();
        self.last.get()
    }
}
