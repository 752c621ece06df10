//! Merge operators: what operands mean, and how they are folded into a value.
//!
//! A merge writes an operand instead of a value, and reads nothing. Whoever reads the key folds its operands, oldest
//! first, onto the value below them. Invariant: an operand says the same whatever else it is folded with first, so
//! readers, flushes and compactions may fold as far as they happen to see, and all come to the same value.

use std::fmt;
use std::sync::Arc;

use super::key::{MAX_VALUE_BYTES, split};
use super::{Error, Result};

/// The longest name of a merge operator, in bytes.
pub(crate) const MAX_OPERATOR_NAME_BYTES: usize = 255;

/// What merging means in a store: how operands change a value; see [`Options::merge_operator`].
///
/// The functions run in readers and in background threads, at any time and any number of times for one operand. They
/// must depend on nothing but their arguments, must not use the store, and must not panic.
///
/// [`Options::merge_operator`]: crate::Options::merge_operator
pub trait MergeOperator: Send + Sync + 'static {
    /// The name under which the store remembers it, 1 to 255 bytes. A change of meaning needs a new name. Names that
    /// begin with `terrace.` are those of the operators that come with the library.
    fn name(&self) -> &str;

    /// Whether this is an operand; the text says what is wrong with it. Asked before an operand is written, so that
    /// none is stored that can never be folded. By default anything is one.
    fn check_operand(&self, operand: &[u8]) -> Result<(), String> {
        let _ = operand;
        Ok(())
    }

    /// The value that `operands`, oldest first and at least one, make of `base` (`None`: of no value). The text says
    /// why there is none; then reading the key fails with [`Error::Merge`] until it is overwritten or further
    /// operands make up for it.
    fn full_merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String>;

    /// One operand that does what `operands`, oldest first and at least two, do one after the other, whatever they
    /// are applied to; `None` (the default) if there is no such thing. Without it a key keeps its operands until
    /// compaction meets its value, and reading it takes time for each of them.
    fn partial_merge(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = (key, operands);
        None
    }
}

/// Adds decimal integers of 64 bits, the operands, to a decimal integer of 64 bits, 0 where there is none. The value is
/// what [`Keyspace::increment`] makes, but nothing is read to write it.
///
/// The sum is exact. While it is outside of the range of 64 bits, reading the key fails with [`Error::Merge`]; further
/// operands may bring it back.
///
/// [`Keyspace::increment`]: crate::Keyspace::increment
#[derive(Clone, Copy, Debug, Default)]
pub struct IntegerAdd;

impl IntegerAdd {
    const NAME: &str = "terrace.integer-add";
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let shown = bytes[..bytes.len().min(40)].escape_ascii();
        format!("\"{shown}\" is not a decimal integer of 64 bits")
    })
}

/// The exact sum; `None` past 128 bits, which takes more operands than there are sequence numbers.
fn sum(operands: &[&[u8]]) -> Result<Option<i128>, String> {
    let mut sum = Some(0i128);
    for operand in operands {
        // Operands that were added up may be larger than any that was written.
        let operand: i128 = parse(operand)?;
        sum = sum.and_then(|sum| sum.checked_add(operand));
    }
    Ok(sum)
}

impl MergeOperator for IntegerAdd {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn check_operand(&self, operand: &[u8]) -> Result<(), String> {
        parse::<i64>(operand).map(|_| ())
    }

    fn full_merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String> {
        let base: i64 = base.map_or(Ok(0), parse)?;
        let sum = sum(operands)?.and_then(|sum| sum.checked_add(i128::from(base)));
        match sum.and_then(|sum| i64::try_from(sum).ok()) {
            Some(sum) => Ok(sum.to_string().into_bytes()),
            None => Err(format!("the sum of {base} and its operands leaves the range of 64 bits")),
        }
    }

    fn partial_merge(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        Some(sum(operands).ok()??.to_string().into_bytes())
    }
}

/// Appends the operands, as they are, to the value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Append;

impl Append {
    const NAME: &str = "terrace.append";
}

impl MergeOperator for Append {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn full_merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok([base.unwrap_or_default(), &operands.concat()].concat())
    }

    fn partial_merge(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        Some(operands.concat())
    }
}

/// An operator as the options carry it.
#[derive(Clone)]
pub(crate) struct SharedOperator(pub(crate) Arc<dyn MergeOperator>);

impl fmt::Debug for SharedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.name())
    }
}

/// The operator of an open store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merging {
    operator: Option<SharedOperator>,
    /// The name that the store remembers.
    stored: Option<String>,
}

impl Merging {
    /// The operator of a store that remembers the name `stored`, when it is opened with `given`. One that comes with
    /// the library need not be given.
    pub(crate) fn new(stored: Option<String>, given: Option<SharedOperator>) -> Result<Self> {
        let operator = given.or_else(|| match stored.as_deref() {
            Some(IntegerAdd::NAME) => Some(SharedOperator(Arc::new(IntegerAdd))),
            Some(Append::NAME) => Some(SharedOperator(Arc::new(Append))),
            _ => None,
        });
        let merging = Self { operator, stored };
        match (&merging.operator, &merging.stored) {
            (Some(given), Some(stored)) if given.0.name() != stored => Err(merging.wrong_operator()),
            _ => Ok(merging),
        }
    }

    /// The name that the store is to remember from now on, if it remembers none.
    pub(crate) fn new_name(&self) -> Option<String> {
        let given = self.operator.as_ref().map(|operator| operator.0.name().to_string());
        given.filter(|_| self.stored.is_none())
    }

