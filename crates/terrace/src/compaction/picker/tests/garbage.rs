//! What is chosen for what it no longer needs: tombstones, void entries, blob files; and level 0 for what it costs reads.

use super::*;

#[test]
fn expired_tables_are_dropped_unread_if_they_hide_nothing() {
    let text = "L0.2: 2:a-b@1,x3..9\nL0.1: 1:b-c@1\nL6: 8:m-n@1,x3..8 9:x-z@1,x3..10\nnow: 9";
    check(text, "drop L6[8]");
    check(&text.replace("1:b-c", "1:c-d"), "drop L0[2] L6[8]");
    check(&text.replace("now: 9", "now: 7"), "merge L6[8] -> L6");
    check(&text.replace("now: 9", "now: 5"), "nothing");
    check(&format!("{text}\nbusy: 8"), "merge L6[9] -> L6");
}

#[test]
fn tables_of_dropped_keyspaces_are_dropped_unread() {
    let text = "L0.1: 1:ba-bz@1\nL6: 8:aa-bz@1 9:cc-dz@1 10:dza-e@1\nlive: a e";
    check(text, "drop L0[1] L6[9]");
    check(&text.replace("live: a e", "live: a b c d e"), "nothing");
}

#[test]
fn garbage_is_compacted_for_its_own_sake() {
    check("L5: 1:a-b@9,t50\nL6: 9:a-z@9000", "merge L5[1] L6[9] -> L6");
    check("L5: 1:a-b@9,t49\nL6: 9:a-z@9000", "nothing");
    check("L6: 1:a-b@9,t50 2:c-d@9,t90", "merge L6[2] -> L6");
    check("L6: 1:a-b@9,t50 2:c-d@9,t90,s7\noldest: 6", "merge L6[1] -> L6");
    check("L6: 1:a-b@9,t50,s7\noldest: 6", "nothing");
    check("L6: 1:a-b@9,t1\nnewest: 999", "nothing");
    check("L6: 1:a-b@9,t1\nnewest: 268435462", "merge L6[1] -> L6");
    check("L6: 1:a-b@9,x10..20\nnow: 15", "merge L6[1] -> L6");
}

/// A table in which only a part expired was never looked at: its share of expired entries counted as none.
#[test]
fn what_has_expired_among_what_never_does_is_garbage() {
    check("L6: 1:a-b@9,e10..30,e20..30\nnow: 19", "nothing");
    check("L6: 1:a-b@9,e10..30,e20..30\nnow: 20", "merge L6[1] -> L6");
    check("L6: 1:a-b@9,e10..30,e20..30,s7\nnow: 20\noldest: 6", "merge L6[1] -> L6");
    check("L5: 1:a-b@9,e10..60\nL6: 2:a-b@9\nnow: 20", "merge L5[1] L6[2] -> L6");
    check("L0.3: 3:a-b@9,e10..40 4:c-d@9,e10..40\nL0.2: 2:a-b@9,e10..60\nnow: 20", "merge L0[2] -> L0.2");
    check("L0.3: 3:a-b@9,e10..60 4:c-d@9,e10..60\nL0.2: 2:a-b@9\nnow: 20", "merge L0[3 4] -> L0.3");
    check("L0.3: 3:a-b@9,e10..60 4:c-d@9,e10..60\nL0.2: 2:a-b@9\nnow: 20\nbusy: 4", "nothing");
}

/// Dropped keyspaces in a table that others shared were kept until compaction came by for another reason.
#[test]
fn what_is_of_dropped_keyspaces_is_garbage() {
    let text = "L6: 1:aa-cz@9,ka..20,kb..51,kc..31\nlive: a b c";
    check(text, "nothing");
    check(&text.replace("live: a b c", "live: a c"), "merge L6[1] -> L6");
    check(&text.replace("live: a b c", "live: a b"), "nothing");
    check(&text.replace("live: a b c", "live: b"), "merge L6[1] -> L6");
    check(&text.replace("live: a b c", "live: a c\noldest: 1"), "merge L6[1] -> L6");
}

