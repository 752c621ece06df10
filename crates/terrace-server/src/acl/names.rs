//! What the rules about commands speak of: a command of the table, a subcommand, or a command that Redis has and
//! Terrace has not. Rules about the last are kept and grant nothing, so that users can be taken over from Redis.

use std::ops::Range;

use crate::commands::HELP;
use crate::commands::table::{self, Command, PUBSUB};

/// What a name means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// A command and all of its subcommands.
    Whole(u8, &'static Command),
    /// A subcommand, by the index of its command and its own bit.
    Part(u8, u64),
    /// A command of Redis that is not here.
    Elsewhere,
}

/// The bit of `HELP`, which every command with subcommands has.
const HELP_BIT: u64 = 1 << 63;

/// The bit of what runs of a command: the lowest for the command itself.
pub(super) fn bit(command: &Command, runs: &Command) -> u64 {
    if std::ptr::eq(command, runs) {
        return 1;
    }
    let at = command.subcommands.iter().position(|sub| std::ptr::eq(sub, runs));
    at.map_or(HELP_BIT, |at| 2 << at)
}

/// The subcommands and their bits.
pub(crate) fn parts(command: &'static Command) -> impl Iterator<Item = (u64, &'static Command)> {
    let help = (!command.subcommands.is_empty()).then_some((HELP_BIT, &HELP));
    command.subcommands.iter().enumerate().map(|(at, sub)| (2 << at, sub)).chain(help)
}

/// Whether `+command|word` speaks of the first argument, not of a subcommand. `DEBUG` has no subcommands in Redis.
pub(super) fn takes_first_arg(command: &Command) -> bool {
    command.subcommands.is_empty() || command.name == "debug"
}

/// The meaning of a name in lower case: `command` or `command|subcommand`.
pub(super) fn find(name: &[u8]) -> Option<Named> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let (parent, sub) = (words.next().unwrap_or_default(), words.next());
    match (table::find(parent), sub) {
        (Some((index, command)), None) => Some(Named::Whole(index, command)),
        (Some((index, command)), Some(sub)) => {
            let found = parts(command).find(|(_, part)| part.name.as_bytes() == sub);
            found.map(|(bit, _)| Named::Part(index, bit)).or_else(|| elsewhere(name))
        }
        (None, None) => elsewhere(parent),
        (None, Some(sub)) => elsewhere(parent).filter(|_| !sub.is_empty()),
    }
}

fn elsewhere(name: &[u8]) -> Option<Named> {
    let mut words = ELSEWHERE.split_ascii_whitespace();
    words.any(|word| word.as_bytes() == name).then_some(Named::Elsewhere)
}

/// Where the channels of a command are, and whether they are patterns. Whoever stops listening needs no permission.
pub(super) fn channels(command: &Command, args: usize) -> Option<(Range<usize>, bool)> {
    match command.name {
        _ if !command.has(PUBSUB) => None,
        "publish" | "spublish" => Some((1..2, false)),
        "subscribe" | "ssubscribe" => Some((1..args, false)),
        "psubscribe" => Some((1..args, true)),
        _ => None,
    }
}

/// The commands of Redis 7 that are not here. One of several words is a subcommand of a command that is.
const ELSEWHERE: &str = "
    asking blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin cluster failover geoadd geodist geohash
    geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore
    lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim migrate module pfadd pfcount pfdebug
    pfmerge pfselftest psync readonly readwrite replconf replicaof restore-asking rpop rpoplpush rpush rpushx
    sadd scard script|debug sdiff sdiffstore sinter sintercard sinterstore sismember slaveof smembers smismember smove
    sort sort_ro spop srandmember srem sscan sunion sunionstore sync xack xadd xautoclaim xclaim xdel xgroup xinfo
    xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter
    zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore
    zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore
    zrevrank zscan zscore zunion zunionstore";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_not_listed_as_missing() {
        for name in ELSEWHERE.split_ascii_whitespace() {
            assert!(matches!(find(name.as_bytes()), Some(Named::Elsewhere)), "{name}");
        }
    }

    #[test]
    fn every_part_has_a_bit_of_its_own() {
        for command in table::all() {
            let bits = parts(command).fold(1, |bits, (bit, part)| {
                assert_eq!((bits & bit, self::bit(command, part)), (0, bit), "{}", part.name);
                bits | bit
            });
            assert_eq!(bits & 1, self::bit(command, command));
        }
    }
}
