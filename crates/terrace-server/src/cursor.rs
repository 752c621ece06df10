//! Cursors of `SCAN`: a bounded table of positions, with a coarse position inside the number itself.
//!
//! The store scans in key order, so a position is the last key returned, and continuing strictly after it
//! returns every key that was there from the scan's start to its end, whatever else is written meanwhile. A
//! cursor is a number, so the key is kept here:
//!
//! ```text
//! bits 62..47  the first two bytes of the last key, big-endian, zero-padded
//! bits 46..34  the slot in the table (8,192 of them)
//! bits 33..0   a serial number, different for every cursor given out, never 0
//! ```
//!
//! A running scan owns one slot and takes it along from call to call; the slot also keeps the previous
//! position, for a client that repeats a call. When slots or bytes run out, the scan that has waited longest
//! loses its slot. A cursor whose position is gone (or that was made up, or is older than the server) goes on
//! at its two bytes: some keys are returned again, none is left out. Serial numbers start at a random one, so
//! that a cursor from before a restart is not mistaken for one given out since; they repeat after 17 billion.

/// The number of scans with an exact position.
const SLOTS: usize = 1 << 13;
/// What all positions together may take.
const MAX_BYTES: usize = 16 << 20;
const SERIAL_BITS: u32 = 34;
const SLOT_BITS: u32 = 13;
const HEAD_BYTES: usize = 2;

/// Where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Position {
    /// Strictly after this key.
    After(Vec<u8>),
    /// At these bytes or after.
    From(Vec<u8>),
}

/// A cursor that was given out: its serial number and where it stands.
#[derive(Clone, Debug, Default)]
struct Place {
    serial: u64,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    db: u8,
    last_use: u64,
    newest: Place,
    previous: Place,
}

impl Slot {
    fn bytes(&self) -> usize {
        self.newest.key.len() + self.previous.key.len()
    }
}

/// The positions of running scans.
#[derive(Debug, Default)]
pub(crate) struct CursorTable {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    bytes: usize,
    uses: u64,
    serial: u64,
}

impl CursorTable {
    /// An empty table whose serial numbers start at a random one.
    pub(crate) fn new(random: u64) -> Self {
        Self { serial: random % (1 << SERIAL_BITS), ..Self::default() }
    }

    /// Where a cursor stands. Zero is the start.
    pub(crate) fn position(&mut self, cursor: u64, db: u8) -> Position {
        if cursor == 0 {
            return Position::From(Vec::new());
        }
        let (index, serial) = split(cursor);
        if let Some(Some(slot)) = self.slots.get(index) {
            for place in [&slot.newest, &slot.previous] {
                let is_it = place.serial == serial && head_of(&place.key) == cursor_head(cursor);
                if slot.db == db && is_it && !place.key.is_empty() {
                    return Position::After(place.key.clone());
                }
            }
        }
        let head = cursor_head(cursor) << (64 - 8 * HEAD_BYTES);
        let bytes = head.to_be_bytes();
        let len = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        Position::From(bytes[..len].to_vec())
    }

    /// The cursor of the scan that came with `cursor` and got as far as `key`.
    pub(crate) fn advance(&mut self, cursor: u64, db: u8, key: &[u8]) -> u64 {
        let index = self.owned(cursor, db).unwrap_or_else(|| self.allocate(db));
        self.uses += 1;
        self.serial = (self.serial + 1) % (1 << SERIAL_BITS);
        // Zero would make the cursor of an all-zero key the start.
        self.serial = self.serial.max(1);
        let serial = self.serial;
        let Some(slot) = &mut self.slots[index] else { return 0 };
        self.bytes -= slot.bytes();
        slot.previous = std::mem::replace(&mut slot.newest, Place { serial, key: key.to_vec() });
        slot.last_use = self.uses;
        self.bytes += slot.bytes();
        while self.bytes > MAX_BYTES && self.evict_except(index) {}
        join(head_of(key), index, serial)
    }

    /// The scan that came with `cursor` has reached the end.
    pub(crate) fn finish(&mut self, cursor: u64, db: u8) {
        if let Some(index) = self.owned(cursor, db) {
            self.release(index);
        }
    }

