//! Integers as Redis reads them: one spelling per number, so that text and number are interchangeable.

/// Reads a decimal `i64`: digits with an optional minus; no plus, no blanks, no leading zeros, no `-0`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let magnitude = parse_magnitude(digits)?;
    if negative {
        match magnitude {
            0 => None,
            _ if magnitude <= 1 << 63 => Some((magnitude as i64).wrapping_neg()),
            _ => None,
        }
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Reads a decimal `u64` under the same rules.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    parse_magnitude(text)
}

fn parse_magnitude(digits: &[u8]) -> Option<u64> {
    match digits {
        [b'0'] => return Some(0),
        [] | [b'0', ..] => return None,
        _ if digits.len() > 20 => return None,
        _ => {}
    }
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_spelling_per_number() {
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"-1"), Some(-1));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        for refused in
            ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808", "-9223372036854775809", "x"]
        {
            assert_eq!(parse_i64(refused.as_bytes()), None, "{refused:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
    }

    proptest! {
        #[test]
        fn reads_what_is_printed(n: i64, m: u64) {
            prop_assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
            prop_assert_eq!(parse_u64(m.to_string().as_bytes()), Some(m));
        }

        #[test]
        fn accepts_only_what_is_printed(text in "-?[0-9]{0,21}") {
            if let Some(n) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(n.to_string(), text);
            }
        }
    }
}
