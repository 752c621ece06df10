//! The sweep: a thread that removes what dead generations of hashes have left behind.
//!
//! A generation is dead when the key that its owner entry names does not hold it. Commands note the generations
//! they kill; those whose key was overwritten by a plain `SET`, has expired, or was noted before a restart are found
//! by passing over all of them. A pass also settles expired fields of hashes that nobody writes to.
//!
//! What is removed: each batch depends on the owner entry and on the key being as they were when the generation was
//! found dead, so a rename or a revival that comes between wins. A generation is left alone for [`GRACE_NS`] after
//! it was found dead, for the sake of commands that have read its header and not yet its fields. The sweep uses a
//! bounded share of one core.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use terrace::Keyspace;

use crate::databases::{COUNT, Databases, fields_of};
use crate::failure::Failure;
use crate::hash::generation::Dead;
use crate::hash::layout::{generation_end, generation_of, owner_key};
use crate::hash::view::header_of;
use crate::pending::Stored;
use crate::shared::Shared;
use crate::transaction::TAG_HASH;

/// How long a dead generation is left alone.
const GRACE_NS: u64 = 1_000_000_000;
/// Entries removed by one batch.
const BATCH: usize = 512;
/// Generations looked at in one step.
const STEP: usize = 64;
/// Dead generations that wait; a pass that finds more comes again.
const MAX_WAITING: usize = 1 << 16;
/// Times that the sweep rests for each time that it works.
const REST: u32 = 19;
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// A dead generation.
struct Waiting {
    dead: Dead,
    /// When it was found.
    found_ns: u64,
    /// Whether a part of it was removed.
    begun: bool,
}

/// Where the sweep stands.
pub(crate) struct Sweep {
    shared: Arc<Shared>,
    /// Dead generations, oldest first.
    waiting: VecDeque<Waiting>,
    /// Where the pass goes on.
    db: u8,
    next: u64,
    /// Whether the pass has found anything to do.
    found: bool,
    /// No pass before this time.
    resumes_ns: u64,
    pause: Duration,
}

impl Sweep {
    /// A sweep about to begin.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let waiting = VecDeque::new();
        Self { shared, waiting, db: 0, next: 0, found: false, resumes_ns: 0, pause: MIN_PAUSE }
    }

    /// Sweeps until the server stops.
    pub(crate) fn run(mut self) {
        while !self.shared.is_stopping() {
            let start_ns = self.now_ns();
            let rest = match self.step() {
                Ok(true) => Duration::from_nanos(self.now_ns().saturating_sub(start_ns)) * REST,
                Ok(false) => MIN_PAUSE,
                Err(failure) => {
                    tracing::warn!(error = %failure.line(), "the sweep of hashes pauses");
                    MAX_PAUSE
                }
            };
            std::thread::park_timeout(rest.min(MAX_PAUSE));
        }
    }

    fn now_ns(&self) -> u64 {
        self.shared.config.clock.monotonic_ns()
    }

    /// Does a little; `false` if there is nothing to do now.
    fn step(&mut self) -> Result<bool, Failure> {
        let now_ns = self.now_ns();
        for dead in self.shared.databases.take_dead() {
            self.note(dead, now_ns);
        }
        if !self.shared.databases.store().write_delay().is_zero() {
            return Ok(false);
        }
        if let Some(first) = self.waiting.front_mut().filter(|w| w.found_ns + GRACE_NS <= now_ns) {
            if remove_part(&self.shared.databases, first)? {
                self.waiting.pop_front();
            }
            return Ok(true);
        }
        if now_ns < self.resumes_ns {
            return Ok(false);
        }
        self.pass_on(now_ns)?;
        Ok(true)
    }

    fn note(&mut self, dead: Dead, now_ns: u64) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(Waiting { dead, found_ns: now_ns, begun: false });
        }
    }

    /// Looks at the next generations.
    fn pass_on(&mut self, now_ns: u64) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let Some(fields) = shared.databases.find(fields_of(self.db)) else {
            self.next_database(now_ns);
            return Ok(());
        };
        let mut entries = fields.range(owner_key(self.next)..);
        for _ in 0..STEP {
            let entry = entries.next_entry().transpose()?;
            let Some(generation) = entry.and_then(|(key, _)| generation_of(&key)) else {
                self.next_database(now_ns);
                return Ok(());
            };
            let dead = Dead { db: self.db, generation };
            match owner(&shared.databases, fields, dead)? {
                Owner::Alive(_) if !shared.settings.expires_actively() => {}
                Owner::Alive(owner) => self.found |= shared.expire_fields(self.db, &owner)?,
                Owner::None | Owner::Lost { .. } => {
                    self.found = true;
                    self.note(dead, now_ns);
                }
            }
            self.next = generation.saturating_add(1);
            entries.seek(owner_key(self.next));
        }
        Ok(())
    }

    fn next_database(&mut self, now_ns: u64) {
        self.next = 0;
        self.db += 1;
        if self.db == COUNT {
            self.db = 0;
            self.pause = if self.found { MIN_PAUSE } else { (2 * self.pause).min(MAX_PAUSE) };
            self.found = false;
            self.resumes_ns = now_ns.saturating_add(self.pause.as_nanos() as u64);
        }
    }
}

