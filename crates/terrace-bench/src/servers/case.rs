//! `ServerCase`: one load on a server; and the sets of cases that have a name.

use serde::{Deserialize, Serialize};

use crate::store::Level;
use crate::zipf::Distribution;

/// What clients ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// `SET` of random keys.
    Set,
    /// `SET` of every key once, in order; ends when all are set, and shows the memory that they take.
    Fill,
    /// `GET` of loaded keys.
    Get,
    /// `INCR` of random keys.
    Incr,
    /// `MSET` of 10 random keys.
    Mset,
    /// `MGET` of 10 loaded keys.
    Mget,
    /// `HMGET` of 10 fields of a loaded hash.
    Hmget,
}

impl Verb {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Set, "set"),
        (Self::Fill, "fill"),
        (Self::Get, "get"),
        (Self::Incr, "incr"),
        (Self::Mset, "mset"),
        (Self::Mget, "mget"),
        (Self::Hmget, "hmget"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("", |(_, name)| name)
    }

    /// The verb of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        let known = || Self::ALL.map(|(_, name)| name).join(", ");
        found.map(|(verb, _)| *verb).ok_or_else(|| format!("no load {name:?}; there are {}", known()))
    }

    /// Whether it only reads what was loaded before.
    pub(super) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Mget | Self::Hmget)
    }
}

/// One load.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerCase {
    /// What clients ask for.
    pub verb: Verb,
    /// Bytes of a value, half of them compressible.
    pub value_bytes: usize,
    /// Keys (hashes for `hmget`).
    pub keys: u64,
    /// Connections, spread over the threads of the load generator.
    pub connections: usize,
    /// Requests that a connection sends before it waits for the replies.
    pub depth: usize,
    /// Threads of the load generator.
    pub threads: usize,
    /// How keys are chosen.
    pub distribution: Distribution,
    /// Seconds.
    pub seconds: f64,
    /// What the server promises for a write.
    pub durability: Level,
    /// Requests a second of an open loop: each is sent at its time, whether or not the replies before it have come,
    /// and its latency counts from that time. `None` is a closed loop.
    pub rate: Option<f64>,
    /// Connections beside those that have sent one request each and are silent during the load.
    #[serde(default)]
    pub idle: usize,
    /// Memory that a server with a limit is given, in bytes.
    pub memory_bytes: u64,
    /// Chooses the keys.
    pub seed: u64,
}

/// 100-byte values, 1 million keys, 50 connections, closed loop, and 256 MiB of memory.
impl Default for ServerCase {
    fn default() -> Self {
        Self {
            verb: Verb::Set,
            value_bytes: 100,
            keys: 1_000_000,
            connections: 50,
            depth: 1,
            threads: 1,
            distribution: Distribution::Uniform,
            seconds: 2.0,
            durability: Level::Interval,
            rate: None,
            idle: 0,
            memory_bytes: 256 << 20,
            seed: 1,
        }
    }
}

impl ServerCase {
    /// What tells this case from the others in a table.
    pub fn title(&self) -> String {
        let usual = Self::default();
        let mut title =
            format!("{} {} B, depth {}", self.verb.name().to_uppercase(), self.value_bytes, self.depth);
        let mut add = |differs: bool, text: String| {
            if differs {
                title.push_str(", ");
                title.push_str(&text);
            }
        };
        let clients = if self.connections == 1 {
            "1 connection".into()
        } else {
            format!("{} connections", self.connections)
        };
        add(self.connections != usual.connections, clients);
        add(self.durability == Level::Sync, "sync".into());
        add(self.distribution == Distribution::Zipfian, "zipfian".into());
        add(self.threads != usual.threads, format!("{} client threads", self.threads));
        add(self.keys != usual.keys, format!("{} keys", self.keys));
        add(self.idle > 0, format!("beside {} idle connections", self.idle));
        let rate = self.rate.unwrap_or(0.0);
        add(self.rate.is_some(), format!("open loop at {rate:.0}/s"));
        title
    }

    /// Says what is out of range, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        let known = |ok: bool, what: &str| if ok { Ok(()) } else { Err(what.to_owned()) };
        known((1..=crate::keys::LIMIT / 16).contains(&self.keys), "keys: at least 1")?;
        known((1..=64).contains(&self.threads), "client threads: 1 to 64")?;
        known(
            (self.threads..=10_000).contains(&self.connections),
            "connections: at least 1 a thread, at most 10,000",
        )?;
        known(self.idle <= 100_000, "idle: at most 100,000")?;
        known((1..=10_000).contains(&self.depth), "depth: 1 to 10,000")?;
        known((1..=16 << 20).contains(&self.value_bytes), "value-bytes: 1 to 16 MiB")?;
        known(self.seconds > 0.0 && self.seconds <= 100_000.0, "seconds: above 0, at most 100,000")?;
        known(self.rate.is_none_or(|rate| (1.0..1e9).contains(&rate)), "rate: 1 to 10^9")
    }
}

/// The cases that the project measures itself by, about eight minutes for Terrace and Redis and three rounds.
pub fn issue() -> Vec<ServerCase> {
    let case = |verb, depth| ServerCase { verb, depth, ..ServerCase::default() };
    let large = |case| ServerCase { value_bytes: 1024, ..case };
    let writes = [
        case(Verb::Set, 1),
        case(Verb::Set, 16),
        case(Verb::Set, 64),
        large(case(Verb::Set, 16)),
        case(Verb::Incr, 16),
        case(Verb::Mset, 1),
    ];
    let durable = |case: &ServerCase| ServerCase { durability: Level::Sync, ..case.clone() };
    let alone = ServerCase { connections: 1, ..durable(&case(Verb::Set, 1)) };
    let mut cases: Vec<ServerCase> = writes.iter().flat_map(|case| [case.clone(), durable(case)]).collect();
    cases.push(alone);
    cases.extend([case(Verb::Get, 1), case(Verb::Get, 16), case(Verb::Get, 64), case(Verb::Mget, 1)]);
    cases.push(ServerCase { keys: 100_000, ..case(Verb::Hmget, 100) });
    cases.push(ServerCase { rate: Some(20_000.0), ..case(Verb::Get, 1) });
    cases.push(large(case(Verb::Fill, 64)));
    cases
}

/// Every case, small and short: shows that all of it works.
pub fn quick() -> Vec<ServerCase> {
    let small = |case: ServerCase| ServerCase { keys: case.keys / 50, seconds: 0.3, ..case };
    issue().into_iter().map(small).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_is_its_own_and_every_case_in_range() {
        for cases in [issue(), quick()] {
            let mut titles: Vec<String> = cases.iter().map(ServerCase::title).collect();
            titles.sort();
            titles.dedup();
            assert_eq!(titles.len(), cases.len());
            assert!(cases.iter().all(|case| case.check().is_ok()));
            assert!(Verb::ALL.iter().all(|(verb, _)| cases.iter().any(|case| case.verb == *verb)));
        }
        assert!(ServerCase { connections: 1, threads: 2, ..ServerCase::default() }.check().is_err());
    }

    #[test]
    fn a_title_names_what_is_unusual() {
        assert_eq!(ServerCase::default().title(), "SET 100 B, depth 1");
        let case = ServerCase { durability: Level::Sync, connections: 1, ..ServerCase::default() };
        assert_eq!(case.title(), "SET 100 B, depth 1, 1 connection, sync");
        assert_eq!(Verb::parse("hmget"), Ok(Verb::Hmget));
        assert!(Verb::parse("HGET").unwrap_err().contains("hmget"));
    }
}
