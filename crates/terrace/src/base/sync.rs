//! What the small concurrent kernels are made of: atomics, a lock, a published pointer. Under `--cfg loom`
//! they are loom's, so that a model checks the kernel's own code and not a copy of it.

#[cfg(not(loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use plain::PublishedArc;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::MutexGuard;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use modelled::{Mutex, PublishedArc};

#[cfg(not(loom))]
mod plain {
    use std::ops::Deref;
    use std::sync::Arc;

    use arc_swap::ArcSwap;

    /// A shared value that is replaced as a whole. Loading takes no lock and writes to no memory that readers
    /// share. Those who replace it must exclude each other.
    pub(crate) struct PublishedArc<T>(ArcSwap<T>);

    impl<T> PublishedArc<T> {
        /// Publishes a first value.
        pub(crate) fn new(value: T) -> Self {
            Self(ArcSwap::from_pointee(value))
        }

        /// The value, for a moment: cheaper than a count of one's own.
        #[inline]
        pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
            self.0.load()
        }

        /// The value, for as long as the caller likes.
        pub(crate) fn load_full(&self) -> Arc<T> {
            self.0.load_full()
        }

        /// Replaces the value. Everything done before is seen by whoever loads the new one.
        pub(crate) fn store(&self, value: Arc<T>) {
            self.0.store(value);
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::ops::Deref;
    use std::sync::Arc;

    use loom::sync::MutexGuard;

    use super::{AtomicUsize, Ordering};

    /// loom's lock with the interface of the other one.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a panic ends the model")
        }
    }

    /// Promises what the pointer does and no more: a load is ordered after the store that it sees, and may
    /// see an old one as long as nothing else orders it. A lock around the value would order loads before
    /// later stores, too, and so hide mistakes.
    pub(crate) struct PublishedArc<T> {
        /// All values ever published. Not loom's lock: it is no part of the model.
        values: std::sync::Mutex<Vec<Arc<T>>>,
        newest: AtomicUsize,
    }

    impl<T> PublishedArc<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { values: std::sync::Mutex::new(vec![Arc::new(value)]), newest: AtomicUsize::new(0) }
        }

        pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
            Loaded(self.load_full())
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            let at = self.newest.load(Ordering::Acquire);
            Arc::clone(&self.values.lock().expect("a panic ends the model")[at])
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            let at = {
                let mut values = self.values.lock().expect("a panic ends the model");
                values.push(value);
                values.len() - 1
            };
            self.newest.store(at, Ordering::Release);
        }
    }

    /// What `load` returns.
    struct Loaded<T>(Arc<T>);

    impl<T> Deref for Loaded<T> {
        type Target = Arc<T>;

        fn deref(&self) -> &Arc<T> {
            &self.0
        }
    }
}
