//! The bytes of a simulated file: a length and the pages that were ever written.
//!
//! Pages are shared between copies until one of them writes, so a crash clone costs little and a
//! preallocated segment costs nothing until it is used. What was never written reads as zeros.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

/// Invariant: no page holds a byte other than zero at or beyond `len`.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

impl Content {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `offset`; `UnexpectedEof` if the content ends before.
    pub(super) fn read_exact(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) && !buf.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < buf.len() {
            let (page, start, len) = piece(offset + done as u64, buf.len() - done);
            let target = &mut buf[done..done + len];
            match self.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[start..start + len]),
                None => target.fill(0),
            }
            done += len;
        }
        Ok(())
    }

    /// Stores `bytes` at `offset`, extending the content as needed. The caller rules out overflow.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset + done as u64, bytes.len() - done);
            let target = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(target)[start..start + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts the content, or extends it with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, start, _) = piece(len, 0);
            self.pages.split_off(&(page + u64::from(start > 0)));
            if let Some(bytes) = self.pages.get_mut(&page) {
                Arc::make_mut(bytes)[start..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        for (page, content) in &self.pages {
            let start = *page as usize * PAGE_BYTES;
            let end = bytes.len().min(start + PAGE_BYTES);
            bytes[start..end].copy_from_slice(&content[..end - start]);
        }
        bytes
    }
}

/// The page that holds `offset`, where in it, and how many of `len` bytes lie in it.
fn piece(offset: u64, len: usize) -> (u64, usize, usize) {
    let start = (offset % PAGE_BYTES as u64) as usize;
    (offset / PAGE_BYTES as u64, start, len.min(PAGE_BYTES - start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn content_behaves_as_a_plain_vector(
            steps in prop::collection::vec((0u64..20_000, 0usize..9000, any::<u8>(), any::<bool>()), 1..20),
        ) {
            let mut content = Content::default();
            let mut model: Vec<u8> = Vec::new();
            for (offset, len, fill, cut) in steps {
                let before = content.clone();
                let bytes_before = model.clone();
                if cut {
                    content.set_len(offset);
                    model.resize(offset as usize, 0);
                } else {
                    let end = offset as usize + len;
                    content.write(offset, &vec![fill; len]);
                    if len > 0 {
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].fill(fill);
                    }
                }
                prop_assert_eq!(&content.to_vec(), &model);
                prop_assert_eq!(&before.to_vec(), &bytes_before);
                let from = model.len() / 3;
                let mut read = vec![1; model.len() - from];
                content.read_exact(&mut read, from as u64).unwrap();
                prop_assert_eq!(&read[..], &model[from..]);
                prop_assert!(content.read_exact(&mut [0], model.len() as u64).is_err());
            }
        }
    }
}
