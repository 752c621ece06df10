//! Blocks against a sorted list.

use super::*;
use crate::base::Kind;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Rows = BTreeMap<(Vec<u8>, std::cmp::Reverse<Seqno>), (EntryMeta, Vec<u8>)>;

/// Keys that share prefixes, end early, and meet in their first eight bytes.
pub(crate) fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 0..12),
        prop::collection::vec(any::<u8>(), 0..6),
        (0u32..1000).prop_map(|i| format!("user:{i:08}").into_bytes()),
        (0u32..50).prop_map(|i| format!("the same long beginning {i}").into_bytes()),
        (0u64..300).prop_map(|i| i.to_be_bytes().to_vec()),
    ]
}

pub(crate) fn any_meta() -> impl Strategy<Value = EntryMeta> {
    let expiry = prop_oneof![3 => Just(0u64), 1 => 1u64..100, 1 => any::<u64>()];
    (any::<bool>(), 0u8..16, expiry).prop_map(|(put, tag, expires_at_ms)| EntryMeta {
        kind: if put { Kind::Put } else { Kind::Delete },
        tag,
        expires_at_ms,
    })
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let seqno = prop_oneof![Just(0u64), 1u64..20, 0..=MAX_SEQNO];
    let value = prop_oneof![Just(Vec::new()), Just(vec![7; 5]), prop::collection::vec(any::<u8>(), 0..200)];
    let one_kind = prop_oneof![Just(true), Just(false)];
    (prop::collection::vec((any_key(), seqno, any_meta(), value), 1..60), one_kind).prop_map(
        |(rows, plain)| {
            let row = |(key, seqno, meta, value): (Vec<u8>, u64, EntryMeta, Vec<u8>)| {
                let (seqno, meta) = if plain { (0, EntryMeta::PUT) } else { (seqno, meta) };
                ((key, std::cmp::Reverse(seqno)), (meta, value))
            };
            rows.into_iter().map(row).collect()
        },
    )
}

fn encode(rows: &Rows) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    for ((key, seqno), (meta, value)) in rows {
        builder.add(key, seqno.0, *meta, value);
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    assert!(builder.is_empty());
    out
}

proptest! {
    #[test]
    fn gives_back_what_was_put_in(rows in any_rows(), probes in prop::collection::vec(any_key(), 20), at in 0u64..25) {
        let bytes = encode(&rows);
        let block = Arc::new(Block::decode(bytes).unwrap());
        prop_assert_eq!(block.entries(), rows.len());
        let list: Vec<_> = rows.iter().collect();
        for (i, ((key, seqno), (meta, value))) in list.iter().enumerate() {
            prop_assert_eq!(&block.key(i), key);
            prop_assert_eq!(block.seqno(i), seqno.0);
            prop_assert_eq!(block.meta(i), *meta);
            prop_assert_eq!(block.value(i), &value[..]);
            prop_assert_eq!(&block.value_slice(i, || Arc::clone(&block))[..], &value[..]);
        }
        for key in probes.iter().chain(rows.keys().map(|(key, _)| key)) {
            let expected = list.partition_point(|((k, _), _)| k < key);
            prop_assert_eq!(block.lower_bound(key), expected, "{:?}", key);
            for (i, ((entry, _), _)) in list.iter().enumerate() {
                prop_assert_eq!(block.reaches(i, key), key <= entry, "{:?} and entry {}", key, i);
            }
            let newest = list.iter().position(|((k, s), _)| k == key && s.0 <= at);
            prop_assert_eq!(block.find(key, at), newest, "{:?}", key);
        }
    }

    #[test]
    fn damage_never_leads_out_of_the_block(
        rows in any_rows(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(), short: bool,
    ) {
        let mut bytes = encode(&rows);
        for (at, byte) in damage {
            let at = at.index(bytes.len().min(300));
            bytes[at] = byte;
        }
        if short {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(block) = Block::decode(bytes) {
            for i in 0..block.entries() {
                let key = block.key(i);
                let _ = (block.seqno(i), block.meta(i), block.value(i).len());
                block.lower_bound(&key);
                block.reaches(i, b"key");
                block.find(&key, MAX_SEQNO);
            }
        }
    }
}

#[test]
fn equal_short_remainders_store_no_tails() {
    let rows = |keys: &[&str]| -> Rows {
        keys.iter()
            .map(|k| ((k.as_bytes().to_vec(), std::cmp::Reverse(0)), (EntryMeta::PUT, vec![1])))
            .collect()
    };
    let bytes = encode(&rows(&["key-0001", "key-0002", "key-0003"]));
    // Header, three heads, the seven common bytes, three values.
    assert_eq!(bytes.len(), HEADER_BYTES + 3 * 8 + 7 + 3);
    let block = Block::decode(bytes).unwrap();
    assert_eq!(block.lower_bound(b"key-0002\0"), 2);
    assert_eq!(block.lower_bound(b"key-000"), 0);
    assert_eq!(block.lower_bound(b"key-0"), 0);
    assert_eq!(block.lower_bound(b"kez"), 3);
}

#[test]
fn a_large_value_pins_its_block_and_a_small_one_does_not() {
    let rows = [(b"a".to_vec(), 128), (b"b".to_vec(), 129)];
    let rows = rows.map(|(key, len)| ((key, std::cmp::Reverse(0)), (EntryMeta::PUT, vec![5; len])));
    let block = Arc::new(Block::decode(encode(&rows.into_iter().collect())).unwrap());
    let small = block.value_slice(0, || Arc::clone(&block));
    assert_eq!((small.len(), Arc::strong_count(&block)), (128, 1));
    let large = block.value_slice(1, || Arc::clone(&block));
    assert_eq!((large.len(), Arc::strong_count(&block)), (129, 2));
}
