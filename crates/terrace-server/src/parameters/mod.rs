//! The configuration parameters: one table that everything else is made from.
//!
//! A row says what a parameter is called, what it takes, when it may change and what it does. From the rows come
//! the flags of `terrace serve`, the names in the configuration file and the environment, `CONFIG GET`, `SET` and
//! `REWRITE`, and the reference in `docs/server.md`. What a change does to a running server is in `settings`.

mod configuration;
mod effective;
mod file;
mod kept;
mod kind;
mod reference;
mod special;

pub use configuration::{ConfigError, Configuration};
pub(crate) use file::replace as replace_file;
pub use kind::{Kind, bytes as parse_bytes};
pub use reference::reference;
pub(crate) use special::parse_output_limits;

/// Where a parameter is listed in the reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Addresses, ports, sockets.
    Network,
    /// What one client may use.
    Clients,
    /// Passwords and what is allowed without one.
    Security,
    /// The store, its memory and its durability.
    Store,
    /// Logs, slow commands, latencies.
    Observation,
    /// A parameter of Redis that has no meaning here: accepted, kept, read back.
    Kept,
}

/// When a parameter may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// At any time, by `CONFIG SET`; takes effect at once.
    Anytime,
    /// `CONFIG SET` takes it and `CONFIG REWRITE` writes it down, for the next start.
    NextStart,
    /// Before the start only.
    AtStart,
}

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name; Redis's where one fits.
    pub name: &'static str,
    /// Another name for it, read and written like the first.
    pub alias: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// Its value when nobody says otherwise, in the form that `CONFIG GET` shows.
    pub default: &'static str,
    /// Where it belongs.
    pub section: Section,
    /// When it may change.
    pub change: Change,
    /// What it does, in a sentence or two.
    pub help: &'static str,
}

impl Parameter {
    /// Whether `name` means this parameter, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.name)
            || self.alias.is_some_and(|alias| name.eq_ignore_ascii_case(alias))
    }

    /// Whether only an exact name finds it: Redis has a few for its own tests.
    pub(crate) fn is_hidden(&self) -> bool {
        kept::HIDDEN.contains(&self.name)
    }

    /// Whether it is a flag of the program: all that have a meaning here are.
    pub fn is_flag(&self) -> bool {
        self.section != Section::Kept
    }

    /// Its name in the environment.
    pub fn environment_name(&self) -> String {
        environment_name(self.name)
    }
}

/// What the names of all environment variables begin with.
pub(crate) const ENVIRONMENT_PREFIX: &str = "TERRACE_";

fn environment_name(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// All parameters: those with a meaning first.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    effective::PARAMETERS.iter().chain(kept::PARAMETERS)
}

/// The parameter of this name or alias, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Parameter> {
    all().find(|parameter| parameter.is_called(name))
}

/// The known name that is spelled most like `name`; `None` if none is close.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let names = all().flat_map(|parameter| std::iter::once(parameter.name).chain(parameter.alias));
    let scored = names.map(|known| (strsim::jaro_winkler(known, &name), known));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_in_the_form_that_is_shown() {
        let mut seen = HashSet::new();
        for parameter in all() {
            for name in std::iter::once(parameter.name).chain(parameter.alias) {
                assert!(seen.insert(name), "{name} is there twice");
                assert_eq!(name, name.to_ascii_lowercase());
            }
            let shown = parameter.kind.check(parameter.default);
            assert_eq!(shown.as_deref(), Ok(parameter.default), "{}", parameter.name);
            assert!(!parameter.is_flag() || parameter.help.ends_with('.'), "{}", parameter.name);
        }
    }

    #[test]
    fn a_misspelled_name_finds_the_one_that_was_meant() {
        for (typed, meant) in [
            ("max-clients", "maxclients"),
            ("slowlog-maxlen", "slowlog-max-len"),
            ("requirepas", "requirepass"),
            ("durabilty", "durability"),
        ] {
            assert_eq!(nearest(typed), Some(meant), "{typed}");
        }
        assert_eq!(nearest("qqq"), None);
    }
}
