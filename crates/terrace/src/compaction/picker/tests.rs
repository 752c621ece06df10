//! Each case is a version in a small notation and the choice expected for it.
//!
//! `L0.9: 1:a-f@10 2:g-k@10` is run 9 of level 0 with two tables: number, first key, last key, MiB. After the
//! size may follow `,t50` (percent of tombstones), `,x5..9` (first and last expiry, every entry expiring) and
//! `,s7` (newest seqno; 5 otherwise), `,b3..20` (points to 20 MiB of blob file 3), and behind these `,e9..60` (60 percent of all
//! that has expired at 9) and `,ka..60` (60 percent is of keyspace a); `blobs: 3@64` is that file's size. `busy: 3 6:a-m` says that table 3 and range a-m of level 6 are held, `aside: 3` that file 3 cannot be read.
//! `now: 9`, `oldest: 4` (snapshot), `newest: 99` and `live: a b` (keyspaces; a key's first letter is its
//! keyspace) set the circumstances; `stepped: a-c` is where reads were slow, `paid: 9` what they have paid for
//! level 0, in MiB. Options: 4 runs, ratio 10, base level 1,000 MiB, tables of 64 MiB.

mod garbage;

use std::fmt::Write;

use super::*;
use crate::base::KeyspaceId;
use crate::blob::BlobUse;
use crate::table::shares::{Group, Step};
use crate::table::{TableMeta, Weight};
use crate::version::testing;

const MIB: u64 = 1 << 20;

struct Case {
    version: Version,
    options: PickerOptions,
    now_ms: u64,
    oldest: Seqno,
    newest: Seqno,
    keyspaces: LiveKeyspaces,
    busy: Vec<Locks>,
    stepped: Vec<SteppedRange>,
    read_debt_bytes: u64,
}

impl Case {
    fn pick(&self) -> Option<Choice> {
        pick(&self.version, &self.options, &self.situation())
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            now_ms: self.now_ms,
            oldest_snapshot: self.oldest,
            newest_seqno: self.newest,
            keyspaces: &self.keyspaces,
            busy: &self.busy,
            stepped: &self.stepped,
            read_debt_bytes: self.read_debt_bytes,
        }
    }
}

fn parse(text: &str) -> Case {
    let options = PickerOptions { base_level_bytes: 1000 * MIB, ..PickerOptions::default() };
    let mut case = Case {
        version: Version::default(),
        options,
        now_ms: 1,
        oldest: 1000,
        newest: 1000,
        keyspaces: LiveKeyspaces::default(),
        busy: Vec::new(),
        stepped: Vec::new(),
        read_debt_bytes: 0,
    };
    let mut tables = Vec::new();
    let mut blobs = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(':').expect("name: content");
        let words = || rest.split_whitespace();
        match name {
            "now" => case.now_ms = rest.trim().parse().unwrap(),
            "oldest" => case.oldest = rest.trim().parse().unwrap(),
            "newest" => case.newest = rest.trim().parse().unwrap(),
            "paid" => case.read_debt_bytes = rest.trim().parse::<u64>().unwrap() * MIB,
            "live" => {
                let live = words().map(|w| KeyspaceId(u32::from(w.as_bytes()[0])));
                case.keyspaces = LiveKeyspaces::new(live.collect(), 200);
            }
            "stepped" => {
                let ranges = words().map(|w| w.split_once('-').unwrap());
                case.stepped
                    .extend(ranges.map(|(a, z)| SteppedRange { smallest: a.into(), largest: z.into() }));
            }
            "blobs" => blobs.extend(words().map(|word| {
                let (id, size) = word.split_once('@').unwrap();
                (id.parse().unwrap(), size.parse::<u64>().unwrap() * MIB)
            })),
            "aside" => case.options.set_aside.extend(words().map(|word| FileId(word.parse().unwrap()))),
            "busy" => case.busy.push(parse_locks(words())),
            level => {
                let (level, run) =
                    level.strip_prefix('L').unwrap().split_once('.').unwrap_or((&level[1..], "0"));
                let (level, run) = (level.parse().unwrap(), run.parse().unwrap());
                tables.extend(words().map(|word| (level, run, parse_table(word))));
            }
        }
    }
    case.version = testing::with_blobs(Version::new(tables).unwrap(), &blobs);
    case
}

