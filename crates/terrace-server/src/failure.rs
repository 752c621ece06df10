//! Why a command was refused: the error line that the client gets.

use std::borrow::Cow;

use terrace::Error;

/// A refusal. A command that returns one must not count on what it has written to the reply so far.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A text with its code, such as `ERR syntax error`.
    Text(Cow<'static, str>),
    /// The store's own.
    Store(Error),
}

/// Arguments that do not fit together.
pub(crate) const SYNTAX: Failure = Failure::fixed("ERR syntax error");
/// A number that is none, or too large.
pub(crate) const NOT_AN_INTEGER: Failure = Failure::fixed("ERR value is not an integer or out of range");
/// A floating-point number that is none.
pub(crate) const NOT_A_FLOAT: Failure = Failure::fixed("ERR value is not a valid float");
/// The key holds something else than a string.
pub(crate) const WRONG_TYPE: Failure =
    Failure::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
/// A command that needs the key.
pub(crate) const NO_SUCH_KEY: Failure = Failure::fixed("ERR no such key");
/// A database number outside 0 to 15.
pub(crate) const DB_OUT_OF_RANGE: Failure = Failure::fixed("ERR DB index is out of range");
/// A value that would exceed 512 MiB.
pub(crate) const STRING_TOO_LONG: Failure =
    Failure::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
/// A read-modify-write that lost against others again and again.
pub(crate) const TOO_CONTENDED: Failure =
    Failure::fixed("ERR the keys of this command change too often, try again");
/// A client that has not authenticated.
pub(crate) const NO_AUTH: Failure = Failure::fixed("NOAUTH Authentication required.");

impl Failure {
    /// A refusal known at compile time.
    pub(crate) const fn fixed(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A refusal with details.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// An expiry that cannot be represented.
    pub(crate) fn invalid_expire(command: &str) -> Self {
        Self::text(format!("ERR invalid expire time in '{command}' command"))
    }

    /// A wrong number of arguments.
    pub(crate) fn arity(command: &str) -> Self {
        Self::text(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// Whether a conditional commit found a changed key.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(Error::Conflict))
    }

    /// The error line.
    pub(crate) fn line(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Store(error) => Cow::Owned(store_line(error)),
        }
    }
}

/// The error line for a failure of the store.
pub(crate) fn store_line(error: &Error) -> String {
    match error {
        Error::Poisoned { .. } => format!("MISCONF {error}"),
        Error::Closed => "ERR the store is closed".into(),
        _ => format!("ERR {error}"),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
