//! Sessions that end by themselves, in a keyspace of their own.

use std::thread;
use std::time::Duration;

use terrace::{Db, Durability, WriteOptions};

fn main() -> terrace::Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "example-data".into());
    let db = Db::open(dir)?;
    let sessions = db.keyspace("sessions")?;

    let short = WriteOptions::new().ttl(Duration::from_millis(200));
    sessions.put_with("token-1", "alice", short)?;
    // This one survives a power loss before the call returns; the others survive a crash of the process.
    let long = WriteOptions::new().ttl(Duration::from_secs(3600)).durability(Durability::Sync);
    sessions.put_with("token-2", "bob", long)?;

    println!("now: {:?}, {:?}", sessions.get("token-1")?, sessions.get("token-2")?);
    thread::sleep(Duration::from_millis(300));
    println!("later: {:?}, {:?}", sessions.get("token-1")?, sessions.get("token-2")?);

    // The default keyspace knows nothing of the sessions; dropping them costs nothing.
    println!("default keyspace: {:?}", db.get("token-2")?);
    db.drop_keyspace("sessions")?;
    db.close()
}
