//! Groups of keys that always have one version, and the check that they do.

use terrace::Db;

use super::ledger::Ledger;

/// Groups of a writer.
pub(super) const GROUPS: usize = 200;
/// Keys of most groups; every fourth has a single one.
const KEYS: usize = 64;
/// Versions that are multiples of this delete the keys.
const DELETING: u64 = 13;

/// What a check has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Check {
    /// Keys that hold the right value, or are rightly absent.
    pub(super) keys: u64,
    /// Groups of several keys that hold one version.
    pub(super) groups: u64,
    /// Groups whose last write was not acknowledged and has not happened.
    pub(super) unacknowledged_lost: u64,
    /// Groups whose last write was not acknowledged and has happened.
    pub(super) unacknowledged_kept: u64,
}

/// The number of keys in a group.
pub(super) fn keys_in(group: usize) -> usize {
    if group.is_multiple_of(4) { 1 } else { KEYS }
}

/// Whether this version means that the keys are gone.
pub(super) fn deletes(version: u64) -> bool {
    version.is_multiple_of(DELETING)
}

/// The key of a member of a group of a writer.
pub(super) fn key(writer: usize, group: usize, member: usize) -> Vec<u8> {
    format!("w{writer:02}/g{group:04}/{member:02}").into_bytes()
}

fn parse_key(key: &[u8]) -> Option<(usize, usize, usize)> {
    let text = std::str::from_utf8(key).ok()?;
    let mut parts = text.split('/');
    let writer = parts.next()?.strip_prefix('w')?.parse().ok()?;
    let group = parts.next()?.strip_prefix('g')?.parse().ok()?;
    Some((writer, group, parts.next()?.parse().ok()?))
}

/// The value of a key at a version: the version, and a tail that follows from both.
pub(super) fn value(key: &[u8], version: u64) -> Vec<u8> {
    let mut word = version.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for byte in key {
        word = (word ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    let mut bytes = version.to_le_bytes().to_vec();
    for _ in 0..2 + word % 9 {
        word = word.rotate_left(29).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The version of a value, if every byte of it is right.
fn version_of(key: &[u8], bytes: &[u8]) -> Option<u64> {
    let version = u64::from_le_bytes(*bytes.first_chunk()?);
    (value(key, version) == bytes).then_some(version)
}

/// What was found of a group.
#[derive(Clone, Copy, Default)]
struct Found {
    keys: usize,
    version: u64,
}

/// Scans the store; every group must have one version that its writer knows of. The ledgers learn which.
pub(super) fn check(db: &Db, ledgers: &mut [Ledger]) -> Result<Check, String> {
    let mut found = vec![[Found::default(); GROUPS]; ledgers.len()];
    for entry in db.iter() {
        let (key, value) = entry.map_err(|error| format!("cannot scan: {error}"))?;
        let place = parse_key(&key).filter(|(writer, group, member)| {
            *writer < ledgers.len() && *group < GROUPS && *member < keys_in(*group)
        });
        let shown = key.escape_ascii();
        let (writer, group, _) = place.ok_or_else(|| format!("nobody wrote {shown}"))?;
        let version = version_of(&key, &value).ok_or_else(|| format!("the value of {shown} is damaged"))?;
        let group = &mut found[writer][group];
        if group.keys > 0 && group.version != version {
            return Err(format!(
                "{shown} has version {version}, its group has {}: a torn batch",
                group.version
            ));
        }
        *group = Found { keys: group.keys + 1, version };
    }
    let mut sum = Check::default();
    for (writer, (ledger, groups)) in ledgers.iter_mut().zip(&found).enumerate() {
        for (group, found) in groups.iter().enumerate() {
            check_group(ledger, group, *found, &mut sum)
                .map_err(|detail| format!("writer {writer}, group {group}: {detail}"))?;
        }
    }
    Ok(sum)
}

fn check_group(ledger: &mut Ledger, group: usize, found: Found, sum: &mut Check) -> Result<(), String> {
    let (acknowledged, sent) = ledger.versions(group);
    let keys = keys_in(group);
    let version = match found.keys {
        // Version 0 is the state before the first write.
        0 => (acknowledged..=sent).find(|version| deletes(*version)),
        all if all == keys => {
            (acknowledged..=sent).contains(&found.version).then_some(found.version).filter(|v| !deletes(*v))
        }
        some => return Err(format!("{some} of {keys} keys at version {}: a torn batch", found.version)),
    };
    let version = version.ok_or_else(|| {
        format!(
            "{} keys at version {}; {acknowledged} was acknowledged, {sent} was sent",
            found.keys, found.version
        )
    })?;
    sum.keys += keys as u64;
    sum.groups += u64::from(keys > 1);
    sum.unacknowledged_lost += u64::from(version < sent);
    sum.unacknowledged_kept += u64::from(version > acknowledged);
    ledger.settle(group, version);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(entries: &[(usize, u64)]) -> Db {
        let db = terrace::Options::new().open(tempfile::tempdir().unwrap().path().join("d")).unwrap();
        for (member, version) in entries {
            let key = key(0, 1, *member);
            db.put(&key, value(&key, *version)).unwrap();
        }
        db
    }

    fn verdict(entries: &[(usize, u64)], acknowledged: u64, sent: u64) -> Result<Check, String> {
        let mut ledgers = [Ledger::new()];
        for version in 1..=sent {
            assert_eq!(ledgers[0].send(1), version);
            if version <= acknowledged {
                ledgers[0].acknowledge(1, version);
            }
        }
        check(&store(entries), &mut ledgers)
    }

    #[test]
    fn torn_lost_and_invented_writes_are_noticed() {
        let whole = |version| (0..KEYS).map(|member| (member, version)).collect::<Vec<_>>();
        assert!(verdict(&whole(3), 3, 3).is_ok());
        assert!(verdict(&whole(3), 2, 3).is_ok());
        assert!(verdict(&whole(2), 2, 3).is_ok());
        assert!(verdict(&[], 0, 3).is_ok());
        assert!(verdict(&[], 13, 14).is_ok());
        for (entries, acknowledged, sent) in [
            (whole(2), 3, 3),
            (whole(4), 3, 3),
            (vec![], 3, 3),
            (whole(3)[1..].to_vec(), 3, 3),
            ([whole(2)[1..].to_vec(), vec![(0, 3)]].concat(), 2, 3),
            (whole(13), 13, 13),
        ] {
            assert!(verdict(&entries, acknowledged, sent).is_err(), "{acknowledged}, {sent}");
        }
    }
}