    /// The slot of a cursor that is its scan's newest.
    fn owned(&self, cursor: u64, db: u8) -> Option<usize> {
        let (index, serial) = split(cursor);
        let slot = self.slots.get(index)?.as_ref()?;
        (cursor != 0 && slot.newest.serial == serial && slot.db == db).then_some(index)
    }

    fn allocate(&mut self, db: u8) -> usize {
        if self.free.is_empty() && self.slots.len() == SLOTS {
            self.evict_except(SLOTS);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let (newest, previous) = (Place::default(), Place::default());
        self.slots[index] = Some(Slot { db, last_use: 0, newest, previous });
        index
    }

    /// Takes the slot that has waited longest; `false` if there is no other than `kept`.
    fn evict_except(&mut self, kept: usize) -> bool {
        let others = self.slots.iter().enumerate().filter(|(index, _)| *index != kept);
        let oldest = others.filter_map(|(index, slot)| Some((slot.as_ref()?.last_use, index))).min();
        match oldest {
            Some((_, index)) => {
                self.release(index);
                true
            }
            None => false,
        }
    }

    fn release(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].take() {
            self.bytes -= slot.bytes();
            self.free.push(index);
        }
    }
}

fn head_of(key: &[u8]) -> u64 {
    (0..HEAD_BYTES).fold(0, |head, i| head << 8 | u64::from(key.get(i).copied().unwrap_or(0)))
}

fn cursor_head(cursor: u64) -> u64 {
    (cursor >> (SLOT_BITS + SERIAL_BITS)) & ((1 << (8 * HEAD_BYTES)) - 1)
}

fn split(cursor: u64) -> (usize, u64) {
    let slot = (cursor >> SERIAL_BITS) as usize & (SLOTS - 1);
    (slot, cursor & ((1 << SERIAL_BITS) - 1))
}

fn join(head: u64, slot: usize, serial: u64) -> u64 {
    head << (SLOT_BITS + SERIAL_BITS) | (slot as u64) << SERIAL_BITS | serial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_its_place_and_may_repeat_one_call() {
        let mut table = CursorTable::default();
        let first = table.advance(0, 0, b"user:1");
        assert!(first != 0 && first < 1 << 63);
        assert_eq!(table.position(first, 0), Position::After(b"user:1".to_vec()));
        let second = table.advance(first, 0, b"user:2");
        assert_eq!(table.position(second, 0), Position::After(b"user:2".to_vec()));
        assert_eq!(table.position(first, 0), Position::After(b"user:1".to_vec()));
        assert_eq!(table.position(second, 1), Position::From(b"us".to_vec()), "another database");
        table.finish(second, 0);
        assert_eq!(table.position(second, 0), Position::From(b"us".to_vec()));
        assert_eq!(table.bytes, 0);
    }

    #[test]
    fn a_lost_position_goes_back_and_never_ahead() {
        let mut table = CursorTable::default();
        let lost = table.advance(0, 0, b"a\0\0");
        for i in 0..SLOTS {
            table.advance(0, 0, format!("key{i}").as_bytes());
        }
        assert_eq!(table.slots.len(), SLOTS);
        assert_eq!(table.position(lost, 0), Position::From(b"a".to_vec()));
    }

    #[test]
    fn positions_are_bounded_in_bytes() {
        let mut table = CursorTable::default();
        let key = vec![b'k'; 60_000];
        let mut cursors = Vec::new();
        for _ in 0..600 {
            cursors.push(table.advance(0, 0, &key));
        }
        assert!(table.bytes <= MAX_BYTES);
        let newest = *cursors.last().unwrap();
        assert_eq!(table.position(newest, 0), Position::After(key));
    }

    #[test]
    fn an_old_cursor_is_never_taken_for_a_newer_one() {
        let mut table = CursorTable::default();
        let old = table.advance(0, 0, b"user:00000");
        let mut cursor = old;
        for i in 1..5000 {
            cursor = table.advance(cursor, 0, format!("user:{i:05}").as_bytes());
            if i > 1 {
                assert_eq!(table.position(old, 0), Position::From(b"us".to_vec()));
            }
        }
    }

    #[test]
    fn one_long_scan_uses_one_slot() {
        let mut table = CursorTable::default();
        let mut cursor = 0;
        for i in 0..5000 {
            cursor = table.advance(cursor, 0, format!("{i:08}").as_bytes());
        }
        assert_eq!(table.slots.len(), 1);
    }
}
