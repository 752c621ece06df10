//! The incremental request decoder.
//!
//! A [`Decoder`] is given the bytes from the start of a request, again and again with more of them, until the
//! request is complete. It remembers how far it came, so a request that arrives byte by byte is still read
//! once. It keeps offsets relative to the request's start and no bytes, so the caller may move its buffer.
//!
//! Like Redis, it does not look at the two bytes after an argument.

use std::ops::Index;

use crate::{Limits, ProtocolError, inline, number};

/// How far into a request the decoder has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// Before its first byte.
    #[default]
    Start,
    /// Inside a plain text line.
    Inline,
    /// Inside the line with the number of arguments.
    Count,
    /// Inside the line with an argument's length.
    Length,
    /// Inside an argument of so many bytes.
    Bulk(usize),
}

/// Takes requests apart; see the module's description.
#[derive(Debug, Default)]
pub struct Decoder {
    stage: Stage,
    /// Where the current line or argument begins.
    position: usize,
    /// How far the current line has been searched for its end.
    searched: usize,
    /// Arguments still to come.
    missing: usize,
    args: Vec<(u32, u32)>,
    done: bool,
}

impl Decoder {
    /// A decoder at the start of a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with the request that starts at `buf[0]`.
    ///
    /// `Some(len)` means that the request is complete and `len` bytes long; [`Decoder::args`] then gives its
    /// arguments (none for an empty line or array, which are to be ignored), and the next call starts a new
    /// request at `buf[len]`. `None` asks for more bytes. An error ends the connection.
    pub fn decode(&mut self, buf: &mut [u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if self.done {
            self.reset();
        }
        loop {
            let complete = match self.stage {
                Stage::Start => match buf.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        self.stage = Stage::Count;
                        false
                    }
                    Some(_) => {
                        self.stage = Stage::Inline;
                        false
                    }
                },
                Stage::Inline => match self.take_inline(buf, limits)? {
                    None => return Ok(None),
                    Some(()) => true,
                },
                Stage::Count => match self.take_count(buf, limits)? {
                    None => return Ok(None),
                    Some(()) => self.missing == 0,
                },
                Stage::Length => match self.take_length(buf, limits)? {
                    None => return Ok(None),
                    Some(()) => false,
                },
                Stage::Bulk(len) => {
                    if buf.len() < self.position + len + 2 {
                        return Ok(None);
                    }
                    self.take_bulk(len);
                    self.missing == 0
                }
            };
            if complete {
                self.done = true;
                return Ok(Some(self.position));
            }
        }
    }

    /// The arguments of the request that [`Decoder::decode`] has just completed in `buf`.
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        Args { buf, ranges: &self.args }
    }

    /// How many bytes from the request's start are needed before decoding can go on; a hint for reading.
    pub fn needed(&self) -> usize {
        match self.stage {
            Stage::Bulk(len) if !self.done => self.position + len + 2,
            _ => 0,
        }
    }

    /// Gives back memory that an unusually long request took.
    pub fn shrink(&mut self) {
        if self.done && self.args.capacity() > 64 {
            self.args = Vec::new();
        }
    }

    /// Forgets a request begun, to start over at another position.
    pub fn reset(&mut self) {
        self.args.clear();
        self.stage = Stage::Start;
        self.position = 0;
        self.searched = 0;
        self.missing = 0;
        self.done = false;
    }

    fn take_inline(&mut self, buf: &mut [u8], limits: &Limits) -> Result<Option<()>, ProtocolError> {
        let Some(end) = memchr::memchr(b'\n', &buf[self.searched..]).map(|at| self.searched + at) else {
            self.searched = buf.len();
            let too_big = buf.len() > limits.inline_bytes;
            return if too_big { Err(ProtocolError::InlineTooBig) } else { Ok(None) };
        };
        if end > limits.inline_bytes {
            return Err(ProtocolError::InlineTooBig);
        }
        let line = &mut buf[..end];
        let line = match line {
            [rest @ .., b'\r'] => rest,
            _ => line,
        };
        inline::split(line, &mut self.args)?;
        self.position = end + 1;
        Ok(Some(()))
    }

    fn take_count(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<()>, ProtocolError> {
        let Some(end) = self.line_end(buf) else {
            let too_big = buf.len() - self.position > limits.inline_bytes;
            return if too_big { Err(ProtocolError::MultibulkLine) } else { Ok(None) };
        };
        let count = number::parse_i64(&buf[1..end]).ok_or(ProtocolError::MultibulkLength)?;
        self.missing = usize::try_from(count).unwrap_or(0);
        if self.missing > limits.args {
            return Err(if limits.unauthenticated && self.missing <= Limits::DEFAULT.args {
                ProtocolError::UnauthenticatedMultibulkLength
            } else {
                ProtocolError::MultibulkLength
            });
        }
        self.begin_line(end + 2);
        Ok(Some(()))
    }

    fn take_length(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<()>, ProtocolError> {
        let Some(end) = self.line_end(buf) else {
            let too_big = buf.len() - self.position > limits.inline_bytes;
            return if too_big { Err(ProtocolError::BulkLine) } else { Ok(None) };
        };
        if buf[self.position] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buf[self.position]));
        }
        let length = number::parse_i64(&buf[self.position + 1..end]).ok_or(ProtocolError::BulkLength)?;
        let length = usize::try_from(length).map_err(|_| ProtocolError::BulkLength)?;
        if length > limits.bulk_bytes {
            return Err(if limits.unauthenticated && length <= Limits::DEFAULT.bulk_bytes {
                ProtocolError::UnauthenticatedBulkLength
            } else {
                ProtocolError::BulkLength
            });
        }
        if end + 2 + length > limits.request_bytes {
            return Err(ProtocolError::RequestTooBig);
        }
        self.position = end + 2;
        self.stage = Stage::Bulk(length);
        Ok(Some(()))
    }

    fn take_bulk(&mut self, len: usize) {
        let end = self.position + len;
        self.args.push((self.position as u32, end as u32));
        self.missing -= 1;
        self.begin_line(end + 2);
    }

    fn begin_line(&mut self, at: usize) {
        self.position = at;
        self.searched = at;
        self.stage = Stage::Length;
    }

    /// Where the `\r` of the current line is, once the byte after it is there too.
    fn line_end(&mut self, buf: &[u8]) -> Option<usize> {
        let from = self.searched.max(self.position);
        let Some(found) = memchr::memchr(b'\r', buf.get(from..)?) else {
            self.searched = buf.len();
            return None;
        };
        self.searched = from + found;
        (self.searched + 2 <= buf.len()).then_some(self.searched)
    }
}