fn parse_table(word: &str) -> Arc<Table> {
    let mut parts = word.split(',');
    let (id, place) = parts.next().unwrap().split_once(':').unwrap();
    let (keys, size) = place.split_once('@').unwrap();
    let (first, last) = keys.split_once('-').unwrap();
    let mut meta = testing::meta(id.parse().unwrap(), first, last, size.parse::<u64>().unwrap() * MIB);
    (meta.entries, meta.max_seqno) = (100, 5);
    for part in parts {
        let (kind, value) = part.split_at(1);
        match kind {
            "t" => meta.tombstones = value.parse().unwrap(),
            "s" => meta.max_seqno = value.parse().unwrap(),
            "b" => {
                let (id, size) = value.split_once("..").unwrap();
                let bytes = size.parse::<u64>().unwrap() * MIB;
                meta.blobs.push(BlobUse { id: FileId(id.parse().unwrap()), bytes });
            }
            "e" => {
                let (at, share) = value.split_once("..").unwrap();
                let until_ms = at.parse().unwrap();
                if meta.min_expires_at_ms == 0 {
                    meta.min_expires_at_ms = until_ms;
                }
                let weight = share_of(&meta, share);
                meta.shares.steps.push(Step { until_ms, weight });
            }
            "k" => {
                let (name, share) = value.split_once("..").unwrap();
                let id = KeyspaceId(u32::from(name.as_bytes()[0]));
                let weight = share_of(&meta, share);
                meta.shares.groups.push(Group { first: id, last: id, keyspaces: 1, weight });
            }
            _ => {
                let (first, last) = value.split_once("..").unwrap();
                (meta.min_expires_at_ms, meta.max_expires_at_ms) =
                    (first.parse().unwrap(), last.parse().unwrap());
            }
        }
    }
    testing::open(meta)
}

fn share_of(meta: &TableMeta, percent: &str) -> Weight {
    Weight { raw_bytes: meta.raw_bytes, blob_bytes: meta.blob_bytes() }.part(percent.parse().unwrap(), 100)
}

fn parse_locks<'a>(words: impl Iterator<Item = &'a str>) -> Locks {
    let mut locks = Locks::default();
    for word in words {
        match word.split_once(':') {
            None => locks.tables.push(FileId(word.parse().unwrap())),
            Some((level, keys)) => {
                let (smallest, largest) = keys.split_once('-').unwrap();
                let level = level.parse().unwrap();
                locks.ranges.push(LockedRange { level, smallest: smallest.into(), largest: largest.into() });
            }
        }
    }
    locks
}

fn show(choice: Option<&Choice>) -> String {
    let Some(choice) = choice else { return "nothing".into() };
    let mut text = format!("{:?}", choice.kind).to_lowercase();
    for (level, tables) in &choice.inputs {
        let ids: Vec<_> = tables.iter().map(|t| t.meta().id.0.to_string()).collect();
        write!(text, " L{level}[{}]", ids.join(" ")).unwrap();
    }
    if choice.kind != ChoiceKind::Drop {
        write!(text, " -> L{}", choice.output_level).unwrap();
        if choice.output_level == 0 {
            write!(text, ".{}", choice.output_run).unwrap();
        }
    }
    if !choice.relocate.is_empty() {
        let files: Vec<_> = choice.relocate.iter().map(|id| id.0.to_string()).collect();
        write!(text, " out of {}", files.join(" ")).unwrap();
    }
    text
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(show(parse(text).pick().as_ref()), expected, "for {text}");
}

#[test]
fn rests_below_every_threshold() {
    check("", "nothing");
    check("L0.3: 3:a-z@64\nL0.2: 2:a-z@64\nL0.1: 1:a-z@64\nL6: 9:a-z@900", "nothing");
    check("L5: 1:a-c@80\nL6: 9:a-z@9000", "nothing");
}

#[test]
fn level_zero_goes_to_the_base_level_with_what_it_overlaps() {
    let runs = "L0.4: 4:c-f@64\nL0.3: 3:c-f@64\nL0.2: 2:c-f@64\nL0.1: 1:b-f@64\n";
    check(&format!("{runs}L6: 7:a-a@64 8:b-d@64 9:f-f@64 10:g-k@64"), "merge L0[4 3 2 1] L6[8 9] -> L6");
    check(&format!("{runs}L6: 9:a-z@2000"), "merge L0[4 3 2 1] -> L5");
    check(&format!("{runs}L4: 8:c-d@1\nL6: 9:a-z@2000"), "merge L0[4 3 2 1] L4[8] -> L4");
}

