//! Every workload on a small store, and the acceptance check.

use terrace_bench::{Config, Workload, print_json, print_table, run, soak};

fn small() -> Config {
    Config { entries: 2_000, gets: 500, threads: 2, memory_bytes: Some(16 << 20), ..Config::default() }
}

#[test]
fn every_workload_reports_a_row() {
    let mut workloads: Vec<Workload> = Workload::ALL.map(|(workload, _)| workload).to_vec();
    workloads.retain(|workload| *workload != Workload::FillSeq);
    let mut seen = 0;
    let report = run(&Config { workloads, ..small() }, |_| seen += 1).unwrap();
    assert_eq!((seen, report.rows.len()), (9, 9));
    let row = |name| report.rows.iter().find(|row| row.workload == name).unwrap();
    assert_eq!(row("fillrandom").operations, 2_000);
    assert!(row("fillrandom").max_ns >= row("fillrandom").p50_ns && row("fillrandom").p50_ns > 0);
    assert_eq!((row("readwarm").found, row("readmissing").found), (500, 0));
    assert_eq!((row("multiget").operations, row("multiget").found), (5, 500));
    assert_eq!(row("fullscan").found, 2_000);
    assert_eq!(print_json(&report).lines().count(), 9);
    assert!(print_table(&report).contains("fillrandom"));
}

#[test]
fn the_acceptance_check_compares_every_entry_after_reopening() {
    for workloads in [vec![Workload::FillSeq], vec![Workload::FillRandom, Workload::Overwrite]] {
        let (_, found) = soak(&Config { workloads, ..small() }, |_| {}).unwrap();
        assert_eq!((found.verified, &found.difference), (2_000, &None));
        assert!(found.to_text().contains("2000 of 2000 entries equal"));
    }
}

#[test]
fn the_acceptance_check_finds_what_was_never_put() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { dir: Some(dir.path().join("store")), workloads: vec![Workload::FillSeq], ..small() };
    run(&config, |_| {}).unwrap();
    let db = terrace::Db::open(dir.path().join("store")).unwrap();
    db.delete("0000000000000042").unwrap();
    db.close().unwrap();
    drop(db);
    let (_, found) = soak(&Config { workloads: vec![], ..config.clone() }, |_| {}).unwrap();
    assert!(found.difference.unwrap().contains("entry 42"));
    // Filling a store that holds something would make every figure wrong.
    assert!(run(&config, |_| {}).unwrap_err().to_string().contains("holds entries"));
}
