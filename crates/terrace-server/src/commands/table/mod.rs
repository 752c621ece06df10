//! The command table and its index.
//!
//! The index is a hash table built at compile time over the lower-case names as 128-bit numbers; a look-up is
//! one hash, a comparison of two numbers, and rarely a second step.

mod category;
mod command;
mod keys;

use terrace_resp::Args;

use super::{
    acl, admin, backup, bitfield, bits, client, configure, connection, counters, debug, dump, durability,
    expiry, hash_expiry, hash_read, hash_scan, hash_write, info, introspect, keys as generic, lcs, memory,
    multi, persist, pubsub, scan, scripts, slowlog, stats, string_read, string_write,
};

// The whole vocabulary, whether or not a family needs each word yet.
#[allow(unused_imports)]
pub(crate) use category::{CONNECTION, KEYSPACE, SCRIPTING, find as find_category, names as category_names};
#[allow(unused_imports)]
pub(crate) use command::{
    ADMIN, ALLOW_BUSY, ALONE, BLOCKING, Command, DANGEROUS, DENY_OOM, FAST, Flags, GROUPED, Handler, LOADING,
    MAY_REPLICATE, NEVER_QUEUED, NO_AUTH_NEEDED, NO_MANDATORY_KEYS, NO_MULTI, NO_SCRIPT, NO_TOUCH, PUBSUB,
    READ, SKIP_MONITOR, SKIP_SLOWLOG, STALE, SUBSCRIBED, WRITE,
};
#[allow(unused_imports)]
pub(crate) use keys::{
    ACCESS, ACCESS_NAMES, ALL_KEYS, Access, DELETE, FROM_AND_TO, INSERT, Keys, MOVED, NO_KEYS, NOT_KEY,
    ONE_KEY, OVERWRITE, PAIRS, READ_ONLY, READ_WRITE, REMOVE, SECOND, UPDATE, VARIABLE, as_one_range,
};

/// The number of commands that fit; an index is a byte.
pub(crate) const MAX_COMMANDS: usize = 224;

const FAMILIES: &[&[Command]] = &[
    string_read::COMMANDS,
    string_write::COMMANDS,
    lcs::COMMANDS,
    counters::COMMANDS,
    durability::COMMANDS,
    bits::COMMANDS,
    bitfield::COMMANDS,
    hash_read::COMMANDS,
    hash_write::COMMANDS,
    hash_expiry::COMMANDS,
    hash_scan::COMMANDS,
    generic::COMMANDS,
    dump::COMMANDS,
    expiry::COMMANDS,
    scan::COMMANDS,
    multi::COMMANDS,
    connection::COMMANDS,
    pubsub::COMMANDS,
    client::COMMANDS,
    acl::COMMANDS,
    admin::COMMANDS,
    backup::COMMANDS,
    configure::COMMANDS,
    info::COMMANDS,
    introspect::COMMANDS,
    stats::COMMANDS,
    debug::COMMANDS,
    memory::COMMANDS,
    persist::COMMANDS,
    scripts::COMMANDS,
    slowlog::COMMANDS,
];

const COUNT: usize = {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    assert!(count <= MAX_COMMANDS);
    count
};

static ALL: [&Command; COUNT] = {
    let mut all = [&FAMILIES[0][0]; COUNT];
    let (mut filled, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut at = 0;
        while at < FAMILIES[family].len() {
            all[filled] = &FAMILIES[family][at];
            filled += 1;
            at += 1;
        }
        family += 1;
    }
    all
};

const INDEX_BITS: u32 = 10;
const INDEX_SLOTS: usize = 1 << INDEX_BITS;
const EMPTY: u8 = u8::MAX;
const MAX_NAME_BYTES: usize = 16;

/// Name (0 if empty) and position of every command, by the hash of its name.
static INDEX: [(u128, u8); INDEX_SLOTS] = {
    let mut index = [(0, EMPTY); INDEX_SLOTS];
    let mut at = 0;
    while at < COUNT {
        let name = ALL[at].name.as_bytes();
        assert!(name.len() <= MAX_NAME_BYTES);
        let mut packed = [0u8; MAX_NAME_BYTES];
        let mut i = 0;
        while i < name.len() {
            packed[i] = name[i];
            i += 1;
        }
        let packed = u128::from_le_bytes(packed);
        let mut slot = hash(packed);
        while index[slot].1 != EMPTY {
            slot = (slot + 1) % INDEX_SLOTS;
        }
        index[slot] = (packed, at as u8);
        at += 1;
    }
    index
};

const fn hash(name: u128) -> usize {
    let folded = (name as u64) ^ ((name >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - INDEX_BITS)) as usize
}

/// All commands.
pub(crate) fn all() -> &'static [&'static Command] {
    &ALL
}

/// The name of a command, with that of its container in front if it has one.
pub(crate) fn full_name(command: &Command, parent: Option<&Command>) -> String {
    parent.map_or_else(|| command.name.to_string(), |parent| format!("{}|{}", parent.name, command.name))
}

/// What runs for these arguments: the command, or one of its subcommands.
pub(crate) fn resolve(command: &'static Command, args: Args<'_>) -> &'static Command {
    args.get(1).and_then(|name| command.subcommand(name)).unwrap_or(command)
}

/// The command at an index of the table.
pub(crate) fn by_index(index: u8) -> Option<&'static Command> {
    ALL.get(usize::from(index)).copied()
}

/// The command of this name, in any case, and its index.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<(u8, &'static Command)> {
    let mut packed = [0u8; MAX_NAME_BYTES];
    packed.get_mut(..name.len())?.copy_from_slice(name);
    packed.make_ascii_lowercase();
    let packed = u128::from_le_bytes(packed);
    let mut slot = hash(packed);
    loop {
        match INDEX[slot] {
            (_, EMPTY) => return None,
            (found, at) if found == packed => return Some((at, ALL[usize::from(at)])),
            _ => slot = (slot + 1) % INDEX_SLOTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        for (at, command) in all().iter().enumerate() {
            let upper = command.name.to_ascii_uppercase();
            for name in [command.name, &upper] {
                let (index, found) = find(name.as_bytes()).unwrap();
                assert_eq!((usize::from(index), found.name), (at, command.name));
            }
        }
        for name in ["", "nope", "getx", "get\0", "averyveryverylongname", "gett"] {
            assert!(find(name.as_bytes()).is_none() || name == "get\0", "{name}");
        }
    }

    #[test]
    fn look_ups_rarely_take_a_second_step() {
        let displaced =
            INDEX.iter().enumerate().filter(|(slot, e)| e.1 != EMPTY && hash(e.0) != *slot).count();
        assert!(displaced <= COUNT / 6, "{displaced} of {COUNT} commands are displaced");
    }

    #[test]
    fn descriptions_are_complete() {
        for command in all().iter().flat_map(|c| std::iter::once(*c).chain(c.subcommands)) {
            assert!(!command.summary.is_empty() && !command.since.is_empty(), "{}", command.name);
            assert!(command.arity != 0 && command.name == command.name.to_ascii_lowercase());
        }
    }
}
