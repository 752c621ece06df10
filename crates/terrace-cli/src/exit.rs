//! How a run ends: the exit codes, and the error that carries one.
//!
//! | code | meaning |
//! |------|---------|
//! | 0 | done |
//! | 1 | the key is not there (`get`) |
//! | 2 | wrong usage: an unknown flag, a value outside its range |
//! | 3 | the store refused: missing, locked, damaged, full, poisoned |
//! | 4 | input or output outside the store: a bad line, a file that cannot be read or written |
//! | 5 | the server cannot start, cannot be reached or answered with an error |
//! | 6 | a check found damage or a difference (`verify`, `backup verify`, `inspect`, `bench --verify`), or `repair` lost something |
//!
//! The codes are an interface: scripts depend on them, so a number never changes its meaning.

use std::fmt;
use std::io;
use std::path::Path;

/// What a run ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Code {
    /// Everything asked for was done.
    Done = 0,
    /// The key is not there.
    Missing = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The store refused.
    Store = 3,
    /// Input or output outside the store failed.
    Data = 4,
    /// The server failed, or could not be started or reached.
    Server = 5,
    /// A check found damage or a difference.
    Difference = 6,
}

/// An error that decides the exit code; everything else ends with what [`code_of`] finds.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    /// A failure with this code and message, ready to be returned from a verb.
    pub(crate) fn error(code: Code, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { code, message: message.into() })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Adds the way out that the command line offers to why a store does not open.
pub(crate) fn explain_open(error: terrace::Error) -> anyhow::Error {
    let advice = match &error {
        terrace::Error::Locked { .. } => "or, if that is a server, work through it with --url",
        terrace::Error::Io { path, .. } if path.ancestors().skip(1).any(Path::is_file) => {
            "the store's path leads through a file; --dir takes a directory"
        }
        _ => return error.into(),
    };
    Failure::error(code_of_store(&error), format!("{error}, {advice}"))
}

/// Adds the way out to why the files of a store are not looked at.
pub(crate) fn explain_files(error: terrace::Error) -> anyhow::Error {
    match &error {
        terrace::Error::Locked { .. } => {
            let advice = "or look at a backup of it (terrace backup create --url, then restore)";
            Failure::error(Code::Store, format!("{error}, {advice}"))
        }
        _ => error.into(),
    }
}

fn code_of_store(error: &terrace::Error) -> Code {
    if matches!(error, terrace::Error::InvalidInput(_)) { Code::Usage } else { Code::Store }
}

/// The exit code of an error: the first cause in its chain that is known decides.
pub(crate) fn code_of(error: &anyhow::Error) -> Code {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.code;
        }
        if let Some(store) = cause.downcast_ref::<terrace::Error>() {
            return code_of_store(store);
        }
        if cause.is::<redis::RedisError>() {
            return Code::Server;
        }
    }
    Code::Data
}

/// The error and its causes as one line; a cause that the text before it already contains is not repeated.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if words.is_empty() {
            words = text;
        } else if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
    }
    words
}

/// Whether the reader of our output went away (`terrace scan | head`), which is no error.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let plain = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        let csv = cause.downcast_ref::<csv::Error>().and_then(|e| match e.kind() {
            csv::ErrorKind::Io(e) => Some(e.kind()),
            _ => None,
        });
        [plain, json, csv].contains(&Some(io::ErrorKind::BrokenPipe))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_cause_decides_the_code_whatever_was_said_around_it() {
        let locked = terrace::Error::Locked { path: "x".into(), pid: None };
        assert_eq!(code_of(&anyhow::Error::new(locked).context("outer")), Code::Store);
        assert_eq!(code_of(&terrace::Error::InvalidInput("x".into()).into()), Code::Usage);
        assert_eq!(code_of(&Failure::error(Code::Missing, "x").context("outer")), Code::Missing);
        assert_eq!(code_of(&io::Error::other("x").into()), Code::Data);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("refused").context("cannot connect: refused").context("line 1");
        assert_eq!(in_words(&error), "line 1: cannot connect: refused");
    }

    #[test]
    fn a_closed_pipe_is_recognised_in_every_disguise() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Err::<(), _>(broken()).context("writing").unwrap_err()));
        assert!(is_broken_pipe(&csv::Error::from(broken()).into()));
        assert!(!is_broken_pipe(&io::Error::other("x").into()));
    }
}
