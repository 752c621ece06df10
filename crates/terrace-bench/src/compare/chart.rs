//! The summary as a chart: one row a case, Terrace is the line in the middle, every peer a dot left or right of it.

use super::summary::Summary;
use crate::store::Engine;
use crate::svg::{Dot, DotPlot};

const COLOURS: [(Engine, &str); 8] = [
    (Engine::TerraceMapped, "#2b6f6c"),
    (Engine::RocksDb, "#d9822b"),
    (Engine::Fjall, "#3b82c4"),
    (Engine::Lmdb, "#3a9d5d"),
    (Engine::Redb, "#c0392b"),
    (Engine::SurrealKv, "#8e5bb5"),
    (Engine::Sled, "#7f8c8d"),
    (Engine::Raw, "#111111"),
];

/// The chart as SVG. Cases without Terrace have no row.
pub fn chart(summary: &Summary) -> String {
    let mut plot =
        DotPlot::new("Rate of each store ÷ rate of Terrace (left of the line: slower than Terrace)");
    for (engine, colour) in COLOURS.into_iter().filter(|(engine, _)| summary.stores.contains(engine)) {
        plot.legend(engine.name(), colour);
    }
    for line in &summary.lines {
        let Some(own) = line.of(Engine::Terrace).and_then(super::summary::Entry::rate) else { continue };
        let dot = |(engine, colour): (Engine, &'static str)| {
            let rate = line.of(engine)?.rate()?;
            Some(Dot { ratio: rate.median / own.median, colour, name: engine.name().to_owned() })
        };
        plot.row(&line.title, COLOURS.into_iter().filter_map(dot).collect());
    }
    plot.into_svg()
}

#[cfg(test)]
mod tests {
    use super::super::case::Task;
    use super::super::summary::tests::record;
    use super::*;

    #[test]
    fn every_peer_with_a_rate_is_a_dot() {
        let svg = chart(&Summary::of(&[
            record(Engine::Terrace, Task::Scan10, 4.0),
            record(Engine::Lmdb, Task::Scan10, 8.0),
            record(Engine::Sled, Task::Scan10, 1.0),
            record(Engine::Sled, Task::Scan100, 1.0),
        ]));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<title>").count(), 2);
        assert!(svg.contains("lmdb: 2.00 ×") && svg.contains("sled: 0.25 ×"));
    }
}
