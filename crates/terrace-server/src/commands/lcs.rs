//! `LCS`: the longest common subsequence of two strings.
//!
//! One cell of four bytes for each pair of places, as in Redis; so the product of the lengths is bounded by
//! `proto-max-bulk-len`, and long strings are compared on a thread of their own.

use std::cmp::Ordering;

use terrace::Slice;
use terrace_resp::{Args, Encoder};

use super::options::integer;
use super::table::{Command, Keys, READ};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::transaction::TAG_STRING;

const TWO_KEYS: &[Keys] = &[Keys::at(1, 0), Keys::at(2, 0)];

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[Command::new(
    "lcs",
    -3,
    "string",
    "7.0.0",
    lcs,
    "Finds the longest common subsequence of two strings.",
)
.flags(READ)
.keys(TWO_KEYS)];

/// Tables with more cells are filled on a thread of their own.
const MAX_INLINE_CELLS: usize = 1 << 20;

/// What is returned.
#[derive(Clone, Copy, Default, Debug)]
struct Options {
    indexes: bool,
    len: bool,
    with_match_len: bool,
    min_match_len: u64,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            match arg.to_ascii_lowercase().as_slice() {
                b"idx" => options.indexes = true,
                b"len" => options.len = true,
                b"withmatchlen" => options.with_match_len = true,
                b"minmatchlen" => {
                    options.min_match_len = u64::try_from(integer(rest.next().ok_or(SYNTAX)?)?).unwrap_or(0);
                }
                _ => return Err(SYNTAX),
            }
        }
        if options.indexes && options.len {
            return Err(Failure::fixed("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

fn lcs(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let moment = cx.moment(2);
    let found = cx.lookup_many(&[&args[1], &args[2]], moment.as_ref())?;
    if found.iter().flatten().any(|entry| entry.tag != TAG_STRING) {
        return Err(Failure::fixed("ERR The specified keys must contain string values"));
    }
    let mut values = found.into_iter().map(|entry| entry.map(|entry| entry.value));
    let mut next = || values.next().flatten().unwrap_or_else(|| Slice::from(Vec::new()));
    let (a, b) = (next(), next());
    let options = Options::parse(args.from(3))?;
    let cells = (a.len() + 1).saturating_mul(b.len() + 1);
    if cells.saturating_mul(size_of::<u32>()) > cx.shared.settings.max_argument_bytes() {
        return Err(Failure::fixed(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if cells <= MAX_INLINE_CELLS || cx.many.is_some() {
        answer(&mut cx.reply, &a, &b, options);
        return Ok(Flow::Done);
    }
    Ok(Flow::Job(Box::new(move |_, reply| {
        answer(reply, &a, &b, options);
        Ok(())
    })))
}

fn answer(reply: &mut Encoder<'_>, a: &[u8], b: &[u8], options: Options) {
    let table = Table::new(a, b);
    if options.len {
        return reply.unsigned(u64::from(table.at(a.len(), b.len())));
    }
    let runs = table.runs();
    if !options.indexes {
        let text: Vec<u8> = runs.iter().rev().flat_map(|run| &a[run.a..run.a + run.len]).copied().collect();
        return reply.bulk(&text);
    }
    let shown: Vec<&Run> = runs.iter().filter(|run| run.len as u64 >= options.min_match_len).collect();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown.len());
    for run in shown {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            reply.array(2);
            reply.unsigned(start as u64);
            reply.unsigned((start + run.len - 1) as u64);
        }
        if options.with_match_len {
            reply.unsigned(run.len as u64);
        }
    }
    reply.bulk(b"len");
    reply.unsigned(u64::from(table.at(a.len(), b.len())));
}

/// A part of the subsequence that is contiguous in both strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

/// How long the longest common subsequence of any two beginnings is.
struct Table<'s> {
    a: &'s [u8],
    b: &'s [u8],
    cells: Vec<u32>,
}

impl<'s> Table<'s> {
    fn new(a: &'s [u8], b: &'s [u8]) -> Self {
        let width = b.len() + 1;
        let mut cells = vec![0u32; (a.len() + 1) * width];
        for (i, byte) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, other) in b.iter().enumerate() {
                row[j + 1] = if byte == other { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Self { a, b, cells }
    }

    /// For the first `i` bytes of one string and the first `j` of the other.
    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * (self.b.len() + 1) + j]
    }

    /// The runs of one longest common subsequence, from the last to the first: the one that Redis finds.
    fn runs(&self) -> Vec<Run> {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut runs: Vec<Run> = Vec::new();
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match runs.last_mut() {
                    Some(run) if run.a == i + 1 && run.b == j + 1 => {
                        (run.a, run.b, run.len) = (i, j, run.len + 1);
                    }
                    _ => runs.push(Run { a: i, b: j, len: 1 }),
                }
            } else {
                match self.at(i - 1, j).cmp(&self.at(i, j - 1)) {
                    Ordering::Greater => i -= 1,
                    Ordering::Equal | Ordering::Less => j -= 1,
                }
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(table: &Table<'_>) -> Vec<u8> {
        table.runs().iter().rev().flat_map(|run| &table.a[run.a..run.a + run.len]).copied().collect()
    }

    #[test]
    fn the_longest_common_subsequence_is_found() {
        for (a, b, expected) in
            [("ohmytext", "mynewtext", "mytext"), ("abc", "xyz", ""), ("", "a", ""), ("aaa", "aa", "aa")]
        {
            let table = Table::new(a.as_bytes(), b.as_bytes());
            assert_eq!(text_of(&table), expected.as_bytes(), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn the_runs_are_in_both_strings_and_as_long_as_the_table_says(a in "[abc]{0,30}", b in "[abc]{0,30}") {
            let table = Table::new(a.as_bytes(), b.as_bytes());
            prop_assert_eq!(text_of(&table).len() as u32, table.at(a.len(), b.len()));
            let (mut end_a, mut end_b) = (a.len(), b.len());
            for run in table.runs() {
                prop_assert!(run.a + run.len <= end_a && run.b + run.len <= end_b && run.len > 0);
                prop_assert_eq!(&a[run.a..run.a + run.len], &b[run.b..run.b + run.len]);
                (end_a, end_b) = (run.a, run.b);
            }
        }
    }
}
