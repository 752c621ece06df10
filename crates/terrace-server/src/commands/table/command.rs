//! What is known about one command: one line of a family's list.
//!
//! ```text
//! Command::new("hset", -4, "hash", "2.0.0", hset, "Sets fields.").flags(WRITE | DENY_OOM | FAST).keys(ONE_KEY)
//! ```
//!
//! Everything else that clients and access rules ask for follows from that line: the categories from group and
//! flags, the access to the keys from the flags. What does not follow is added with [`Command::categories`] and
//! [`Command::access`].

use terrace_resp::Args;

use super::category;
use super::keys::{ACCESS, Access, Keys, NO_KEYS, READ_ONLY, READ_WRITE, UPDATE};
use crate::commands::Handled;
use crate::context::Context;

/// A sum of the flags below.
pub(crate) type Flags = u32;

/// Changes data.
pub(crate) const WRITE: Flags = 1;
/// Reads data.
pub(crate) const READ: Flags = 1 << 1;
/// Takes the same time whatever the data.
pub(crate) const FAST: Flags = 1 << 2;
/// For operators.
pub(crate) const ADMIN: Flags = 1 << 3;
/// Works before authentication.
pub(crate) const NO_AUTH_NEEDED: Flags = 1 << 4;
/// May use more memory.
pub(crate) const DENY_OOM: Flags = 1 << 5;
/// Works while the store is loading, which here it never is.
pub(crate) const LOADING: Flags = 1 << 6;
/// Not for scripts.
pub(crate) const NO_SCRIPT: Flags = 1 << 7;
/// May wait.
pub(crate) const BLOCKING: Flags = 1 << 8;
/// Can do harm or take long; a category, not a flag that clients see.
pub(crate) const DANGEROUS: Flags = 1 << 9;
/// Refused between `MULTI` and `EXEC`: it could not be part of one atomic step.
pub(crate) const NO_MULTI: Flags = 1 << 10;
/// Runs at once between `MULTI` and `EXEC`, instead of being queued.
pub(crate) const NEVER_QUEUED: Flags = 1 << 11;
/// Publishes or subscribes.
pub(crate) const PUBSUB: Flags = 1 << 12;
/// Allowed to a RESP2 client that has subscribed to something.
pub(crate) const SUBSCRIBED: Flags = 1 << 13;
/// Works on a stale replica, which here does not exist.
pub(crate) const STALE: Flags = 1 << 14;
/// Not shown by `MONITOR`.
pub(crate) const SKIP_MONITOR: Flags = 1 << 15;
/// Not kept by the slow log.
pub(crate) const SKIP_SLOWLOG: Flags = 1 << 16;
/// May be called without keys although it has a key specification.
pub(crate) const NO_MANDATORY_KEYS: Flags = 1 << 17;
/// Works while a script is stuck, which here never is.
pub(crate) const ALLOW_BUSY: Flags = 1 << 18;
/// Is sent to replicas although it writes nothing; waits for `CLIENT UNPAUSE` like a write.
pub(crate) const MAY_REPLICATE: Flags = 1 << 19;

/// Runs together with its neighbours of a pipeline in one transaction: it reads and writes by
/// [`Context::transact`] only, and never takes long.
pub(crate) const GROUPED: Flags = 1 << 20;

/// Goes through many keys, empties a database, or acts beside the store, so that it must not run twice: a transaction
/// that has it has the server's keys for itself while it runs.
pub(crate) const ALONE: Flags = 1 << 21;

/// Does not count as a use of its keys.
pub(crate) const NO_TOUCH: Flags = 1 << 22;

/// The function that runs a command.
pub(crate) type Handler = fn(&mut Context<'_>, Args<'_>) -> Handled;

/// Narrows the access of a command by its arguments, where options decide over it.
pub(crate) type AccessOf = fn(Args<'_>) -> Access;

/// What is known about a command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// The number of arguments, the name included; negative for at least so many.
    pub(crate) arity: i64,
    /// A sum of the flags above.
    pub(crate) flags: Flags,
    /// Its categories for access rules, a sum of bits of [`category`].
    pub(crate) acl: u32,
    /// Where its keys are.
    pub(crate) keys: &'static [Keys],
    /// What it does with keys whose specification leaves that open.
    access: Access,
    /// The same for given arguments.
    access_of: Option<AccessOf>,
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
    /// A command without flags and keys.
    pub(crate) const fn new(
        name: &'static str,
        arity: i64,
        group: &'static str,
        since: &'static str,
        run: Handler,
        summary: &'static str,
    ) -> Self {
        Self {
            name,
            arity,
            flags: 0,
            acl: category::of_group(group) | category::of_flags(0),
            keys: NO_KEYS,
            access: 0,
            access_of: None,
            group,
            since,
            summary,
            run,
            subcommands: &[],
        }
    }

    /// Adds flags, and the categories that follow from them.
    pub(crate) const fn flags(self, flags: Flags) -> Self {
        let flags = self.flags | flags;
        let acl = self.acl & !category::of_flags(self.flags) | category::of_flags(flags);
        Self { flags, acl, ..self }
    }

    /// Adds categories that do not follow from group and flags.
    pub(crate) const fn categories(self, acl: u32) -> Self {
        Self { acl: self.acl | acl, ..self }
    }

    /// Says where the keys are.
    pub(crate) const fn keys(self, keys: &'static [Keys]) -> Self {
        Self { keys, ..self }
    }

    /// Says what it does with its keys, where that is not "reads" or "reads and updates".
    pub(crate) const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// As [`Command::access`], for a command whose options decide.
    pub(crate) const fn access_of(self, access_of: AccessOf) -> Self {
        Self { access_of: Some(access_of), ..self }
    }

    /// Makes it a container of subcommands.
    pub(crate) const fn subcommands(self, subcommands: &'static [Self]) -> Self {
        Self { subcommands, ..self }
    }

    /// Whether it takes this many arguments.
    pub(crate) fn accepts(&self, args: usize) -> bool {
        let args = args as i64;
        if self.arity >= 0 { args == self.arity } else { args >= -self.arity }
    }

    /// Whether it has a flag.
    pub(crate) fn has(&self, flag: Flags) -> bool {
        self.flags & flag != 0
    }

    /// The subcommand of this name, in any case.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands.iter().find(|sub| name.eq_ignore_ascii_case(sub.name.as_bytes()))
    }

    /// What it does with the keys of a specification.
    pub(crate) fn access_to(&self, keys: &Keys) -> Access {
        match (keys.access, self.access) {
            (0, 0) if self.has(WRITE) => READ_WRITE | ACCESS | UPDATE,
            (0, 0) => READ_ONLY | ACCESS,
            (0, access) | (access, _) => access,
        }
    }

    /// The positions of the keys among the arguments (the name being number 0), and what is done with each.
    pub(crate) fn keys_in<'a>(&'a self, args: Args<'a>) -> impl Iterator<Item = (usize, Access)> + 'a {
        let given = self.access_of.map(|of| of(args));
        self.keys.iter().flat_map(move |keys| {
            let access = given.unwrap_or_else(|| self.access_to(keys));
            keys.positions(args.len()).map(move |at| (at, access))
        })
    }
}
