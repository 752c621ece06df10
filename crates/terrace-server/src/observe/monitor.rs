//! `MONITOR`: connections to which every command is shown as it runs.
//!
//! The line is made once and sent to the loop of each watcher. A watcher that does not keep up is cut off by the
//! limit that subscribers have, so it costs bounded memory.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use terrace_resp::Args;

use super::redact::{REDACTED, is_secret};

/// Bytes shown of one argument; more would only fill the watcher's buffer.
const MAX_ARG_BYTES: usize = 4096;

/// A connection that watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Watcher {
    /// Its loop.
    pub(crate) loop_index: usize,
    /// Its slot there.
    pub(crate) slot: usize,
    /// The client, in case the slot has another one by now.
    pub(crate) client: u64,
}

/// Who watches.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    count: AtomicUsize,
    watchers: Mutex<Vec<Watcher>>,
}

impl Monitors {
    /// Whether anybody does.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Begins.
    pub(crate) fn add(&self, watcher: Watcher) {
        let mut watchers = self.watchers.lock();
        if !watchers.contains(&watcher) {
            watchers.push(watcher);
        }
        self.count.store(watchers.len(), Ordering::Relaxed);
    }

    /// Ends.
    pub(crate) fn remove(&self, client: u64) {
        if self.any() {
            let mut watchers = self.watchers.lock();
            watchers.retain(|watcher| watcher.client != client);
            self.count.store(watchers.len(), Ordering::Relaxed);
        }
    }

    /// Whether a client does.
    pub(crate) fn has(&self, client: u64) -> bool {
        self.any() && self.watchers.lock().iter().any(|watcher| watcher.client == client)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Watcher> {
        self.watchers.lock().clone()
    }
}

/// The line that shows a command.
pub(crate) fn line(now_us: u64, db: u8, peer: &str, args: Args<'_>) -> Arc<[u8]> {
    let mut line = format!("+{}.{:06} [{db} {peer}]", now_us / 1_000_000, now_us % 1_000_000).into_bytes();
    for (at, arg) in args.iter().enumerate() {
        line.extend_from_slice(b" \"");
        let arg = if is_secret(args, at) { REDACTED } else { arg };
        quote(&arg[..arg.len().min(MAX_ARG_BYTES)], &mut line);
        line.push(b'"');
        if arg.len() > MAX_ARG_BYTES {
            line.extend_from_slice(b"...");
        }
    }
    line.extend_from_slice(b"\r\n");
    line.into()
}

fn quote(text: &[u8], line: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            b' '..=b'~' => line.push(*byte),
            // Writing to a vector does not fail.
            other => drop(write!(line, "\\x{other:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_unprintable_is_escaped() {
        let mut line = Vec::new();
        quote(b"a\"b\\\r\n\x00\xff", &mut line);
        assert_eq!(line, b"a\\\"b\\\\\\r\\n\\x00\\xff");
    }
}
