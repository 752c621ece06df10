//! What a request may ask for, checked before any memory is set aside for it.

/// The limits of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Arguments, the command's name included.
    pub args: usize,
    /// Bytes of one argument.
    pub bulk_bytes: usize,
    /// Bytes of a plain text line, and of any line that announces a length.
    pub inline_bytes: usize,
    /// Bytes of a whole request. At most 4 GiB less one, because arguments are 32-bit ranges.
    pub request_bytes: usize,
    /// Whether these are the limits of a client that has not authenticated, which changes the error texts.
    pub unauthenticated: bool,
}

impl Limits {
    /// 1,048,576 arguments of at most 512 MiB each, lines of 64 KiB, 1 GiB in all.
    pub const DEFAULT: Self = Self {
        args: 1 << 20,
        bulk_bytes: 512 << 20,
        inline_bytes: 64 << 10,
        request_bytes: 1 << 30,
        unauthenticated: false,
    };

    /// What is left before authentication: 10 arguments of at most 16 KiB each.
    pub const UNAUTHENTICATED: Self = Self {
        args: 10,
        bulk_bytes: 16 << 10,
        inline_bytes: 16 << 10,
        request_bytes: 192 << 10,
        unauthenticated: true,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
