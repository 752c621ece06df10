//! What the small concurrent kernels are made of: atomics, a lock, a published pointer. Under `--cfg loom`
//! they are loom's, so that a model checks the kernel's own code and not a copy of it.

#[cfg(not(loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use plain::PublishedArc;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
mod modelled;
#[cfg(loom)]
pub(crate) use loom::sync::{MutexGuard, atomic::Ordering, atomic::fence};
#[cfg(loom)]
pub(crate) use modelled::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Mutex, PublishedArc};

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
