//! Round trips through every format.

use proptest::prelude::*;

use super::*;

/// Writes and reads back.
fn round_trip(records: &[Record], layout: &Layout) -> Vec<Record> {
    let mut bytes = Vec::new();
    {
        let mut out = writer(&mut bytes, layout).unwrap();
        for record in records {
            out.write(record).unwrap();
        }
        out.finish().unwrap();
    }
    let mut input = reader(&bytes[..], layout).unwrap();
    let mut found = Vec::new();
    while let Some(step) = input.next_record().unwrap() {
        found.push(step.unwrap().1);
    }
    found
}

fn layouts() -> Vec<Layout> {
    let mut all = Vec::new();
    for format in [Format::Jsonl, Format::Csv, Format::Tsv] {
        for header in [true, false] {
            all.push(Layout { header, ..Layout::new(format) });
        }
    }
    all
}

fn any_record() -> impl Strategy<Value = Record> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[\\\\\"', \t\r\n#a-z\u{feff}\u{85}\u{1b}é]{0,12}".prop_map(String::into_bytes),
    ];
    let key = bytes.clone().prop_filter("a key is never empty", |k| !k.is_empty());
    (key, bytes, proptest::option::of(1u64..), 0u8..16).prop_map(|(key, value, expires_at_ms, tag)| Record {
        key,
        value,
        expires_at_ms,
        tag,
        keyspace: None,
    })
}

proptest! {
    #[test]
    fn every_format_gives_back_what_was_written(records in proptest::collection::vec(any_record(), 0..8)) {
        for layout in layouts() {
            prop_assert_eq!(round_trip(&records, &layout), records.clone(), "{:?}", layout);
        }
    }

    #[test]
    fn no_input_makes_a_reader_panic(bytes: Vec<u8>, text in "[\\{\\}\":a-z_,\\\\\n]{0,80}") {
        for layout in layouts() {
            for input in [&bytes[..], text.as_bytes()] {
                let Ok(mut reader) = reader(input, &layout) else { continue };
                while let Ok(Some(_)) = reader.next_record() {}
            }
        }
    }
}

#[test]
fn every_byte_survives_as_key_and_value() {
    let mut records: Vec<Record> = (0..=255u8)
        .map(|b| Record {
            key: vec![b],
            value: vec![b, b'x', b],
            expires_at_ms: None,
            tag: b % 16,
            keyspace: None,
        })
        .collect();
    records.push(Record {
        key: (0..=255).collect(),
        value: vec![],
        expires_at_ms: Some(u64::MAX),
        tag: 15,
        keyspace: None,
    });
    for layout in layouts() {
        assert_eq!(round_trip(&records, &layout), records, "{layout:?}");
    }
}

#[test]
fn the_ending_of_a_name_suggests_the_format() {
    assert_eq!(Format::of_name("a/b.CSV"), Format::Csv);
    assert_eq!(Format::of_name("b.tsv"), Format::Tsv);
    assert_eq!(Format::of_name("b.csv.jsonl"), Format::Jsonl);
    assert_eq!(Format::of_name("-"), Format::Jsonl);
}