#[test]
fn what_void_entries_point_to_is_given_up_before_it_is_collected() {
    let text = "L6: 1:a-b@1,b10..8,e9..45 3:c-d@20,b10..100,e9..40\nblobs: 10@108";
    check(text, "nothing");
    check(&format!("{text}\nnow: 9"), "merge L6[1] -> L6");
    check(&format!("{text}\nnow: 9\nbusy: 1"), "merge L6[3] -> L6");
    check(&format!("{text}\nnow: 9\nbusy: 6:a-b"), "merge L6[3] -> L6");
    check(&format!("{text}\nnow: 9").replace("..40", "..10"), "nothing");
    check("L0.4: 1:a-z@1,b10..90,e9..40\nblobs: 10@90\nnow: 9", "merge L0[1] -> L0.4");
    check("L6: 3:aa-cz@9,b10..100,ka..70,kc..30\nblobs: 10@100\nlive: a", "merge L6[3] -> L6");
}

#[test]
fn tombstones_that_reads_step_over_sink_and_vanish() {
    let above = "L0.1: 1:a-z@9,t9\nL5: 2:a-b@20 3:c-d@20,t1 4:e-f@20,t1\n";
    let text = format!("{above}L6: 7:a-a@900 8:b-d@900,t1 9:e-f@900,t1");
    check(&text, "nothing");
    check(&format!("{text}\nstepped: c-c"), "merge L5[3] L6[8] -> L6");
    check(&format!("{text}\nstepped: x-z e-e"), "merge L5[4] L6[9] -> L6");
    check(&format!("{text}\nstepped: b-b"), "merge L6[8] -> L6");
    check(&format!("{text}\nstepped: a-a"), "nothing");
    check(&format!("{text}\nstepped: c-c\nbusy: 3"), "merge L6[8] -> L6");
    check(&format!("{text}\nstepped: c-c\nbusy: 8"), "nothing");
    check(&format!("{text}\nstepped: c-c\noldest: 4"), "nothing");
    let text = "L4: 2:a-c@9 3:d-f@9,t1\nL5: 5:d-f@9,t1\nL6: 9:a-z@20000";
    check(&format!("{text}\nstepped: d-d"), "merge L4[2 3] L5[5] -> L5");
}

#[test]
fn what_reads_step_over_comes_last_and_not_from_level_zero() {
    check("L0.1: 1:a-z@9,t9\nL6: 9:a-z@900\nstepped: a-z", "nothing");
    check("L6: 1:a-b@9,t1 2:c-d@9,t50\nstepped: a-b", "merge L6[2] -> L6");
}

#[test]
fn runs_of_level_zero_go_down_once_reads_have_paid_for_it() {
    let text = "L0.2: 1:a-c@9\nL0.1: 2:b-z@9\nL6: 7:a-b@50 8:x-z@50";
    check(text, "nothing");
    check(&format!("{text}\npaid: 117"), "nothing");
    check(&format!("{text}\npaid: 118"), "merge L0[1 2] L6[7 8] -> L6");
    check(&format!("{text}\npaid: 118\nbusy: 7"), "nothing");
    check("L0.1: 1:a-c@9\nL6: 7:a-b@50\npaid: 59", "merge L0[1] L6[7] -> L6");
    check("L0.1: 1:a-c@9\npaid: 999", "nothing");
    check("L0.1: 1:a-c@9\nL6: 7:d-f@50\npaid: 999", "nothing");
    check("L6: 1:a-c@9\npaid: 999", "nothing");
}

#[test]
fn garbage_of_blob_files_is_collected_when_it_exceeds_its_share() {
    let tables = "L6: 1:a-f@1,b10..60,b11..50 2:g-k@1,b10..30,b12..60";
    check(&format!("{tables}\nblobs: 10@100 11@60 12@60"), "nothing");
    check(&format!("{tables}\nblobs: 10@100 11@100 12@60"), "merge L6[1] -> L6 out of 11");
    check(&format!("{tables}\nblobs: 10@200 11@60 12@60"), "merge L6[1 2] -> L6 out of 10");
    let busy = format!("{tables}\nblobs: 10@200 11@60 12@60\nbusy: ");
    check(&format!("{busy} 1"), "merge L6[2] -> L6 out of 10");
    check(&format!("{busy} 6:a-b"), "merge L6[2] -> L6 out of 10");
    check(&format!("{busy} 1 2"), "nothing");
    let above = "L0.7: 5:a-z@1,b12..2\nL6: 1:a-f@1,b10..90\nblobs: 10@90 12@100";
    check(above, "merge L0[5] -> L0.7 out of 12");
}

