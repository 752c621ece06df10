//! Single-key operations that read and write in one step, beside `update` and `increment`.

use super::batch::Batch;
use super::keyspace::Keyspace;
use super::types::WriteOptions;
use crate::base::{Error, Result, Slice};

impl Keyspace {
    /// Replaces the value of `key` by `new` (deletes it if `None`) if it is `expected` (`None`: if it has none);
    /// whether it was. Tag and expiry are set anew: 0 and none.
    ///
    /// ```
    /// # fn main() -> terrace::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = terrace::Db::open(dir.path())?;
    /// assert!(db.compare_and_swap("lock", None, Some(b"mine"))?);
    /// assert!(!db.compare_and_swap("lock", None, Some(b"yours"))?);
    /// assert!(db.compare_and_swap("lock", Some(b"mine"), None)?);
    /// # db.close()
    /// # }
    /// ```
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let key = key.as_ref();
        loop {
            let (entry, stamp) = self.read(key)?;
            if entry.as_ref().map(|entry| &*entry.value) != expected {
                return Ok(false);
            }
            let mut batch = Batch::new(&self.handle);
            batch.expect_in(self, key, stamp);
            match new {
                Some(value) => batch.put_in(self, key, value, WriteOptions::new()),
                None => batch.delete_in(self, key),
            };
            match batch.commit() {
                Err(Error::Conflict) => {}
                outcome => return outcome.map(|_| true),
            }
        }
    }

    /// The value of `key`; if it has none, it is set to `value`, which comes back.
    pub fn get_or_insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Slice> {
        let (key, value) = (key.as_ref(), value.as_ref());
        loop {
            if let Some(found) = self.get(key)? {
                return Ok(found);
            }
            if self.compare_and_swap(key, None, Some(value))? {
                return Ok(Slice::copy_from(value));
            }
        }
    }

    /// Sets several keys as one batch: all or nothing, in one record of the log.
    pub fn put_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let mut batch = Batch::new(&self.handle);
        for (key, value) in entries {
            batch.put_in(self, key, value, WriteOptions::new());
        }
        batch.commit().map(|_| ())
    }

    /// Removes several keys as one batch, without reading them.
    pub fn delete_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<()> {
        let mut batch = Batch::new(&self.handle);
        for key in keys {
            batch.delete_in(self, key);
        }
        batch.commit().map(|_| ())
    }
}