#[test]
fn disjoint_large_tables_of_level_zero_move_and_small_ones_merge() {
    let runs = |mib: u64| {
        format!("L0.4: 4:h-i@{mib}\nL0.3: 3:f-g@{mib}\nL0.2: 2:c-d@{mib}\nL0.1: 1:a-b@{mib}\nL6: 9:x-z@64")
    };
    check(&runs(64), "move L0[4 3 2 1] -> L6");
    check(&runs(4), "merge L0[4 3 2 1] -> L6");
    check(&runs(64).replace("3:f-g@64", "3:f-g@64,t60"), "merge L0[4 3 2 1] -> L6");
}

#[test]
fn small_runs_merge_with_each_other_while_the_base_level_would_cost_too_much() {
    let small = "L0.4: 4:a-z@1\nL0.3: 3:a-z@1\nL0.2: 2:a-z@1\nL0.1: 1:a-z@1\n";
    check(&format!("{small}L6: 9:a-z@900"), "merge L0[4 3 2 1] -> L0.4");
    let stairs = "L0.4: 4:a-z@1\nL0.3: 3:a-z@2\nL0.2: 2:a-z@4\nL0.1: 1:a-z@8\n";
    check(&format!("{stairs}L6: 9:a-z@900"), "nothing");
    check(&format!("L0.5: 5:a-z@1\n{stairs}L6: 9:a-z@900"), "merge L0[5 4 3 2 1] -> L0.5");
    let twelve: String = (1..=12).fold(String::new(), |mut text, i| {
        writeln!(text, "L0.{i}: {i}:a-z@{}", 2 << (12 - i).min(4)).unwrap();
        text
    });
    let expected = "merge L0[12 11 10 9 8 7 6 5 4 3 2 1] L6[99] -> L6";
    check(&format!("{twelve}L6: 99:a-z@990"), expected);
}

#[test]
fn runs_above_a_running_compaction_wait_or_merge_among_themselves() {
    let runs = "L0.6: 6:a-z@9\nL0.5: 5:a-z@9\nL0.4: 4:a-z@9\nL0.3: 3:a-z@9\nL0.2: 2:a-z@9\nL0.1: 1:a-z@9\n";
    check(&format!("{runs}L6: 9:a-z@9\nbusy: 1 2 9 6:a-z"), "merge L0[6 5 4 3] -> L0.6");
    check(&format!("{runs}L6: 9:a-z@9\nbusy: 1 2 3 9 6:a-z"), "nothing");
    check(&format!("{runs}L6: 9:a-z@9\nbusy: 6 5"), "merge L0[4 3 2 1] L6[9] -> L6");
    check(&format!("{runs}L6: 9:a-z@9\nbusy: 6:m-n"), "merge L0[6 5 4 3 2 1] -> L0.6");
}

#[test]
fn a_full_level_gives_the_table_that_costs_least() {
    let below = "L6: 10:a-c@4000 11:e-g@2000 12:h-k@4000 13:z-z@1";
    check(&format!("L5: 1:a-c@400 2:e-f@400 3:i-j@400\n{below}"), "merge L5[2] L6[11] -> L6");
    check(&format!("L5: 1:a-c@400 2:e-f@400 3:i-j@400,t50\n{below}"), "merge L5[2] L6[11] -> L6");
    check(
        &format!("L5: 1:a-c@400,t60 2:e-f@400 3:i-j@400\n{below}").replace("4000", "3900"),
        "merge L5[1] L6[10] -> L6",
    );
    check(&format!("L5: 1:a-c@400 2:e-f@400 3:i-j@400\n{below}\nbusy: 11"), "merge L5[1] L6[10] -> L6");
    check(&format!("L5: 1:a-c@400 2:e-f@400 3:i-j@400\n{below}\nbusy: 6:b-f"), "merge L5[3] L6[12] -> L6");
}

#[test]
fn a_level_is_due_at_the_soft_limit() {
    check("L5: 1:a-c@849\nL6: 9:a-z@10000", "nothing");
    check("L5: 1:a-c@851\nL6: 9:a-z@10000", "merge L5[1] L6[9] -> L6");
    check("L5: 1:a-c@851\nL6: 9:a-z@10000\nbusy: 1", "nothing");
}

