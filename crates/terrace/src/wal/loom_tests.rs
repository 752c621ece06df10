//! A model of the concurrent kernel: lanes claim chunks of the active segment under their shards' locks
//! while a switch replaces it under all of them.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p terrace --lib --release wal::loom_tests`.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc as StdArc;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::format::{CHUNK_BYTES_MIN, CHUNK_HEADER_BYTES, CHUNKS_START, ChunkHeader, SegmentHeader};
use super::{Lane, Reserve, Segment};
use crate::base::{FileId, Seqno};
use crate::io::RawRegion;

const SLOTS: usize = 2;

/// A region whose slots are loom cells: two writers in one slot at the same time fail the model.
#[derive(Debug)]
struct ModelRegion {
    slots: Vec<UnsafeCell<Vec<u8>>>,
}

// SAFETY: loom checks every access to the cells, which is the point of the model.
#[allow(unsafe_code)]
unsafe impl Sync for ModelRegion {}

impl ModelRegion {
    fn new() -> StdArc<Self> {
        let slots = (0..SLOTS).map(|_| UnsafeCell::new(Vec::new())).collect();
        StdArc::new(Self { slots })
    }

    #[allow(unsafe_code)]
    fn slot(&self, slot: usize) -> Vec<u8> {
        // SAFETY: the threads of the model have ended.
        self.slots[slot].with(|bytes| unsafe { (*bytes).clone() })
    }
}

#[allow(unsafe_code)]
impl RawRegion for ModelRegion {
    fn len(&self) -> u64 {
        CHUNKS_START + SLOTS as u64 * CHUNK_BYTES_MIN
    }

    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(offset) = offset.checked_sub(CHUNKS_START) else { return Ok(()) };
        let (slot, at) = ((offset / CHUNK_BYTES_MIN) as usize, (offset % CHUNK_BYTES_MIN) as usize);
        // SAFETY: claims are disjoint; loom fails the model if they are not.
        self.slots[slot].with_mut(|content| unsafe {
            let content = &mut *content;
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn prefault(&self, _range: Range<u64>) {}

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn segment(id: u64, base: Seqno) -> (StdArc<ModelRegion>, StdArc<Segment>) {
    let raw = ModelRegion::new();
    let header = SegmentHeader {
        id: FileId(id),
        previous: FileId(0),
        boot_id: 1,
        nonce: id,
        chunk_bytes: CHUNK_BYTES_MIN as u32,
        clock_ms: 0,
        file_bytes: 0,
    };
    let segment = Segment::create(StdArc::clone(&raw) as _, Path::new("model"), header, 0).unwrap();
    segment.set_base(base);
    (raw, StdArc::new(segment))
}

/// The lane of the chunk in each slot.
fn lanes(raw: &ModelRegion, segment: &Segment, base: Seqno) -> Vec<u16> {
    let chunks = (0..SLOTS).filter_map(|slot| {
        let bytes = raw.slot(slot);
        let place = CHUNKS_START + slot as u64 * CHUNK_BYTES_MIN;
        ChunkHeader::decode(bytes.get(..CHUNK_HEADER_BYTES)?, segment.context(), place)
    });
    let chunks: Vec<_> = chunks.collect();
    assert!(chunks.iter().all(|chunk| chunk.base == base), "a chunk knows its segment's base");
    chunks.iter().map(|chunk| chunk.lane).collect()
}

#[test]
fn lanes_claim_disjoint_chunks_while_the_segment_is_switched() {
    loom::model(|| {
        let (old_raw, old) = segment(1, 1);
        let (new_raw, new) = segment(2, 0);
        let shard = |n| Arc::new(Mutex::new((Lane::new(n), StdArc::clone(&old))));
        let shards = [shard(0), shard(1)];
        let writers = shards.clone().map(|shard| {
            thread::spawn(move || {
                let mut guard = shard.lock().unwrap();
                let (lane, active) = &mut *guard;
                let active = StdArc::clone(active);
                assert_eq!(lane.reserve(&active, 3).unwrap(), Reserve::Ready);
                lane.append(1, 1, b"abc", 0).unwrap();
            })
        });
        {
            let mut guards = shards.each_ref().map(|shard| shard.lock().unwrap());
            new.set_base(9);
            for guard in &mut guards {
                guard.0.reset();
                guard.1 = StdArc::clone(&new);
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
        let mut all = lanes(&old_raw, &old, 1);
        all.extend(lanes(&new_raw, &new, 9));
        all.sort_unstable();
        assert_eq!(all, [0, 1], "each record is in a chunk of its own, in the old segment or the new one");
    });
}

#[test]
fn a_region_never_hands_out_a_range_twice() {
    loom::model(|| {
        let (raw, segment) = segment(1, 1);
        let threads = [0, 1].map(|_| {
            let segment = StdArc::clone(&segment);
            thread::spawn(move || {
                let claims = [segment.claim(CHUNK_BYTES_MIN), segment.claim(CHUNK_BYTES_MIN)];
                claims
                    .into_iter()
                    .flatten()
                    .map(|mut claim| {
                        claim.write(0, b"mine").unwrap();
                        claim.start()
                    })
                    .collect::<Vec<_>>()
            })
        });
        let mut starts: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        starts.sort_unstable();
        assert_eq!(starts, [CHUNKS_START, CHUNKS_START + CHUNK_BYTES_MIN]);
        assert_eq!(raw.slot(1), b"mine");
    });
}
