//! The patterns of keys and of channels in a selector.

use super::RuleError;
use super::words::has_spaces;
use crate::commands::table::{ACCESS, Access, DELETE, INSERT, UPDATE};
use crate::glob;

const READ: u8 = 1;
const WRITE: u8 = 2;

/// Which keys are allowed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Keys {
    all: bool,
    /// Patterns, and what may be done with keys that match.
    patterns: Vec<(Vec<u8>, u8)>,
}

impl Keys {
    /// Whether every key is.
    pub(super) fn all(&self) -> bool {
        self.all
    }

    /// Allows every key.
    pub(super) fn allow_all(&mut self) {
        *self = Self { all: true, patterns: Vec::new() };
    }

    /// Adds a rule: `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`.
    pub(super) fn add(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all {
            return Err(RuleError::AfterAllKeys);
        }
        let (mut granted, mut rest) = (0, &rule[1..]);
        if rule.first() == Some(&b'%') {
            loop {
                // Without a pattern it is the empty one, as in Redis.
                let Some((letter, tail)) = rest.split_first() else {
                    if granted != 0 {
                        break;
                    }
                    return Err(RuleError::Syntax);
                };
                rest = tail;
                let bit = match letter.to_ascii_uppercase() {
                    b'R' => READ,
                    b'W' => WRITE,
                    b'~' if granted != 0 => break,
                    _ => return Err(RuleError::Syntax),
                };
                if granted & bit != 0 {
                    return Err(RuleError::Syntax);
                }
                granted |= bit;
            }
        } else {
            granted = READ | WRITE;
        }
        if has_spaces(rest) {
            return Err(RuleError::Syntax);
        }
        match self.patterns.iter_mut().find(|(known, _)| known == rest) {
            Some((_, known)) => *known |= granted,
            None => self.patterns.push((rest.to_vec(), granted)),
        }
        Ok(())
    }

    /// Whether a command may do with a key what it does.
    pub(super) fn allow(&self, key: &[u8], access: Access) -> bool {
        let reads = if access & ACCESS != 0 { READ } else { 0 };
        let writes = if access & (INSERT | DELETE | UPDATE) != 0 { WRITE } else { 0 };
        let wanted = reads | writes;
        self.all
            || self
                .patterns
                .iter()
                .any(|(pattern, granted)| granted & wanted == wanted && glob::matches(pattern, key))
    }

    /// The rules.
    pub(super) fn describe(&self) -> Vec<u8> {
        if self.all {
            return b"~*".to_vec();
        }
        let described = |(pattern, granted): &(Vec<u8>, u8)| {
            let prefix: &[u8] = match *granted {
                READ => b"%R~",
                WRITE => b"%W~",
                _ => b"~",
            };
            [prefix, pattern].concat()
        };
        self.patterns.iter().map(described).collect::<Vec<_>>().join(&b' ')
    }
}

/// Which channels are allowed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Channels {
    all: bool,
    patterns: Vec<Vec<u8>>,
}

impl Channels {
    /// Whether every channel is.
    pub(super) fn all(&self) -> bool {
        self.all
    }

    /// Allows every channel.
    pub(super) fn allow_all(&mut self) {
        *self = Self { all: true, patterns: Vec::new() };
    }

    /// Adds a pattern.
    pub(super) fn add(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all {
            return Err(RuleError::AfterAllChannels);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.patterns.iter().any(|known| known == pattern) {
            self.patterns.push(pattern.to_vec());
        }
        Ok(())
    }

    /// Whether a channel is allowed.
    pub(super) fn allow(&self, channel: &[u8]) -> bool {
        self.all || self.patterns.iter().any(|pattern| glob::matches(pattern, channel))
    }

    /// Whether a client may listen to a pattern: only one that stands in the rules, letter for letter.
    pub(super) fn allow_pattern(&self, pattern: &[u8]) -> bool {
        self.all || self.patterns.iter().any(|known| known == pattern)
    }

    /// The rules.
    pub(super) fn describe(&self) -> Vec<u8> {
        if self.all {
            return b"&*".to_vec();
        }
        self.patterns
            .iter()
            .map(|pattern| [b"&", pattern.as_slice()].concat())
            .collect::<Vec<_>>()
            .join(&b' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_grants_what_it_says() {
        let mut keys = Keys::default();
        for rule in ["~both*", "%R~read*", "%w~write*", "%Rw~all*"] {
            keys.add(rule.as_bytes()).unwrap();
        }
        assert!(keys.allow(b"both1", ACCESS | UPDATE) && keys.allow(b"all1", ACCESS | INSERT));
        assert!(keys.allow(b"read1", ACCESS) && !keys.allow(b"read1", ACCESS | DELETE));
        assert!(keys.allow(b"write1", UPDATE) && !keys.allow(b"write1", ACCESS));
        // What neither reads nor changes a value, as EXISTS, needs just any pattern.
        assert!(keys.allow(b"write1", 0) && !keys.allow(b"other", 0));
        assert_eq!(keys.describe(), b"~both* %R~read* %W~write* ~all*");
        for bad in ["%~x", "%RR~x", "%RX~x", "%RR", "%", "~a b"] {
            assert_eq!(keys.add(bad.as_bytes()), Err(RuleError::Syntax), "{bad}");
        }
        keys.add(b"%W~read*").unwrap();
        assert!(keys.allow(b"read1", ACCESS | DELETE), "two rules about one pattern add up");
    }
}
