//! What `base::sync` hands out under `--cfg loom`.
//!
//! loom 0.7 remembers only the last access of an atomic when it looks for orders to try. A store is tried
//! ahead of the last load before it, but not ahead of an earlier one by another thread; and a thread that
//! loads before it stores hides the loads of all others. So orders go untried, and with them mistakes. Here
//! every access begins with a *turn*: a relaxed read-modify-write of a variable beside the atomic. loom tries
//! all orders of those, and being relaxed they order nothing for the model: an acquire that is missing, or a
//! load that may be stale, shows as before.

use std::ops::Deref;
use std::sync::Arc;

use loom::sync::{MutexGuard, atomic};

use super::Ordering;

/// Makes loom try the access that follows before and after those of other threads.
#[derive(Debug)]
struct Turn(atomic::AtomicUsize);

impl Turn {
    fn new() -> Self {
        Self(atomic::AtomicUsize::new(0))
    }

    fn take(&self) {
        self.0.fetch_add(0, Ordering::Relaxed);
    }
}

/// One of loom's atomics with a turn; those of its functions that the crate uses.
macro_rules! atomic_with_turn {
    ($name:ident $(<$param:ident>)?, $value:ty, { $($function:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }) => {
        #[derive(Debug)]
        pub(crate) struct $name $(<$param>)? {
            atomic: atomic::$name $(<$param>)?,
            turn: Turn,
        }

        #[allow(dead_code)] // Not every width has a use for every function.
        impl $(<$param>)? $name $(<$param>)? {
            pub(crate) fn new(value: $value) -> Self {
                Self { atomic: atomic::$name::new(value), turn: Turn::new() }
            }

            $(
                pub(crate) fn $function(&self, $($arg: $type),*) -> $result {
                    self.turn.take();
                    self.atomic.$function($($arg),*)
                }
            )*
        }
    };
}

macro_rules! integer_with_turn {
    ($name:ident, $value:ty) => {
        atomic_with_turn!($name, $value, {
            load(order: Ordering) -> $value;
            store(value: $value, order: Ordering) -> ();
            swap(value: $value, order: Ordering) -> $value;
            fetch_add(value: $value, order: Ordering) -> $value;
            fetch_sub(value: $value, order: Ordering) -> $value;
            fetch_max(value: $value, order: Ordering) -> $value;
            fetch_update(set: Ordering, fetch: Ordering, next: impl FnMut($value) -> Option<$value>)
                -> Result<$value, $value>;
        });
    };
}

integer_with_turn!(AtomicU32, u32);
integer_with_turn!(AtomicU64, u64);
integer_with_turn!(AtomicUsize, usize);
atomic_with_turn!(AtomicPtr<T>, *mut T, {
    load(order: Ordering) -> *mut T;
    store(value: *mut T, order: Ordering) -> ();
    swap(value: *mut T, order: Ordering) -> *mut T;
    compare_exchange(now: *mut T, next: *mut T, success: Ordering, failure: Ordering)
        -> Result<*mut T, *mut T>;
});

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

    /// Whether somebody holds it. Trying orders more than the plain load of the other lock does: a fence that is
    /// missing after it does not show.
    pub(crate) fn is_locked(&self) -> bool {
        self.0.try_lock().is_err()
    }
}

/// Promises what the pointer does and no more: a load is ordered after the store that it sees, and may see an
/// old value as long as nothing else orders it. A lock around the value would order loads before later
/// stores, too, and so hide mistakes.
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
