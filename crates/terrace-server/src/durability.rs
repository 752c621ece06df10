//! Levels of durability: what a store promises, what a connection asks for, and what that takes.
//!
//! A connection may ask for more than its store's level, never for less: what the store does for every write cannot
//! be undone for one.

use terrace::Durability;

/// What an acknowledged write survives; each level includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// A clean stop.
    Memory,
    /// A crash of the process.
    Process,
    /// As `Process`, and a power loss costs at most the last period.
    Interval,
    /// A power loss.
    Sync,
}

/// What has to happen before, or beside, the reply to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Nothing: the store does it all.
    Nothing,
    /// A sync is asked for; the reply does not wait for it.
    SyncBehind,
    /// The reply is held back until the write is durable.
    Held,
}

impl Level {
    /// All of them, from the least.
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Process, Self::Interval, Self::Sync];

    /// The level of a store.
    pub(crate) fn of(durability: Durability) -> Self {
        match durability {
            Durability::Memory => Self::Memory,
            Durability::Process => Self::Process,
            Durability::Interval(_) => Self::Interval,
            Durability::Sync => Self::Sync,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        ["memory", "process", "interval", "sync"][self as usize]
    }

    /// The level of this name, in any case.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|level| name.eq_ignore_ascii_case(level.name().as_bytes()))
    }

    /// The level with this number.
    pub(crate) fn from_number(number: u8) -> Self {
        Self::ALL[usize::from(number).min(3)]
    }

    /// What a write at this level takes in front of a store with that one.
    pub(crate) fn wait(self, store: Self) -> Wait {
        match self.max(store) {
            Self::Sync => Wait::Held,
            // Without a log, a flush is the only way to keep a write.
            level if store == Self::Memory && level > Self::Memory => Wait::Held,
            Self::Interval if store < Self::Interval => Wait::SyncBehind,
            _ => Wait::Nothing,
        }
    }

    /// Why this level is refused in front of a store with that one; `None` if it is not.
    pub(crate) fn refusal(self, store: Self) -> Option<String> {
        (self < store).then(|| {
            format!(
                "the store runs with durability {}; a connection may ask for more, never for less",
                store.name()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_takes_what_the_store_does_not_do_by_itself() {
        use Level::{Interval, Memory, Process, Sync};
        for (level, store, wait) in [
            (Memory, Memory, Wait::Nothing),
            (Process, Memory, Wait::Held),
            (Sync, Memory, Wait::Held),
            (Process, Process, Wait::Nothing),
            (Interval, Process, Wait::SyncBehind),
            (Interval, Interval, Wait::Nothing),
            (Sync, Interval, Wait::Held),
            (Process, Sync, Wait::Held),
        ] {
            assert_eq!(level.wait(store), wait, "{level:?} {store:?}");
        }
    }

    #[test]
    fn less_than_the_store_does_is_refused() {
        assert!(Level::Process.refusal(Level::Interval).unwrap().contains("durability interval"));
        assert!(Level::ALL.iter().all(|level| level.refusal(Level::Memory).is_none()));
        assert_eq!(Level::parse(b"SYNC"), Some(Level::Sync));
        assert_eq!(Level::parse(b"always"), None);
    }
}
