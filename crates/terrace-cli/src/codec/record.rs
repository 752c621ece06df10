//! `Record`: one entry outside the store, and the limits that the store will hold it to.

/// One entry: what `export` writes and `import` reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Record {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The value.
    pub(crate) value: Vec<u8>,
    /// When the entry disappears, in milliseconds since the Unix epoch.
    pub(crate) expires_at_ms: Option<u64>,
    /// The caller's tag, 0 to 15.
    pub(crate) tag: u8,
    /// The keyspace that it is in, where a file holds several.
    pub(crate) keyspace: Option<String>,
}

/// The longest key.
const KEY_LIMIT_BYTES: usize = 65_535;
/// The longest value.
const VALUE_LIMIT_BYTES: usize = 512 << 20;

impl Record {
    /// Checks the limits of the store, so that a bad line is named and no batch fails because of it.
    pub(crate) fn check(self) -> Result<Self, String> {
        let key_bytes = self.key.len();
        if key_bytes == 0 || key_bytes > KEY_LIMIT_BYTES {
            return Err(format!("a key takes 1 to 65,535 bytes; this one has {key_bytes}"));
        }
        if self.value.len() > VALUE_LIMIT_BYTES {
            return Err(format!("a value takes at most 512 MiB; this one has {} bytes", self.value.len()));
        }
        if self.tag > 15 {
            return Err(format!("a tag is 0 to 15; found {}", self.tag));
        }
        if self.expires_at_ms == Some(0) {
            return Err("expires_at_ms is milliseconds since 1970, 1 or more; found 0".into());
        }
        Ok(self)
    }

    /// The size that counts against a batch.
    pub(crate) fn len_bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        let good = Record { key: b"k".to_vec(), ..Record::default() };
        assert!(good.clone().check().is_ok());
        assert!(Record { key: vec![], ..good.clone() }.check().is_err());
        assert!(Record { key: vec![0; 65_536], ..good.clone() }.check().is_err());
        assert!(Record { tag: 16, ..good.clone() }.check().is_err());
        assert!(Record { expires_at_ms: Some(0), ..good }.check().is_err());
    }
}
