//! `Template`: a request whose keys and values are written in place, so that making one is a copy.

use std::ops::Range;

use terrace_resp::encode_request;

use super::case::Verb;
use crate::keys::{KEY_BYTES, key};
use crate::values;

/// Keys of `MSET` and `MGET`, fields of `HMGET`.
pub(super) const GROUP: usize = 10;
/// Stand in a template where a key goes, and a value.
const KEY_MARK: [u8; KEY_BYTES] = [1; KEY_BYTES];
const VALUE_MARK: u8 = 2;

/// The encoded request, and where in it keys and values are. A value belongs to the key before it.
pub(super) struct Template {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

enum Place {
    Key(usize),
    Value(Range<usize>),
}

/// A field's name.
fn field(at: usize) -> Vec<u8> {
    format!("field{at}").into_bytes()
}

impl Template {
    /// The request of a verb.
    pub(super) fn of(verb: Verb, value_bytes: usize) -> Self {
        let (key, value) = (KEY_MARK.to_vec(), vec![VALUE_MARK; value_bytes]);
        let repeated = |args: &[Vec<u8>]| args.iter().cycle().take(args.len() * GROUP).cloned().collect();
        let (name, args): (&str, Vec<Vec<u8>>) = match verb {
            Verb::Set | Verb::Fill => ("SET", vec![key, value]),
            Verb::Get => ("GET", vec![key]),
            Verb::Incr => ("INCR", vec![key]),
            Verb::Mset => ("MSET", repeated(&[key, value])),
            Verb::Mget => ("MGET", repeated(&[key])),
            Verb::Hmget => ("HMGET", [key].into_iter().chain((0..GROUP).map(field)).collect()),
        };
        Self::new(name, args)
    }

    /// The request that loads what a verb reads.
    pub(super) fn loading(verb: Verb, value_bytes: usize) -> Self {
        if verb != Verb::Hmget {
            return Self::of(Verb::Set, value_bytes);
        }
        let pairs = (0..GROUP).flat_map(|at| [field(at), vec![VALUE_MARK; value_bytes]]);
        Self::new("HSET", [KEY_MARK.to_vec()].into_iter().chain(pairs).collect())
    }

    fn new(name: &str, mut args: Vec<Vec<u8>>) -> Self {
        args.insert(0, name.as_bytes().to_vec());
        let mut bytes = Vec::new();
        encode_request(&mut bytes, &args);
        let mut places = Vec::new();
        // The arguments stand at the end of their own encodings, so their places add up from the end.
        let mut end = bytes.len();
        for arg in args.iter().rev() {
            let place = end - 2 - arg.len()..end - 2;
            if arg[..] == KEY_MARK {
                places.push(Place::Key(place.start));
            } else if arg.iter().all(|byte| *byte == VALUE_MARK) {
                places.push(Place::Value(place.clone()));
            }
            end = place.start - format!("${}\r\n", arg.len()).len();
        }
        places.reverse();
        Self { bytes, places }
    }

    /// Appends a request; `next` chooses its keys. Returns the last of them.
    pub(super) fn write(&self, out: &mut Vec<u8>, mut next: impl FnMut() -> u64) -> u64 {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let request = &mut out[start..];
        let mut number = 0;
        for place in &self.places {
            match place {
                Place::Key(at) => {
                    number = next();
                    request[*at..*at + KEY_BYTES].copy_from_slice(&key(number));
                }
                Place::Value(range) => values::fill(&mut request[range.clone()], number, 0),
            }
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(template: &Template, first: u64) -> Vec<Vec<u8>> {
        let mut number = first;
        let mut bytes = Vec::new();
        template.write(&mut bytes, || {
            number += 1;
            number - 1
        });
        match terrace_resp::decode_reply(&bytes).unwrap().unwrap() {
            (terrace_resp::Value::Array(args), len) => {
                assert_eq!(len, bytes.len());
                args.into_iter()
                    .map(|arg| if let terrace_resp::Value::Bulk(arg) = arg { arg } else { panic!("{arg:?}") })
                    .collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn value(number: u64, len: usize) -> Vec<u8> {
        let mut value = vec![0; len];
        values::fill(&mut value, number, 0);
        value
    }

    #[test]
    fn keys_and_values_stand_where_they_belong() {
        let set = args(&Template::of(Verb::Set, 100), 7);
        assert_eq!(set, [b"SET".to_vec(), key(7).to_vec(), value(7, 100)]);
        let mset = args(&Template::of(Verb::Mset, 5), 0);
        assert_eq!(mset.len(), 21);
        assert_eq!(mset[19..], [key(9).to_vec(), value(9, 5)]);
        assert_eq!(args(&Template::of(Verb::Mget, 5), 3)[10], key(12));
        let hset = args(&Template::loading(Verb::Hmget, 1000), 4);
        assert_eq!(
            (hset.len(), &hset[1], &hset[2], &hset[21]),
            (22, &key(4).to_vec(), &field(0), &value(4, 1000))
        );
        assert_eq!(args(&Template::of(Verb::Hmget, 1), 4)[2..], (0..GROUP).map(field).collect::<Vec<_>>());
        assert_eq!(args(&Template::of(Verb::Incr, 1), 4), [b"INCR".to_vec(), key(4).to_vec()]);
    }
}