/// What could not be read was picked again and again, and nothing else was.
#[test]
fn what_cannot_be_read_is_left_alone_and_the_rest_is_not() {
    let text = "L6: 1:a-f@1,b10..60,b11..50 2:g-k@1,b10..30,b12..60\nblobs: 10@200 11@150 12@60";
    check(text, "merge L6[1 2] -> L6 out of 10 11");
    check(&format!("{text}\naside: 11"), "merge L6[1 2] -> L6 out of 10");
    check(&format!("{text}\naside: 10 11"), "nothing");
    assert!(debt(text) > 0);
    assert_eq!(debt(&format!("{text}\naside: 10 11")), 0, "nobody waits for what does not come");
    check("L6: 1:a-b@9,t60 2:c-d@9,t50\naside: 1", "merge L6[2] -> L6");
    check("L6: 8:m-n@1,x3..8\nnow: 9\naside: 8", "drop L6[8]");
}

/// A table that cannot be read is not rewritten, so the blob files to which it points do not go. Their garbage counted
/// as work to come all the same: values moved out of them, which freed nothing, and writers were slowed down, and in the
/// end refused, for work that nobody could do.
#[test]
fn blob_files_that_an_unreadable_table_holds_are_left_alone() {
    let text = "L6: 1:a-f@1,b10..60,b11..50 2:g-k@1,b10..30,b12..60\nblobs: 10@200 11@150 12@60\naside: 1";
    check(text, "nothing");
    assert_eq!(debt(text), 0);
    let more = text.replace("12@60", "12@360");
    check(&more, "merge L6[2] -> L6 out of 12");
    assert!((1..700).contains(&debt(&more)), "{}", debt(&more));
}

#[test]
fn garbage_that_upper_levels_may_hide_is_brought_to_light_first() {
    let text =
        "L0.2: 2:a-k@1,b12..15\nL0.1: 1:a-k@1,b11..15\nL6: 9:a-z@1,b10..100\nblobs: 10@100 11@15 12@15";
    check(text, "merge L0[2 1] L6[9] -> L6");
    check(&text.replace("..15", "..5").replace("@15", "@5"), "nothing");
    check(&format!("{text}\nbusy: 1"), "nothing");
    check(&text.replace("9:a-z@1,", "9:a-z@400,"), "nothing");
    check("L5: 1:a-b@1,b11..40\nL6: 9:a-z@1,b10..99\nblobs: 10@99 11@40", "merge L5[1] L6[9] -> L6");
    // So do tombstones, each as much as an entry below them has on average: here a hundredth of the file.
    check("L0.2: 1:a-b@1,t10\nL6: 9:a-z@1,b10..99\nblobs: 10@99", "nothing");
    check("L0.2: 1:a-b@1,t40\nL6: 9:a-z@1,b10..99\nblobs: 10@99", "merge L0[1] L6[9] -> L6");
    // Nothing is hidden where nothing is below.
    check("L0.2: 2:a-k@1,b12..15\nL0.1: 1:a-k@1,b11..15\nblobs: 11@15 12@15", "nothing");
}

#[test]
fn collecting_by_hand_leaves_alone_what_is_only_hidden() {
    let by_hand = |text: &str| {
        let case = parse(text);
        show(pick_blobs(&case.version, &case.options, &case.situation()).as_ref())
    };
    assert_eq!(by_hand("L0.1: 1:a-k@1,b11..50\nL6: 9:a-z@1,b10..90\nblobs: 10@100 11@50"), "nothing");
    assert_eq!(by_hand("L6: 9:a-z@1,b10..70\nblobs: 10@100"), "merge L6[9] -> L6 out of 10");
}
