//! The summary as Markdown tables.

use super::record::Figures;
use super::summary::{Entry, Line, Summary};
use crate::format::{markdown_table, rate, three_digits};
use crate::report::{mib, time};
use crate::spread::Spread;
use crate::store::Engine;

/// What a cell shows where there is nothing to show.
const NONE: &str = "–";

/// All tables.
pub fn markdown(summary: &Summary) -> String {
    let mut text = String::from("## Terrace and the best peer\n\n");
    text.push_str("Operations a second: median (smallest – largest) of the rounds.\n\n");
    text.push_str(&markdown_table(&against_best(summary)));
    text.push_str("\n## All stores\n\nOperations a second, medians.\n\n");
    text.push_str(&markdown_table(&all_rates(summary)));
    text.push_str(
        "\n## What the writes cost\n\nMedians. Write amplification counts everything that the process had \
        written to disk, log included, until the background work was over.\n\n",
    );
    text.push_str(&markdown_table(&costs(summary)));
    let failures = failures(summary);
    if !failures.is_empty() {
        text.push_str("\n## Runs that failed\n\n");
        text.push_str(&failures);
    }
    text
}

fn against_best(summary: &Summary) -> Vec<Vec<String>> {
    let head = ["workload", "Terrace", "best peer", "", "ratio", "p50", "p99", "pause", "CPU µs/op"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for line in &summary.lines {
        let own = line.of(Engine::Terrace);
        let peer = line.best_peer();
        let pair = |show: &dyn Fn(&Entry) -> String| {
            let one = |entry: Option<&Entry>| entry.map_or(NONE.to_owned(), show);
            format!("{} / {}", one(own), one(peer))
        };
        let spread = |entry: Option<&Entry>| entry.and_then(Entry::rate).map_or(NONE.to_owned(), spread_text);
        let ns = |figure: fn(&Figures) -> u64| {
            pair(&|entry| median_text(entry, |f| Some(figure(f) as f64), |ns| time(ns as u64)))
        };
        rows.push(vec![
            line.title.clone() + &beside(line),
            spread(own),
            spread(peer),
            peer.map_or(NONE.to_owned(), |peer| peer.store.name().to_owned()),
            line.ratio().map_or(NONE.to_owned(), |ratio| format!("{} ×", three_digits(ratio))),
            ns(|figures| figures.p50_ns),
            ns(|figures| figures.p99_ns),
            pair(&|entry| {
                median_text(entry, |f| Some(f.longest_pause_ms as f64), |ms| format!("{ms:.0} ms"))
            }),
            pair(&|entry| median_text(entry, |f| Some(f.cpu_us_per_op), three_digits)),
        ]);
    }
    rows
}

/// What the thread beside reached, if there is one.
fn beside(line: &Line) -> String {
    let of = |entry: &Entry| {
        let rate_beside = entry.median(|figures| figures.beside_per_second)?;
        Some(format!("{} {}", entry.store.name(), rate(rate_beside)))
    };
    let all: Vec<String> = line.entries.iter().filter_map(of).collect();
    if all.is_empty() { String::new() } else { format!(" (writer: {})", all.join(", ")) }
}

fn all_rates(summary: &Summary) -> Vec<Vec<String>> {
    let mut rows = vec![vec!["workload".to_owned()]];
    rows[0].extend(summary.stores.iter().map(|store| store.name().to_owned()));
    for line in &summary.lines {
        let cell = |store: &Engine| {
            line.of(*store).and_then(Entry::rate).map_or(NONE.to_owned(), |spread| rate(spread.median))
        };
        let mut row = vec![line.title.clone()];
        row.extend(summary.stores.iter().map(cell));
        rows.push(row);
    }
    rows
}

fn costs(summary: &Summary) -> Vec<Vec<String>> {
    let head =
        ["workload", "store", "write amp.", "space amp.", "peak RSS", "on disk", "settling", "longest pause"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for line in summary.lines.iter().filter(|line| line.writes) {
        for entry in line.entries.iter().filter(|entry| entry.store != Engine::Raw) {
            rows.push(vec![
                line.title.clone(),
                entry.store.name().to_owned(),
                median_text(entry, |f| f.write_amplification, three_digits),
                median_text(entry, |f| f.space_amplification, three_digits),
                median_text(entry, |f| Some(f.peak_rss_bytes as f64), |bytes| mib(bytes as u64)),
                median_text(entry, |f| Some(f.disk_bytes as f64), |bytes| mib(bytes as u64)),
                median_text(entry, |f| f.settle_seconds, |seconds| format!("{seconds:.1} s")),
                median_text(entry, |f| Some(f.longest_pause_ms as f64), |ms| format!("{ms:.0} ms")),
            ]);
        }
    }
    rows
}

fn failures(summary: &Summary) -> String {
    let of = |line: &Line| -> Vec<String> {
        let failed =
            line.entries.iter().filter_map(|entry| Some((entry.store.name(), entry.error.as_ref()?)));
        failed.map(|(store, error)| format!("- {}, {store}: {error}\n", line.title)).collect()
    };
    summary.lines.iter().flat_map(of).collect()
}

fn median_text(
    entry: &Entry,
    figure: impl Fn(&Figures) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> String {
    entry.median(figure).map_or(NONE.to_owned(), show)
}

fn spread_text(spread: Spread) -> String {
    format!("{} ({} – {})", rate(spread.median), rate(spread.min), rate(spread.max))
}

#[cfg(test)]
mod tests {
    use super::super::case::Task;
    use super::super::summary::tests::record;
    use super::*;

    #[test]
    fn the_tables_name_ratio_peers_and_failures() {
        let mut failed = record(Engine::Sled, Task::Fillrandom, 0.0);
        (failed.figures, failed.error) = (None, Some("out of space".into()));
        let text = markdown(&Summary::of(&[
            record(Engine::Terrace, Task::Fillrandom, 900_000.0),
            record(Engine::Fjall, Task::Fillrandom, 300_000.0),
            failed,
        ]));
        assert!(text.contains("| fillrandom, 1 thread | 900 k (900 k – 900 k) | 300 k"), "{text}");
        assert!(text.contains("| fjall | 3.00 × |"), "{text}");
        assert!(text.contains("| workload | terrace | fjall | sled |"), "{text}");
        assert!(text.contains("- fillrandom, 1 thread, sled: out of space"), "{text}");
    }
}
