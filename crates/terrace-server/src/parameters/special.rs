//! Parameters with a form of their own: lists and combinations, as Redis writes them.

use super::kind::{PORT, bytes};
use crate::{listening, notify};

/// The classes of clients that `client-output-buffer-limit` knows, in the order it shows them.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// What may wait for a client before it is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OutputLimit {
    /// Bytes at which it is cut off at once; 0 means no limit of its own.
    pub(crate) hard_bytes: u64,
    /// Bytes that it may not exceed for long; 0 means no such limit.
    pub(crate) soft_bytes: u64,
    /// How long it may.
    pub(crate) soft_seconds: u64,
}

/// The default of `client-output-buffer-limit`.
pub(super) const DEFAULT_OUTPUT_LIMITS: &str =
    "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";

/// Reads `client-output-buffer-limit`: the limits of normal clients, replicas, subscribers. What is not named keeps
/// its default.
pub(crate) fn parse_output_limits(text: &str) -> Result<[OutputLimit; 3], String> {
    let mut limits = [OutputLimit::default(); 3];
    let fill = |limits: &mut [OutputLimit; 3], text: &str| -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for group in words.chunks_exact(4) {
            let class = group[0].to_ascii_lowercase();
            let class = if class == "replica" { "slave" } else { class.as_str() };
            let at = CLASSES.iter().position(|known| *known == class);
            let at = at.ok_or("Invalid client class specified in buffer limit configuration.")?;
            let bad =
                || "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_string();
            limits[at] = OutputLimit {
                hard_bytes: bytes(group[1]).ok_or_else(bad)?,
                soft_bytes: bytes(group[2]).ok_or_else(bad)?,
                soft_seconds: group[3].parse().map_err(|_| bad())?,
            };
        }
        Ok(())
    };
    fill(&mut limits, DEFAULT_OUTPUT_LIMITS)?;
    fill(&mut limits, text)?;
    Ok(limits)
}

pub(super) fn output_limits(text: &str) -> Result<String, String> {
    let limits = parse_output_limits(text)?;
    let shown = |(class, limit): (&str, OutputLimit)| {
        format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
    };
    Ok(CLASSES.into_iter().zip(limits).map(shown).collect::<Vec<_>>().join(" "))
}

pub(super) fn save(text: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbers: Option<Vec<u64>> = words.iter().map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| {
        numbers.len().is_multiple_of(2) && numbers.chunks_exact(2).all(|pair| pair[0] >= 1)
    });
    let numbers = numbers.ok_or("Invalid save parameters")?;
    Ok(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
}

/// Brings `notify-keyspace-events` into one form: each letter once, `A` for all classes.
pub(super) fn events(text: &str) -> Result<String, String> {
    let classes = notify::parse(text.as_bytes());
    classes.map(notify::format).ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into())
}

pub(super) fn percentiles(text: &str) -> Result<String, String> {
    let number = |word: &str| word.parse::<f64>().ok().filter(|n| (0.0..=100.0).contains(n));
    let numbers: Option<Vec<String>> =
        text.split_whitespace().map(|word| number(word).map(|n| n.to_string())).collect();
    let numbers = numbers
        .ok_or("latency-tracking-info-percentiles should contain only numbers between 0.0 and 100.0")?;
    Ok(numbers.join(" "))
}

pub(super) fn on_signal(text: &str) -> Result<String, String> {
    const WORDS: [&str; 5] = ["default", "save", "nosave", "now", "force"];
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    if words.is_empty() || !words.iter().all(|word| WORDS.contains(&word.as_str())) {
        return Err(format!("argument(s) must be one of the following: {}", WORDS.join(", ")));
    }
    if has("save") && has("nosave") {
        return Err("Invalid combination of shutdown parameters".into());
    }
    let named: Vec<&str> = WORDS[1..].iter().copied().filter(|word| has(word)).collect();
    Ok(if named.is_empty() { "default".into() } else { named.join(" ") })
}

pub(super) fn power_of_two(text: &str) -> Result<String, String> {
    let shards: Option<usize> = text.parse().ok().filter(|n: &usize| n.is_power_of_two() && *n <= 256);
    shards.map(|n| n.to_string()).ok_or_else(|| "argument must be a power of two from 1 to 256".into())
}

pub(super) fn optional_port(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { PORT.check(text) }
}

pub(super) fn addresses(text: &str) -> Result<String, String> {
    listening::parse(text).map(|all| listening::format(&all))
}

pub(super) fn address(text: &str) -> Result<String, String> {
    let address: Result<std::net::IpAddr, _> = text.trim().parse();
    address.map(|a| a.to_string()).map_err(|_| "argument must be an IP address of this machine".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_brought_into_one_form() {
        assert_eq!(save("3600 1  300 100").as_deref(), Ok("3600 1 300 100"));
        assert_eq!(save("").as_deref(), Ok(""));
        assert!(save("3600").is_err() && save("x 1").is_err() && save("0 1").is_err());
        assert_eq!(events("xK").as_deref(), Ok("xK"));
        assert_eq!(events("g$lshzxetdE").as_deref(), Ok("AE"));
        assert_eq!(events("KEA").as_deref(), Ok("AKE"));
        assert!(events("Q").is_err());
        assert_eq!(percentiles("0.0 50.0 99.9").as_deref(), Ok("0 50 99.9"));
        assert!(percentiles("101").is_err() && percentiles("a").is_err());
        assert_eq!(on_signal("force nosave").as_deref(), Ok("nosave force"));
        assert!(on_signal("").is_err() && on_signal("save nosave").is_err());
    }

    #[test]
    fn a_class_that_is_not_named_keeps_its_limits() {
        let shown = output_limits("pubsub 32mb 8mb 60 replica 1 2 3").unwrap();
        assert_eq!(shown, "normal 0 0 0 slave 1 2 3 pubsub 33554432 8388608 60");
        assert!(output_limits("normal 1").is_err() && output_limits("none 1 2 3").is_err());
    }
}
