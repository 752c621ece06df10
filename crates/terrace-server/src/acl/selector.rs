//! A selector: which commands a user may run, on which keys, with which channels. A user has one of its own and any
//! number of further ones; a command runs if a single one of them allows all of it.
//!
//! The effect of the rules is kept as one word of bits per command, so that a check is one look. The rules
//! themselves are kept beside it in the order given, because they say more than their effect: `+@read` also means
//! commands that do not exist yet.

use terrace_resp::Args;

use super::RuleError;
use super::names::{self, Named};
use super::patterns::{Channels, Keys};
use crate::commands::table::{self, Command, NO_AUTH_NEEDED, NOT_KEY};

/// What a user is not allowed, with the position of the argument. The greater one tells more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Denial {
    /// The command.
    Command,
    /// A key.
    Key(usize),
    /// A channel, or a pattern of channels.
    Channel(usize),
}

/// A command to check: what the table says of it, where it stands there, and what of it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Its index in the table.
    pub(crate) index: u8,
    /// The command.
    pub(crate) command: &'static Command,
    /// Itself or a subcommand.
    pub(crate) runs: &'static Command,
}

/// A selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selector {
    /// Everything is allowed that no rule takes away, commands included that do not exist yet.
    from_all: bool,
    /// Nothing is taken away.
    every_command: bool,
    /// By the index of a command: the bits of what may run of it; see [`names`].
    allowed: Box<[u64]>,
    /// Commands that are allowed with this first argument only.
    first_args: Vec<(u8, Vec<u8>)>,
    /// The rules about commands, each allowing or not.
    rules: Vec<(bool, Vec<u8>)>,
    keys: Keys,
    channels: Channels,
}

impl Selector {
    /// Allows nothing, but perhaps every channel.
    pub(crate) fn new(every_channel: bool) -> Self {
        let mut channels = Channels::default();
        if every_channel {
            channels.allow_all();
        }
        Self {
            from_all: false,
            every_command: false,
            allowed: vec![0; table::all().len()].into(),
            first_args: Vec::new(),
            rules: Vec::new(),
            keys: Keys::default(),
            channels,
        }
    }

    /// Reads the rules between a pair of parentheses.
    pub(super) fn parse(rules: &[u8], every_channel: bool) -> Result<Self, RuleError> {
        let mut selector = Self::new(every_channel);
        for rule in super::words::split(rules).ok_or(RuleError::Syntax)? {
            selector.apply(&rule)?;
        }
        Ok(selector)
    }

