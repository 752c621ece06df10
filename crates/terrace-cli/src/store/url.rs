//! A store behind a running server, reached with plain Redis commands.
//!
//! Scans use `SCAN` for the keys and one pipeline of `MGET` and `PEXPIRETIME` per page for the rest. A key that
//! changes meanwhile may appear with its old or its new value; one that disappears is left out. `SCAN` promises
//! no order, so an ordered scan first collects the keys of its range (with a limit: no more than that many).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use redis::Connection;

use super::{Range, Store, Visit, refuse_hash};
use crate::codec::Record;
use crate::exit::{Code, Failure};
use crate::figures;

/// How long to wait for the server to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys asked for in one `SCAN` and fetched in one `MGET`.
const PAGE_KEYS: usize = 512;

/// A connection to a server, on one of its databases.
pub(crate) struct UrlStore {
    connection: Connection,
}

impl UrlStore {
    /// Connects; a URL without a scheme is taken as `redis://`.
    pub(super) fn connect(url: &str) -> Result<Self> {
        let full = if url.contains("://") { url.to_owned() } else { format!("redis://{url}") };
        let client =
            redis::Client::open(full).map_err(|e| Failure::error(Code::Usage, format!("--url: {e}")))?;
        let address = client.get_connection_info().addr().to_string();
        let connection = client
            .get_connection_with_timeout(CONNECT_TIMEOUT)
            .map_err(|e| Failure::error(Code::Server, cannot_connect(&address, &e)))?;
        Ok(Self { connection })
    }

    /// Has the server make a generation of a backup in a directory on its machine; the sentence it answers with.
    pub(crate) fn backup(&mut self, to: &Path) -> Result<String> {
        if !to.is_absolute() {
            let said = format!("--to {}: a server takes an absolute path on its own machine", to.display());
            return Err(Failure::error(Code::Usage, said));
        }
        let mut command = redis::cmd("BACKUP");
        command.arg("TO").arg(to.as_os_str().as_encoded_bytes());
        Ok(command.query(&mut self.connection)?)
    }