    fn wrong_operator(&self) -> Error {
        let given = self.operator.as_ref().map(|operator| operator.0.name().to_string());
        Error::WrongMergeOperator { stored: self.stored.clone(), given }
    }

    /// Checks an operand that is about to be written.
    pub(crate) fn check_operand(&self, operand: &[u8]) -> Result<()> {
        match &self.operator {
            None if self.stored.is_some() => Err(self.wrong_operator()),
            None => Err(Error::invalid("a merge needs a merge operator; open the store with one")),
            Some(operator) => operator.0.check_operand(operand).map_err(|detail| {
                Error::invalid(format!(
                    "the merge operator {:?} refuses the operand: {detail}",
                    operator.0.name()
                ))
            }),
        }
    }

    /// Whether there is an operator to fold with.
    pub(crate) fn can_fold(&self) -> bool {
        self.operator.is_some()
    }

    /// The value of an internal key: `operands`, oldest first, folded onto `base`.
    pub(crate) fn fold(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>> {
        let Some(SharedOperator(operator)) = &self.operator else { return Err(self.wrong_operator()) };
        let user_key = split(key).map_or(key, |(_, user_key)| user_key);
        let merged = operator.full_merge(user_key, base, operands).and_then(|value| match value.len() {
            len if len > MAX_VALUE_BYTES => {
                Err(format!("the value would have {len} bytes; it takes {MAX_VALUE_BYTES} at most"))
            }
            _ => Ok(value),
        });
        merged.map_err(|detail| {
            let key = user_key[..user_key.len().min(100)].escape_ascii().to_string();
            Error::Merge { operator: operator.name().to_string(), key, detail }
        })
    }

    /// One operand instead of several of an internal key, oldest first, if the operator knows one.
    pub(crate) fn combine(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        let user_key = split(key).map_or(key, |(_, user_key)| user_key);
        let combined = self.operator.as_ref()?.0.partial_merge(user_key, operands)?;
        (combined.len() <= MAX_VALUE_BYTES).then_some(combined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slices(operands: &[Vec<u8>]) -> Vec<&[u8]> {
        operands.iter().map(Vec::as_slice).collect()
    }

    /// Folding all at once, or the newest first, or the oldest first.
    fn ways(
        operator: &dyn MergeOperator,
        base: Option<&[u8]>,
        operands: &[&[u8]],
        cut: usize,
    ) -> Vec<Result<Vec<u8>, String>> {
        let at_once = operator.full_merge(b"k", base, operands);
        let (old, new) = operands.split_at(cut.clamp(1, operands.len() - 1));
        let below = operator.full_merge(b"k", base, old);
        let oldest_first = below.and_then(|below| operator.full_merge(b"k", Some(&below), new));
        let mut ways = vec![at_once];
        // The value in between may be out of range; then compaction does not fold it.
        ways.extend(oldest_first.is_ok().then_some(oldest_first));
        let combined =
            if new.len() > 1 { operator.partial_merge(b"k", new).unwrap() } else { new[0].to_vec() };
        ways.push(operator.full_merge(b"k", base, &[old, &[&combined]].concat()));
        ways
    }

    proptest! {
        #[test]
        fn the_order_of_folding_makes_no_difference(
            base in proptest::option::of(-9i64..9),
            big: bool,
            operands in prop::collection::vec(prop_oneof![Just(i64::MAX), Just(i64::MIN), -9i64..9], 2..8),
            cut in 0usize..8,
        ) {
            let base = base.map(|base| if big { i64::MAX - 10 + base } else { base }.to_string().into_bytes());
            let operands: Vec<_> = operands.iter().map(|n| n.to_string().into_bytes()).collect();
            for operator in [&IntegerAdd as &dyn MergeOperator, &Append] {
                let ways = ways(operator, base.as_deref(), &slices(&operands), cut);
                prop_assert!(ways.iter().all(|way| *way == ways[0]), "{:?}", ways);
            }
        }
    }

    #[test]
    fn integers_are_checked_and_sums_come_back_into_range() {
        assert!(IntegerAdd.check_operand(b"-7").is_ok());
        for bad in ["", "x", "1.5", "9223372036854775808"] {
            assert!(IntegerAdd.check_operand(bad.as_bytes()).is_err(), "{bad}");
        }
        let max = i64::MAX.to_string();
        assert!(IntegerAdd.full_merge(b"k", Some(max.as_bytes()), &[b"1"]).is_err());
        assert_eq!(IntegerAdd.full_merge(b"k", Some(max.as_bytes()), &[b"1", b"-1"]), Ok(max.into_bytes()));
        assert!(IntegerAdd.full_merge(b"k", Some(b"abc"), &[b"1"]).unwrap_err().contains("abc"));
    }

    #[test]
    fn the_name_decides() {
        let given = |operator: SharedOperator| Some(operator);
        let append = || SharedOperator(Arc::new(Append));
        let other = Merging::new(Some("theirs".to_string()), given(append()));
        assert!(matches!(other, Err(Error::WrongMergeOperator { .. })));
        let fresh = Merging::new(None, given(append())).unwrap();
        assert_eq!(fresh.new_name().as_deref(), Some(Append::NAME));
        let built_in = Merging::new(Some(Append::NAME.to_string()), None).unwrap();
        assert!(built_in.can_fold() && built_in.new_name().is_none());
        let unknown = Merging::new(Some("theirs".to_string()), None).unwrap();
        assert!(matches!(unknown.fold(b"\0k", None, &[b"x"]), Err(Error::WrongMergeOperator { .. })));
        assert!(matches!(Merging::default().check_operand(b"x"), Err(Error::InvalidInput(_))));
    }
}
