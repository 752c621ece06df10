//! The servers' records as Markdown tables and as a chart.

use super::process::Kind;
use super::record::{ServerFigures, ServerRecord};
use crate::format::{markdown_table, rate, three_digits};
use crate::report::{mib, time};
use crate::spread::Spread;
use crate::svg::{Dot, DotPlot};

const NONE: &str = "–";
const COLOURS: [(Kind, &str); 3] =
    [(Kind::Valkey, "#3b82c4"), (Kind::Redis, "#c0392b"), (Kind::Kvrocks, "#d9822b")];

/// One load and what every server made of it.
struct Line<'a> {
    title: String,
    records: Vec<&'a ServerRecord>,
}

fn lines(records: &[ServerRecord]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for record in records {
        let title = record.case.title();
        match lines.iter_mut().find(|line| line.title == title) {
            Some(line) => line.records.push(record),
            None => lines.push(Line { title, records: vec![record] }),
        }
    }
    lines
}

fn servers(records: &[ServerRecord]) -> Vec<Kind> {
    let mut servers: Vec<Kind> = records.iter().map(|record| record.server).collect();
    servers.sort();
    servers.dedup();
    servers
}

impl Line<'_> {
    fn spread(&self, server: Kind, figure: impl Fn(&ServerFigures) -> f64) -> Option<Spread> {
        let own = self.records.iter().filter(|record| record.server == server);
        let numbers: Vec<f64> = own.filter_map(|record| record.figures.as_ref()).map(figure).collect();
        (!numbers.is_empty()).then(|| Spread::of(numbers))
    }

    fn rate(&self, server: Kind) -> Option<Spread> {
        self.spread(server, |figures| figures.per_second)
    }

    fn idle_kib(&self, server: Kind) -> Option<f64> {
        let own = self.records.iter().filter(|record| record.server == server);
        let bytes: Vec<f64> = own
            .filter_map(|record| record.figures.as_ref()?.idle_connection_bytes)
            .map(|bytes| bytes as f64 / 1024.0)
            .collect();
        (!bytes.is_empty()).then(|| Spread::of(bytes).median)
    }

    /// Terrace's rate ÷ the highest of the others.
    fn ratio(&self, servers: &[Kind]) -> Option<f64> {
        let others = servers.iter().filter(|server| **server != Kind::Terrace);
        let best = others.filter_map(|server| self.rate(*server)).map(|rate| rate.median).fold(0.0, f64::max);
        let own = self.rate(Kind::Terrace)?.median;
        (best > 0.0).then(|| own / best)
    }
}

/// All tables.
pub fn server_markdown(records: &[ServerRecord]) -> String {
    let (lines, servers) = (lines(records), servers(records));
    let mut text =
        String::from("## Servers\n\nRequests a second: median (smallest – largest) of the rounds.\n\n");
    text.push_str(&markdown_table(&rates(&lines, &servers)));
    text.push_str("\nLatency: p50 / p99 / p99.9.\n\n");
    text.push_str(&markdown_table(&table(&lines, &servers, |line, server| {
        let of = |figure: fn(&ServerFigures) -> u64| {
            line.spread(server, |figures| figure(figures) as f64).map(|spread| time(spread.median as u64))
        };
        Some(format!("{} / {} / {}", of(|f| f.p50_ns)?, of(|f| f.p99_ns)?, of(|f| f.p999_ns)?))
    })));
    text.push_str("\nCPU µs per request: server + load generator.\n\n");
    text.push_str(&markdown_table(&table(&lines, &servers, |line, server| {
        let of =
            |figure: fn(&ServerFigures) -> f64| line.spread(server, figure).map(|s| three_digits(s.median));
        Some(format!("{} + {}", of(|f| f.server_cpu_us)?, of(|f| f.client_cpu_us)?))
    })));
    if lines.iter().any(|line| servers.iter().any(|server| line.idle_kib(*server).is_some())) {
        text.push_str("\nResident memory of the server for each idle connection.\n\n");
        text.push_str(&markdown_table(&table(&lines, &servers, |line, server| {
            Some(format!("{} KiB", three_digits(line.idle_kib(server)?)))
        })));
    }
    text.push_str("\nResident memory of the server after the load, and its directory on disk.\n\n");
    text.push_str(&markdown_table(&table(&lines, &servers, |line, server| {
        let of = |figure: fn(&ServerFigures) -> u64| {
            line.spread(server, |figures| figure(figures) as f64).map(|spread| mib(spread.median as u64))
        };
        Some(format!("{}, {}", of(|f| f.server_rss_bytes)?, of(|f| f.disk_bytes)?))
    })));
    text + &failures(records)
}

