//! Latency events: moments when something took longer than an operator wants to accept, by kind.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Moments kept of an event.
const MAX_SAMPLES: usize = 160;

/// What is known of one kind of event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    /// When (seconds since the epoch) and how long (milliseconds), the oldest first. Events of one second are one
    /// moment, with the longest time.
    pub(crate) samples: VecDeque<(u64, u64)>,
    /// The longest ever.
    pub(crate) max_ms: u64,
}

/// Moments and rows of a drawing.
const COLUMNS: usize = 80;
const ROWS: u64 = 4;

impl Event {
    /// The newest moments as bars, the longest as high as the drawing, with a line that names the extremes and one
    /// that tells the span.
    pub(crate) fn draw(&self, kind: &str, now_s: u64) -> String {
        let shown: Vec<(u64, u64)> = self.samples.iter().rev().take(COLUMNS).rev().copied().collect();
        let times = || shown.iter().map(|(_, ms)| *ms);
        let (high, low) = (times().max().unwrap_or(0), times().min().unwrap_or(0));
        let mut text = format!("{kind} - high {high} ms, low {low} ms (all time high {} ms)\n", self.max_ms);
        text.extend(std::iter::repeat_n('-', COLUMNS));
        text.push('\n');
        for row in (0..ROWS).rev() {
            // How much of this row a bar fills, in halves; the lowest row is never empty.
            let halves = |ms: u64| (ms * ROWS * 2).div_ceil(high.max(1)).max(1).saturating_sub(row * 2);
            let glyph = |ms: u64| match halves(ms) {
                0 => ' ',
                1 => '_',
                _ => '#',
            };
            text.push_str(times().map(glyph).collect::<String>().trim_end());
            text.push('\n');
        }
        let ago = |sample: Option<&(u64, u64)>| now_s.saturating_sub(sample.map_or(now_s, |(at_s, _)| *at_s));
        text + &format!("from {} s to {} s ago\n", ago(shown.first()), ago(shown.last()))
    }
}

/// The events.
#[derive(Debug, Default)]
pub(crate) struct Latency(Mutex<BTreeMap<&'static str, Event>>);

impl Latency {
    /// Notes that something took `ms` milliseconds.
    pub(crate) fn note(&self, kind: &'static str, at_s: u64, ms: u64) {
        let mut events = self.0.lock();
        let event = events.entry(kind).or_default();
        event.max_ms = event.max_ms.max(ms);
        match event.samples.back_mut() {
            Some((second, longest)) if *second == at_s => *longest = (*longest).max(ms),
            _ => event.samples.push_back((at_s, ms)),
        }
        if event.samples.len() > MAX_SAMPLES {
            event.samples.pop_front();
        }
    }

    /// What is known of one kind.
    pub(crate) fn event(&self, kind: &str) -> Option<Event> {
        self.0.lock().get(kind).cloned()
    }

    /// All kinds that were noted.
    pub(crate) fn all(&self) -> Vec<(&'static str, Event)> {
        self.0.lock().iter().map(|(kind, event)| (*kind, event.clone())).collect()
    }

    /// Forgets the kinds that `which` accepts; returns how many there were.
    pub(crate) fn reset(&self, which: impl Fn(&str) -> bool) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|kind, _| !which(kind));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_as_high_as_the_longest_moment() {
        let latency = Latency::default();
        for (second, ms) in [(90, 1), (95, 50), (99, 100)] {
            latency.note("command", second, ms);
        }
        let drawn = latency.event("command").unwrap().draw("command", 100);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "command - high 100 ms, low 1 ms (all time high 100 ms)");
        assert_eq!(lines[2..], ["  #", "  #", " ##", "_##", "from 10 s to 1 s ago"]);
    }

    #[test]
    fn a_second_keeps_its_longest_and_an_event_its_newest_seconds() {
        let latency = Latency::default();
        latency.note("command", 1, 5);
        latency.note("command", 1, 9);
        latency.note("command", 1, 7);
        assert_eq!(latency.event("command").unwrap().samples, [(1, 9)]);
        (2..400).for_each(|second| latency.note("command", second, 1));
        let event = latency.event("command").unwrap();
        assert_eq!((event.samples.len(), event.samples[0], event.max_ms), (MAX_SAMPLES, (240, 1), 9));
        assert_eq!(latency.reset(|kind| kind == "none"), 0);
        assert_eq!(latency.reset(|_| true), 1);
        assert!(latency.all().is_empty());
    }
}
