//! Which steps of a run are done: a list of ranges, as people write it.

use std::fmt;
use std::str::FromStr;

/// Numbers of steps in ascending order, such as `1-5,9`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Steps(Vec<u64>);

impl Steps {
    /// The steps from 1 to `last`.
    pub fn up_to(last: u64) -> Self {
        Self((1..=last).collect())
    }

    /// These steps, which must ascend.
    pub(super) fn of(numbers: Vec<u64>) -> Self {
        debug_assert!(numbers.is_sorted());
        Self(numbers)
    }

    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        for (at, run) in runs.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [only] => write!(f, "{comma}{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is not a step"));
            numbers.extend(number(first)?..=number(last)?);
        }
        if numbers.is_sorted() { Ok(Self(numbers)) } else { Err(format!("{text} does not ascend")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_it_was_written() {
        for text in ["1-5,9", "3", "", "1-2,4-6,8"] {
            assert_eq!(text.parse::<Steps>().unwrap().to_string(), text);
        }
        assert_eq!(Steps::up_to(4).to_string(), "1-4");
        assert!("5-x".parse::<Steps>().is_err() && "5,4".parse::<Steps>().is_err());
    }
}
