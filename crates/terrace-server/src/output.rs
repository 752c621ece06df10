//! The replies of one connection that its client has not taken yet.
//!
//! ```text
//! bytes: |  sent  |  released  |  held back until a sync  |
//!        0       sent       released                     len
//! ```
//!
//! Replies leave in order, so what comes after a held part is held too. Positions in the buffer stay valid
//! during a wake-up, because bytes are dropped from it only when it is written out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

/// Sent bytes are dropped from the front of a long buffer when there are so many of them.
const COMPACT_BYTES: usize = 256 << 10;

/// The buffer.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Where replies are appended.
    pub(crate) bytes: Vec<u8>,
    sent: usize,
    released: usize,
    /// Barriers and where the bytes that wait for them end, in order.
    held: VecDeque<(u64, usize)>,
}

impl Output {
    /// Bytes that have not been sent.
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether something waits for a barrier.
    pub(crate) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Releases what a wake-up has added or, with a barrier, holds it back.
    pub(crate) fn settle(&mut self, barrier: Option<u64>) {
        let end = self.bytes.len();
        let known = self.held.back().map_or(self.released, |(_, end)| *end);
        if end == known {
            return;
        }
        match (barrier, self.held.back_mut()) {
            (Some(barrier), _) => self.held.push_back((barrier, end)),
            (None, Some((_, last))) => *last = end,
            (None, None) => self.released = end,
        }
    }

    /// Releases what waits for this barrier or an earlier one.
    pub(crate) fn pass(&mut self, barrier: u64) {
        while let Some((waits_for, end)) = self.held.front().copied() {
            if waits_for > barrier {
                break;
            }
            self.released = end;
            self.held.pop_front();
        }
    }

    /// Drops what is held back, for it must not be said any more.
    pub(crate) fn drop_held(&mut self) {
        self.held.clear();
        self.bytes.truncate(self.released);
    }

    /// Puts an error line in the place of a reply of `len` bytes that was added in this wake-up.
    pub(crate) fn replace(&mut self, position: usize, len: usize, line: &str) {
        let error = line.bytes().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b });
        let reply = b"-".iter().copied().chain(error).chain(*b"\r\n");
        self.bytes.splice(position..position + len, reply);
    }

    /// Writes what is released; returns how much that was. Less than all means that the client is slow.
    pub(crate) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        let before = self.sent;
        while self.sent < self.released {
            match stream.write(&self.bytes[self.sent..self.released]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let written = self.sent - before;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            (self.sent, self.released) = (0, 0);
        } else if self.sent >= COMPACT_BYTES && self.sent >= self.bytes.len() / 2 {
            self.compact();
        }
        Ok(written)
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.sent);
        self.released -= self.sent;
        self.held.iter_mut().for_each(|(_, end)| *end -= self.sent);
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, then refuses.
    struct Slow(Vec<u8>, usize);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let n = bytes.len().min(self.1);
            self.1 -= n;
            self.0.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn held_replies_leave_in_order_once_released() {
        let mut output = Output::default();
        let mut client = Slow(Vec::new(), usize::MAX);
        output.bytes.extend_from_slice(b"a");
        output.settle(Some(1));
        output.bytes.extend_from_slice(b"b");
        output.settle(None);
        output.bytes.extend_from_slice(b"c");
        output.settle(Some(2));
        assert_eq!(output.write_to(&mut client).unwrap(), 0);
        output.pass(1);
        output.write_to(&mut client).unwrap();
        assert_eq!(client.0, b"ab");
        output.pass(2);
        output.write_to(&mut client).unwrap();
        assert_eq!((client.0.as_slice(), output.unsent(), output.is_held()), (&b"abc"[..], 0, false));
    }

    #[test]
    fn what_can_no_longer_be_promised_is_dropped() {
        let mut output = Output::default();
        output.bytes.extend_from_slice(b"said");
        output.settle(None);
        output.bytes.extend_from_slice(b"held");
        output.settle(Some(1));
        output.drop_held();
        assert_eq!(output.bytes, b"said");
    }

    #[test]
    fn a_slow_client_gets_every_byte_and_the_buffer_shrinks() {
        let mut output = Output::default();
        let data: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        output.bytes.extend_from_slice(&data);
        output.settle(None);
        let mut client = Slow(Vec::new(), 0);
        while output.unsent() > 0 {
            client.1 = 100_000;
            output.write_to(&mut client).unwrap();
            assert!(output.bytes.len() <= 2 * output.unsent() + COMPACT_BYTES);
        }
        assert!(client.0 == data);
    }

    #[test]
    fn a_broken_promise_becomes_an_error() {
        let mut output = Output::default();
        output.bytes.extend_from_slice(b"+OK\r\n+PONG\r\n+OK\r\n");
        output.replace(12, 5, "ERR b");
        output.replace(0, 5, "ERR a\nx");
        assert_eq!(output.bytes, b"-ERR a x\r\n+PONG\r\n-ERR b\r\n");
    }
}
