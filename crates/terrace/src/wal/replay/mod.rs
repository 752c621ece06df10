//! Reads the log back after a crash. Read-only: nothing is truncated, repaired or deleted.
//!
//! Segments are read in order of their ids, the lanes of one segment are merged by sequence number, and each
//! record is handed to the caller exactly once. Memory is one chunk per lane.
//!
//! Which rule holds depends on how the store went down (`Rule`). Under both, a sequence number that is
//! missing at or below the durable horizon is damage. If an error comes back, some records may already have
//! been visited; the caller drops what it has built from them.

mod lane;
pub(crate) mod salvage;
mod scan;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use self::lane::LaneReader;
use self::scan::SegmentScan;
use super::files::Name;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, Seqno};
use crate::io::{Env, Fs};

/// How the store went down, which decides what recovery may believe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// The machine has been up since: only the process died, and everything that it had stored is there. All
    /// complete records are replayed; a missing number belongs to a write that was never acknowledged.
    /// A bad record is a torn one, and legal only as the last thing of its lane.
    ProcessDeath,
    /// The machine was restarted (or does not say): pages may be missing anywhere beyond the last sync. The
    /// log is cut at the first missing number. Also the rule beside an active writer.
    PowerLoss,
}

/// Whether somebody has the log open for writing while it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writer {
    /// Nobody has.
    None,
    /// Somebody has, and goes on: what was read of a lane may lack what was written since.
    Active,
}

/// Where a log was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// The first sequence number that is missing; nothing from it on was replayed.
    pub(crate) first_missing: Seqno,
    /// The next one that was found behind it.
    pub(crate) next_found: Seqno,
}

/// A place where a lane's records end in something that is neither a record nor an end mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Torn {
    /// The segment file.
    pub(crate) path: PathBuf,
    /// Where in it.
    pub(crate) offset: u64,
    /// What was expected and found.
    pub(crate) detail: String,
}

/// What replay found.
#[derive(Clone, Debug)]
pub(crate) struct ReplayReport {
    /// The rule that was applied.
    pub(crate) rule: Rule,
    /// Records handed to the caller.
    pub(crate) records: u64,
    /// Sequence numbers in them.
    pub(crate) entries: u64,
    /// Bytes of their bodies.
    pub(crate) body_bytes: u64,
    /// The highest sequence number that is in use: the last one replayed, or `flushed`.
    pub(crate) last_seqno: Seqno,
    /// Everything up to here was known to be durable.
    pub(crate) horizon: Seqno,
    /// The latest time that the log has seen.
    pub(crate) clock_high_water_ms: u64,
    /// All segments, in order. To be deleted once what was replayed is flushed; new ids are above them.
    pub(crate) segments: Vec<FileId>,
    /// Spare files that the last run left behind: no content, to be deleted as well.
    pub(crate) spares: Vec<FileId>,
    /// Where the log was cut.
    pub(crate) cut: Option<Cut>,
    /// Sequence numbers that were taken by writes which never completed (after a process death).
    pub(crate) missing: u64,
    /// Torn ends of lanes.
    pub(crate) torn: Vec<Torn>,
}

impl ReplayReport {
    /// The highest id of any file of the log.
    pub(crate) fn max_id(&self) -> FileId {
        self.segments.iter().chain(&self.spares).copied().max().unwrap_or_default()
    }

    /// Deletes the files that replay has read, and makes that durable. Only after everything replayed is
    /// durable elsewhere, and before the first new segment is made.
    pub(crate) fn remove_files(&self, env: &Env, dir: &Path) -> Result<()> {
        let segments = self.segments.iter().map(|id| Name::Segment(*id));
        for name in segments.chain(self.spares.iter().map(|id| Name::Spare(*id))) {
            let path = name.path(dir);
            env.fs.remove(&path).at("remove", &path)?;
        }
        env.fs.sync_dir(dir).at("sync", dir)
    }
}

/// Takes one record: its first sequence number, how many it has, and its body.
pub(crate) type Visit<'a> = dyn FnMut(Seqno, u32, &[u8]) -> Result<()> + 'a;

