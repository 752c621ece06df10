//! What one append to the log costs, and how long it takes while the disk is busy, for the candidates:
//! lanes in the mapped segment, lanes in a small mapped ring that a thread copies away, `write()` calls.
//!
//! `cargo bench -p terrace --bench wal [directory]` prints Markdown. The engine's modules are compiled into
//! this program, so that nothing has to be made public for it. CPU time is that of the appending thread plus
//! that of its helper; it includes page faults. `memcpy` into private memory is the control: whatever it
//! shows is the machine, not a log.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "measures on the real system")]
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#![allow(clippy::wildcard_imports)] // The engine's test modules, which clippy sees here a second time.
#![allow(clippy::wrong_self_convention)] // Public names of the engine, which are private to this program.

#[path = "../src/base/mod.rs"]
mod base;
#[path = "../src/io/mod.rs"]
mod io;
#[path = "../src/record/mod.rs"]
mod record;
#[path = "../src/wal/mod.rs"]
mod wal;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::{FileId, checksum};
use io::{Claim, Env, Fs, Region};
use record::frame;
use rustix::time::{ClockId, clock_gettime};
use wal::{Lane, Reserve, Segment, Wal, WalOptions};

const LANES: usize = 16;
/// With the 24 bytes of its header, a record of 144 bytes.
const BODY_BYTES: usize = 120;
const RECORD_BYTES: usize = 144;
const SEGMENT_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: u64 = 64 << 10;
const RING_CHUNKS: u64 = 256;
/// The rest of a put, which a tight loop would leave out.
const PACE: Duration = Duration::from_micros(1);

fn cpu_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A helper thread that calls `body` until it is stopped, and then tells its CPU time.
struct Helper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Helper {
    fn start(mut body: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                body();
            }
            cpu_ns(ClockId::ThreadCPUTime)
        });
        Self { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Calls `sync` at the server's default period.
struct Ticker(Option<(Duration, Instant)>);

impl Ticker {
    fn new(period: Option<Duration>) -> Self {
        Self(period.map(|period| (period, Instant::now())))
    }

    fn tick(&mut self, sync: impl FnOnce()) {
        if let Some((period, last)) = &mut self.0
            && last.elapsed() >= *period
        {
            sync();
            *last = Instant::now();
        }
    }
}

trait Log {
    fn append(&mut self, lane: usize, body: &[u8]);
    /// Stops the helper; its CPU time.
    fn stop(self: Box<Self>) -> u64;
}

/// Candidate (i), and the fallback of positioned writes through the same code.
struct Lanes {
    wal: Arc<Wal>,
    shards: Vec<Lane>,
    active: Arc<Segment>,
    next: u64,
    complete: Arc<AtomicU64>,
    helper: Helper,
}

impl Lanes {
    fn start(dir: &Path, unmapped_log: bool, prefault_bytes: u64, sync_every: Option<Duration>) -> Self {
        let env = Env { fs: Arc::new(io::os::OsFs { unmapped_log }), ..Env::default() };
        let options = WalOptions {
            segment_bytes: SEGMENT_BYTES,
            chunk_bytes: CHUNK_BYTES,
            recycle_limit: 8,
            prefault_bytes,
            synced: false,
        };
        let ids = AtomicU64::new(1);
        let wal = Wal::new(&env, dir, options, move || FileId(ids.fetch_add(1, Ordering::Relaxed)));
        let wal = Arc::new(wal);
        wal.prepare(0).unwrap();
        let active = wal.switch(1).unwrap();
        let complete = Arc::new(AtomicU64::new(0));
        let (shared, done, mut ticker) = (Arc::clone(&wal), Arc::clone(&complete), Ticker::new(sync_every));
        let helper = Helper::start(move || {
            let hi = done.load(Ordering::Acquire);
            shared.prefault_ahead();
            shared.prepare(0).unwrap();
            shared.retire(hi).unwrap();
            ticker.tick(|| shared.sync(hi).unwrap());
            std::thread::sleep(Duration::from_micros(200));
        });
        let shards = (0..LANES as u16).map(Lane::new).collect();
        Self { wal, shards, active, next: 1, complete, helper }
    }
}

impl Log for Lanes {
    fn append(&mut self, lane: usize, body: &[u8]) {
        let crc = checksum::plain(body);
        while self.shards[lane].reserve(&self.active, body.len()).unwrap() == Reserve::SegmentFull {
            while !self.wal.is_prepared() {
                std::thread::yield_now();
            }
            self.active = self.wal.switch(self.next).unwrap();
            self.shards.iter_mut().for_each(Lane::reset);
        }
        self.shards[lane].append(self.next, 1, body, crc).unwrap();
        self.complete.store(self.next, Ordering::Release);
        self.next += 1;
    }

    fn stop(self: Box<Self>) -> u64 {
        let cpu = self.helper.stop();
        self.wal.remove_all().unwrap();
        cpu
    }
}

/// The 24 header bytes and the body of a record, as every candidate stores it.
fn frame_record(buffer: &mut Vec<u8>, place: u64, seqno: u64, body: &[u8]) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 24]);
    let header = &mut buffer[start..];
    header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&seqno.to_le_bytes());
    header[16..20].copy_from_slice(&1_u32.to_le_bytes());
    header[20..24].copy_from_slice(&checksum::plain(body).to_le_bytes());
    frame::seal(7, place, header);
    buffer.extend_from_slice(body);
}

