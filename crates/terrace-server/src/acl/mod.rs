//! Users and what each may do: Redis's access control lists.
//!
//! A connection holds its [`User`]; a change of the rules is seen by the next command of every connection. The one
//! check that nearly every command costs is [`User::is_unrestricted`], a single load. There is always a user named
//! `default`, which is what a connection is before it authenticates, and the one that `requirepass` speaks of.
//!
//! What each command needs is for the command table to say; what a refusal looks like, for `commands`.

mod file;
mod log;
mod names;
mod password;
mod patterns;
mod selector;
mod user;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::parameters::replace_file;

pub(crate) use log::{Entry, Log, Reason};
pub(crate) use names::parts;
pub(crate) use password::{Hash, hexadecimal};
pub(crate) use selector::{Denial, Selector, Target};
pub(crate) use user::{Rules, User, changed};
pub(crate) use words::has_spaces;

/// The name of the user that a connection is at first.
pub(crate) const DEFAULT: &[u8] = b"default";

/// What is wrong with a rule, in Redis's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RuleError {
    /// It is none.
    Syntax,
    /// It names a command or category that does not exist.
    Unknown,
    /// A pattern of keys that changes nothing.
    AfterAllKeys,
    /// A pattern of channels that changes nothing.
    AfterAllChannels,
    /// A password to remove that is not there.
    NoSuchPassword,
    /// A hash that is none.
    BadHash,
    /// A first argument of a subcommand.
    FirstArgOfSubcommand,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "Syntax error",
            Self::Unknown => "Unknown command or category name in ACL",
            Self::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have \
                 any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

/// All users.
#[derive(Debug)]
pub(crate) struct Users {
    all: RwLock<BTreeMap<Box<[u8]>, Arc<User>>>,
    default: Arc<User>,
    /// Clients may run commands without authenticating.
    open: AtomicBool,
    /// What was refused.
    pub(crate) log: Log,
}

impl Users {
    /// The default user alone, with this password; empty means any.
    pub(crate) fn new(password: &[u8]) -> Self {
        let default = Arc::new(User::new(DEFAULT, Rules::all_powerful(password)));
        Self {
            all: RwLock::new([(DEFAULT.into(), Arc::clone(&default))].into()),
            default,
            open: AtomicBool::new(password.is_empty()),
            log: Log::default(),
        }
    }

    /// The default user.
    pub(crate) fn default_user(&self) -> Arc<User> {
        Arc::clone(&self.default)
    }

    /// Whether a client may run commands without authenticating.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The user of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        self.all.read().get(name).cloned()
    }

    /// All users, by name.
    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.all.read().values().cloned().collect()
    }

    /// The user with this name and password. It takes as long when there is none of that name.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let (hash, user) = (Hash::of(password), self.find(name));
        let rules = user.as_ref().unwrap_or(&self.default).rules();
        let accepted = rules.accept(&hash);
        user.filter(|_| accepted)
    }

    /// Gives the default user one password; empty means any.
    pub(crate) fn set_default_password(&self, password: &[u8]) {
        let all = self.all.write();
        let mut rules = (*self.default.rules()).clone();
        rules.set_password(password);
        self.put(&self.default, rules);
        drop(all);
    }

    /// Changes a user, or makes a new one, as `change` says.
    pub(crate) fn set(
        &self,
        name: &[u8],
        every_channel: bool,
        change: impl FnOnce(Rules) -> Result<Rules, String>,
    ) -> Result<Arc<User>, String> {
        let mut all = self.all.write();
        if let Some(user) = all.get(name) {
            let mut rules = (*user.rules()).clone();
            rules.every_channel = every_channel;
            self.put(user, change(rules)?);
            return Ok(Arc::clone(user));
        }
        let user = Arc::new(User::new(name, change(Rules::new(every_channel))?));
        all.insert(name.into(), Arc::clone(&user));
        Ok(user)
    }

    fn put(&self, user: &Arc<User>, rules: Rules) {
        if Arc::ptr_eq(user, &self.default) {
            self.open.store(rules.is_open(), Ordering::Release);
        }
        user.put(rules);
    }

    /// Deletes a user, which is returned, unless it is the default user.
    pub(crate) fn delete(&self, name: &[u8]) -> Option<Arc<User>> {
        if name == DEFAULT {
            return None;
        }
        let user = self.all.write().remove(name)?;
        user.delete();
        Some(user)
    }

    /// Reads the users from a file, in the place of those there are. A default user that is not in the file gets
    /// `password`. Returns those that changed or are gone.
    pub(crate) fn load(
        &self,
        path: &Path,
        every_channel: bool,
        password: &[u8],
    ) -> Result<Vec<Arc<User>>, String> {
        Ok(self.replace(file::read(path, every_channel)?, password))
    }

    /// The same with the users of a configuration, which `place` names.
    pub(crate) fn configure(
        &self,
        (lines, place): (&[String], &str),
        every_channel: bool,
        password: &[u8],
    ) -> Result<(), String> {
        self.replace(file::parse_configured(lines, place, every_channel)?, password);
        Ok(())
    }

    fn replace(&self, listed: file::Listed, password: &[u8]) -> Vec<Arc<User>> {
        let mut all = self.all.write();
        let mut touched = Vec::new();
        let is_listed = |name: &[u8]| listed.contains_key(name);
        all.retain(|name, user| {
            let stays = &**name == DEFAULT || is_listed(name);
            if !stays {
                user.delete();
                touched.push(Arc::clone(user));
            }
            stays
        });
        if !is_listed(DEFAULT) {
            self.put(&self.default, Rules::all_powerful(password));
        }
        for (name, rules) in listed {
            match all.get(name.as_slice()) {
                Some(user) => {
                    self.put(user, rules);
                    touched.push(Arc::clone(user));
                }
                None => {
                    let user = Arc::new(User::new(&name, rules));
                    all.insert(name.into(), user);
                }
            }
        }
        touched
    }

    /// Writes the users to a file, in one step.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut text = Vec::new();
        for user in self.all() {
            text.extend_from_slice(&describe(&user));
            text.push(b'\n');
        }
        replace_file(path, &text)
    }
}

/// The line of a user in a file and in `ACL LIST`.
pub(crate) fn describe(user: &User) -> Vec<u8> {
    [b"user ", user.name(), b" ", user.rules().describe().as_slice()].concat()
}
