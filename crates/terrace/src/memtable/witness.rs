//! Witnesses of plain memory accesses, so that a loom model sees the bytes that atomics publish.
//!
//! Entries and index tables are written with plain stores and published by one release store. Loom
//! tracks only its own types, so under `--cfg loom` every such object carries a witness that panics when a
//! read does not happen after the write it depends on. In every other build a witness is nothing.

#[cfg(not(loom))]
mod imp {
    /// Watches one published object.
    pub(in super::super) struct Witness;

    impl Witness {
        /// A witness that has seen nothing.
        pub(in super::super) fn new() -> Self {
            Self
        }

        /// The object was written.
        #[inline(always)]
        #[allow(clippy::unused_self, clippy::inline_always)] // The model's version uses `self`.
        pub(in super::super) fn wrote(&self) {}

        /// The object is being read.
        #[inline(always)]
        #[allow(clippy::unused_self, clippy::inline_always)]
        pub(in super::super) fn read(&self) {}
    }
}

#[cfg(loom)]
mod imp {
    use loom::cell::UnsafeCell;

    /// Watches one published object.
    pub(in super::super) struct Witness(UnsafeCell<()>);

    // SAFETY: the cell holds nothing; loom reports the accesses that this makes possible.
    #[allow(unsafe_code)]
    unsafe impl Sync for Witness {}

    impl Witness {
        /// A witness that has seen nothing.
        pub(in super::super) fn new() -> Self {
            Self(UnsafeCell::new(()))
        }

        /// The object was written; panics if another thread may be using it.
        pub(in super::super) fn wrote(&self) {
            self.0.with_mut(|_| ());
        }

        /// The object is being read; panics unless that happens after it was written.
        pub(in super::super) fn read(&self) {
            self.0.with(|_| ());
        }
    }
}

pub(super) use imp::Witness;

/// How many places of an arena a model watches; its tests stay below.
#[cfg(loom)]
const WATCHED: usize = 192;

/// One witness for each place where an entry may start in a (small, modelled) arena.
pub(super) struct Witnesses {
    #[cfg(loom)]
    places: Vec<Witness>,
}

impl Witnesses {
    /// Witnesses for one arena.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(loom)]
            places: (0..WATCHED).map(|_| Witness::new()).collect(),
        }
    }

    /// The witness of the entry at `place`.
    #[cfg(loom)]
    pub(super) fn at(&self, place: u32) -> &Witness {
        &self.places[place as usize]
    }

    /// The witness of the entry at `place`.
    #[cfg(not(loom))]
    #[inline(always)]
    #[allow(clippy::unused_self, clippy::inline_always)]
    pub(super) fn at(&self, _place: u32) -> &Witness {
        &Witness
    }
}
