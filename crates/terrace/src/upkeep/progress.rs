//! How far a long job has come, and who is told.

/// How far a job has come that works through files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Files to do.
    pub files_total: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes to do.
    pub bytes_total: u64,
}

/// Counts what is done and tells the observer.
pub(super) struct Tally<'a> {
    progress: Progress,
    tell: &'a mut dyn FnMut(Progress),
}

impl<'a> Tally<'a> {
    /// A job on files of these sizes.
    pub(super) fn new(sizes: impl Iterator<Item = u64>, tell: &'a mut dyn FnMut(Progress)) -> Self {
        let mut progress = Progress::default();
        for bytes in sizes {
            progress.files_total += 1;
            progress.bytes_total += bytes;
        }
        tell(progress);
        Self { progress, tell }
    }

    /// Some bytes are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.progress.bytes += bytes;
        (self.tell)(self.progress);
    }

    /// A file is done.
    pub(super) fn file_done(&mut self) {
        self.progress.files += 1;
        (self.tell)(self.progress);
    }
}
