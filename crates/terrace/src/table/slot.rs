//! `Slot`: one place for a shared value that readers load without a lock, a writer fills once, and an
//! evictor empties under their eyes.
//!
//! Invariants:
//! 1. A non-null pointer owns one strong count of an `Arc`.
//! 2. Only `publish` makes the pointer non-null, and only from null; only `evict` (and drop) makes it null.
//! 3. The count of an evicted pointer is given up only after every `Pin` that was held at that moment is
//!    gone, so whoever loaded the pointer under a `Pin` may use it, and take a count of its own, until it
//!    lets the pin go.
//!
//! The touched mark (CLOCK) and the stamp are advice for the evictor: a lost update costs a worse choice,
//! nothing else. The slot does not know budgets or queues; that is the cache's part.
#![allow(unsafe_code)] // The whole file is the kernel: raw pointers to counted values.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::base::sync::{AtomicPtr, AtomicU32, Ordering};

pub(super) use reclaim::{Pin, collect, pin};

/// A place for one `Arc<T>`; see the invariants above.
#[derive(Debug)]
pub(super) struct Slot<T: Send + Sync + 'static> {
    value: AtomicPtr<T>,
    touched: AtomicU32,
    stamp: AtomicU32,
}

/// A value read from a slot, good while its pin is held.
pub(super) struct Held<'p, T> {
    value: NonNull<T>,
    pinned: PhantomData<&'p T>,
}

impl<T: Send + Sync + 'static> Slot<T> {
    /// An empty slot.
    pub(super) fn empty() -> Self {
        Self { value: AtomicPtr::new(ptr::null_mut()), touched: AtomicU32::new(0), stamp: AtomicU32::new(0) }
    }

    /// The value, if there is one; marks the slot as touched.
    #[inline]
    pub(super) fn read<'p>(&self, _pin: &'p Pin) -> Option<Held<'p, T>> {
        // Acquire pairs with the release in `publish`: the value is seen whole.
        let value = NonNull::new(self.value.load(Ordering::Acquire))?;
        // Written once per turn of the clock, so a hot slot's cache line stays shared.
        if self.touched.load(Ordering::Relaxed) == 0 {
            self.touched.store(1, Ordering::Relaxed);
        }
        Some(Held { value, pinned: PhantomData })
    }

    /// Fills an empty slot; `false`, and nothing changes, if somebody else was first.
    pub(super) fn publish(&self, value: Arc<T>) -> bool {
        self.touched.store(0, Ordering::Relaxed);
        let raw = Arc::into_raw(value).cast_mut();
        let null = ptr::null_mut();
        if self.value.compare_exchange(null, raw, Ordering::Release, Ordering::Relaxed).is_ok() {
            return true;
        }
        // SAFETY: `raw` came from `into_raw` just above and was not handed to anybody.
        drop(unsafe { Arc::from_raw(raw) });
        false
    }

    /// Empties the slot; `false` if it was empty. The value goes once nobody can be looking at it.
    pub(super) fn evict(&self) -> bool {
        // Acquire: the thread that drops the value must see it whole, too.
        let Some(value) = NonNull::new(self.value.swap(ptr::null_mut(), Ordering::AcqRel)) else {
            return false;
        };
        let owned = Owned(value);
        // SAFETY: the pointer is out of the slot, so only those who hold a pin now can still have it.
        unsafe { reclaim::after_pins(move || owned.release()) };
        true
    }

    /// Clears the touched mark and says whether it was set.
    pub(super) fn take_touched(&self) -> bool {
        self.touched.swap(0, Ordering::Relaxed) != 0
    }

    /// A number kept for the cache, 0 at first.
    pub(super) fn stamp(&self) -> u32 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// Sets that number.
    pub(super) fn set_stamp(&self, stamp: u32) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// Takes the value out of a slot that nobody else can reach.
    pub(super) fn take(&mut self) -> Option<Arc<T>> {
        let value = NonNull::new(self.value.swap(ptr::null_mut(), Ordering::AcqRel))?;
        // SAFETY: invariant 1; `&mut self` excludes readers, so nobody holds the pointer under a pin.
        Some(unsafe { Arc::from_raw(value.as_ptr()) })
    }
}

impl<T: Send + Sync + 'static> Drop for Slot<T> {
    fn drop(&mut self) {
        self.take();
    }
}

impl<T> Held<'_, T> {
    /// Takes a count of its own, to keep the value beyond the pin.
    pub(super) fn to_arc(&self) -> Arc<T> {
        // SAFETY: the pointer came from `Arc::into_raw` and, by invariant 3, its count is still held.
        unsafe {
            Arc::increment_strong_count(self.value.as_ptr());
            Arc::from_raw(self.value.as_ptr())
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: invariant 3, and shared access only.
        unsafe { self.value.as_ref() }
    }
}

/// A count taken out of a slot, on its way to be given up, maybe by another thread.
struct Owned<T>(NonNull<T>);

// SAFETY: it is an `Arc<T>` in another form, and the bounds are those of `Arc`.
unsafe impl<T: Send + Sync> Send for Owned<T> {}

impl<T> Owned<T> {
    fn release(self) {
        // SAFETY: invariant 1: this count was the slot's, and nobody else gives it up.
        drop(unsafe { Arc::from_raw(self.0.as_ptr()) });
    }
}

#[cfg(not(loom))]
mod reclaim {
    use crossbeam_epoch as epoch;