/// Candidate (ii): lanes in a small mapped ring; a thread copies full chunks to the segment.
struct Ring {
    lanes: Vec<Option<(RingChunk, u64)>>,
    free: Receiver<RingChunk>,
    full: Sender<RingChunk>,
    buffer: Vec<u8>,
    next: u64,
    helper: Helper,
}

/// A chunk of the ring and a shadow of its content: the engine never reads through a mapping, so the copier
/// of this model copies from the shadow, which costs the appender one more store of each record into cache.
struct RingChunk {
    claim: Claim,
    shadow: Vec<u8>,
}

impl Ring {
    fn start(dir: &Path, sync_every: Option<Duration>) -> Self {
        let raw = io::os::OsFs::default().open_region(&dir.join("ring"), RING_CHUNKS * CHUNK_BYTES).unwrap();
        let ring = Region::new(raw);
        ring.prefault(0..ring.len());
        let (free_sender, free) = channel();
        let (full, full_receiver) = channel::<RingChunk>();
        while let Some(claim) = ring.claim(CHUNK_BYTES) {
            free_sender.send(RingChunk { claim, shadow: Vec::with_capacity(CHUNK_BYTES as usize) }).unwrap();
        }
        let segment = written_file(dir, "ring-segment");
        let (mut offset, mut ticker) = (0, Ticker::new(sync_every));
        let helper = Helper::start(move || {
            ticker.tick(|| {
                segment.sync_data().unwrap();
                ring.sync_claimed().unwrap();
            });
            if let Ok(mut chunk) = full_receiver.recv_timeout(Duration::from_millis(5)) {
                segment.write_all_at(&chunk.shadow, offset).unwrap();
                offset = (offset + CHUNK_BYTES) % SEGMENT_BYTES;
                chunk.shadow.clear();
                let _ = free_sender.send(chunk);
            }
        });
        let lanes = (0..LANES).map(|_| None).collect();
        Self { lanes, free, full, buffer: Vec::new(), next: 1, helper }
    }
}

impl Log for Ring {
    fn append(&mut self, lane: usize, body: &[u8]) {
        let slot = &mut self.lanes[lane];
        if let Some((chunk, used)) = slot.take_if(|(_, used)| *used + RECORD_BYTES as u64 > CHUNK_BYTES) {
            assert!(used <= CHUNK_BYTES);
            self.full.send(chunk).unwrap();
        }
        let (chunk, used) = slot.get_or_insert_with(|| (self.free.recv().unwrap(), 0));
        self.buffer.clear();
        frame_record(&mut self.buffer, *used, self.next, body);
        chunk.claim.write(*used, &self.buffer).unwrap();
        chunk.shadow.extend_from_slice(&self.buffer);
        *used += RECORD_BYTES as u64;
        self.next += 1;
    }

    fn stop(self: Box<Self>) -> u64 {
        self.helper.stop()
    }
}

/// A preallocated, already written file of a segment's length.
fn written_file(dir: &Path, name: &str) -> Arc<File> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(name)).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..SEGMENT_BYTES >> 20).for_each(|mib| file.write_all_at(&zeros, mib << 20).unwrap());
    file.sync_all().unwrap();
    Arc::new(file)
}

