//! Sums of decimal numbers for `INCRBYFLOAT`: exact where they fit, so that 0.1 + 0.2 is 0.3.
//!
//! Redis adds in its platform's `long double` and prints 17 decimals without trailing zeros. Exact decimal
//! sums rounded to 17 places give the same text for every number that a `long double` holds well, on every
//! platform. What does not fit 128 bits is added in `f64`.

/// Decimals that are printed.
const PLACES: u32 = 17;
/// The longest number that is looked at.
const MAX_TEXT_BYTES: usize = 256;

/// A finite decimal number: `mantissa / 10^PLACES`, or a float when that does not fit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Decimal {
    /// Exact.
    Fixed(i128),
    /// Too large or too small to be exact here; may be infinite.
    Float(f64),
}

impl Decimal {
    /// Nothing.
    pub(crate) const ZERO: Self = Self::Fixed(0);

    /// Reads a number; `None` for what is none, `nan` included.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|t| t.len() <= MAX_TEXT_BYTES)?;
        let float: f64 = text.parse().ok().filter(|f: &f64| !f.is_nan())?;
        // Text such as "1e999" is no infinity but out of range.
        let spelled_out = text.bytes().any(|b| b.is_ascii_digit());
        if float.is_infinite() && spelled_out {
            return None;
        }
        Some(parse_fixed(text).map_or(Self::Float(float), Self::Fixed))
    }

    /// The sum; `None` if it is not finite.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        if let (Self::Fixed(a), Self::Fixed(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Some(Self::Fixed(sum));
        }
        let sum = self.to_f64() + other.to_f64();
        sum.is_finite().then_some(Self::Float(sum))
    }

    fn to_f64(self) -> f64 {
        match self {
            Self::Fixed(mantissa) => mantissa as f64 / 10f64.powi(PLACES as i32),
            Self::Float(float) => float,
        }
    }

    /// The number without exponent and without trailing zeros.
    pub(crate) fn format(self) -> String {
        let text = match self {
            Self::Fixed(mantissa) => {
                let unit = 10u128.pow(PLACES);
                let magnitude = mantissa.unsigned_abs();
                let sign = if mantissa < 0 { "-" } else { "" };
                let (whole, part) = (magnitude / unit, magnitude % unit);
                format!("{sign}{whole}.{part:0width$}", width = PLACES as usize)
            }
            Self::Float(float) => format!("{float:.17}"),
        };
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if text == "-0" { "0".into() } else { text.into() }
    }
}

/// Reads `[+-]digits[.digits][e[+-]digits]`; `None` if it does not fit.
fn parse_fixed(text: &str) -> Option<i128> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, number) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut mantissa = 0i128;
    for digit in whole.bytes().chain(part.bytes()) {
        let digit = char::from(digit).to_digit(10)?;
        mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let shift = PLACES as i32 + exponent.checked_sub(part.len() as i32)?;
    let fixed = if shift >= 0 {
        mantissa.checked_mul(10i128.checked_pow(shift as u32)?)?
    } else {
        round_half_even(mantissa, 10i128.checked_pow(shift.unsigned_abs())?)
    };
    Some(if negative { -fixed } else { fixed })
}

fn round_half_even(value: i128, unit: i128) -> i128 {
    let (quotient, rest) = (value / unit, value % unit);
    let up = match (rest * 2).cmp(&unit) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    quotient + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_read_as_in_redis() {
        let check = |a: &str, b: &str, expected: &str| {
            let sum = Decimal::parse(a.as_bytes()).unwrap().plus(Decimal::parse(b.as_bytes()).unwrap());
            assert_eq!(sum.unwrap().format(), expected, "{a} + {b}");
        };
        check("10.50", "0.1", "10.6");
        check("10.6", "-5", "5.6");
        check("5.0e3", "2.0e2", "5200");
        check("0.1", "0.2", "0.3");
        check("3.0", "1.1", "4.1");
        check("1", "-1", "0");
        check("-0.5", "0.25", "-0.25");
        check("1e-17", "0", "0.00000000000000001");
        check("1e-18", "0", "0");
        check("-1e-18", "0", "0");
        check("+1.", ".5", "1.5");
        check("1e300", "0", &format!("{:.0}", 1e300));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "abc", "1x", " 1", "1 ", "nan", "1e999", "--1", "0x10"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text:?}");
        }
        let infinity = Decimal::parse(b"inf").unwrap();
        assert_eq!(infinity.plus(Decimal::Fixed(0)), None);
    }

    proptest! {
        #[test]
        fn integers_add_exactly(a in -(1i64 << 60)..1 << 60, b in -(1i64 << 60)..1 << 60) {
            let parse = |n: i64| Decimal::parse(n.to_string().as_bytes()).unwrap();
            prop_assert_eq!(parse(a).plus(parse(b)).unwrap().format(), (a + b).to_string());
        }

        #[test]
        fn never_panics(a in "[-+0-9.eE]{0,40}", b in "[-+0-9.eE]{0,40}") {
            if let (Some(a), Some(b)) = (Decimal::parse(a.as_bytes()), Decimal::parse(b.as_bytes())) {
                let _ = a.plus(b).map(Decimal::format);
            }
        }
    }
}