#[test]
fn the_most_overfull_level_comes_first() {
    let text = "L4: 1:a-b@400\nL5: 2:c-d@1500\nL6: 9:c-z@12000";
    check(text, "move L4[1] -> L5");
    check(&format!("{text}\nbusy: 1 5:a-b"), "merge L5[2] L6[9] -> L6");
}

#[test]
fn neighbours_that_add_nothing_below_come_along() {
    let text = "L5: 1:a-b@250 2:c-d@250 3:e-f@250 4:g-h@400\nL6: 8:a-e@200 9:g-z@10000";
    check(text, "merge L5[1 2 3] L6[8] -> L6");
    check(&text.replace("8:a-e@200", "8:a-e@500"), "merge L5[1 2] L6[8] -> L6");
    check(&format!("{text}\nbusy: 2"), "merge L5[1] L6[8] -> L6");
}

#[test]
fn a_table_that_overlaps_nothing_moves_unless_far_too_much_lies_further_down() {
    check("L5: 1:a-b@500 2:m-n@500\nL6: 9:c-z@10000", "move L5[1] -> L6");
    let text = "L4: 1:a-b@500\nL5: 2:c-d@10\nL6: 9:a-z@10000";
    check(text, "merge L4[1] -> L5");
    check(&text.replace("10000", "600"), "move L4[1] -> L5");
}

#[test]
fn levels_above_the_base_are_emptied_step_by_step() {
    check("L3: 1:a-b@1\nL6: 9:c-z@50", "move L3[1] -> L4");
    check("L4: 1:a-b@1\nL6: 9:c-z@50", "move L4[1] -> L5");
    check("L5: 1:a-b@1\nL6: 9:a-z@50", "merge L5[1] L6[9] -> L6");
}

fn debt(text: &str) -> u64 {
    let case = parse(text);
    pending_compaction_bytes(&case.version, &case.options) / MIB
}

#[test]
fn by_hand_a_range_sinks_level_by_level_and_then_rests() {
    let step = |text: &str| {
        let case = parse(text);
        show(pick_range(&case.version, &case.options, &case.situation(), 0, b"b"..=b"d").as_ref())
    };
    assert_eq!(step("L0.1: 1:a-z@1\nL6: 8:a-k@9 9:l-z@9"), "merge L0[1] L6[8 9] -> L6");
    assert_eq!(step("L5: 1:a-b@1 2:c-d@1 3:e-f@1\nL6: 8:a-k@9"), "merge L5[1 2 3] L6[8] -> L6");
    assert_eq!(step("L5: 3:e-f@1\nL6: 8:a-k@9"), "nothing");
    assert_eq!(step("L5: 1:a-b@1\nL6: 8:a-k@9\nbusy: 8"), "nothing");
    // At the deepest level a table is rewritten for the least that is void.
    let deepest = "L6: 8:a-b@9,e7..1 9:c-k@9,e7..1";
    assert_eq!(step(deepest), "nothing");
    assert_eq!(step(&format!("{deepest}\nnow: 7")), "merge L6[8] -> L6");
    assert_eq!(step(&format!("{deepest}\nnow: 7").replace("8:a-b@9,e7..1", "8:a-b@9")), "merge L6[9] -> L6");
    assert_eq!(step("L6: 8:a-k@9,kb..99,kc..1\nlive: b"), "merge L6[8] -> L6");
    assert_eq!(step("L6: 8:a-k@9,kb..99,kc..1\nlive: b c"), "nothing");
    // Written before there were shares: more than one keyspace, and not all of those between are left.
    assert_eq!(step("L6: 8:b-c@9\nlive: b"), "merge L6[8] -> L6");
    assert_eq!(step("L6: 8:b-c@9\nlive: b c"), "nothing");
}

#[test]
fn the_debt_grows_with_what_is_over_the_targets() {
    let debt = |text: &str| {
        let case = parse(text);
        pending_compaction_bytes(&case.version, &case.options) / MIB
    };
    assert_eq!(debt("L0.1: 1:a-z@100\nL6: 9:a-z@900"), 0);
    let runs = "L0.4: 4:a-z@10\nL0.3: 3:a-z@10\nL0.2: 2:a-z@10\nL0.1: 1:a-z@10\n";
    assert_eq!(debt(&format!("{runs}L6: 9:a-z@900")), 940);
    assert_eq!(debt("L5: 1:a-z@1000\nL6: 9:a-z@10000"), 0);
    assert_eq!(debt("L5: 1:a-z@1500\nL6: 9:a-z@10000"), 500 + 3333);
}