fn rates(lines: &[Line<'_>], servers: &[Kind]) -> Vec<Vec<String>> {
    let mut rows = table(lines, servers, |line, server| {
        let spread = line.rate(server)?;
        Some(format!("{} ({} – {})", rate(spread.median), rate(spread.min), rate(spread.max)))
    });
    rows[0].push("ratio to the best other".to_owned());
    for (row, line) in rows[1..].iter_mut().zip(lines) {
        row.push(line.ratio(servers).map_or(NONE.to_owned(), |ratio| format!("{} ×", three_digits(ratio))));
    }
    rows
}

/// A row a case, a column a server.
fn table(
    lines: &[Line<'_>],
    servers: &[Kind],
    cell: impl Fn(&Line<'_>, Kind) -> Option<String>,
) -> Vec<Vec<String>> {
    let head = ["load"].into_iter().chain(servers.iter().map(|server| server.name())).map(str::to_owned);
    let row = |line: &Line<'_>| {
        let cells = servers.iter().map(|server| cell(line, *server).unwrap_or(NONE.to_owned()));
        [line.title.clone()].into_iter().chain(cells).collect()
    };
    [head.collect()].into_iter().chain(lines.iter().map(row)).collect()
}

fn failures(records: &[ServerRecord]) -> String {
    let failed = records.iter().filter_map(|record| Some((record, record.error.as_ref()?)));
    let lines: Vec<String> = failed
        .map(|(record, error)| {
            format!("- {}, {}, round {}: {error}\n", record.case.title(), record.server.name(), record.round)
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("\n## Runs that failed\n\n{}", lines.concat()) }
}

/// The chart as SVG.
pub fn server_chart(records: &[ServerRecord]) -> String {
    let servers = servers(records);
    let mut plot =
        DotPlot::new("Rate of each server ÷ rate of Terrace (left of the line: slower than Terrace)");
    for (kind, colour) in COLOURS.into_iter().filter(|(kind, _)| servers.contains(kind)) {
        plot.legend(kind.name(), colour);
    }
    for line in lines(records) {
        let Some(own) = line.rate(Kind::Terrace) else { continue };
        let dot = |(kind, colour): (Kind, &'static str)| {
            let ratio = line.rate(kind)?.median / own.median;
            Some(Dot { ratio, colour, name: kind.name().to_owned() })
        };
        plot.row(&line.title, COLOURS.into_iter().filter_map(dot).collect());
    }
    plot.into_svg()
}

#[cfg(test)]
mod tests {
    use super::super::case::ServerCase;
    use super::*;

    fn record(server: Kind, per_second: f64) -> ServerRecord {
        let figures = ServerFigures { per_second, p50_ns: 1500, ..ServerFigures::default() };
        ServerRecord { server, round: 1, case: ServerCase::default(), figures: Some(figures), error: None }
    }

    #[test]
    fn tables_and_chart_compare_with_the_best_other_server() {
        let failed =
            ServerRecord { figures: None, error: Some("no port".into()), ..record(Kind::Kvrocks, 0.0) };
        let records = [
            record(Kind::Redis, 50_000.0),
            record(Kind::Valkey, 80_000.0),
            record(Kind::Terrace, 120_000.0),
            failed,
        ];
        let text = server_markdown(&records);
        assert!(
            text.contains("| load | terrace | valkey | redis | kvrocks | ratio to the best other |"),
            "{text}"
        );
        assert!(text.contains("| 120 k (120 k – 120 k) | 80.0 k"), "{text}");
        assert!(text.contains("| – | 1.50 × |"), "{text}");
        assert!(text.contains("- SET 100 B, depth 1, kvrocks, round 1: no port"), "{text}");
        assert_eq!(server_chart(&records).matches("<title>").count(), 2);
    }
}
