//! A dot plot as SVG: rows of ratios on a logarithmic axis, with a line at 1.

use crate::format::three_digits;

/// The axis runs from 1 ÷ this to this; dots beyond it lie at its ends.
const AXIS: f64 = 100.0;
const MARKS: [(f64, &str); 7] = [
    (0.01, "0.01 ×"),
    (0.1, "0.1 ×"),
    (0.5, "0.5 ×"),
    (1.0, "1 ×"),
    (2.0, "2 ×"),
    (10.0, "10 ×"),
    (100.0, "100 ×"),
];
const WIDTH: f64 = 980.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 80.0;
const ROW: f64 = 22.0;

/// One ratio.
pub(crate) struct Dot {
    /// The ratio, above 0.
    pub(crate) ratio: f64,
    /// An SVG colour.
    pub(crate) colour: &'static str,
    /// Whose it is.
    pub(crate) name: String,
}

/// A plot.
pub(crate) struct DotPlot {
    title: String,
    legend: Vec<(String, &'static str)>,
    rows: Vec<(String, Vec<Dot>)>,
}

impl DotPlot {
    /// Without rows.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: escape(title), legend: Vec::new(), rows: Vec::new() }
    }

    /// Explains a colour.
    pub(crate) fn legend(&mut self, name: &str, colour: &'static str) {
        self.legend.push((escape(name), colour));
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, title: &str, dots: Vec<Dot>) {
        self.rows.push((escape(title), dots));
    }

    /// The picture.
    pub(crate) fn into_svg(self) -> String {
        let height = TOP + ROW * self.rows.len() as f64 + 20.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\" font-size=\"14\">{}</text>\n",
            self.title
        );
        svg.extend(self.legend.iter().enumerate().map(|(at, (name, colour))| {
            let x = 16.0 + 105.0 * at as f64;
            let text_x = x + 10.0;
            format!(
                "<circle cx=\"{x}\" cy=\"38\" r=\"5\" fill=\"{colour}\"/><text x=\"{text_x}\" y=\"42\">{name}</text>\n"
            )
        }));
        svg.extend(MARKS.map(|(ratio, label)| mark(ratio, label, height - 20.0)));
        let rows = self.rows.iter().enumerate();
        svg.extend(rows.map(|(at, (title, dots))| row(TOP + ROW * (at as f64 + 0.5), title, dots)));
        svg.push_str("</svg>\n");
        svg
    }
}

fn mark(ratio: f64, label: &str, bottom: f64) -> String {
    let (x, label_y) = (position(ratio), TOP - 8.0);
    let colour = if label == "1 ×" { "black" } else { "#dddddd" };
    format!(
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
         <text x=\"{x:.1}\" y=\"{label_y}\" text-anchor=\"middle\" fill=\"#555555\">{label}</text>\n"
    )
}

fn row(y: f64, title: &str, dots: &[Dot]) -> String {
    let dot = |Dot { ratio, colour, name }: &Dot| {
        let (x, name, ratio) = (position(*ratio), escape(name), three_digits(*ratio));
        format!(
            "<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\" fill-opacity=\"0.85\">\
             <title>{name}: {ratio} ×</title></circle>\n"
        )
    };
    let (x, text_y) = (LEFT - 10.0, y + 4.0);
    let title = format!("<text x=\"{x}\" y=\"{text_y}\" text-anchor=\"end\">{title}</text>\n");
    title + &dots.iter().map(dot).collect::<String>()
}

fn position(ratio: f64) -> f64 {
    let share = f64::midpoint(ratio.clamp(1.0 / AXIS, AXIS).log10() / AXIS.log10(), 1.0);
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_the_middle_and_the_ends_hold() {
        let middle = f64::midpoint(position(0.01), position(100.0));
        assert!((position(1.0) - middle).abs() < 1e-9);
        assert!(position(0.5) < position(1.0) && position(1.0) < position(2.0));
        assert!((position(1e-9) - LEFT).abs() < 1e-9 && position(1e9) <= WIDTH - RIGHT);
    }

    #[test]
    fn names_are_escaped() {
        let mut plot = DotPlot::new("a < b");
        plot.row("x & y", vec![Dot { ratio: 1.0, colour: "red", name: "<z>".into() }]);
        let svg = plot.into_svg();
        assert!(svg.contains("a &lt; b") && svg.contains("x &amp; y") && svg.contains("&lt;z&gt;"));
    }
}
