//! Every verb on a closed directory.

mod common;
mod scenarios;

use common::{Place, file, terrace};
use terrace::{Db, WriteOptions};

#[test]
fn every_scenario_holds_on_a_directory() {
    for scenario in scenarios::ALL {
        scenario(&Place::dir());
    }
}

#[test]
fn reading_never_creates_a_store_or_a_keyspace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none");
    let place = Place::existing(&path);
    for verb in [
        &["get", "k"][..],
        &["scan"],
        &["count"],
        &["stats"],
        &["flush"],
        &["compact"],
        &["export"],
        &["del", "k"],
    ] {
        assert!(place.fails(3, verb).contains("no store at"), "{verb:?}");
        assert!(!path.exists(), "{verb:?}");
    }
    place.run(&["put", "k", "v"]);
    assert!(place.fails(3, &["get", "--keyspace", "other", "k"]).contains("no keyspace \"other\""));
    place.run(&["put", "--keyspace", "other", "k", "w"]);
    assert_eq!(place.run(&["get", "--keyspace", "other", "k"]), "w");
    assert_eq!(place.run(&["get", "k"]), "v");
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::dir();
    terrace().args(["get", "k"]).assert().code(2);
    terrace().args(["get", "--dir", "a", "--url", "b", "k"]).assert().code(2);
    terrace().args(["get", "--url", "redis://127.0.0.1:1", "--keyspace", "x", "k"]).assert().code(2);
    terrace().args(["get", "--url", "nonsense://x", "k"]).assert().code(2);
    terrace().arg("frobnicate").assert().code(2);
    place.fails(2, &["put", "", "v"]);
    for flags in [["--memory", "1"], ["--shards", "0"], ["--interval-ms", "0"], ["--durability", "best"]] {
        let refused = terrace().arg("serve").args(flags).assert().code(2).stdout("");
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains(flags[0]) && said.contains(flags[1]), "{said}");
    }
    place.fails(2, &["import", "x", "--batch", "0"]);
}