/// Candidate (iii): one positioned write per `batch` records.
struct Writes {
    file: Arc<File>,
    batch: usize,
    offset: u64,
    buffer: Vec<u8>,
    next: u64,
    helper: Helper,
}

impl Writes {
    fn start(dir: &Path, batch: usize, sync_every: Option<Duration>) -> Self {
        let file = written_file(dir, "written");
        let (shared, mut ticker) = (Arc::clone(&file), Ticker::new(sync_every));
        let helper = Helper::start(move || {
            ticker.tick(|| shared.sync_data().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        });
        Self { file, batch, offset: 0, buffer: Vec::new(), next: 1, helper }
    }
}

impl Log for Writes {
    fn append(&mut self, _lane: usize, body: &[u8]) {
        let place = self.offset + self.buffer.len() as u64;
        frame_record(&mut self.buffer, place, self.next, body);
        self.next += 1;
        if self.buffer.len() >= self.batch * RECORD_BYTES {
            self.file.write_all_at(&self.buffer, self.offset).unwrap();
            self.offset = (self.offset + self.buffer.len() as u64) % (SEGMENT_BYTES - CHUNK_BYTES);
            self.buffer.clear();
        }
    }

    fn stop(self: Box<Self>) -> u64 {
        self.helper.stop()
    }
}

/// The control: records framed into 1 MiB of private memory.
struct Memory {
    buffer: Vec<u8>,
    next: u64,
}

impl Log for Memory {
    fn append(&mut self, _lane: usize, body: &[u8]) {
        if self.buffer.len() + RECORD_BYTES > self.buffer.capacity() {
            self.buffer.clear();
        }
        let place = self.buffer.len() as u64;
        frame_record(&mut self.buffer, place, self.next, body);
        self.next += 1;
    }