/// Checks that the segment `start`, the first one that is needed, is there; 0 if none is.
pub(crate) fn check_start(fs: &dyn Fs, dir: &Path, start: FileId) -> Result<()> {
    let path = Name::Segment(start).path(dir);
    if start == FileId(0) || fs.exists(&path).at("look for", &path)? {
        return Ok(());
    }
    let detail = "the manifest says that the log begins with this segment, but there is no such file; put it back, \
        or have `terrace repair` salvage the rest into a new store";
    Err(Error::corruption(&path, 0, detail))
}

/// Replays the log in `dir`, which begins with the segment `start` (0 if none is needed): every record above
/// `flushed`, in order of its sequence numbers. Beside an active writer, damage may be reported that is none.
pub(crate) fn replay(
    env: &Env,
    dir: &Path,
    start: FileId,
    flushed: Seqno,
    writer: Writer,
    visit: &mut Visit<'_>,
) -> Result<ReplayReport> {
    check_start(&*env.fs, dir, start)?;
    let (segments, spares) = list(env, dir)?;
    let scans = segments.iter().map(|id| SegmentScan::open(env, dir, *id)).collect::<Result<Vec<_>>>()?;
    let rule = match writer {
        Writer::None => rule_for(&scans, env.fs.boot_id()),
        Writer::Active => Rule::PowerLoss,
    };
    let report = ReplayReport {
        rule,
        records: 0,
        entries: 0,
        body_bytes: 0,
        last_seqno: flushed,
        horizon: scans.iter().map(|s| s.horizon).max().unwrap_or(0),
        clock_high_water_ms: scans.iter().map(|s| s.clock_ms).max().unwrap_or(0),
        segments,
        spares,
        cut: None,
        missing: 0,
        torn: Vec::new(),
    };
    check_chain(&scans, start, flushed)?;
    let mut sequence = Sequence { report, damage: Vec::new() };
    for (at, scan) in scans.iter().enumerate() {
        // A segment whose successor starts at or below the next number holds nothing of interest.
        let next_base = scans[at + 1..].iter().find_map(|later| later.base);
        if next_base.is_some_and(|base| base <= flushed.saturating_add(1)) {
            continue;
        }
        if !sequence.replay_segment(scan, flushed, visit)? {
            break;
        }
    }
    sequence.finish(dir)
}

/// The ids of the segments and of the spares in `dir`, ascending.
fn list(env: &Env, dir: &Path) -> Result<(Vec<FileId>, Vec<FileId>)> {
    let (mut segments, mut spares) = (Vec::new(), Vec::new());
    for name in env.fs.list(dir).at("list", dir)? {
        match Name::parse(&name) {
            Some(Name::Segment(id)) => segments.push(id),
            Some(Name::Spare(id)) => spares.push(id),
            None => {}
        }
    }
    segments.sort_unstable();
    spares.sort_unstable();
    Ok((segments, spares))
}

/// Process death needs proof: every segment was made since the machine started. Those that look unused count
/// as well, because a power loss can take the chunk headers and leave the records.
fn rule_for(scans: &[SegmentScan], boot_id: u128) -> Rule {
    if boot_id != 0 && scans.iter().all(|scan| scan.header.boot_id == boot_id) {
        Rule::ProcessDeath
    } else {
        Rule::PowerLoss
    }
}

/// Segments follow each other: bases never fall, and the one before an unflushed segment is there if records
/// of it are still needed. One behind the start of the log is there in any case: the start moves, durably, before a
/// segment goes.
fn check_chain(scans: &[SegmentScan], start: FileId, flushed: Seqno) -> Result<()> {
    let mut before: Seqno = 0;
    for scan in scans {
        let previous = scan.header.previous;
        let is_missing = previous != FileId(0) && !scans.iter().any(|other| other.header.id == previous);
        let needed = start != FileId(0) && previous >= start;
        if is_missing && (needed || scan.base.is_some_and(|base| base > flushed.saturating_add(1))) {
            let detail = format!("expected the segment {previous} before this one, found none");
            return Err(Error::corruption(&scan.path, 0, detail));
        }
        let Some(base) = scan.base else { continue };
        if base < before {
            let detail = format!("expected a first sequence number from {before} on, found {base}");
            return Err(Error::corruption(&scan.path, 0, detail));
        }
        before = base;
    }
    Ok(())
}

