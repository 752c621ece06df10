//! Counters that many threads add to: no update is lost, and nothing is locked by hand.

use std::thread;

use terrace::Db;

fn main() -> terrace::Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "example-data".into());
    let db = Db::open(dir)?;
    db.delete("visits")?;
    db.delete("longest")?;

    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                scope.spawn({
                    let db = db.clone();
                    move || visit_often(&db, worker)
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;

    println!("visits = {:?}, longest = {:?}", db.get("visits")?, db.get("longest")?);
    db.close()
}

fn visit_often(db: &Db, worker: u32) -> terrace::Result<()> {
    for visit in 0..1_000u32 {
        db.increment("visits", 1)?;
        // `update` reads, computes and writes in one step; the closure runs again if another thread was faster.
        let seconds = (visit * 7 + worker * 13) % 600;
        db.update("longest", |old| {
            let old: u32 = old.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
            Some(old.max(seconds).to_string().into_bytes())
        })?;
    }
    Ok(())
}
