//! What can be wrong with a frame, in the words that Redis uses.

/// A malformed request or reply. Its text is what a server answers, after `-ERR `, before it closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is not a number or exceeds the limit.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// As above, before the client has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// The length of an argument is not a number or exceeds the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// As above, before the client has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The line with the length of an argument does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// An argument does not start with `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// A plain text line does not end, or is too long.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// The quotes of a plain text line do not match.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// All arguments of one request together exceed the limit.
    #[error("Protocol error: too big request")]
    RequestTooBig,
    /// A reply starts with a byte that is no reply type.
    #[error("Protocol error: unknown reply type '{}'", printable(*.0))]
    UnknownReply(u8),
    /// A reply's length or number cannot be read.
    #[error("Protocol error: malformed reply")]
    MalformedReply,
    /// A reply is nested too deeply.
    #[error("Protocol error: reply nested too deeply")]
    NestedTooDeeply,
}

/// A byte that may go into an error line: control characters would break the frame.
fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}