/// The arguments of a request, the command's name first.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [(u32, u32)],
}

impl<'a> Args<'a> {
    /// Their number.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|(start, end)| &self.buf[*start as usize..*end as usize])
    }

    /// Where one of them lies in the buffer.
    pub fn range(&self, index: usize) -> Option<std::ops::Range<usize>> {
        self.ranges.get(index).map(|(start, end)| *start as usize..*end as usize)
    }

    /// All of them from `first` on.
    pub fn from(&self, first: usize) -> Args<'a> {
        Args { buf: self.buf, ranges: self.ranges.get(first..).unwrap_or_default() }
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let buf = self.buf;
        self.ranges.iter().map(move |(start, end)| &buf[*start as usize..*end as usize])
    }

    /// A copy that outlives the buffer.
    pub fn to_kept(&self) -> KeptArgs {
        let mut kept =
            KeptArgs { buf: Vec::with_capacity(self.iter().map(<[u8]>::len).sum()), ranges: Vec::new() };
        for arg in self.iter() {
            let start = kept.buf.len() as u32; // A request has less than 4 GiB, or its ranges would not fit.
            kept.buf.extend_from_slice(arg);
            kept.ranges.push((start, kept.buf.len() as u32));
        }
        kept
    }
}

/// The arguments of a request that is to run later.
#[derive(Clone, Debug)]
pub struct KeptArgs {
    buf: Vec<u8>,
    ranges: Vec<(u32, u32)>,
}

impl KeptArgs {
    /// The arguments.
    pub fn args(&self) -> Args<'_> {
        Args { buf: &self.buf, ranges: &self.ranges }
    }

    /// The memory they take.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.buf.capacity() + self.ranges.capacity() * size_of::<(u32, u32)>()
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// One of them; the caller has checked the number.
    fn index(&self, index: usize) -> &[u8] {
        let (start, end) = self.ranges[index];
        &self.buf[start as usize..end as usize]
    }
}

#[cfg(test)]
mod tests;