#[test]
fn other_failures_have_their_own_codes() {
    let place = Place::dir();
    let refused = terrace().args(["get", "--url", "redis://127.0.0.1:1", "k"]).assert().code(5);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("127.0.0.1:1") && said.contains("terrace serve"), "{said}");
    assert!(place.fails(4, &["import", "/nonexistent.jsonl"]).contains("cannot open /nonexistent.jsonl"));
    let store = tempfile::NamedTempFile::new().unwrap();
    let file = Place::existing(store.path());
    assert!(file.fails(3, &["get", "k"]).contains("it is not a directory"));
    assert!(file.fails(3, &["put", "k", "v"]).contains("--dir takes a directory"));
    place.run(&["put", "k", "v"]);
    assert!(place.fails(4, &["export", "-o", "/nonexistent/out"]).contains("/nonexistent/out"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    for n in 0..20_000 {
        db.put(format!("key {n}"), "value").unwrap();
    }
    db.close().unwrap();
    drop(db);
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("terrace"))
        .args(["scan", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// A store with every byte in keys and values, expiries and tags.
fn varied(path: &std::path::Path) -> Vec<(Vec<u8>, terrace::Entry)> {
    let db = Db::open(path).unwrap();
    let mut batch = db.batch();
    for byte in 0..=255u8 {
        batch.put_in(&db, [byte], [byte, b',', byte, b'"'], WriteOptions::new().tag(byte % 16));
        let expiring = WriteOptions::new().expires_at_ms(9_000_000_000_000 + u64::from(byte));
        batch.put_in(&db, [b'x', byte, 0xfe], "", expiring);
    }
    batch.put(((0..=255).collect::<Vec<u8>>()).as_slice(), "a\u{feff}\u{1b}[0m\r\n\\é".repeat(50));
    batch.commit().unwrap();
    let all = contents(&db);
    db.close().unwrap();
    all
}

fn contents(db: &Db) -> Vec<(Vec<u8>, terrace::Entry)> {
    let mut entries = db.iter();
    std::iter::from_fn(|| entries.next_entry()).map(|e| e.unwrap()).map(|(k, e)| (k.to_vec(), e)).collect()
}

#[test]
fn import_of_an_export_is_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let expected = varied(&dir.path().join("a"));
    assert_eq!(expected.len(), 513);
    for (format, flags) in
        [("jsonl", &[][..]), ("csv", &[]), ("tsv", &[]), ("csv", &["--no-header"]), ("tsv", &["--no-header"])]
    {
        let out = dir.path().join(format!("out.{format}"));
        let target = dir.path().join(format!("copy-{format}-{}", flags.len()));
        let out = out.to_str().unwrap();
        let exported = Place::existing(&dir.path().join("a"))
            .command(&[&["export", "-o", out], flags].concat())
            .assert()
            .success();
        let said = String::from_utf8_lossy(&exported.get_output().stderr).into_owned();
        assert!(said.contains("exported 513 entries"), "{said}");
        Place::existing(&target).run(&[&["import", out, "--batch", "100"], flags].concat());
        let db = Db::open(&target).unwrap();
        assert!(contents(&db) == expected, "{format} {flags:?}");
    }
    assert!(
        !std::fs::read_dir(dir.path())
            .unwrap()
            .any(|f| f.unwrap().path().extension() == Some("partial".as_ref()))
    );
}

#[test]
fn import_reads_foreign_files_from_standard_input() {
    let place = Place::dir();
    let csv = "id,note,name\n1,\"a, b\",C:\\dir\n2,,\"x\ny\"\n";
    let import = ["import", "-", "--format", "csv", "--key-field", "id", "--value-field", "name", "--raw"];
    place.command(&import).write_stdin(csv).assert().success();
    assert_eq!(place.run(&["get", "1"]), "C:\\dir");
    assert_eq!(place.run(&["get", "2"]), "x\ny");
    let json = "{\"id\":7,\"doc\":{\"a\": 1}}\n";
    place
        .command(&["import", "-", "--key-field", "id", "--value-field", "doc"])
        .write_stdin(json)
        .assert()
        .success();
    assert_eq!(place.run(&["get", "7"]), "{\"a\": 1}");
    let missing = place.command(&["import", "-", "--format", "csv"]).write_stdin(csv).assert().code(4);
    let said = String::from_utf8_lossy(&missing.get_output().stderr).into_owned();
    assert!(said.contains("line 1: no column \"key\" among: id, note, name"), "{said}");
}

#[test]
fn nothing_after_a_bad_line_is_imported_whatever_the_batch() {
    let mut lines: Vec<String> = (0..50).map(|n| format!("{{\"key\":\"{n:02}\",\"value\":\"\"}}")).collect();
    lines[30] = "{\"key\":\"30\"".into();
    let (_dir, path) = file("bad.jsonl", lines.join("\n"));
    for batch in ["1", "7", "31", "1000"] {
        let place = Place::dir();
        let said = place.fails(4, &["import", path.to_str().unwrap(), "--batch", batch]);
        assert!(said.contains("line 31: ") && said.contains("after 30 imported"), "{said}");
        assert_eq!(place.run(&["count"]), "30\n");
    }
}

#[test]
fn bench_measures_and_verifies() {
    let small = ["bench", "--entries", "3000", "--gets", "500", "--memory", "16M", "--durability", "process"];
    let plain = terrace().args(small).assert().success();
    let table = String::from_utf8_lossy(&plain.get_output().stdout).into_owned();
    assert!(table.contains("fillrandom") && table.contains("readwarm") && table.contains("p99.9"), "{table}");
    let checked = terrace()
        .args(small)
        .args(["--verify", "--json", "--workload", "fillseq,fullscan"])
        .assert()
        .success();
    let lines = String::from_utf8_lossy(&checked.get_output().stdout).into_owned();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["verified"], &last["difference"]), (&3000.into(), &serde_json::Value::Null));
    assert_eq!(lines.lines().count(), 4, "fillseq, fullscan, settle and the findings");
    terrace().args(["bench", "--workload", "nothing"]).assert().code(2);
    terrace().args(["bench", "--entries", "0"]).assert().code(2);
}
