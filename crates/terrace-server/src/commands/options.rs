//! Arguments that several commands share: numbers and expiries.

use terrace_resp::number::parse_i64;

use crate::failure::{Failure, NOT_AN_INTEGER};

/// Reads an integer.
pub(crate) fn integer(arg: &[u8]) -> Result<i64, Failure> {
    parse_i64(arg).ok_or(NOT_AN_INTEGER)
}

/// Reads a database number.
pub(crate) fn database(arg: &[u8]) -> Result<u8, Failure> {
    let index = integer(arg)?;
    // Redis reads a 32-bit number first.
    i32::try_from(index).map_err(|_| {
        Failure::fixed("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    u8::try_from(index)
        .ok()
        .filter(|index| *index < crate::databases::COUNT)
        .ok_or(crate::failure::DB_OUT_OF_RANGE)
}

/// How an expiry is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unit {
    /// Whether the number counts seconds rather than milliseconds.
    pub(crate) seconds: bool,
    /// Whether it counts from the epoch rather than from now.
    pub(crate) absolute: bool,
}

/// `EX`, `EXPIRE`.
pub(crate) const SECONDS: Unit = Unit { seconds: true, absolute: false };
/// `PX`, `PEXPIRE`.
pub(crate) const MILLISECONDS: Unit = Unit { seconds: false, absolute: false };
/// `EXAT`, `EXPIREAT`.
pub(crate) const UNIX_SECONDS: Unit = Unit { seconds: true, absolute: true };
/// `PXAT`, `PEXPIREAT`.
pub(crate) const UNIX_MILLISECONDS: Unit = Unit { seconds: false, absolute: true };

impl Unit {
    /// The option of this name, if it is one.
    pub(crate) fn of_option(name: &[u8]) -> Option<Self> {
        const OPTIONS: [(&[u8], Unit); 4] =
            [(b"ex", SECONDS), (b"px", MILLISECONDS), (b"exat", UNIX_SECONDS), (b"pxat", UNIX_MILLISECONDS)];
        OPTIONS.iter().find(|(option, _)| name.eq_ignore_ascii_case(option)).map(|(_, unit)| *unit)
    }

    /// The time in milliseconds since the epoch; may lie in the past, even before the epoch.
    pub(crate) fn at_ms(self, number: i64, now_ms: u64, command: &str) -> Result<i64, Failure> {
        let invalid = || Failure::invalid_expire(command);
        let ms = if self.seconds { number.checked_mul(1000).ok_or_else(invalid)? } else { number };
        if self.absolute { Ok(ms) } else { ms.checked_add(now_ms as i64).ok_or_else(invalid) }
    }

    /// As `at_ms`, for the commands that take nothing but a positive number.
    pub(crate) fn positive_at_ms(self, arg: &[u8], now_ms: u64, command: &str) -> Result<u64, Failure> {
        let number = integer(arg)?;
        if number <= 0 {
            return Err(Failure::invalid_expire(command));
        }
        Ok(self.at_ms(number, now_ms, command)?.unsigned_abs())
    }
}
