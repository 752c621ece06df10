//! Sizes, durations and counts as people write and read them.

use std::time::Duration;

/// Reads a size: a number with an optional unit, `K`, `M`, `G`, `T` (powers of 1,024; `KiB` and `KB` too).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    terrace_server::parse_bytes(text)
        .ok_or_else(|| format!("{text:?} is not a size below 16 EiB; write 512M, 4G or a number of bytes"))
}

/// The smallest memory budget that the engine takes.
const MIN_MEMORY_BYTES: u64 = 4 << 20;

/// Reads a memory budget.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    check_memory(parse_size(text)?)
}

/// Refuses a memory budget that the engine would not take.
pub(crate) fn check_memory(size_bytes: u64) -> Result<u64, String> {
    let enough = size_bytes >= MIN_MEMORY_BYTES;
    enough
        .then_some(size_bytes)
        .ok_or_else(|| format!("{} is too little; give it 4M or more", bytes(size_bytes)))
}

/// Reads a duration: a number with `ms`, `s`, `m`, `h` or `d`; seconds without a unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{text:?} is not a duration; write 500ms, 30s, 5m, 2h or 7d")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a duration; write 30s or 5m"))?;
    let ms = number.checked_mul(scale_ms).ok_or_else(|| format!("{text:?} is too long"))?;
    if ms == 0 { Err("a duration of zero".into()) } else { Ok(Duration::from_millis(ms)) }
}

/// A size with a unit.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// A time span with a unit.
pub(crate) fn nanoseconds(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

/// A time in milliseconds since the Unix epoch, as date and time of day in UTC.
pub(crate) fn utc(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Years of 365 or 366 days from 1970 on, then months: few enough to count them.
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970 + days / 146_097 * 400, days % 146_097);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let february = 28 + u64::from(is_leap(year));
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}", month + 1, day + 1)
}

/// A count with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_units() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("64k"), Ok(64 << 10));
        assert_eq!(parse_size("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_size("4GB"), Ok(4 << 30));
        for wrong in ["", "M", "-1", "1.5G", "1x", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_engine_would_refuse_is_refused_with_the_flag_in_hand() {
        assert_eq!(parse_memory("4M"), Ok(4 << 20));
        assert!(parse_memory("1").unwrap_err().contains("1 B is too little"));
    }

    #[test]
    fn durations_take_units_and_default_to_seconds() {
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "0", "s", "1w", "-5s", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_dates_in_utc() {
        for (ms, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_735_689_599_999, "2024-12-31 23:59:59"),
            (4_107_542_400_000, "2100-03-01 00:00:00"),
            (16_725_225_600_000, "2500-01-01 00:00:00"),
        ] {
            assert_eq!(utc(ms), expected);
        }
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(3 << 40)),
            ("1023 B".into(), "1.5 KiB".into(), "3.0 TiB".into())
        );
        assert_eq!(
            (grouped(7), grouped(123456), grouped(1234567)),
            ("7".into(), "123,456".into(), "1,234,567".into())
        );
        assert_eq!(
            (nanoseconds(999), nanoseconds(1500), nanoseconds(2_000_000_000)),
            ("999 ns".into(), "1.5 µs".into(), "2.00 s".into())
        );
    }
}