    /// Proof that this thread may be looking at values: nothing evicted from now on is freed before it is
    /// dropped. Only `pin` makes one, so it always belongs to the one collector in use.
    pub(in crate::table) struct Pin(#[expect(dead_code, reason = "held for its drop")] epoch::Guard);

    /// Takes a pin. Cheap; not to be held across I/O.
    #[inline]
    pub(in crate::table) fn pin() -> Pin {
        Pin(epoch::pin())
    }

    /// Runs `release` once every pin held now is gone.
    ///
    /// # Safety
    ///
    /// What `release` frees must be out of reach for pins taken later.
    pub(super) unsafe fn after_pins<F: FnOnce() + Send + 'static>(release: F) {
        // SAFETY: the closure is `Send` and `'static`; the caller answers for the rest.
        unsafe { epoch::pin().defer_unchecked(release) };
    }

    /// Hands over what this thread has evicted, so that memory does not wait for its next eviction.
    pub(in crate::table) fn collect() {
        epoch::pin().flush();
    }
}

/// The same promises from a reader-writer lock, which loom can follow.
#[cfg(loom)]
mod reclaim {
    use loom::sync::{RwLock, RwLockReadGuard};

    loom::lazy_static! {
        static ref PINS: RwLock<()> = RwLock::new(());
    }

    pub(in crate::table) struct Pin(#[allow(dead_code)] RwLockReadGuard<'static, ()>);

    pub(in crate::table) fn pin() -> Pin {
        Pin(PINS.read().unwrap())
    }

    pub(super) unsafe fn after_pins<F: FnOnce() + Send + 'static>(release: F) {
        drop(PINS.write().unwrap());
        release();
    }

    pub(in crate::table) fn collect() {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Counted(Arc<AtomicUsize>, u64);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    #[test]
    fn publishes_once_and_marks_reads() {
        let slot = Slot::empty();
        assert!(slot.read(&pin()).is_none());
        assert!(slot.publish(Arc::new(1)));
        assert!(!slot.publish(Arc::new(2)), "already filled");
        assert!(!slot.take_touched());
        assert_eq!(slot.read(&pin()).map(|held| *held), Some(1));
        assert!(slot.take_touched() && !slot.take_touched());
        assert!(slot.evict() && !slot.evict());
        assert!(slot.read(&pin()).is_none());
    }

    #[test]
    fn an_evicted_value_outlives_those_who_look_at_it() {
        let drops = Arc::new(AtomicUsize::new(0));
        let slot = Slot::empty();
        slot.publish(Arc::new(Counted(Arc::clone(&drops), 42)));
        let guard = pin();
        let held = slot.read(&guard).unwrap();
        slot.evict();
        collect();
        assert_eq!((held.1, drops.load(std::sync::atomic::Ordering::SeqCst)), (42, 0));
        let kept = held.to_arc();
        drop(guard);
        assert_eq!(kept.1, 42);
    }

    #[test]
    fn dropping_a_slot_drops_its_value() {
        let drops = Arc::new(AtomicUsize::new(0));
        let slot = Slot::empty();
        slot.publish(Arc::new(Counted(Arc::clone(&drops), 1)));
        drop(slot);
        assert_eq!(drops.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p terrace --lib slot::loom_tests`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::thread;

    /// Loom sees an unordered read of the cell, and a read or a second drop after the drop.
    struct Tracked(UnsafeCell<u64>, loom::alloc::Track<()>);

    // SAFETY: written only before it is shared and when it is dropped; loom checks exactly that.
    unsafe impl Sync for Tracked {}

    impl Tracked {
        fn new(value: u64) -> Self {
            let cell = UnsafeCell::new(0);
            // SAFETY: nobody else has the cell yet.
            cell.with_mut(|place| unsafe { *place = value });
            Self(cell, loom::alloc::Track::new(()))
        }

        fn get(&self) -> u64 {
            self.1.get_ref();
            // SAFETY: loom fails the model if this read may meet a write.
            self.0.with(|place| unsafe { *place })
        }
    }

    impl Drop for Tracked {
        fn drop(&mut self) {
            // SAFETY: `&mut self`; loom fails the model if a reader is still there.
            self.0.with_mut(|place| unsafe { *place = u64::MAX });
        }
    }

    #[test]
    fn readers_meet_publishers_and_the_evictor() {
        // All interleavings of three threads would take minutes.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let slot = loom::sync::Arc::new(Slot::empty());
            let publisher = {
                let slot = slot.clone();
                thread::spawn(move || slot.publish(Arc::new(Tracked::new(1))))
            };
            let evictor = {
                let slot = slot.clone();
                thread::spawn(move || {
                    let published = slot.publish(Arc::new(Tracked::new(2)));
                    (published, slot.evict())
                })
            };
            {
                let guard = pin();
                if let Some(held) = slot.read(&guard) {
                    assert!((1..=2).contains(&held.get()));
                }
            }
            let first = publisher.join().unwrap();
            let (second, evicted) = evictor.join().unwrap();
            assert!(first || second, "one of them is first");
            assert!(evicted, "after a publish of its own or another's there is something to evict");
        });
    }

    #[test]
    fn a_count_taken_under_a_pin_keeps_the_value() {
        loom::model(|| {
            let slot = loom::sync::Arc::new(Slot::empty());
            slot.publish(Arc::new(Tracked::new(7)));
            let evictor = {
                let slot = slot.clone();
                thread::spawn(move || slot.evict())
            };
            let kept = {
                let guard = pin();
                slot.read(&guard).map(|held| held.to_arc())
            };
            // Looked at only after the join: loom does not see the order that the counts of `Arc` give.
            assert!(evictor.join().unwrap());
            assert!(kept.is_none_or(|value| value.get() == 7));
        });
    }
}
