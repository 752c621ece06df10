//! Stores with little memory.

use std::thread;
use std::time::Duration;

use terrace::Options;

/// With sixteen shards, the first chunk of every shard already made up the smallest write buffer that the
/// options take: the memtable was full as soon as it was made, and every single write sealed one and had it
/// flushed into a table of its own.
#[test]
fn a_small_write_buffer_holds_more_than_one_write() {
    for shards in [1, 16, 256] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(shards);
        let db = options.open(dir.path()).unwrap();
        for n in 0..200u32 {
            db.put(n.to_be_bytes(), [7; 50]).unwrap();
            // The next memtable is ready by then.
            thread::sleep(Duration::from_millis(1));
        }
        let stats = db.stats();
        assert!(stats.memtable.flushes <= 3, "{shards} shards: {} flushes", stats.memtable.flushes);
        db.close().unwrap();
    }
}
