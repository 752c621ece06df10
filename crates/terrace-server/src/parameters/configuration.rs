//! `Configuration`: the value of every parameter, and where values come from.
//!
//! A later source wins over an earlier one: defaults, the file, the environment, the flags. A name that is unknown
//! is refused, with the one that was perhaps meant, rather than ignored: a misspelled limit is no limit.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{ENVIRONMENT_PREFIX, Parameter, all, environment_name, file, find, nearest};

/// What is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says where it was found.
    pub(super) fn within(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

#[derive(Clone, Debug)]
struct Value {
    parameter: &'static Parameter,
    text: String,
    /// Somebody asked for it; a default or a consequence of another value is not given.
    given: bool,
}

/// The value of every parameter.
#[derive(Clone, Debug)]
pub struct Configuration {
    values: Vec<Value>,
    users: Vec<String>,
    file: Option<PathBuf>,
}

impl Default for Configuration {
    fn default() -> Self {
        let value =
            |parameter: &'static Parameter| Value { parameter, text: parameter.default.into(), given: false };
        Self { values: all().map(value).collect(), users: Vec::new(), file: None }
    }
}

/// Variables that have our prefix without meaning us: the address of a service named `terrace`, as container
/// platforms announce it to every process beside it.
fn announces_a_service(name: &str, value: &str) -> bool {
    let name = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name);
    name.starts_with("SERVICE_") || name.starts_with("PORT_") || (name == "PORT" && value.contains("://"))
}