/// A place where a lane ended unexpectedly.
pub(super) struct Damage {
    torn: Torn,
    /// The last good sequence number of the lane before it.
    after: Seqno,
}

/// Puts records in order and judges what is missing.
struct Sequence {
    report: ReplayReport,
    damage: Vec<Damage>,
}

impl Sequence {
    /// Replays one segment; `false` if the log was cut in it.
    fn replay_segment(&mut self, scan: &SegmentScan, flushed: Seqno, visit: &mut Visit<'_>) -> Result<bool> {
        if self.report.rule == Rule::ProcessDeath {
            scan.check_no_lost_chunk()?;
        }
        let mut lanes = Vec::with_capacity(scan.lanes.len());
        let mut next = BinaryHeap::with_capacity(scan.lanes.len());
        for chunks in scan.lanes.values() {
            let mut lane = LaneReader::new(scan, chunks, self.report.rule);
            if let Some(seqno) = lane.advance(&mut self.damage)? {
                next.push(Reverse((seqno, lanes.len())));
            }
            lanes.push(lane);
        }
        while let Some(Reverse((first, at))) = next.pop() {
            let lane = &mut lanes[at];
            let Some(record) = lane.record() else { continue };
            if record.last > flushed {
                if !self.accept(first.max(flushed + 1), record.last, &scan.path, record.offset)? {
                    return Ok(false);
                }
                visit(first, record.count, record.body)?;
                self.report.records += 1;
                self.report.entries += u64::from(record.count);
                self.report.body_bytes += record.body.len() as u64;
            }
            if let Some(seqno) = lane.advance(&mut self.damage)? {
                next.push(Reverse((seqno, at)));
            }
        }
        Ok(true)
    }

    /// Judges the record with the numbers `first..=last`, the next one in order; `false` cuts the log.
    fn accept(&mut self, first: Seqno, last: Seqno, path: &Path, offset: u64) -> Result<bool> {
        let expected = self.report.last_seqno + 1;
        if first < expected {
            let detail = format!("expected a sequence number from {expected} on, found {first} again");
            return Err(Error::corruption(path, offset, detail));
        }
        if first > expected {
            if expected <= self.report.horizon {
                return Err(self.lost(expected, path));
            }
            if self.report.rule == Rule::PowerLoss {
                self.report.cut = Some(Cut { first_missing: expected, next_found: first });
                return Ok(false);
            }
            self.report.missing += first - expected;
        }
        self.report.last_seqno = last;
        Ok(true)
    }

    /// A number at or below the horizon is missing: names the damaged place that explains it, if there is one.
    fn lost(&self, missing: Seqno, path: &Path) -> Error {
        let horizon = self.report.horizon;
        let lost = format!("sequence number {missing} is missing below the durable horizon {horizon}");
        match self.damage.iter().filter(|d| d.after < missing).max_by_key(|d| d.after) {
            Some(Damage { torn, .. }) => {
                Error::corruption(&torn.path, torn.offset, format!("{}; {lost}", torn.detail))
            }
            None => Error::corruption(path, 0, lost),
        }
    }

    fn finish(mut self, dir: &Path) -> Result<ReplayReport> {
        let after = self.report.last_seqno;
        if self.report.cut.is_none() && after < self.report.horizon {
            let last = self.report.segments.last().map(|id| Name::Segment(*id).path(dir));
            return Err(self.lost(after + 1, &last.unwrap_or_else(|| dir.to_path_buf())));
        }
        self.report.torn = self.damage.into_iter().map(|d| d.torn).collect();
        Ok(self.report)
    }
}
