//! One user: its passwords, its selectors, and the same ready for a quick look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use terrace_resp::Args;

use super::password::Hash;
use super::selector::{Denial, Selector, Target};
use super::{RuleError, words};
use crate::pubsub::{Kind, Subscriptions};

/// What is known about a user. Changing one means changing a copy and putting it in place.
#[allow(clippy::struct_excessive_bools)] // Independent facts, not the states of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    /// Clients may authenticate as this user.
    pub(crate) enabled: bool,
    /// Any password will do.
    pub(crate) no_password: bool,
    /// Kept for Redis's sake; nothing here reads payloads.
    sanitizes: bool,
    passwords: Vec<Hash>,
    /// The user's own selector, then the further ones; never empty.
    selectors: Vec<Selector>,
    /// Whether selectors begin with all channels (`acl-pubsub-default`).
    pub(super) every_channel: bool,
}

impl Rules {
    /// A new user's: allowed nothing but, perhaps, every channel.
    pub(crate) fn new(every_channel: bool) -> Self {
        Self {
            enabled: false,
            no_password: false,
            sanitizes: true,
            passwords: Vec::new(),
            selectors: vec![Selector::new(every_channel)],
            every_channel,
        }
    }

    /// The default user's: allowed everything, with this password or, if it is empty, any.
    pub(crate) fn all_powerful(password: &[u8]) -> Self {
        let mut rules = Self::new(true);
        rules.enabled = true;
        for rule in [&b"+@all"[..], b"~*", b"&*"] {
            let applied = rules.apply(rule);
            debug_assert!(applied.is_ok());
        }
        rules.set_password(password);
        rules
    }

    /// Has one password only; an empty one means any.
    pub(crate) fn set_password(&mut self, password: &[u8]) {
        self.no_password = password.is_empty();
        self.passwords.clear();
        if !self.no_password {
            self.passwords.push(Hash::of(password));
        }
    }

    /// Whether this is a password, of an enabled user.
    pub(crate) fn accept(&self, password: &Hash) -> bool {
        let known = password.is_among(&self.passwords);
        self.enabled && (self.no_password || known)
    }

    /// Whether clients may run commands without authenticating, if this is the default user.
    pub(crate) fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Applies one rule of `ACL SETUSER`. After an error the rules are to be thrown away.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => self.set_password(b""),
            b"resetpass" => {
                self.no_password = false;
                self.passwords.clear();
            }
            b"sanitize-payload" => self.sanitizes = true,
            b"skip-sanitize-payload" => self.sanitizes = false,
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self::new(self.every_channel),
            _ => return self.apply_longer(rule),
        }
        Ok(())
    }

    fn apply_longer(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add(Hash::of(password)),
            [b'#', digits @ ..] => self.add(Hash::parse(digits).ok_or(RuleError::BadHash)?),
            [b'<', password @ ..] => return self.remove(&Hash::of(password)),
            [b'!', digits @ ..] => return self.remove(&Hash::parse(digits).ok_or(RuleError::BadHash)?),
            [b'(', inner @ .., b')'] => self.selectors.push(Selector::parse(inner, self.every_channel)?),
            _ => return self.selectors[0].apply(rule),
        }
        Ok(())
    }

    fn add(&mut self, password: Hash) {
        self.no_password = false;
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
    }

    fn remove(&mut self, password: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == password);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Whether a command may run.
    pub(crate) fn check(&self, target: &Target, args: Args<'_>) -> Result<(), Denial> {
        let mut denied = Denial::Command;
        for selector in &self.selectors {
            match selector.check(target, args) {
                Ok(()) => return Ok(()),
                Err(denial) => denied = denied.max(denial),
            }
        }
        Err(denied)
    }

    /// Whether a client may go on listening to all that it listens to.
    pub(crate) fn allow_listening(&self, to: &Subscriptions) -> bool {
        self.selectors.iter().any(|selector| selector.channels().all())
            || [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter().all(|kind| {
                to.names(kind).iter().all(|name| {
                    self.selectors.iter().any(|selector| match kind {
                        Kind::Pattern => selector.channels().allow_pattern(name),
                        Kind::Channel | Kind::Shard => selector.channels().allow(name),
                    })
                })
            })
    }

    /// The user's own selector and the further ones.
    pub(crate) fn selectors(&self) -> (&Selector, &[Selector]) {
        (&self.selectors[0], &self.selectors[1..])
    }

    /// Words for what is on and off.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        flags.extend(self.no_password.then_some("nopass"));
        flags.push(if self.sanitizes { "sanitize-payload" } else { "skip-sanitize-payload" });
        flags
    }

    /// The hashes of the passwords, as hexadecimal digits.
    pub(crate) fn passwords(&self) -> Vec<String> {
        self.passwords.iter().map(Hash::digits).collect()
    }

    /// All of it, in the form in which files have it.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = self.flags().iter().map(|flag| flag.as_bytes().to_vec()).collect();
        parts.extend(self.passwords().iter().map(|digits| format!("#{digits}").into_bytes()));
        parts.push(self.selectors[0].describe());
        for selector in &self.selectors[1..] {
            parts.push([b"(", selector.describe().as_slice(), b")"].concat());
        }
        parts.join(&b' ')
    }
}

/// A user, as connections hold it.
#[derive(Debug)]
pub(crate) struct User {
    name: Box<[u8]>,
    /// Allowed everything: the look that almost every command costs.
    unrestricted: AtomicBool,
    deleted: AtomicBool,
    rules: RwLock<Arc<Rules>>,
}

impl User {
    /// A user with these rules.
    pub(super) fn new(name: &[u8], rules: Rules) -> Self {
        let user = Self {
            name: name.into(),
            unrestricted: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            rules: RwLock::new(Arc::new(Rules::new(false))),
        };
        user.put(rules);
        user
    }

    /// Its name.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its name, for messages.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether it is allowed everything.
    #[inline]
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.unrestricted.load(Ordering::Acquire)
    }

    /// Whether it has been deleted; its connections are about to be closed.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Its rules.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// Puts new rules in place.
    pub(super) fn put(&self, rules: Rules) {
        let unrestricted = rules.selectors.iter().any(Selector::is_unrestricted);
        let mut place = self.rules.write();
        // A check that is under way may still see the old rules; one that begins afterwards does not.
        self.unrestricted.store(false, Ordering::Release);
        *place = Arc::new(rules);
        self.unrestricted.store(unrestricted, Ordering::Release);
    }

    /// Takes every permission away, for good.
    pub(super) fn delete(&self) {
        self.put(Rules::new(false));
        self.deleted.store(true, Ordering::Release);
    }
}

/// The rules that words say, starting from others.
pub(crate) fn changed(mut rules: Rules, given: &[&[u8]]) -> Result<Rules, String> {
    let merged = words::merge_selectors(given).map_err(|at| {
        let word = String::from_utf8_lossy(given[at]);
        format!("Unmatched parenthesis in acl selector starting at '{word}'.")
    })?;
    for rule in merged {
        rules.apply(&rule).map_err(|error| {
            format!("Error in ACL SETUSER modifier '{}': {error}", String::from_utf8_lossy(&rule))
        })?;
    }
    Ok(rules)
}
