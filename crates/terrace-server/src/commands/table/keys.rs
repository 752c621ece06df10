//! Key specifications: where a command's keys are, and what it does with them.

/// A sum of the bits below.
pub(crate) type Access = u16;

/// The key is read and written.
pub(crate) const READ_WRITE: Access = 1;
/// The key is only read.
pub(crate) const READ_ONLY: Access = 1 << 1;
/// The key is overwritten, whatever it held.
pub(crate) const OVERWRITE: Access = 1 << 2;
/// The key is removed.
pub(crate) const REMOVE: Access = 1 << 3;
/// What the value holds reaches the client, or another key.
pub(crate) const ACCESS: Access = 1 << 4;
/// The value is changed.
pub(crate) const UPDATE: Access = 1 << 5;
/// Something is added to the value; nothing of it is lost.
pub(crate) const INSERT: Access = 1 << 6;
/// The key, or a part of its value, is deleted.
pub(crate) const DELETE: Access = 1 << 7;
/// Options decide over the bits above.
pub(crate) const VARIABLE: Access = 1 << 8;
/// No key, but routed like one in a cluster (a sharded channel).
pub(crate) const NOT_KEY: Access = 1 << 9;

/// The bits' names.
pub(crate) const ACCESS_NAMES: [(Access, &str); 10] = [
    (READ_ONLY, "RO"),
    (READ_WRITE, "RW"),
    (OVERWRITE, "OW"),
    (REMOVE, "RM"),
    (ACCESS, "access"),
    (UPDATE, "update"),
    (INSERT, "insert"),
    (DELETE, "delete"),
    (NOT_KEY, "not_key"),
    (VARIABLE, "variable_flags"),
];

/// A range of arguments that are keys, the command's name being number 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Keys {
    /// The first key.
    pub(crate) first: i64,
    /// The last key; negative counts from the end.
    pub(crate) last: i64,
    /// From one key to the next.
    pub(crate) step: i64,
    /// What is done with them; 0 leaves that to the command.
    pub(crate) access: Access,
}

impl Keys {
    const fn range(first: i64, last: i64, step: i64) -> Self {
        Self { first, last, step, access: 0 }
    }

    /// One key, with an access of its own.
    pub(crate) const fn at(first: i64, access: Access) -> Self {
        Self { first, last: first, step: 1, access }
    }

    /// All arguments from one on, with an access of its own.
    pub(crate) const fn from(first: i64, access: Access) -> Self {
        Self { first, last: -1, step: 1, access }
    }

    /// The positions of the keys among so many arguments.
    pub(crate) fn positions(&self, args: usize) -> impl Iterator<Item = usize> + use<> {
        let last = if self.last < 0 { args as i64 + self.last } else { self.last.min(args as i64 - 1) };
        (self.first..=last).step_by(self.step.max(1) as usize).map(|at| at as usize)
    }
}

/// No keys.
pub(crate) const NO_KEYS: &[Keys] = &[];
/// One key after the name.
pub(crate) const ONE_KEY: &[Keys] = &[Keys::range(1, 1, 1)];
/// One key after the subcommand's name.
pub(crate) const SECOND: &[Keys] = &[Keys::range(2, 2, 1)];
/// Nothing but keys after the name.
pub(crate) const ALL_KEYS: &[Keys] = &[Keys::range(1, -1, 1)];
/// Keys and values in turn.
pub(crate) const PAIRS: &[Keys] = &[Keys::range(1, -1, 2)];
/// A key that is read and one that is overwritten.
pub(crate) const FROM_AND_TO: &[Keys] = &[Keys::at(1, READ_ONLY | ACCESS), Keys::at(2, OVERWRITE | UPDATE)];
/// A key that is taken away and one that takes its place.
pub(crate) const MOVED: &[Keys] =
    &[Keys::at(1, READ_WRITE | ACCESS | DELETE), Keys::at(2, OVERWRITE | UPDATE)];

/// First, last and step of all specifications together, as older clients want them; zeros if there are none.
pub(crate) fn as_one_range(keys: &[Keys]) -> (i64, i64, i64) {
    let Some(first) = keys.iter().map(|k| k.first).min() else { return (0, 0, 0) };
    let last = keys.iter().map(|k| k.last).find(|last| *last < 0);
    let last = last.or_else(|| keys.iter().map(|k| k.last).max()).unwrap_or(0);
    (first, last, keys.first().map_or(0, |k| k.step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_among_the_arguments() {
        let at = |keys: &[Keys], args| keys.iter().flat_map(|k| k.positions(args)).collect::<Vec<_>>();
        assert_eq!(at(ONE_KEY, 3), [1]);
        assert_eq!(at(ONE_KEY, 1), [0usize; 0]);
        assert_eq!(at(ALL_KEYS, 4), [1, 2, 3]);
        assert_eq!(at(PAIRS, 5), [1, 3]);
        assert_eq!(at(FROM_AND_TO, 5), [1, 2]);
        assert_eq!(as_one_range(FROM_AND_TO), (1, 2, 1));
        assert_eq!(as_one_range(NO_KEYS), (0, 0, 0));
        assert_eq!(as_one_range(&[Keys::at(2, 0), Keys::from(3, 0)]), (2, -1, 1));
    }
}