    /// Calls `page` with the keys of one `SCAN` step after another, until it says `false`.
    fn scan_keys(
        &mut self,
        prefix: &[u8],
        mut page: impl FnMut(&mut Self, Vec<Vec<u8>>) -> Result<bool>,
    ) -> Result<()> {
        let mut cursor = String::from("0");
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(&cursor).arg("COUNT").arg(PAGE_KEYS);
            if !prefix.is_empty() {
                command.arg("MATCH").arg(glob_of_prefix(prefix));
            }
            let (next, keys): (String, Vec<Vec<u8>>) = command.query(&mut self.connection)?;
            if !page(self, keys)? || next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Fetches values and expiries of a page of keys.
    fn fetch(
        &mut self,
        keys: Vec<Vec<u8>>,
        visit: &mut Visit,
        of_other_type: fn(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        if keys.is_empty() {
            return Ok(true);
        }
        let mut values = redis::cmd("MGET");
        values.arg(&keys);
        let mut pipe = redis::pipe();
        pipe.add_command(values);
        for key in &keys {
            pipe.cmd("PEXPIRETIME").arg(key);
        }
        let mut replies: Vec<redis::Value> = pipe.query(&mut self.connection)?;
        let expiries = replies.split_off(1);
        let values: Vec<Option<Vec<u8>>> = redis::from_redis_value(replies.remove(0))?;
        for ((key, value), expiry) in keys.into_iter().zip(values).zip(expiries) {
            let at: i64 = redis::from_redis_value(expiry)?;
            if at == -2 {
                continue; // It disappeared between the two commands.
            }
            let Some(value) = value else {
                of_other_type(&key)?;
                continue;
            };
            let expires_at_ms = u64::try_from(at).ok().filter(|&at| at > 0);
            if !visit(Record { key, value, expires_at_ms, ..Record::default() })? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The keys of a range in order, at most `limit` of them.
    fn ordered_keys(&mut self, range: &Range) -> Result<Vec<Vec<u8>>> {
        let limit = range.limit.unwrap_or(u64::MAX);
        let mut kept = BTreeSet::new();
        self.scan_keys(&range.prefix, |_, keys| {
            for key in keys.into_iter().filter(|key| range.contains(key)) {
                kept.insert(key);
                if kept.len() as u64 > limit {
                    if range.reverse {
                        kept.pop_first()
                    } else {
                        kept.pop_last()
                    };
                }
            }
            Ok(limit > 0)
        })?;
        let mut keys: Vec<_> = kept.into_iter().collect();
        if range.reverse {
            keys.reverse();
        }
        Ok(keys)
    }
}

/// Why there is no connection, and the way out.
fn cannot_connect(address: &str, error: &redis::RedisError) -> String {
    let advice = match error.kind() {
        redis::ErrorKind::AuthenticationFailed => {
            "; a password goes into the URL: redis://:password@host:port"
        }
        _ if error.is_connection_refusal() => "; is `terrace serve` running there?",
        _ => "",
    };
    format!("cannot connect to {address}: {error}{advice}")
}

/// The command that writes an entry.
fn set(record: &Record) -> redis::Cmd {
    let mut command = redis::cmd("SET");
    command.arg(&record.key).arg(&record.value);
    if let Some(at) = record.expires_at_ms {
        command.arg("PXAT").arg(at);
    }
    command
}

/// A `MATCH` pattern for the keys that start with `prefix`.
fn glob_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut glob = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if b"*?[]^\\-".contains(&byte) {
            glob.push(b'\\');
        }
        glob.push(byte);
    }
    glob.push(b'*');
    glob
}

impl Store for UrlStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Record>> {
        let mut found = None;
        self.fetch(
            vec![key.to_vec()],
            &mut |record| {
                found = Some(record);
                Ok(true)
            },
            |_| Ok(()),
        )?;
        Ok(found)
    }

    fn write(&mut self, batch: &[Record]) -> Result<()> {
        if let Some(tagged) = batch.iter().find(|record| record.tag != 0) {
            let key = crate::codec::escape::escape(&tagged.key);
            bail!(Failure::error(Code::Data, format!("key {key}: a tag ({}) needs --dir", tagged.tag)));
        }
        if batch.iter().all(|record| record.expires_at_ms.is_none()) {
            let mut command = redis::cmd("MSET");
            for record in batch {
                command.arg(&record.key).arg(&record.value);
            }
            return Ok(command.query(&mut self.connection)?);
        }
        if let [record] = batch {
            return Ok(set(record).query(&mut self.connection)?);
        }
        let mut pipe = redis::pipe();
        pipe.atomic();
        for record in batch {
            pipe.add_command(set(record)).ignore();
        }
        Ok(pipe.query(&mut self.connection)?)
    }

    fn delete(&mut self, keys: &[Vec<u8>]) -> Result<u64> {
        Ok(redis::cmd("DEL").arg(keys).query(&mut self.connection)?)
    }

    fn scan(&mut self, range: &Range, visit: &mut Visit) -> Result<()> {
        let keys = self.ordered_keys(range)?;
        for page in keys.chunks(PAGE_KEYS) {
            let go_on = if range.keys_only {
                let mut records = page.iter().map(|key| Record { key: key.clone(), ..Record::default() });
                records.try_fold(true, |go_on, record| if go_on { visit(record) } else { Ok(false) })?
            } else {
                self.fetch(page.to_vec(), visit, |_| Ok(()))?
            };
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    fn dump(&mut self, visit: &mut Visit) -> Result<()> {
        self.scan_keys(b"", |store, keys| {
            store.fetch(keys, visit, |key| Err(refuse_hash(key, "a BACKUP of the server has them")))
        })
    }

    fn count(&mut self, range: &Range) -> Result<u64> {
        let mut count = 0;
        self.scan_keys(&range.prefix, |_, keys| {
            count += keys.iter().filter(|key| range.contains(key)).count() as u64;
            Ok(true)
        })?;
        Ok(count)
    }

    fn estimate(&mut self) -> Result<u64> {
        Ok(redis::cmd("DBSIZE").query(&mut self.connection)?)
    }

    fn stats(&mut self) -> Result<serde_json::Value> {
        let reply: redis::Value = redis::cmd("STATS").query(&mut self.connection)?;
        Ok(figures::from_reply(reply))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(redis::cmd("FLUSH").query(&mut self.connection)?)
    }

    fn compact(&mut self) -> Result<()> {
        Ok(redis::cmd("COMPACT").query(&mut self.connection)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_with_pattern_characters_matches_itself_only() {
        assert_eq!(glob_of_prefix(b"a*[b]\\?\xff"), b"a\\*\\[b\\]\\\\\\?\xff*");
    }
}