impl Configuration {
    /// Reads a file, if one is named, then the environment, then the flags.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut configuration = Self::default();
        if let Some(path) = path {
            let contents = file::read(path)?;
            configuration.set_all(contents.values, |name| format!("{}: {name}", path.display()))?;
            configuration.users = contents.users;
            configuration.file = Some(path.into());
        }
        let ours = environment.into_iter().filter(|(name, value)| {
            name.starts_with(ENVIRONMENT_PREFIX)
                && name != &environment_name("config")
                && !announces_a_service(name, value)
        });
        let named = ours.map(|(name, value)| {
            let name = name[ENVIRONMENT_PREFIX.len()..].to_ascii_lowercase();
            // Some names of Redis have underscores of their own.
            let name = if find(&name).is_some() { name } else { name.replace('_', "-") };
            (name, value)
        });
        configuration
            .set_all(named.collect(), |name| format!("{} in the environment", environment_name(name)))?;
        configuration.set_all(flags.into_iter().collect(), |name| format!("--{name}"))?;
        Ok(configuration)
    }

    /// Sets the values of one source. The order does not matter: `durability` wins over Redis's names for it.
    fn set_all(
        &mut self,
        mut values: Vec<(String, String)>,
        place: impl Fn(&str) -> String,
    ) -> Result<(), ConfigError> {
        values.sort_by_key(|(name, _)| match name.as_str() {
            "appendonly" => 0,
            "appendfsync" => 1,
            _ => 2,
        });
        for (name, text) in values {
            self.set(&name, &text).map_err(|error| error.within(place(&name)))?;
        }
        Ok(())
    }

    /// Sets a parameter, by any of its names.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let Some(parameter) = find(name) else {
            let meant = nearest(name).map(|known| format!("; did you mean {known}?"));
            return Err(ConfigError(format!("unknown parameter {name}{}", meant.unwrap_or_default())));
        };
        let text = parameter.kind.check(text).map_err(ConfigError)?;
        self.store(parameter, &text);
        Ok(())
    }

    /// Stores a checked value and what follows from it for the parameters that mean the same.
    pub(crate) fn store(&mut self, parameter: &Parameter, text: &str) {
        match (parameter.name, text) {
            ("appendonly", "no") => self.put("durability", "memory", true),
            ("appendonly", _) if self.get("durability") == "memory" => {
                self.put("durability", "process", true);
            }
            ("appendfsync", "always") => self.put("durability", "sync", true),
            ("appendfsync", "everysec") => self.put("durability", "interval", true),
            ("appendfsync", _) => self.put("durability", "process", true),
            _ => {}
        }
        self.put(parameter.name, text, true);
        let (fsync, only) = match self.get("durability") {
            "sync" => ("always", "yes"),
            "interval" => ("everysec", "yes"),
            "process" => ("no", "yes"),
            _ => ("no", "no"),
        };
        self.put("appendfsync", fsync, false);
        self.put("appendonly", only, false);
    }

    /// Notes a value that is in effect although nobody asked for it, such as a port that the system picked.
    pub(crate) fn note(&mut self, name: &str, text: &str) {
        self.put(name, text, false);
    }

    fn put(&mut self, name: &str, text: &str, given: bool) {
        if let Some(value) = self.values.iter_mut().find(|value| value.parameter.name == name) {
            value.text = text.into();
            value.given |= given;
        }
    }

    /// The value of a parameter in the form that `CONFIG GET` shows; empty if there is no such parameter.
    pub fn get(&self, name: &str) -> &str {
        let found = self.values.iter().find(|value| value.parameter.is_called(name));
        found.map_or("", |value| &value.text)
    }

    /// The value of a numeric parameter; 0 if it is none.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Whether a yes-or-no parameter is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == "yes"
    }

    /// The users that stand in the file, a line for each in the words of `ACL LIST`. They are checked when a server
    /// starts with them.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// The file it was read from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Writes the values into the file it was read from, in one atomic step: what stands there already is
    /// updated, and what differs from the default and is not there is added. Comments stay.
    pub fn rewrite(&self) -> Result<(), ConfigError> {
        let path =
            self.file().ok_or_else(|| ConfigError::new("the server is running without a config file"))?;
        let values: Vec<_> = self.values.iter().map(|v| (v.parameter, v.text.as_str(), v.given)).collect();
        file::rewrite(path, &values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "maxclients = 1\ntimeout = 1\nport = 1\nlog-format = \"json\"\n").unwrap();
        let environment = pairs(&[("TERRACE_TIMEOUT", "2"), ("TERRACE_PORT", "2"), ("HOME", "/")]);
        let loaded = Configuration::load(Some(&path), environment, pairs(&[("port", "3")])).unwrap();
        assert_eq!(
            ["maxclients", "timeout", "port", "log-format", "hz"].map(|n| loaded.get(n)),
            ["1", "2", "3", "json", "10"]
        );
    }

    #[test]
    fn unknown_names_are_refused_wherever_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "max-clients = 1\n").unwrap();
        let said = Configuration::load(Some(&path), [], []).unwrap_err().to_string();
        assert!(
            said.ends_with("t.toml: max-clients: unknown parameter max-clients; did you mean maxclients?"),
            "{said}"
        );
        let said =
            Configuration::load(None, pairs(&[("TERRACE_MAX_CLIENTS", "1")]), []).unwrap_err().to_string();
        assert!(
            said.starts_with("TERRACE_MAX_CLIENTS in the environment: ") && said.contains("maxclients?"),
            "{said}"
        );
        let said = Configuration::load(None, [], pairs(&[("hz", "often")])).unwrap_err().to_string();
        assert_eq!(said, "--hz: argument couldn't be parsed into an integer");
    }

    /// A container platform tells every process of the services beside it, and a service called `terrace` has the
    /// names that our variables have: `TERRACE_PORT=tcp://10.0.0.7:6379` is no port, and no mistake either.
    #[test]
    fn the_announcement_of_a_service_is_not_taken_for_a_setting() {
        let announced = pairs(&[
            ("TERRACE_SERVICE_HOST", "10.0.0.7"),
            ("TERRACE_SERVICE_PORT", "6379"),
            ("TERRACE_PORT", "tcp://10.0.0.7:6379"),
            ("TERRACE_PORT_6379_TCP_ADDR", "10.0.0.7"),
            ("TERRACE_CONFIG", "elsewhere.toml"),
        ]);
        assert_eq!(Configuration::load(None, announced, []).unwrap().get("port"), "6379");
    }

    #[test]
    fn durability_and_the_names_that_redis_has_for_it_agree() {
        let mut configuration = Configuration::default();
        assert_eq!(configuration.get("appendfsync"), "everysec");
        configuration.set("appendfsync", "always").unwrap();
        assert_eq!(configuration.get("durability"), "sync");
        configuration.set("durability", "memory").unwrap();
        assert_eq!((configuration.get("appendonly"), configuration.get("appendfsync")), ("no", "no"));
        configuration.set("appendonly", "yes").unwrap();
        assert_eq!(configuration.get("durability"), "process");
        let flags = pairs(&[("durability", "sync"), ("appendfsync", "no")]);
        assert_eq!(Configuration::load(None, [], flags).unwrap().get("appendfsync"), "always");
    }
}
