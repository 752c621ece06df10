//! What a parameter takes: checks a text and brings it into the form that `CONFIG GET` shows.
//!
//! The reasons for a refusal are worded as in Redis, because tools and tests compare them.

use super::special;
use crate::tls;

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number of bytes, with an optional unit: `k`, `m`, `g`, `t`, or the same with `b` or `ib`; all are powers
    /// of 1,024.
    Bytes {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A number of bytes, or a percentage.
    BytesOrPercent,
    /// Permissions of a file, in octal.
    Octal {
        /// The greatest.
        max: u32,
    },
    /// Any text.
    Text,
    /// A text that is never shown in logs.
    Secret,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A form of its own.
    Special {
        /// What the form is called.
        form: &'static str,
        /// Checks it.
        check: fn(&str) -> Result<String, String>,
    },
}

/// An integer of any size that fits.
pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// Any number of bytes.
pub(super) const ANY_BYTES: Kind = Kind::Bytes { min: 0, max: i64::MAX as u64 };
/// A 32-bit number that is not negative.
pub(super) const COUNT: Kind = Kind::Integer { min: 0, max: i32::MAX as i64 };
/// A port.
pub(super) const PORT: Kind = Kind::Integer { min: 0, max: 65_535 };
/// A port, or nothing.
pub(super) const OPTIONAL_PORT: Kind =
    Kind::Special { form: "integer, 0 to 65535, or empty", check: special::optional_port };
/// The words of `save`: pairs of seconds and changes.
pub(super) const SAVE: Kind = Kind::Special { form: "pairs of seconds and changes", check: special::save };
/// The limits of replies that clients have not taken.
pub(super) const OUTPUT_LIMITS: Kind = Kind::Special {
    form: "class, hard bytes, soft bytes, soft seconds; repeated",
    check: special::output_limits,
};
/// The classes of keyspace events.
pub(super) const EVENTS: Kind = Kind::Special { form: "letters of event classes", check: special::events };
/// Percentiles.
pub(super) const PERCENTILES: Kind =
    Kind::Special { form: "percentiles from 0 to 100", check: special::percentiles };
/// What a signal does.
pub(super) const ON_SIGNAL: Kind =
    Kind::Special { form: "default, or of save, nosave, now, force", check: special::on_signal };
/// Shards of a memtable.
pub(super) const SHARDS: Kind =
    Kind::Special { form: "a power of two from 1 to 256", check: special::power_of_two };
/// An IP address.
pub(super) const ADDRESS: Kind = Kind::Special { form: "an IP address", check: special::address };

/// Versions of TLS.
pub(super) const TLS_PROTOCOLS: Kind =
    Kind::Special { form: "`TLSv1.2`, `TLSv1.3`, both, or empty", check: tls::check_protocols };
/// Cipher suites of TLS.
pub(super) const TLS_CIPHERS: Kind =
    Kind::Special { form: "names with colons between them, or empty", check: tls::check_ciphers };

/// IP addresses.
pub(super) const ADDRESSES: Kind =
    Kind::Special { form: "IP addresses with spaces between them", check: special::addresses };

impl Kind {
    /// The value in the form that is shown, or why it is refused.
    pub fn check(&self, text: &str) -> Result<String, String> {
        match *self {
            Self::YesNo => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok("yes".into()),
                "no" => Ok("no".into()),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Self::Integer { min, max } => {
                let number: i64 = text.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
                in_range(number, min, max)
            }
            Self::Bytes { min, max } => {
                in_range(bytes(text).ok_or("argument must be a memory value")?, min, max)
            }
            Self::BytesOrPercent => bytes_or_percent(text),
            Self::Octal { max } => {
                let number = u32::from_str_radix(text, 8)
                    .map_err(|_| "argument couldn't be parsed as an octal number".to_string())?;
                if number > max {
                    return Err(format!("argument must be between 0 and {max:o} inclusive"));
                }
                Ok(format!("{number:o}"))
            }
            Self::Text | Self::Secret => Ok(text.into()),
            Self::OneOf(words) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                found
                    .map(|word| (*word).to_string())
                    .ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
            }
            Self::Special { check, .. } => check(text),
        }
    }

    /// What it takes, in words for the reference.
    pub fn in_words(&self) -> String {
        match self {
            Self::YesNo => "`yes`, `no`".into(),
            Self::Integer { min, max } if *max >= i64::from(i32::MAX) => format!("integer from {min}"),
            Self::Integer { min, max } => format!("integer, {min} to {max}"),
            Self::Bytes { .. } => "bytes".into(),
            Self::BytesOrPercent => "bytes or percent".into(),
            Self::Octal { .. } => "octal".into(),
            Self::Text => "text".into(),
            Self::Secret => "text, never logged".into(),
            Self::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Self::Special { form, .. } => (*form).into(),
        }
    }
}

fn in_range<T: PartialOrd + Copy + std::fmt::Display>(number: T, min: T, max: T) -> Result<String, String> {
    if number < min || number > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(number.to_string())
}

/// Reads a size in bytes: a number with an optional unit, `K`, `M`, `G`, `T` (powers of 1,024; `KB` and `KiB` too, in any
/// case). `None` if it is not one, or more than 64 bits hold.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn bytes_or_percent(text: &str) -> Result<String, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.parse().map_err(|_| "argument must be a memory or percent value")?;
        if percent > 100 {
            return Err("percentage argument must be less or equal to 100".into());
        }
        return Ok(format!("{percent}%"));
    }
    bytes(text).map(|n| n.to_string()).ok_or_else(|| "argument must be a memory or percent value".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_brought_into_one_form() {
        let good = [
            (Kind::YesNo, "YES", "yes"),
            (COUNT, "007", "7"),
            (ANY_BYTES, "100mb", "104857600"),
            (ANY_BYTES, "2 GiB", "2147483648"),
            (Kind::BytesOrPercent, "5%", "5%"),
            (Kind::Octal { max: 0o777 }, "0770", "770"),
            (Kind::OneOf(&["always", "no"]), "Always", "always"),
        ];
        for (kind, typed, shown) in good {
            assert_eq!(kind.check(typed).as_deref(), Ok(shown), "{typed}");
        }
        let bad = [
            (Kind::YesNo, "true", "argument must be 'yes' or 'no'"),
            (COUNT, "1x", "argument couldn't be parsed into an integer"),
            (COUNT, "-1", "argument must be between 0 and 2147483647 inclusive"),
            (ANY_BYTES, "-1", "argument must be a memory value"),
            (ANY_BYTES, "20000000t", "argument must be a memory value"),
            (Kind::BytesOrPercent, "200%", "percentage argument must be less or equal to 100"),
            (Kind::Octal { max: 0o777 }, "8", "argument couldn't be parsed as an octal number"),
            (Kind::OneOf(&["a", "b"]), "c", "argument(s) must be one of the following: a, b"),
        ];
        for (kind, typed, reason) in bad {
            assert_eq!(kind.check(typed), Err(reason.into()), "{typed}");
        }
    }
}
