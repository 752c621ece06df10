//! Terrace as a library: open, put, get, scan, write a batch, look at a snapshot, close.

use terrace::Db;

fn main() -> terrace::Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "example-data".into());
    let db = Db::open(dir)?;

    db.put("user:1", "Alice")?;
    db.put("user:2", "Bob")?;
    println!("user:1 = {:?}", db.get("user:1")?);

    // A snapshot keeps seeing what was there when it was taken.
    let before = db.snapshot();

    // A batch is applied as a whole or not at all.
    let mut batch = db.batch();
    batch.put("user:3", "Carol").delete("user:2");
    batch.commit()?;

    for entry in db.prefix("user:") {
        let (key, value) = entry?;
        println!("{key:?} = {value:?}");
    }
    println!("before the batch, user:2 = {:?}", before.get("user:2")?);
    drop(before);
    db.close()
}
