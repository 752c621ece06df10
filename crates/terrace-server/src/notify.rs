//! Keyspace events: the classes that `notify-keyspace-events` chooses from, and the messages they become.

/// A sum of the bits below.
pub(crate) type Classes = u32;

/// Commands that go with any type: `del`, `expire`, `rename_from` …
pub(crate) const GENERIC: Classes = 1;
/// Strings.
pub(crate) const STRING: Classes = 1 << 1;
/// Hashes.
pub(crate) const HASH: Classes = 1 << 2;
/// A key has expired.
pub(crate) const EXPIRED: Classes = 1 << 3;
/// A key was created.
pub(crate) const NEW: Classes = 1 << 4;
/// A key was read that does not exist.
pub(crate) const MISS: Classes = 1 << 5;
/// Publish on `__keyspace@<db>__:<key>`.
const BY_KEY: Classes = 1 << 6;
/// Publish on `__keyevent@<db>__:<event>`.
const BY_EVENT: Classes = 1 << 7;
// Classes of types and policies that do not exist here: accepted and shown, never raised.
const LIST: Classes = 1 << 8;
const SET: Classes = 1 << 9;
const SORTED_SET: Classes = 1 << 10;
const EVICTED: Classes = 1 << 11;
const STREAM: Classes = 1 << 12;
const MODULE: Classes = 1 << 13;

/// What `A` stands for: everything but `m` and `n`.
const ALL: Classes = GENERIC | STRING | LIST | SET | HASH | SORTED_SET | EXPIRED | EVICTED | STREAM | MODULE;

/// Letters, in the order in which they are shown.
const LETTERS: [(u8, Classes); 14] = [
    (b'g', GENERIC),
    (b'$', STRING),
    (b'l', LIST),
    (b's', SET),
    (b'h', HASH),
    (b'z', SORTED_SET),
    (b'x', EXPIRED),
    (b'e', EVICTED),
    (b't', STREAM),
    (b'd', MODULE),
    (b'n', NEW),
    (b'K', BY_KEY),
    (b'E', BY_EVENT),
    (b'm', MISS),
];

/// Reads a sum of classes from its letters; `None` if one is unknown.
pub(crate) fn parse(letters: &[u8]) -> Option<Classes> {
    letters.iter().try_fold(0, |classes, letter| {
        if *letter == b'A' {
            return Some(classes | ALL);
        }
        LETTERS.iter().find(|(known, _)| known == letter).map(|(_, class)| classes | class)
    })
}

/// The letters of a sum of classes, as short as they can be.
pub(crate) fn format(classes: Classes) -> String {
    let all = classes & ALL == ALL;
    let shown = LETTERS.iter().filter(|(_, class)| classes & class != 0 && !(all && ALL & class != 0));
    let letters: String = shown.map(|(letter, _)| char::from(*letter)).collect();
    if all { format!("A{letters}") } else { letters }
}

/// The classes that are really published: none, unless there is a channel to publish on.
pub(crate) fn effective(classes: Classes) -> Classes {
    if classes & (BY_KEY | BY_EVENT) == 0 { 0 } else { classes }
}

/// The channels and payloads of an event.
pub(crate) fn messages(
    classes: Classes,
    db: u8,
    event: &str,
    key: &[u8],
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let by_key = (classes & BY_KEY != 0)
        .then(|| ([format!("__keyspace@{db}__:").as_bytes(), key].concat(), event.as_bytes().to_vec()));
    let by_event =
        (classes & BY_EVENT != 0).then(|| (format!("__keyevent@{db}__:{event}").into_bytes(), key.to_vec()));
    by_key.into_iter().chain(by_event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_brought_into_their_order() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("gKE", "gKE"),
            ("$lshzxeKE", "$lshzxeKE"),
            ("Exg", "gxE"),
            ("AKm", "AKm"),
            ("nA", "An"),
            ("g$lshzxetdK", "AK"),
        ] {
            assert_eq!(format(parse(given.as_bytes()).unwrap()), shown, "{given}");
        }
        assert!(parse(b"KEq").is_none());
    }

    #[test]
    fn without_a_channel_nothing_is_published() {
        assert_eq!(effective(parse(b"A").unwrap()), 0);
        assert_ne!(effective(parse(b"KA").unwrap()), 0);
        let both: Vec<_> = messages(parse(b"KE$").unwrap(), 3, "set", b"k").collect();
        assert_eq!(both[0], (b"__keyspace@3__:k".to_vec(), b"set".to_vec()));
        assert_eq!(both[1], (b"__keyevent@3__:set".to_vec(), b"k".to_vec()));
    }
}
