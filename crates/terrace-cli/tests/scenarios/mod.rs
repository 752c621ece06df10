//! What must hold at every place alike: a directory and a running server.

use std::fmt::Write as _;

use crate::common::{Place, file};

/// All of them.
pub(crate) const ALL: [fn(&Place); 8] = [
    put_get_and_del,
    bytes_that_are_no_text,
    expiry,
    scans_choose_and_order,
    counts,
    import_and_export,
    import_stops_at_a_bad_line,
    maintenance,
];

fn put_get_and_del(place: &Place) {
    place.run(&["put", "pgd:1", "one"]);
    assert_eq!(place.bytes(&["get", "pgd:1"]), b"one");
    place.command(&["put", "pgd:2", "-"]).write_stdin(&b"two\0\n\xff"[..]).assert().success();
    assert_eq!(place.bytes(&["get", "pgd:2"]), b"two\0\n\xff");
    place.run(&["put", "pgd:3", ""]);
    assert_eq!(place.bytes(&["get", "pgd:3"]), b"");
    assert!(place.fails(1, &["get", "pgd:none"]).contains("no such key: pgd:none"));
    assert_eq!(place.run(&["del", "pgd:1", "pgd:1", "pgd:none", "pgd:2"]), "2\n");
    place.fails(1, &["get", "pgd:1"]);
}

fn bytes_that_are_no_text(place: &Place) {
    place.run(&["put", "--escaped", "bin\\x00\\xff\\\\", "\\n\\x80"]);
    assert_eq!(place.bytes(&["get", "--escaped", "bin\\x00\\xff\\\\"]), b"\n\x80");
    let lines = place.run(&["scan", "--prefix", "bin"]);
    assert_eq!(lines, "{\"key_b64\":\"YmluAP9c\",\"value_b64\":\"CoA=\"}\n");
    assert!(place.fails(2, &["get", "--escaped", "a\\q"]).contains("unknown escape"));
}

fn expiry(place: &Place) {
    place.run(&["put", "ttl:long", "v", "--ttl", "2h"]);
    let line: serde_json::Value = serde_json::from_str(&place.run(&["get", "--json", "ttl:long"])).unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let left_ms = line["expires_at_ms"].as_u64().unwrap() - now;
    assert!((7_100_000..=7_200_000).contains(&left_ms), "{left_ms}");
    place.run(&["put", "ttl:short", "v", "--ttl", "1ms"]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    place.fails(1, &["get", "ttl:short"]);
    place.fails(2, &["put", "ttl:wrong", "v", "--ttl", "soon"]);
}

fn scans_choose_and_order(place: &Place) {
    for n in 0..6 {
        place.run(&["put", &format!("scan:{n}"), "v"]);
    }
    let keys = |flags: &[&str]| {
        let out = place.run(&[&["scan", "--prefix", "scan:", "--keys-only"], flags].concat());
        let key = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap()[5..].to_owned()
        };
        out.lines().map(key).collect::<String>()
    };
    assert_eq!(keys(&[]), "012345");
    assert_eq!(keys(&["--from", "scan:2", "--to", "scan:4"]), "23");
    assert_eq!(keys(&["--reverse", "--limit", "2"]), "54");
    assert_eq!(keys(&["--limit", "3"]), "012");
    assert_eq!(keys(&["--limit", "0"]), "");
    assert_eq!(keys(&["--from", "scan:4", "--to", "scan:2"]), "");
    let line = place.run(&["scan", "--from", "scan:3", "--limit", "1"]);
    assert_eq!(line, "{\"key\":\"scan:3\",\"value\":\"v\"}\n");
}

fn counts(place: &Place) {
    for n in 0..5 {
        place.run(&["put", &format!("count:{n}"), "v"]);
    }
    assert_eq!(place.run(&["count", "--prefix", "count:"]), "5\n");
    assert_eq!(place.run(&["count", "--prefix", "count:", "--from", "count:3"]), "2\n");
    assert!(place.run(&["count", "--estimate"]).trim().parse::<u64>().is_ok());
    place.fails(2, &["count", "--estimate", "--prefix", "x"]);
}

fn import_and_export(place: &Place) {
    let mut text = String::new();
    for n in 0..2_500 {
        writeln!(text, "{{\"key\":\"ie:{n:05}\",\"value\":\"value {n}\"}}").unwrap();
    }
    text.push_str("{\"key\":\"ie:ttl\",\"value\":\"v\",\"expires_at_ms\":9999999999999}\n");
    let (_dir, path) = file("in.jsonl", &text);
    let summary = place.run(&["import", path.to_str().unwrap()]);
    assert!(
        summary.starts_with("imported 2,501 entries") && summary.contains("0 bad lines skipped"),
        "{summary}"
    );
    assert_eq!(place.run(&["scan", "--prefix", "ie:"]), text);
    let exported = place.run(&["export"]);
    let mut ours: Vec<&str> = exported.lines().filter(|line| line.contains("\"ie:")).collect();
    ours.sort_unstable();
    assert!(ours == text.lines().collect::<Vec<_>>(), "export differs from import");
}

fn import_stops_at_a_bad_line(place: &Place) {
    let text = "stop:1\tv\nstop:2\tv\nno value\nstop:4\tv\n";
    let (_dir, path) = file("in.tsv", text);
    let path = path.to_str().unwrap();
    let said = place.fails(4, &["import", path, "--no-header"]);
    assert!(
        said.contains("line 3: no value: it is column 2 and this line has 1")
            && said.contains("after 2 imported entries"),
        "{said}"
    );
    assert_eq!(place.run(&["count", "--prefix", "stop:"]), "2\n");
    let all = place.command(&["import", path, "--no-header", "--skip-bad"]).assert().success();
    let (out, err) = (&all.get_output().stdout, &all.get_output().stderr);
    assert!(String::from_utf8_lossy(out).contains("imported 3 entries"), "{out:?}");
    assert!(String::from_utf8_lossy(out).contains("1 bad lines skipped"), "{out:?}");
    assert!(String::from_utf8_lossy(err).contains("line 3: no value"), "{err:?}");
    assert_eq!(place.run(&["count", "--prefix", "stop:"]), "3\n");
}

fn maintenance(place: &Place) {
    place.run(&["put", "maintenance", "v"]);
    place.run(&["flush"]);
    place.run(&["compact"]);
    let stats: serde_json::Value = serde_json::from_str(&place.run(&["stats", "--json"])).unwrap();
    assert!(stats.as_object().is_some_and(|fields| fields.len() > 3), "{stats}");
    assert!(place.run(&["stats"]).lines().count() > 3);
    assert_eq!(place.bytes(&["get", "maintenance"]), b"v");
}
