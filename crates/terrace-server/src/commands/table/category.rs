//! The categories that access rules name (`+@read`), one bit each.

use super::command::{ADMIN, BLOCKING, DANGEROUS, FAST, Flags, PUBSUB, READ, WRITE};

/// Names, in the order of the bits: the category at index `i` has the bit `1 << i`.
pub(crate) const NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The bit of a category; used at compile time, where a name that does not exist stops the build.
pub(crate) const fn bit(name: &str) -> u32 {
    let mut at = 0;
    while at < NAMES.len() {
        if same(NAMES[at].as_bytes(), name.as_bytes()) {
            return 1 << at;
        }
        at += 1;
    }
    panic!("no such category")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Keys of any type.
pub(crate) const KEYSPACE: u32 = bit("keyspace");
/// The connection itself.
pub(crate) const CONNECTION: u32 = bit("connection");
/// Scripts and functions.
pub(crate) const SCRIPTING: u32 = bit("scripting");

/// The bit of a category that a client names, in any case and without the `@`.
pub(crate) fn find(name: &[u8]) -> Option<u32> {
    NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes())).map(|at| 1 << at)
}

/// The names of a sum of bits.
pub(crate) fn names(acl: u32) -> impl Iterator<Item = &'static str> {
    NAMES.iter().enumerate().filter(move |(at, _)| acl & 1 << at != 0).map(|(_, name)| *name)
}

/// What a command's group says.
pub(super) const fn of_group(group: &str) -> u32 {
    match group.as_bytes() {
        b"string" => bit("string"),
        b"bitmap" => bit("bitmap"),
        b"hash" => bit("hash"),
        b"generic" => KEYSPACE,
        b"connection" => CONNECTION,
        b"transactions" => bit("transaction"),
        b"pubsub" => bit("pubsub"),
        b"scripting" => SCRIPTING,
        _ => 0,
    }
}

/// What a command's flags say.
pub(super) const fn of_flags(flags: Flags) -> u32 {
    let mut acl = if flags & FAST != 0 { bit("fast") } else { bit("slow") };
    let by_flag = [
        (WRITE, bit("write")),
        (READ, bit("read")),
        (ADMIN, bit("admin") | bit("dangerous")),
        (DANGEROUS, bit("dangerous")),
        (BLOCKING, bit("blocking")),
        (PUBSUB, bit("pubsub")),
    ];
    let mut at = 0;
    while at < by_flag.len() {
        if flags & by_flag[at].0 != 0 {
            acl |= by_flag[at].1;
        }
        at += 1;
    }
    acl
}
