//! `Retention`: which entries a flush or a compaction keeps. A pure rule over a sorted sequence, without I/O.
//!
//! The live snapshots cut the seqnos of a key into *stripes*: all versions between two neighbouring snapshots
//! look the same to every reader but for the newest of them. So the newest version of each stripe stays and
//! the rest are shadowed. Of what would stay,
//! - entries of a dropped keyspace go;
//! - an entry under a range delete goes, unless a snapshot is between the two;
//! - a tombstone, or a put whose expiry has passed, goes if it is in the oldest stripe and nothing deeper
//!   holds its key; otherwise the expired put becomes a tombstone, because it must go on hiding what is below;
//! - merge operands at the head of a stripe stay up to the first entry that is none, their base, and with it; the
//!   verdicts say where such a chain begins and what its base is, so that it can be folded into one entry (`output`).
//!   A base that expires is not folded: the operands outlive it;
//! - at the very bottom, an entry of the oldest stripe has its seqno set to zero, which packs to nothing,
//!   unless it lies under a range delete that is still around: older ones do not hide it, and must not begin to.
//!
//! The snapshots must be listed after the inputs were chosen, so that one missing from the list is newer than
//! every input entry. The input must be sorted by key ascending, then seqno descending.

use std::sync::Arc;

use crate::base::{EntryMeta, Fragments, Kind, Seqno, key};
use crate::version::LiveKeyspaces;

/// Whether a key may exist below the output. Keys are asked in ascending order.
pub(crate) type MayHold = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// What the levels below the output hold.
pub(crate) enum Below {
    /// Possibly anything.
    Unknown,
    /// Nothing in the whole range of the output: it becomes the bottom.
    Nothing,
    /// Ask per key.
    Check(MayHold),
}

/// What to do with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Leave it out.
    Drop,
    /// Write it with this seqno and meta (and no value, if the kind is a delete).
    Keep(Seqno, EntryMeta),
    /// A merge operand, to be written as it is or folded with those before it; `first` begins a chain.
    Operand { first: bool },
    /// What the operands before it apply to. If they are not folded with it, it is written under `alone`, or left
    /// out.
    Base { base: Base, alone: Option<(Seqno, EntryMeta)> },
}

/// What a chain of operands ends at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// A value.
    Value,
    /// A value for now.
    Expiring,
    /// No value, and nothing below counts.
    Nothing,
}

impl Verdict {
    fn is_kept(self) -> bool {
        !matches!(self, Self::Drop | Self::Base { alone: None, .. })
    }
}

/// What happened to the entries; `read` equals `kept` plus the dropped ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Entries judged.
    pub(crate) read: u64,
    /// Entries to be written.
    pub(crate) kept: u64,
    /// Kept in whole blocks, without having been judged one by one.
    pub(crate) unjudged: u64,
    /// Dropped because a newer version hides them from every reader.
    pub(crate) shadowed: u64,
    /// Tombstones dropped because nothing is left below to hide.
    pub(crate) tombstones: u64,
    /// Expired puts dropped likewise.
    pub(crate) expired: u64,
    /// Dropped with their keyspace.
    pub(crate) keyspace: u64,
    /// Dropped under a range delete.
    pub(crate) range_deleted: u64,
    /// Folded into another entry with its operands.
    pub(crate) folded: u64,
}

impl Counts {
    /// Adds the counts of another part of the same work.
    pub(crate) fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.kept += other.kept;
        self.unjudged += other.unjudged;
        self.shadowed += other.shadowed;
        self.tombstones += other.tombstones;
        self.expired += other.expired;
        self.keyspace += other.keyspace;
        self.range_deleted += other.range_deleted;
        self.folded += other.folded;
    }

    /// All that was left out.
    pub(crate) fn dropped(&self) -> u64 {
        self.shadowed + self.tombstones + self.expired + self.keyspace + self.range_deleted + self.folded
    }
}

/// The rule and its position in the sequence.
pub(crate) struct Retention {
    /// Live snapshot seqnos, ascending.
    snapshots: Vec<Seqno>,
    now_ms: u64,
    keyspaces: LiveKeyspaces,
    below: Below,
    range_deletes: Arc<Fragments>,
    /// Entries that have lost their number are not taken for older than range deletes.
    spares_unnumbered: bool,
    current: Option<CurrentKey>,
    entered_key: bool,
    counts: Counts,
}