    /// Whether everything is allowed.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.every_command && self.keys.all() && self.channels.all()
    }

    /// The channels.
    pub(super) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Applies one rule.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.keys.allow_all(),
            b"resetkeys" => self.keys = Keys::default(),
            b"allchannels" | b"&*" => self.channels.allow_all(),
            b"resetchannels" => self.channels = Channels::default(),
            b"allcommands" | b"+@all" => self.all_commands(true),
            b"nocommands" | b"-@all" => self.all_commands(false),
            _ => return self.apply_named(rule),
        }
        Ok(())
    }

    fn apply_named(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule {
            [b'~' | b'%', ..] => self.keys.add(rule),
            [b'&', pattern @ ..] => self.channels.add(pattern),
            [sign @ (b'+' | b'-'), b'@', name @ ..] => self.category(*sign == b'+', name),
            [b'+', name @ ..] => self.allow(&name.to_ascii_lowercase()),
            [b'-', name @ ..] => {
                let name = name.to_ascii_lowercase();
                self.change(names::find(&name).ok_or(RuleError::Unknown)?, false);
                self.note(false, name);
                Ok(())
            }
            _ => Err(RuleError::Syntax),
        }
    }

    fn all_commands(&mut self, allowed: bool) {
        (self.from_all, self.every_command) = (allowed, allowed);
        self.allowed.fill(if allowed { u64::MAX } else { 0 });
        self.first_args.clear();
        self.rules.clear();
    }

    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let bar = memchr::memrchr(b'|', name);
        let parent = bar.and_then(|bar| names::find(&name[..bar]));
        match (bar, parent) {
            (Some(_), None) => return Err(RuleError::Unknown),
            (Some(_), Some(Named::Part(..))) => return Err(RuleError::FirstArgOfSubcommand),
            (Some(bar), _) if bar + 1 == name.len() => return Err(RuleError::Syntax),
            (Some(bar), Some(Named::Whole(index, command))) if names::takes_first_arg(command) => {
                let arg = name[bar + 1..].to_vec();
                if !self.first_args.contains(&(index, arg.clone())) {
                    self.first_args.push((index, arg));
                }
            }
            _ => self.change(names::find(name).ok_or(RuleError::Unknown)?, true),
        }
        self.note(true, name.to_vec());
        Ok(())
    }

    fn category(&mut self, allowed: bool, name: &[u8]) -> Result<(), RuleError> {
        let category = table::find_category(name).ok_or(RuleError::Unknown)?;
        for (index, command) in table::all().iter().enumerate() {
            let index = index as u8;
            if command.acl & category != 0 {
                self.change(Named::Whole(index, command), allowed);
            }
            for (bit, part) in names::parts(command) {
                if part.acl & category != 0 {
                    self.change(Named::Part(index, bit), allowed);
                }
            }
        }
        self.note(allowed, [b"@", name].concat().to_ascii_lowercase());
        Ok(())
    }

    fn change(&mut self, named: Named, allowed: bool) {
        let (index, bits) = match named {
            Named::Whole(index, _) => (index, u64::MAX),
            Named::Part(index, bit) => (index, bit),
            Named::Elsewhere => return,
        };
        let word = &mut self.allowed[usize::from(index)];
        *word = if allowed { *word | bits } else { *word & !bits };
        self.every_command &= allowed;
        self.first_args.retain(|(of, _)| *of != index);
    }

    /// Notes a rule in the place of those that it makes void: itself, and those about parts of the same command.
    fn note(&mut self, allowed: bool, name: Vec<u8>) {
        self.rules.retain(|(_, known)| {
            let rest = known.strip_prefix(name.as_slice());
            !rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        });
        self.rules.push((allowed, name));
    }

    /// Whether a command may run with these arguments.
    pub(crate) fn check(&self, target: &Target, args: Args<'_>) -> Result<(), Denial> {
        if !self.allows_command(target, args) {
            return Err(Denial::Command);
        }
        if !self.keys.all() {
            for (at, access) in target.runs.keys_in(args) {
                let key = args.get(at).unwrap_or_default();
                if access & NOT_KEY == 0 && !self.keys.allow(key, access) {
                    return Err(Denial::Key(at));
                }
            }
        }
        if !self.channels.all()
            && let Some((positions, is_pattern)) = names::channels(target.runs, args.len())
        {
            for at in positions {
                let name = args.get(at).unwrap_or_default();
                if !(if is_pattern { self.channels.allow_pattern(name) } else { self.channels.allow(name) }) {
                    return Err(Denial::Channel(at));
                }
            }
        }
        Ok(())
    }

    fn allows_command(&self, target: &Target, args: Args<'_>) -> bool {
        let is_first_arg = |(index, arg): &(u8, Vec<u8>)| {
            *index == target.index && args.get(1).is_some_and(|given| given.eq_ignore_ascii_case(arg))
        };
        self.every_command
            || target.command.has(NO_AUTH_NEEDED)
            || self.allowed[usize::from(target.index)] & names::bit(target.command, target.runs) != 0
            || self.first_args.iter().any(is_first_arg)
    }

    /// The rules about commands.
    pub(crate) fn describe_commands(&self) -> Vec<u8> {
        let mut text = if self.from_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (allowed, name) in &self.rules {
            text.extend_from_slice(if *allowed { b" +" } else { b" -" });
            text.extend_from_slice(name);
        }
        text
    }

    /// The rules about keys.
    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        self.keys.describe()
    }

    /// The rules about channels.
    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        self.channels.describe()
    }

    /// All rules, in a form that can be read again whatever the selector was before.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut parts = vec![self.describe_keys()];
        if !self.channels.all() {
            parts.push(b"resetchannels".to_vec());
        }
        parts.extend([self.describe_channels(), self.describe_commands()]);
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}