/// Who owns a generation.
enum Owner {
    /// This key holds it.
    Alive(Vec<u8>),
    /// The key that it names does not hold it.
    Lost { key: Vec<u8>, stamps: [terrace::Stamp; 2], absent: bool },
    /// It names no key.
    None,
}

fn owner(databases: &Databases, fields: &Keyspace, dead: Dead) -> Result<Owner, Failure> {
    let (entry, owner_stamp) = fields.read(owner_key(dead.generation))?;
    let Some(key) = entry.map(|entry| entry.value.to_vec()) else { return Ok(Owner::None) };
    let keys = databases.create(dead.db)?;
    let (held, stamp) = keys.read(&key)?;
    let held = held.map(Stored::from);
    let absent = held.is_none();
    if let Some(held) = held.filter(|held| held.tag == TAG_HASH)
        && header_of(&held)?.generation == dead.generation
    {
        return Ok(Owner::Alive(key));
    }
    Ok(Owner::Lost { key, stamps: [owner_stamp, stamp], absent })
}

/// Removes some entries of a generation if it is dead; `true` if none are left or it is not dead.
fn remove_part(databases: &Databases, waiting: &mut Waiting) -> Result<bool, Failure> {
    let dead = waiting.dead;
    let Some(fields) = databases.find(fields_of(dead.db)) else { return Ok(true) };
    // So that key and fields are of the same database until the commit.
    let _held = databases.hold_shared();
    let mut batch = databases.batch();
    let first = owner_key(dead.generation);
    match owner(databases, fields, dead)? {
        Owner::Alive(_) => return Ok(true),
        Owner::None => {
            let (_, stamp) = fields.read(&first)?;
            batch.expect_in(fields, &first, stamp);
        }
        Owner::Lost { key, stamps: [owner_stamp, stamp], absent } => {
            let keys = databases.create(dead.db)?;
            batch.expect_in(fields, &first, owner_stamp).expect_in(keys, &key, stamp);
            if absent && !waiting.begun {
                // An expired key is still there for a command that read it earlier and wants to make it stay;
                // now that command meets a conflict.
                batch.delete_in(keys, &key);
            }
        }
    }
    let mut entries = fields.range(first.as_slice()..generation_end(dead.generation).as_slice());
    let (mut count, mut owned) = (0, false);
    while count < BATCH {
        let Some((key, _)) = entries.next_entry().transpose()? else { break };
        if key[..] == *first {
            owned = true;
            continue;
        }
        batch.delete_in(fields, &key);
        count += 1;
    }
    let last = count < BATCH;
    if last && owned {
        batch.delete_in(fields, &first);
    }
    if count == 0 && !owned {
        return Ok(true);
    }
    match batch.commit().map_err(Failure::from) {
        Ok(_) => {
            waiting.begun = true;
            Ok(last)
        }
        Err(failure) if failure.is_conflict() => Ok(false),
        Err(failure) => Err(failure),
    }
}
