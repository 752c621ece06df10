//! The fuzz targets as plain functions: each takes any bytes and must neither panic nor allocate without bound.
//!
//! `cargo fuzz` calls them through `fuzz_targets/`; the test beside them runs the committed corpus and a short
//! random walk from it on stable Rust; `scripts/fuzz.sh` at the root of the repository runs them all for long.

#[allow(dead_code)]
#[path = "../../crates/terrace-cli/src/codec/mod.rs"]
mod codec;
mod store;

use terrace_resp::{Decoder, Limits};

pub use store::store;
pub use terrace::fuzzing::{blob, block, filter, footer_and_index, log_entries, log_record, manifest_edit};

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("request", request),
    ("reply", reply),
    ("log_record", log_record),
    ("log_entries", log_entries),
    ("manifest_edit", manifest_edit),
    ("block", block),
    ("blob", blob),
    ("filter", filter),
    ("footer_and_index", footer_and_index),
    ("import_jsonl", import_jsonl),
    ("import_csv", import_csv),
    ("glob", glob),
    ("store", store),
];

/// Requests of the Redis protocol, multi-bulk and inline, in one piece and in two; both must give the same.
pub fn request(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first() else { return };
    for limits in [Limits::DEFAULT, Limits::UNAUTHENTICATED] {
        let whole = requests(rest, rest.len(), &limits);
        let cut = usize::from(*cut).min(rest.len());
        assert_eq!(whole, requests(rest, cut, &limits), "cut at {cut}");
    }
}

/// The requests in `bytes`, of which the first `first` arrive at once and the rest byte by byte; and whether the
/// stream breaks off with an error.
fn requests(bytes: &[u8], first: usize, limits: &Limits) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut decoder, mut buffer, mut found) = (Decoder::new(), bytes[..first].to_vec(), Vec::new());
    let mut rest = bytes[first..].iter();
    loop {
        match decoder.decode(&mut buffer, limits) {
            Err(_) => return (found, true),
            Ok(Some(len)) => {
                found.push(decoder.args(&buffer).iter().map(<[u8]>::to_vec).collect());
                buffer.drain(..len);
            }
            Ok(None) => match rest.next() {
                Some(byte) => buffer.push(*byte),
                None => return (found, false),
            },
        }
    }
}

/// Replies of the Redis protocol.
pub fn reply(bytes: &[u8]) {
    if let Ok(Some((_, len))) = terrace_resp::decode_reply(bytes) {
        assert!(len <= bytes.len(), "a reply ends inside the buffer");
    }
}

/// Import of JSON lines.
pub fn import_jsonl(bytes: &[u8]) {
    import(bytes, codec::Format::Jsonl);
}

/// Import of CSV (the first byte being even) and TSV (odd).
pub fn import_csv(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    import(rest, if kind % 2 == 0 { codec::Format::Csv } else { codec::Format::Tsv });
}

fn import(bytes: &[u8], format: codec::Format) {
    let layout = codec::Layout::new(format);
    let Ok(mut reader) = codec::reader(bytes, &layout) else { return };
    while let Ok(Some(step)) = reader.next_record() {
        if let Ok((_, record)) = step {
            let _ = record.check();
        }
    }
}

/// Glob patterns: the first byte is the pattern's length.
pub fn glob(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(*len).min(rest.len()));
    let _ = terrace_server::fuzzing::glob(pattern, text);
}
