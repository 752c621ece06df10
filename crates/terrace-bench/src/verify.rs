//! The check that a store holds exactly what was put: count, order, keys, values.

use anyhow::{Result, bail};
use terrace::Db;

use crate::{keys, values};

/// Reads everything in key order and compares it with what the fill and `rounds` overwrites put there. Returns
/// the number of entries. The error names the first entry that differs.
pub(crate) fn full_scan(db: &Db, entries: u64, value_bytes: usize, round: u64) -> Result<u64> {
    let mut expected_value = vec![0; value_bytes];
    let mut count = 0;
    for entry in db.iter() {
        let (key, value) = entry?;
        if count == entries {
            bail!("entry {count}: {key:?} although only {entries} keys were put");
        }
        let expected = keys::key(count);
        if key != expected {
            bail!("entry {count}: key {key:?}, expected {}", expected.escape_ascii());
        }
        values::fill(&mut expected_value, count, round);
        if value != expected_value {
            bail!("entry {count}: the value of {key:?} is not the one that was put ({} bytes)", value.len());
        }
        count += 1;
    }
    if count != entries {
        bail!("{count} entries although {entries} keys were put");
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(dir: &std::path::Path, entries: u64) -> Db {
        let db = Db::open(dir).unwrap();
        for number in 0..entries {
            let mut value = vec![0; 20];
            values::fill(&mut value, number, 0);
            db.put(keys::key(number), &value).unwrap();
        }
        db
    }

    #[test]
    fn what_was_put_is_accepted_and_every_difference_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let db = filled(dir.path(), 50);
        assert_eq!(full_scan(&db, 50, 20, 0).unwrap(), 50);
        let problem = |entries, bytes, round| full_scan(&db, entries, bytes, round).unwrap_err().to_string();
        assert!(problem(49, 20, 0).contains("only 49"));
        assert!(problem(51, 20, 0).contains("50 entries"));
        assert!(problem(50, 21, 0).contains("value"));
        assert!(problem(50, 20, 1).contains("value"));
        let value = db.get(keys::key(7)).unwrap().unwrap();
        db.delete(keys::key(7)).unwrap();
        assert!(problem(50, 20, 0).contains("entry 7: key"));
        db.put(keys::key(7), value).unwrap();
        db.put(keys::missing_key(3), "").unwrap();
        assert!(problem(50, 20, 0).contains("entry 10"));
    }
}
