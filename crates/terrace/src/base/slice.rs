//! `Slice`: the cheap, owned bytes that reads return.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Something that keeps bytes alive for a [`Slice`]: a decoded block, for example.
pub(crate) trait Backing: Send + Sync {
    /// The whole of the bytes.
    fn bytes(&self) -> &[u8];
}

const INLINE_BYTES: usize = 30;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<[u8]>),
    Pinned { backing: Arc<dyn Backing>, start: u32, len: u32 },
}

/// Immutable bytes, cheap to clone.
///
/// Up to 30 bytes live in the value itself; larger ones are shared. A slice of a large value may keep the
/// block it was read from alive (usually 8 KiB); copy it (`to_vec`) to hold it for long.
#[derive(Clone)]
pub struct Slice(Repr);

impl Slice {
    /// Copies `bytes`.
    pub fn copy_from(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE_BYTES {
            let mut inline = [0u8; INLINE_BYTES];
            inline[..bytes.len()].copy_from_slice(bytes);
            return Self(Repr::Inline { len: bytes.len() as u8, bytes: inline });
        }
        Self(Repr::Shared(Arc::from(bytes)))
    }

    /// Shares `len` bytes of `backing` from `start`, without copying.
    pub(crate) fn pinned(backing: Arc<dyn Backing>, start: usize, len: usize) -> Self {
        assert!(start + len <= backing.bytes().len(), "a slice stays inside what backs it");
        Self(Repr::Pinned { backing, start: start as u32, len: len as u32 })
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
            Repr::Pinned { backing, start, len } => &backing.bytes()[*start as usize..][..*len as usize],
        }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Slice {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from(bytes)
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= INLINE_BYTES { Self::copy_from(&bytes) } else { Self(Repr::Shared(bytes.into())) }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Slice {}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Slice
where
    T: NotSlice,
{
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

/// Keeps the generic comparison above apart from `Slice == Slice`.
pub trait NotSlice {}
impl NotSlice for str {}
impl NotSlice for [u8] {}
impl NotSlice for &str {}
impl NotSlice for &[u8] {}
impl NotSlice for Vec<u8> {}
impl NotSlice for String {}
impl<const N: usize> NotSlice for [u8; N] {}
impl<const N: usize> NotSlice for &[u8; N] {}

impl PartialOrd for Slice {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slice {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl std::hash::Hash for Slice {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Owned(Vec<u8>);
    impl Backing for Owned {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
    }

    #[test]
    fn every_form_reads_the_same() {
        for len in [0, 1, 30, 31, 500] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let copied = Slice::copy_from(&bytes);
            let pinned = Slice::pinned(Arc::new(Owned(bytes.clone())), 0, len);
            assert_eq!(copied, pinned);
            assert_eq!(copied, bytes);
            assert_eq!(Slice::from(bytes.clone()), bytes);
        }
        assert_eq!(std::mem::size_of::<Slice>(), 32);
    }
}
