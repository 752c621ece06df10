//! Payloads of Redis itself, of every form that it has written, and whatever else may come.

use proptest::prelude::*;

use super::packed::{Entry, listpack, ziplist};
use super::*;

fn field(name: &str, value: &str, expires_at_ms: Option<u64>) -> Field {
    Field { name: name.into(), value: value.into(), expires_at_ms }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Gives a type and a value the footer that they need.
fn sealed(hex: &str) -> Vec<u8> {
    seal(bytes(hex), NEWEST_VERSION)
}

/// What Redis 7.0.15 answered to `DUMP`.
#[test]
fn payloads_of_redis_are_read() {
    let texts = [
        ("hello", "000568656c6c6f0a006372df766534200a"),
        ("10", "00c00a0a006e9f57450eae63bb"),
        ("-300", "00c1d4fe0a00c6c48623febede2e"),
        ("123456", "00c240e201000a00432647f443197283"),
        (&"a".repeat(100), "00c3094064016161e057000161610a00e8a3b507b06df271"),
    ];
    for (text, payload) in texts {
        assert_eq!(read(&bytes(payload)), Ok(Value::Text(text.into())), "{text}");
    }
    let table = "0405046e616d65c17fff0166c0010167c27011010001680a353030303030303030300169c3094046017878e039000178780a\
                 00ff25b3de72170ef9";
    let Ok(Value::Hash(fields)) = read(&bytes(table)) else { panic!("it is a hash") };
    let long = "x".repeat(70);
    for (name, value) in [("name", "-129"), ("f", "1"), ("g", "70000"), ("h", "5000000000"), ("i", &long)] {
        assert!(fields.contains(&field(name, value, None)), "{name} in {fields:?}");
    }
    let list = read(&bytes("120102090900000001000101ff0a0010828f9209b3f446"));
    let Err(Refusal::Value(_, why)) = list else { panic!("lists are not supported") };
    assert!(why.contains("of type 18"), "{why}");
}

#[test]
fn every_form_of_a_hash_is_read() {
    let two = |a, b| Ok(Value::Hash(vec![field("f1", "v1", a), field("f2", "v2", b)]));
    let listpack = "10 17 17000000 0400 82663103 82763103 82663203 82763203 ff";
    assert_eq!(read(&sealed(listpack)), two(None, None));
    let ziplist = "0d 1b 1b000000 16000000 0400 00026631 04027631 04026632 04027632 ff";
    assert_eq!(read(&sealed(ziplist)), two(None, None));
    let soonest_first = "1c 1c000000 0600 82663103 82763103 c7d002 82663203 82763203 0001 ff";
    assert_eq!(read(&sealed(&format!("17 {soonest_first}"))), two(Some(2_000), None));
    assert_eq!(read(&sealed(&format!("19 d007000000000000 {soonest_first}"))), two(Some(2_000), None));
    let relative = "18 d007000000000000 02 01 026631 027631 03 026632 027632";
    assert_eq!(read(&sealed(relative)), two(Some(2_000), Some(2_002)));
    let absolute = "16 02 00 026631 027631 47d0 026632 027632";
    assert_eq!(read(&sealed(absolute)), two(None, Some(2_000)));
}

/// The entries of a packed hash, given all but its head and end.
fn entries(read: impl Fn(&[u8]) -> super::input::Read<Vec<Entry>>, tail: &[u8], hex: &str) -> Vec<String> {
    let total = (4 + tail.len() + 2 + bytes(hex).len() + 1) as u32;
    let all = [&total.to_le_bytes()[..], tail, &[0xff, 0xff], &bytes(hex), &[0xff]].concat();
    let found = read(&all).unwrap_or_else(|bad| panic!("{} at {}", bad.why, bad.at));
    found.into_iter().map(|entry| String::from_utf8(entry.into_bytes()).unwrap()).collect()
}

/// Redis 7.0.15 again, and the forms that it chooses rarely.
#[test]
fn every_form_of_an_entry_is_read() {
    let payload = "10407b7b0000000e008166020101846e616d6505df7f02816702f270110104816802f400f2052a0100000009\
                   816902f3c0ab76ff05816a02bf78787878787878787878787878787878787878787878787878787878787878\
                   78787878787878787878787878787878787878787878787878787878787878784080018001ff0a00774b3c68\
                   2b6a75ba";
    let (x63, long) = ("x".repeat(63), "x".repeat(200));
    let pairs = [("f", "1"), ("name", "-129"), ("g", "70000"), ("h", "5000000000"), ("i", "-9000000")];
    let fields = pairs.into_iter().chain([("j", x63.as_str()), ("", "")]).map(|(n, v)| field(n, v, None));
    assert_eq!(read(&bytes(payload)), Ok(Value::Hash(fields.collect())));
    let in_full =
        format!("7f01 f17fff03 f2fffffe04 f30000008005 f4000000000000008009 e0c8{}01ca", "78".repeat(200));
    let expected = ["127", "-129", "-65537", "-2147483648", "-9223372036854775808", &long];
    assert_eq!(entries(listpack, &[], &in_full), expected);
    let numbers = "00c07fff 04d000000080 06e00000000000000080 0af0fffffe 05fe81 03f1 02fd 0240c8";
    let in_full = format!("{numbers}{}", "78".repeat(200));
    let tail = (10 + bytes(numbers).len() - 3) as u32;
    let expected = ["-129", "-2147483648", "-9223372036854775808", "-65537", "-127", "0", "12", &long];
    assert_eq!(entries(ziplist, &tail.to_le_bytes(), &in_full), expected);
}

#[test]
fn what_is_damaged_is_refused() {
    assert_eq!(read(b""), Err(Refusal::Footer));
    assert_eq!(read(&bytes("000568656c6c6f0a006372df766534200b")), Err(Refusal::Footer));
    assert_eq!(read(&seal(bytes("000568656c6c6f"), NEWEST_VERSION + 1)), Err(Refusal::Footer));
    let damaged = [
        ("00 06 68656c6c6f", "6 bytes are expected"),
        ("00 05 68656c6c6f 00", "follows the value"),
        ("00 81 ffffffffffffffff", "bytes are expected"),
        ("00 c3 02 80 10000000 0000", "cannot be"),
        ("00 c3 02 02 2000", "damaged"),
        ("00 c4", "no way 4"),
        ("00 90", "begins no length"),
        ("04 00", "without fields"),
        ("04 80 ffffffff 0000", "do not fit"),
        ("04 02 0161 00 0161 00", "twice"),
        ("18 00000000000000ff 01 01 0161 00", "too late"),
        ("18 ffffffffffffffff 01 81 ffffffffffffffff 0161 00", "too late"),
        ("10 17 17000000 0300 82663103 82763103 82663203 82763203 ff", "announced"),
        ("10 13 13000000 0300 82663103 82763103 82663203 ff", "whole number"),
        ("10 0b 0b000000 0100 82663104 ff", "behind an entry"),
        ("10 0b 0c000000 0100 82663103 ff", "another length"),
        ("0d 1b 1b000000 16000000 0400 00026631 04027631 05026632 04027632 ff", "one before"),
        ("0d 1b 1b000000 12000000 0400 00026631 04027631 04026632 04027632 ff", "last entry"),
        ("17 1c 1c000000 0600 82663103 82763103 0001 82663203 82763203 c7d002 ff", "order"),
        ("17 1c 1c000000 0600 82663103 82763103 8178 02 82663203 82763203 0001 ff", "order"),
        ("0f 00", "of type 15"),
    ];
    for (payload, expected) in damaged {
        match read(&sealed(payload)) {
            Err(Refusal::Value(_, why)) => assert!(why.contains(expected), "{payload}: {why}"),
            other => panic!("{payload}: {other:?}"),
        }
    }
}

prop_compose! {
    fn fields()(all in proptest::collection::btree_map(
        proptest::collection::vec(any::<u8>(), 0..80),
        (proptest::collection::vec(any::<u8>(), 0..80), proptest::option::of(1..crate::hash::MAX_EXPIRY_MS)),
        1..100,
    )) -> Vec<Field> {
        all.into_iter().map(|(name, (value, expires_at_ms))| Field { name, value, expires_at_ms }).collect()
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(fields in fields(), text in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert_eq!(read(&write_hash(&fields)), Ok(Value::Hash(fields)));
        prop_assert_eq!(read(&write_string(&text)), Ok(Value::Text(text)));
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(
        kind in proptest::sample::select(vec![0u8, 4, 13, 16, 22, 23, 24, 25, 99]),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        // It is enough that this returns.
        let _ = read(&seal([&[kind][..], &body].concat(), NEWEST_VERSION));
        let packed = [&(body.len() as u32 + 4).to_le_bytes()[..], &body].concat();
        let mut writer = Writer::new(0);
        writer.kind(kind).string(&packed);
        let _ = read(&seal(writer.bytes, NEWEST_VERSION));
    }

    #[test]
    fn one_changed_bit_is_noticed(fields in fields(), at in any::<proptest::sample::Index>(), bit in 0..8u32) {
        let mut payload = write_hash(&fields);
        let at = at.index(payload.len());
        payload[at] ^= 1u8 << bit;
        prop_assert_eq!(read(&payload), Err(Refusal::Footer));
    }
}
