//! Backup, verify, repair, inspect, dump, the shell, and the export of a whole store.

mod common;

use std::path::Path;

use common::{Place, Server, terrace};
use terrace::{Db, WriteOptions};

/// Runs the program; its standard output. It must end with this code.
fn run(code: i32, arguments: &[&str]) -> String {
    let assert = terrace().args(arguments).assert().code(code);
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// Runs the program; what it says on standard error. It must end with this code.
fn says(code: i32, arguments: &[&str]) -> String {
    let assert = terrace().args(arguments).assert().code(code);
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn filled(dir: &Path, keys: std::ops::Range<u32>) {
    let db = Db::open(dir).unwrap();
    for n in keys {
        db.put(format!("key:{n:05}"), format!("value {n} {}", "x".repeat(90))).unwrap();
    }
    db.flush().unwrap();
    db.close().unwrap();
}

/// Flips a bit in the middle of the first file with this ending.
fn flip(dir: &Path, ending: &str) -> String {
    let named = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(ending);
    let path = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(named).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn backups_are_made_listed_verified_restored_and_pruned() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name).display().to_string();
    let (store, backups) = (path("store"), path("backups"));
    filled(Path::new(&store), 0..2000);
    assert!(
        run(0, &["backup", "create", "--dir", &store, "--to", &backups])
            .starts_with("generation 1: 1 tables")
    );
    filled(Path::new(&store), 2000..3000);
    let second = run(0, &["backup", "create", "--dir", &store, "--to", &backups]);
    assert!(second.starts_with("generation 2: 2 tables") && second.contains("1 of them new"), "{second}");
    let listed: serde_json::Value =
        serde_json::from_str(&run(0, &["backup", "list", "--from", &backups, "--json"])).unwrap();
    assert_eq!(listed["generations"][1]["new_tables"], 1);
    assert!(run(0, &["backup", "list", "--from", &backups]).contains("made (UTC)"));
    assert!(run(0, &["backup", "verify", "--from", &backups]).ends_with("sound\n"));
    let old = path("old");
    run(0, &["backup", "restore", "--from", &backups, "--dir", &old, "--generation", "1"]);
    assert_eq!(run(0, &["count", "--dir", &old]), "2000\n");
    let full = says(2, &["backup", "restore", "--from", &backups, "--dir", &old]);
    assert!(full.contains("not empty"), "{full}");
    assert!(
        run(0, &["backup", "prune", "--from", &backups, "--keep", "1"]).starts_with("removed 1 generations")
    );
    let gone = says(2, &["backup", "restore", "--from", &backups, "--dir", &path("x"), "--generation", "1"]);
    assert!(gone.contains("it has: 2"), "{gone}");
    let damaged = flip(Path::new(&backups), ".tbl");
    assert!(run(6, &["backup", "verify", "--from", &backups]).contains(&damaged));
    let refused = says(3, &["backup", "restore", "--from", &backups, "--dir", &path("y")]);
    assert!(refused.contains(&damaged) && refused.contains("try another generation"), "{refused}");
    assert!(says(2, &["backup", "list", "--from", &store]).contains("no directory of backups"));
}

#[test]
fn a_running_server_backs_itself_up() {
    let temp = tempfile::tempdir().unwrap();
    let (store, backups) = (temp.path().join("store"), temp.path().join("backups").display().to_string());
    let server = Server::start(&store, &[]);
    let url = server.url();
    run(0, &["put", "--url", &url, "k", "v"]);
    let made = run(0, &["backup", "create", "--url", &url, "--to", &backups]);
    assert!(made.starts_with("generation 1: 1 tables"), "{made}");
    assert!(says(2, &["backup", "create", "--url", &url, "--to", "relative"]).contains("absolute"));
    let restored = temp.path().join("restored").display().to_string();
    run(0, &["backup", "restore", "--from", &backups, "--dir", &restored]);
    assert_eq!(run(0, &["get", "--dir", &restored, "k"]), "v");
    // What is open is not judged.
    let open = says(3, &["verify", "--dir", &store.display().to_string()]);
    assert!(open.contains("locked") && open.contains("backup create --url"), "{open}");
}

#[test]
fn damage_is_found_named_and_repaired_into_a_new_store() {
    let temp = tempfile::tempdir().unwrap();
    let (store, new) = (temp.path().join("store"), temp.path().join("new").display().to_string());
    filled(&store, 0..5000);
    let dir = store.display().to_string();
    assert!(run(0, &["verify", "--dir", &dir]).ends_with("sound\n"));
    let damaged = flip(&store, ".tbl");
    let found = run(6, &["verify", "--dir", &dir]);
    assert!(found.contains(&damaged) && found.contains("keys default/\"key:"), "{found}");
    let repaired = run(6, &["repair", "--dir", &dir, "--to", &new]);
    assert!(repaired.contains(&format!("lost: {damaged}")), "{repaired}");
    assert!(run(0, &["verify", "--dir", &new]).ends_with("sound\n"));
    let left: u64 = run(0, &["count", "--dir", &new]).trim().parse().unwrap();
    assert!((4800..5000).contains(&left), "{left}");
    assert!(
        says(3, &["verify", "--dir", &temp.path().join("none").display().to_string()])
            .contains("does not exist")
    );
}

#[test]
fn the_inside_of_a_store_is_shown_as_text_and_as_json() {
    let temp = tempfile::tempdir().unwrap();
    filled(temp.path(), 0..3000);
    let dir = temp.path().display().to_string();
    let text = run(0, &["inspect", "--dir", &dir, "--history"]);
    assert!(
        text.contains("default (0)") && text.contains("key:00000") && text.contains("edit at byte"),
        "{text}"
    );
    let seen: serde_json::Value =
        serde_json::from_str(&run(0, &["inspect", "--dir", &dir, "--json"])).unwrap();
    assert_eq!(seen["tables"][0]["entries"], 3000);
    let table = temp.path().join(seen["tables"][0]["file"].as_str().unwrap()).display().to_string();
    assert!(
        run(0, &["dump", &table]).contains("Put default/\"key:02999\"")
            || run(0, &["dump", &table]).contains("key:02999")
    );
    let manifest = temp.path().join(seen["manifest"].as_str().unwrap()).display().to_string();
    assert!(run(0, &["dump", &manifest]).contains("create keyspace 0 \"default\""));
    assert!(run(0, &["dump", &temp.path().join("CURRENT").display().to_string()]).contains("MANIFEST-"));
}

#[test]
fn a_whole_store_goes_through_export_and_import() {
    let (one, two) = (Place::dir(), Place::dir());
    one.run(&["put", "plain", "v"]);
    one.run(&["put", "--keyspace", "other", "timed", "w", "--ttl", "2h"]);
    let temp = tempfile::tempdir().unwrap();
    let tagged = temp.path().join("tagged");
    let db = Db::open(&tagged).unwrap();
    db.keyspace("third").unwrap().put_with("k\u{0}\u{ff}", [0xff, 0], WriteOptions::new().tag(9)).unwrap();
    db.keyspace("third")
        .unwrap()
        .put_with("t", "x", WriteOptions::new().tag(3).expires_at_ms(1 << 45))
        .unwrap();
    db.put("k", "in default").unwrap();
    db.close().unwrap();
    for source in [one, Place::existing(&tagged)] {
        let lines = source.run(&["export", "--all"]);
        two.command(&["import", "--all", "-"]).write_stdin(lines.clone()).assert().success();
        for line in lines.lines() {
            assert!(line.starts_with("{\"keyspace\":"), "{line}");
            assert!(two.run(&["export", "--all"]).contains(line), "{line}");
        }
    }
    assert_eq!(two.run(&["get", "--keyspace", "other", "timed"]), "w");
    // Only the header was written before, and an import gave a hash without its fields.
    let db = Db::open(&tagged).unwrap();
    db.put_with("h", "header", WriteOptions::new().tag(1)).unwrap();
    db.close().unwrap();
    Place::existing(&tagged).run(&["export"]);
    let db = Db::open(&tagged).unwrap();
    db.keyspace("hash-fields").unwrap().put("field", "v").unwrap();
    db.close().unwrap();
    assert!(Place::existing(&tagged).fails(3, &["export"]).contains("holds a hash"));
    assert!(Place::existing(&tagged).run(&["export", "--all"]).contains("\"keyspace\":\"hash-fields\""));
    assert!(two.fails(2, &["export", "--all", "--format", "csv"]).contains("--all needs JSON lines"));
}

#[test]
fn the_shell_reads_commands_line_by_line() {
    let place = Place::dir();
    place.run(&["put", "user:1", "Alice"]);
    let lines =
        "put user:2 'Bob B.'\nget user:1\nget none\nscan user:\ncount\nfly\nput one\ndel user:1\nexit\n";
    let mut command = place.command(&["shell"]);
    let out =
        command.env("HOME", "/nonexistent").write_stdin(lines).assert().success().get_output().stdout.clone();
    let out = String::from_utf8(out).unwrap();
    for expected in [
        "Alice\n",
        "(no such key)\n",
        "user:2 = Bob B.\n",
        "2\n",
        "no command \"fly\"",
        "usage: put",
        "1 removed\n",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}