    fn stop(self: Box<Self>) -> u64 {
        0
    }
}

type Candidate = (&'static str, fn(&Path, Option<Duration>) -> Box<dyn Log>);

const CANDIDATES: [Candidate; 7] = [
    ("control: memcpy into private memory", |_, _| {
        Box::new(Memory { buffer: Vec::with_capacity(1 << 20), next: 1 })
    }),
    ("(i) lanes in the mapped segment, prefault 4 MiB", |dir, sync| {
        Box::new(Lanes::start(dir, false, 4 << 20, sync))
    }),
    ("(i) lanes in the mapped segment, no prefault", |dir, sync| Box::new(Lanes::start(dir, false, 0, sync))),
    ("(i) as lanes, but positioned writes", |dir, sync| Box::new(Lanes::start(dir, true, 0, sync))),
    ("(ii) lanes in a mapped ring, copied away", |dir, sync| Box::new(Ring::start(dir, sync))),
    ("(iii) one write() per record", |dir, sync| Box::new(Writes::start(dir, 1, sync))),
    ("(iii) one write() per 32 records", |dir, sync| Box::new(Writes::start(dir, 32, sync))),
];

/// A fresh directory for one run, removed afterwards.
fn in_dir<T>(root: &Path, run: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir_in(root).unwrap();
    run(dir.path())
}

/// The lane of the n-th record: spread, but cheap to compute.
fn lane_of(n: u64) -> usize {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % LANES
}

fn spin(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// CPU nanoseconds per record of the appending thread and of the helper, in a tight loop of `records`, after
/// a warm-up that makes the candidate reuse its files.
fn cost(log: &mut Box<dyn Log>, records: u64) -> f64 {
    let body = [0x5a; BODY_BYTES];
    (0..records / 2).for_each(|n| log.append(lane_of(n), &body));
    let before = cpu_ns(ClockId::ThreadCPUTime);
    (0..records).for_each(|n| log.append(lane_of(n), &body));
    (cpu_ns(ClockId::ThreadCPUTime) - before) as f64 / records as f64
}

fn print_costs(root: &Path, records: u64) {
    println!("\nCPU ns per record of {RECORD_BYTES} bytes, {records} records, {LANES} lanes, no sync.\n");
    println!("| candidate | appending thread | helper | sum |\n|---|---:|---:|---:|");
    for (name, start) in CANDIDATES {
        in_dir(root, |dir| {
            let mut log = start(dir, None);
            let own = cost(&mut log, records);
            let helper = log.stop() as f64 / (records + records / 2) as f64;
            println!("| {name} | {own:.0} | {helper:.0} | {:.0} |", own + helper);
        });
    }
}

/// Writes and syncs files of 64 MiB until stopped.
fn heavy_writeback(dir: &Path) -> Helper {
    let path = dir.join("noise");
    let block = vec![0xee; 1 << 20];
    Helper::start(move || {
        let mut file = File::create(&path).unwrap();
        (0..64).for_each(|_| file.write_all(&block).unwrap());
        file.sync_all().unwrap();
    })
}

fn print_latencies(root: &Path, seconds: u64, sync_every: Option<Duration>) {
    let sync = sync_every.map_or("no sync".to_string(), |p| format!("a sync every {} ms", p.as_millis()));
    println!(
        "\nOne append, one per µs, {sync}, while a thread writes and syncs 64 MiB files, {seconds} s.\n"
    );
    println!(
        "| candidate | p50 ns | p99 ns | p99.9 µs | p99.99 µs | max µs |\n|---|---:|---:|---:|---:|---:|"
    );
    let body = [0xa5; BODY_BYTES];
    for (name, start) in CANDIDATES {
        in_dir(root, |dir| {
            let mut log = start(dir, sync_every);
            (0..900_000).for_each(|n| log.append(lane_of(n), &body));
            let noise = heavy_writeback(dir);
            let mut samples: Vec<u64> = Vec::with_capacity(seconds as usize * 1_000_000);
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(seconds) {
                let start = Instant::now();
                log.append(lane_of(samples.len() as u64), &body);
                samples.push(start.elapsed().as_nanos() as u64);
                spin(PACE);
            }
            noise.stop();
            log.stop();
            samples.sort_unstable();
            let at = |per_myriad: usize| samples[(samples.len() - 1) * per_myriad / 10_000];
            let us = |ns: u64| ns as f64 / 1000.0;
            let (p999, p9999, max) = (us(at(9_990)), us(at(9_999)), us(at(10_000)));
            println!("| {name} | {} | {} | {p999:.1} | {p9999:.1} | {max:.0} |", at(5_000), at(9_900));
        });
    }
}

/// How fast a log comes back that is in the page cache, as after the death of a process.
fn print_replay(root: &Path, records: u64) {
    in_dir(root, |dir| {
        let env = Env::default();
        let mut log = Lanes::start(dir, false, 4 << 20, None);
        log.helper.stop.store(true, Ordering::Relaxed); // Nothing may retire.
        let body = [0x77; BODY_BYTES];
        for n in 0..records {
            while log.shards[lane_of(n)].reserve(&log.active, BODY_BYTES).unwrap() == Reserve::SegmentFull {
                log.wal.prepare(0).unwrap();
                log.active = log.wal.switch(log.next).unwrap();
            }
            log.append(lane_of(n), &body);
        }
        let (before, mut sum) = (cpu_ns(ClockId::ThreadCPUTime), 0);
        let report = wal::replay(&env, dir, base::FileId(0), 0, wal::Writer::None, &mut |first, _, body| {
            sum += first + u64::from(body[0]);
            Ok(())
        });
        let cpu = cpu_ns(ClockId::ThreadCPUTime) - before;
        assert_eq!(report.unwrap().records, records);
        std::hint::black_box(sum);
        let (mib, ns) = ((records * RECORD_BYTES as u64) >> 20, cpu as f64 / records as f64);
        println!(
            "\nReplay of {mib} MiB: {ns:.0} ns of CPU per record, {:.2} GB/s.",
            RECORD_BYTES as f64 / ns
        );
    });
}

fn main() {
    // Cargo passes `--bench` when it is meant; `cargo test --all-targets` starts this program without.
    if std::env::args().len() < 2 {
        return;
    }
    // Anything else is the directory, whose file system is what is measured.
    let root = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let root = root.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let env_number = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    print_costs(&root, env_number("WAL_BENCH_RECORDS", 4_000_000));
    print_replay(&root, env_number("WAL_BENCH_RECORDS", 2_000_000));
    let seconds = env_number("WAL_BENCH_SECONDS", 5);
    print_latencies(&root, seconds, None);
    print_latencies(&root, seconds, Some(Duration::from_millis(100)));
}
