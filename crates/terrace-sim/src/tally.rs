//! What a run of the harness has to report: counters by name, and findings in words.

use std::collections::BTreeMap;
use std::fmt;

/// Findings that are described; the others are counted.
const DESCRIBED: usize = 12;

/// Counters and findings. The summary line is `name=number` for each counter, in the order of their names, and
/// `violations=number` at the end.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    counts: BTreeMap<String, u64>,
    violations: u64,
    described: Vec<String>,
}

impl Tally {
    /// Adds to a counter.
    pub fn add(&mut self, name: impl Into<String>, count: u64) {
        *self.counts.entry(name.into()).or_default() += count;
    }

    /// Raises a counter that is a maximum.
    pub fn raise(&mut self, name: impl Into<String>, value: u64) {
        let counter = self.counts.entry(name.into()).or_default();
        *counter = value.max(*counter);
    }

    /// A counter; 0 if nothing was ever added.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Notes that something is wrong.
    pub fn violation(&mut self, detail: impl Into<String>) {
        self.violations += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(detail.into());
        }
    }

    /// How many things were wrong.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// The first of them, in words.
    pub fn described(&self) -> &[String] {
        &self.described
    }

    /// Takes in what another run found. Counters named `max…` keep the larger value.
    pub fn merge(&mut self, other: Self) {
        for (name, count) in other.counts {
            if name.starts_with("max") {
                self.raise(name, count);
            } else {
                self.add(name, count);
            }
        }
        self.violations += other.violations;
        let room = DESCRIBED - self.described.len();
        self.described.extend(other.described.into_iter().take(room));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counts {
            write!(f, "{name}={count} ")?;
        }
        write!(f, "violations={}", self.violations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally::default();
        for n in 1..=20 {
            let mut part = Tally::default();
            part.add("runs", 1);
            part.raise("max_bytes", 10 * n);
            part.violation(format!("number {n}"));
            sum.merge(part);
        }
        assert_eq!(sum.to_string(), "max_bytes=200 runs=20 violations=20");
        assert_eq!(sum.described().len(), DESCRIBED);
        assert_eq!((sum.count("runs"), sum.count("none")), (20, 0));
    }
}
