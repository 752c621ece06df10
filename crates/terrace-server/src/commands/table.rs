//! The command table and its index.
//!
//! The index is a hash table built at compile time over the lower-case names as 128-bit numbers; a look-up is
//! one hash, a comparison of two numbers, and rarely a second step.

use terrace_resp::Args;

use super::{
    Handled, admin, client, configure, connection, counters, durability, expiry, info, introspect, keys,
    multi, scan, stats, string_read, string_write,
};
use crate::context::Context;

/// The number of commands that fit; an index is a byte.
pub(crate) const MAX_COMMANDS: usize = 128;

/// Changes data.
pub(crate) const WRITE: u16 = 1;
/// Reads data.
pub(crate) const READ: u16 = 1 << 1;
/// Takes the same time whatever the data.
pub(crate) const FAST: u16 = 1 << 2;
/// For operators.
pub(crate) const ADMIN: u16 = 1 << 3;
/// Works before authentication.
pub(crate) const NO_AUTH_NEEDED: u16 = 1 << 4;
/// May use more memory.
pub(crate) const DENY_OOM: u16 = 1 << 5;
/// Works while the store is loading or stale, which here it never is.
pub(crate) const LOADING: u16 = 1 << 6;
/// Not for scripts.
pub(crate) const NO_SCRIPT: u16 = 1 << 7;
/// May wait.
pub(crate) const BLOCKING: u16 = 1 << 8;
/// Can do harm or take long.
pub(crate) const DANGEROUS: u16 = 1 << 9;
/// Refused between `MULTI` and `EXEC`: it could not be part of one atomic step.
pub(crate) const NO_MULTI: u16 = 1 << 10;
/// Runs at once between `MULTI` and `EXEC`, instead of being queued.
pub(crate) const NEVER_QUEUED: u16 = 1 << 11;

/// The function that runs a command.
pub(crate) type Handler = fn(&mut Context<'_>, Args<'_>) -> Handled;

/// Where the keys are among the arguments, the name being number 0; all zero if there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Keys {
    /// The first key.
    pub(crate) first: i64,
    /// The last key; negative counts from the end.
    pub(crate) last: i64,
    /// From one key to the next.
    pub(crate) step: i64,
}

/// No keys.
pub(crate) const NO_KEYS: Keys = Keys { first: 0, last: 0, step: 0 };
/// One key after the name.
pub(crate) const ONE_KEY: Keys = Keys { first: 1, last: 1, step: 1 };
/// Two keys after the name.
pub(crate) const TWO_KEYS: Keys = Keys { first: 1, last: 2, step: 1 };
/// Nothing but keys after the name.
pub(crate) const ALL_KEYS: Keys = Keys { first: 1, last: -1, step: 1 };
/// Keys and values in turn.
pub(crate) const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };

/// What is known about a command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// The number of arguments, the name included; negative for at least so many.
    pub(crate) arity: i64,
    /// A sum of the flags above.
    pub(crate) flags: u16,
    /// Where its keys are.
    pub(crate) keys: Keys,
    /// Its family, as Redis calls it.
    pub(crate) group: &'static str,
    /// The version of Redis (or of Terrace) that had it first.
    pub(crate) since: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// What runs it.
    pub(crate) run: Handler,
    /// Its subcommands.
    pub(crate) subcommands: &'static [Command],
}

impl Command {
    /// Whether it takes this many arguments.
    pub(crate) fn accepts(&self, args: usize) -> bool {
        let args = args as i64;
        if self.arity >= 0 { args == self.arity } else { args >= -self.arity }
    }

    /// Whether it has a flag.
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

const FAMILIES: [&[Command]; 15] = [
    string_read::COMMANDS,
    string_write::COMMANDS,
    counters::COMMANDS,
    durability::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    scan::COMMANDS,
    multi::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    admin::COMMANDS,
    configure::COMMANDS,
    info::COMMANDS,
    introspect::COMMANDS,
    stats::COMMANDS,
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

const INDEX_BITS: u32 = 9;
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