/// What is known of the key being judged.
struct CurrentKey {
    key: Vec<u8>,
    dropped_keyspace: bool,
    /// The stripe of the last version that was not shadowed.
    stripe: Option<usize>,
    /// Whether that version, and all before it in its stripe, are merge operands.
    in_operands: bool,
    /// The stripe of the operands judged last. It is not `stripe` any more if what is below them was left out.
    operands_stripe: Option<usize>,
    /// Whether some range delete is over it.
    under_range: bool,
}

impl Retention {
    /// A rule for one pass. `snapshots` in any order.
    pub(crate) fn new(
        mut snapshots: Vec<Seqno>,
        now_ms: u64,
        keyspaces: LiveKeyspaces,
        below: Below,
    ) -> Self {
        snapshots.sort_unstable();
        snapshots.dedup();
        Self {
            snapshots,
            now_ms,
            keyspaces,
            below,
            range_deletes: Arc::default(),
            spares_unnumbered: false,
            current: None,
            entered_key: false,
            counts: Counts::default(),
        }
    }

    /// Leaves out what these range deletes hide.
    pub(crate) fn under(mut self, range_deletes: Arc<Fragments>) -> Self {
        self.range_deletes = range_deletes;
        self
    }

    /// The same where range deletes may be around that compaction had applied and forgotten already: an entry
    /// without a number may be newer than these, and stays.
    pub(crate) fn under_forgotten(self, range_deletes: Arc<Fragments>) -> Self {
        Self { spares_unnumbered: true, ..self.under(range_deletes) }
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether `first` is not the key judged last, and all keys from it to `last` are in one keyspace that is still
    /// there, and under no range delete.
    pub(crate) fn keeps_span(&self, first: &[u8], last: &[u8]) -> bool {
        if !self.starts_key(first) || self.range_deletes.meets(first, last) {
            return false;
        }
        match (key::split(first), key::split(last)) {
            (Some((a, _)), Some((b, _))) => a == b && !self.keyspaces.is_dropped(a),
            _ => false,
        }
    }

    /// Whether the seqnos of old entries are set to zero.
    pub(crate) fn clears_seqnos(&self) -> bool {
        matches!(self.below, Below::Nothing)
    }

    /// Counts entries that are kept without having been judged: they lie within a span that `keeps_span`, are
    /// puts that never expire, and each is the only version of its key in the whole sequence.
    pub(crate) fn keep_unjudged(&mut self, entries: u64) {
        self.counts.read += entries;
        self.counts.kept += entries;
        self.counts.unjudged += entries;
    }

    /// Counts entries that were kept, and then folded into another one.
    pub(crate) fn folded(&mut self, entries: u64) {
        self.counts.kept -= entries;
        self.counts.folded += entries;
    }

    /// Whether the operands judged last apply to nothing, given that their key has no more entries.
    pub(crate) fn nothing_below(&mut self, key: &[u8]) -> bool {
        let oldest = self.current.as_ref().is_some_and(|current| current.operands_stripe == Some(0));
        oldest && !may_hold(&mut self.below, key)
    }

    /// The number under which a value is written that was folded from the operands judged last.
    pub(crate) fn number(&self, newest: Seqno) -> Seqno {
        let loses = |current: &CurrentKey| current.operands_stripe == Some(0) && !current.under_range;
        if self.clears_seqnos() && self.current.as_ref().is_some_and(loses) { 0 } else { newest }
    }

    /// Whether the entry judged last was the first of its key: a table may be cut in front of it.
    #[inline]
    pub(crate) fn entered_key(&self) -> bool {
        self.entered_key
    }

    fn starts_key(&self, key: &[u8]) -> bool {
        self.current.as_ref().is_none_or(|current| current.key != key)
    }

    /// Judges the next entry of the sequence.
    #[inline]
    pub(crate) fn judge(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta) -> Verdict {
        self.counts.read += 1;
        self.entered_key = self.starts_key(key);
        if self.entered_key {
            self.enter(key);
        }
        let verdict = self.judge_version(key, seqno, meta);
        self.counts.kept += u64::from(verdict.is_kept());
        verdict
    }

    fn enter(&mut self, key: &[u8]) {
        let id = key::split(key).map(|(id, _)| id);
        let dropped_keyspace = id.is_some_and(|id| self.keyspaces.is_dropped(id));
        let under_range = !self.range_deletes.is_empty() && self.range_deletes.find(key).is_some();
        match &mut self.current {
            Some(current) => {
                current.key.clear();
                current.key.extend_from_slice(key);
                current.dropped_keyspace = dropped_keyspace;
                current.stripe = None;
                current.in_operands = false;
                current.operands_stripe = None;
                current.under_range = under_range;
            }
            None => {
                self.current = Some(CurrentKey {
                    key: key.to_vec(),
                    dropped_keyspace,
                    stripe: None,
                    in_operands: false,
                    operands_stripe: None,
                    under_range,
                });
            }
        }
    }

    #[inline]
    fn judge_version(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta) -> Verdict {
        let Some(current) = &mut self.current else { return Verdict::Keep(seqno, meta) };
        if current.dropped_keyspace {
            self.counts.keyspace += 1;
            return Verdict::Drop;
        }
        // The snapshots older than this entry; in stripe 0 it is visible to all of them.
        let stripe_of = |seqno: Seqno| self.snapshots.partition_point(|s| *s < seqno);
        let stripe = if self.snapshots.is_empty() { 0 } else { stripe_of(seqno) };
        let under_range = current.under_range;
        if under_range
            && (seqno != 0 || !self.spares_unnumbered)
            && let Some(marker) = self.range_deletes.find(key).and_then(|f| f.oldest_above(seqno))
            && stripe_of(marker) == stripe
        {
            self.counts.range_deleted += 1;
            return Verdict::Drop;
        }
        let is_below = current.stripe == Some(stripe);
        if is_below && !current.in_operands {
            self.counts.shadowed += 1;
            return Verdict::Drop;
        }
        current.stripe = Some(stripe);
        current.in_operands = meta.kind == Kind::Merge;
        if current.in_operands {
            current.operands_stripe = Some(stripe);
            return Verdict::Operand { first: !is_below };
        }
        let verdict = self.judge_newest(key, seqno, meta, stripe, under_range);
        if is_below { self.as_base(verdict, meta) } else { verdict }
    }

    /// The verdict on an entry below operands of its stripe.
    #[cold]
    fn as_base(&self, verdict: Verdict, meta: EntryMeta) -> Verdict {
        let base = match meta {
            _ if !meta.is_live(self.now_ms) => Base::Nothing,
            EntryMeta { expires_at_ms: 0, .. } => Base::Value,
            _ => Base::Expiring,
        };
        let alone = match verdict {
            Verdict::Keep(seqno, meta) => Some((seqno, meta)),
            _ => None,
        };
        Verdict::Base { base, alone }
    }

    /// The verdict on the newest entry of a stripe that is no operand.
    #[inline]
    fn judge_newest(
        &mut self,
        key: &[u8],
        seqno: Seqno,
        meta: EntryMeta,
        stripe: usize,
        under_range: bool,
    ) -> Verdict {
        if !meta.is_live(self.now_ms) {
            if stripe == 0 && !may_hold(&mut self.below, key) {
                let counter = match meta.kind {
                    Kind::Delete | Kind::RangeDelete => &mut self.counts.tombstones,
                    Kind::Put | Kind::Pointer | Kind::Merge => &mut self.counts.expired,
                };
                *counter += 1;
                return Verdict::Drop;
            }
            let meta = if meta.has_value() { EntryMeta::DELETE } else { meta };
            return Verdict::Keep(seqno, meta);
        }
        let zero = stripe == 0 && !under_range && matches!(self.below, Below::Nothing);
        Verdict::Keep(if zero { 0 } else { seqno }, meta)
    }
}

fn may_hold(below: &mut Below, key: &[u8]) -> bool {
    match below {
        Below::Unknown => true,
        Below::Nothing => false,
        Below::Check(check) => check(key),
    }
}

#[cfg(test)]
mod tests;
