//! The program `compare` with Terrace alone, as far as a default build can do it.

use std::path::Path;
use std::process::{Command, Output};

use terrace_bench::compare::{Summary, Task, read_records};

fn compare(dir: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(arguments.split_whitespace())
        .arg("--out")
        .arg(dir.join("out"))
        .arg("--dir")
        .arg(dir)
        .output()
        .unwrap()
}

#[test]
fn every_workload_runs_in_a_process_of_its_own_and_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let names = Task::ALL.map(Task::name).join(",");
    let options = "--stores terrace --rounds 1 --entries 3000 --threads 2 --seconds 0.05 --value-bytes 60";
    let output = compare(dir.path(), &format!("{options} --workloads {names}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = read_records(&dir.path().join("out/stores.jsonl")).unwrap();
    assert_eq!(records.len(), Task::ALL.len());
    for record in &records {
        let figures = record.figures.as_ref().unwrap_or_else(|| panic!("{record:?}"));
        assert!(record.error.is_none() && figures.operations > 0 && figures.per_second > 0.0, "{record:?}");
        let reads =
            matches!(record.case.task, Task::YcsbC | Task::Open) || figures.write_amplification.is_none();
        assert_eq!(figures.verified == 0, reads, "{record:?}");
        assert!(figures.peak_rss_bytes > 0 && figures.disk_bytes > 0 && figures.p50_ns > 0, "{record:?}");
        let writes_beside = record.case.task == Task::Readwhilewriting;
        assert_eq!(figures.beside_per_second.is_some(), writes_beside, "{record:?}");
    }
    assert_eq!(Summary::of(&records).lines.len(), Task::ALL.len());
    let table = std::fs::read_to_string(dir.path().join("out/stores.md")).unwrap();
    assert!(table.contains("| ycsb-e, 2 threads, 60 B values, 3000 entries |"), "{table}");
    assert!(dir.path().join("out/stores.svg").exists());
    // The stores are gone.
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["out"]);
}

#[test]
fn tables_can_be_made_again_from_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let output = compare(
        dir.path(),
        "--stores terrace --rounds 1 --entries 500 --workloads fillseq,scan-10 --seconds 0.02",
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = dir.path().join("out/stores.md");
    let first = std::fs::read(&table).unwrap();
    std::fs::remove_file(&table).unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_compare"));
    again.arg("render").arg("--out").arg(dir.path().join("out"));
    assert!(again.status().unwrap().success());
    assert_eq!(std::fs::read(&table).unwrap(), first);
}

#[cfg(not(feature = "peer-lmdb"))]
#[test]
fn a_store_that_this_build_lacks_is_named_with_the_feature_that_brings_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = compare(dir.path(), "--stores terrace,lmdb --preset quick");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--features peer-lmdb"));
}