/// Whatever the shape, a choice never takes a held table, never leaves an overlapping table at the output
/// level, and never lets newer data pass below older data.
#[test]
fn every_choice_in_a_long_simulated_life_is_sound() {
    let mut random = 7u64;
    let mut next = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let options = PickerOptions {
        base_level_bytes: 300,
        target_table_bytes: 20,
        compaction_bytes_max: 400,
        ..PickerOptions::default()
    };
    let keyspaces = LiveKeyspaces::default();
    let mut tables: Vec<(usize, u64, Arc<Table>)> = Vec::new();
    let mut running: Vec<Choice> = Vec::new();
    let (mut id, mut compactions) = (0u64, 0);
    for round in 1..600u64 {
        if next(3) > 0 {
            let mut keys: Vec<u64> = (0..6).map(|_| next(10_000)).collect();
            keys.sort_unstable();
            keys.dedup();
            for pair in keys.chunks_exact(2) {
                id += 1;
                let name = |n: u64| format!("{n:05}");
                tables.push((0, round, testing::table(id, &name(pair[0]), &name(pair[1]), 10 + next(20))));
            }
        }
        let version = Version::new(tables.clone()).expect("levels stay sorted");
        let busy: Vec<_> = running.iter().map(|choice| choice.locks.clone()).collect();
        let at = Situation {
            now_ms: 1,
            oldest_snapshot: 9,
            newest_seqno: 9,
            keyspaces: &keyspaces,
            busy: &busy,
            stepped: &[],
            read_debt_bytes: 0,
        };
        if let Some(choice) = pick(&version, &options, &at) {
            assert_sound(&version, &choice, &running);
            running.push(choice);
            compactions += 1;
        }
        if running.len() > 2 || next(3) == 0 {
            if running.is_empty() {
                continue;
            }
            let choice = running.swap_remove(next(running.len() as u64) as usize);
            let inputs: Vec<_> = choice.tables().map(|(_, table)| Arc::clone(table)).collect();
            tables.retain(|(_, _, table)| !choice.locks.tables.contains(&table.meta().id));
            let (level, run) = (choice.output_level, choice.output_run);
            match choice.kind {
                ChoiceKind::Drop => {}
                ChoiceKind::Move => tables.extend(inputs.into_iter().map(|table| (level, run, table))),
                ChoiceKind::Merge => {
                    let (first, last) = span_of(&inputs).unwrap();
                    let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
                    id += 1;
                    let bytes = choice.input_bytes() * 9 / 10;
                    tables.push((level, run, testing::table(id, &text(first), &text(last), bytes)));
                }
            }
        }
    }
    assert!(compactions > 100, "{compactions}");
}

fn assert_sound(version: &Version, choice: &Choice, running: &[Choice]) {
    let ids: HashSet<_> = choice.tables().map(|(_, table)| table.meta().id).collect();
    assert_eq!(ids.len(), choice.locks.tables.len());
    for other in running {
        assert!(other.locks.tables.iter().all(|id| !ids.contains(id)), "a table is held twice");
    }
    let inputs: Vec<_> = choice.tables().map(|(_, table)| Arc::clone(table)).collect();
    let (smallest, largest) = span_of(&inputs).unwrap();
    if choice.output_level > 0 {
        let run = version.levels()[choice.output_level].run();
        for table in run.map_or(&[][..], |run| &run.tables()[run.overlapping(smallest, largest)]) {
            assert!(ids.contains(&table.meta().id), "an overlapping table is left at the output level");
        }
    }
    let shallowest = choice.inputs[0].0;
    for (number, level) in version.levels().iter().enumerate() {
        let between = number > shallowest && number < choice.output_level;
        assert!(!between || !level.overlaps(smallest, largest), "newer data passes below older data");
    }
    if shallowest == 0 && choice.output_level > 0 {
        let newest_of_rest = version.levels()[0].runs().iter().rev();
        let mut above =
            newest_of_rest.skip_while(|run| run.tables().iter().all(|t| ids.contains(&t.meta().id)));
        assert!(above.all(|run| run.tables().iter().all(|t| !ids.contains(&t.meta().id))));
    }
}
