//! `Published`: a value that readers see without a lock and a writer replaces as a whole.
//!
//! Replaced values stay allocated until the `Published` itself is dropped, so a reader's reference is
//! good for as long as it borrows the owner and no reclamation protocol is needed. That is meant for tables
//! that double: all the old ones together are smaller than the newest. It is not meant for values that
//! are replaced often.

use std::marker::PhantomData;

use super::witness::Witness;
use crate::base::sync::{AtomicPtr, Ordering};

/// The newest of a chain of values.
pub(super) struct Published<T> {
    newest: AtomicPtr<Node<T>>,
    /// Makes this `Send` and `Sync` only if the values are.
    owns: PhantomData<T>,
}

struct Node<T> {
    value: T,
    witness: Witness,
    older: *mut Node<T>,
}

#[allow(unsafe_code)]
impl<T: Send + Sync> Published<T> {
    /// Publishes the first value.
    pub(super) fn new(value: T) -> Self {
        let published = Self { newest: AtomicPtr::new(std::ptr::null_mut()), owns: PhantomData };
        published.publish(value);
        published
    }

    /// The newest value.
    #[inline]
    pub(super) fn get(&self) -> &T {
        let node = self.newest.load(Ordering::Acquire);
        // SAFETY: `newest` always points to a node made by `publish` (`new` publishes one at once), whose
        // contents the acquire load makes visible; nodes are freed only by `drop`, which no borrow outlives.
        unsafe {
            (*node).witness.read();
            &(*node).value
        }
    }

    /// Replaces the value for all later `get`s. References to older values stay good.
    pub(super) fn publish(&self, value: T) {
        let node =
            Box::into_raw(Box::new(Node { value, witness: Witness::new(), older: std::ptr::null_mut() }));
        let mut seen = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node is still ours alone: it has not been published.
            unsafe {
                (*node).older = seen;
                (*node).witness.wrote();
            }
            match self.newest.compare_exchange(seen, node, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }
}

#[allow(unsafe_code)]
impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        let mut node = self.newest.load(Ordering::Relaxed);
        while !node.is_null() {
            // SAFETY: every node of the chain came from `Box::into_raw` and is visited once; `&mut self`
            // means that no reader is left.
            let owned = unsafe { Box::from_raw(node) };
            node = owned.older;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_value_stays_readable() {
        let published = Published::new(vec![1]);
        let first = published.get();
        published.publish(vec![2]);
        published.publish(vec![3]);
        assert_eq!((first, published.get()), (&vec![1], &vec![3]));
    }
}
