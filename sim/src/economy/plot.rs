//! Small plots, written by hand.

use super::Estimate;
use std::fmt::Write;

/// A plan's value in two worlds.
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) design: Estimate,
    pub(crate) today: Estimate,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<f64>,
}

const COLOURS: [&str; 4] = ["#2563eb", "#dc2626", "#16a34a", "#9333ea"];

fn frame(width: u32, height: usize, title: &str, inside: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n<text x=\"10\" y=\"18\" font-size=\"14\">{title}</text>\n{inside}</svg>\n"
    )
}

/// Two bars for each plan, from −200 % to +100 %; what is longer is cut.
pub(crate) fn bars(title: &str, all: &[Bar]) -> String {
    let x = |value: f64| 400.0 + (value.clamp(-2.0, 1.0) + 2.0) * 120.0;
    let mut s = String::new();
    for (row, bar) in all.iter().enumerate() {
        let y = 50 + 26 * row;
        let _ = writeln!(s, "<text x=\"390\" y=\"{}\" text-anchor=\"end\">{}</text>", y + 13, bar.name);
        for (n, value) in [bar.design, bar.today].into_iter().enumerate() {
            let (from, to) = (x(value.mean.min(0.0)), x(value.mean.max(0.0)));
            let (y, width) = (y + 10 * n, (to - from).max(1.0));
            let _ = writeln!(
                s,
                "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"9\" fill=\"{}\"/>",
                COLOURS[n]
            );
        }
    }
    let end = 50 + 26 * all.len();
    for tick in [-2.0, -1.0, 0.0, 1.0] {
        let at = x(tick);
        let _ = writeln!(
            s,
            "<path d=\"M{at} 44V{end}\" stroke=\"#999\"/><text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{:+.0} %</text>",
            end + 14,
            100.0 * tick
        );
    }
    for (n, name) in ["by design", "as it runs today"].into_iter().enumerate() {
        let _ = writeln!(s, "<text x=\"{}\" y=\"36\" fill=\"{}\">{name}</text>", 400 + 100 * n, COLOURS[n]);
    }
    frame(780, end + 24, title, &s)
}

/// Up to four curves over the same places, each of which has a name.
pub(crate) fn lines(title: &str, below: &str, places: &[String], all: &[Line]) -> String {
    let values = || all.iter().flat_map(|line| line.points.iter().copied());
    let (low, high) = values().fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    let x = |place: usize| 60.0 + 560.0 * place as f64 / (places.len() - 1) as f64;
    let y = |v: f64| 290.0 - 180.0 * (v - low) / (high - low);
    let mut s = String::new();
    for v in [low, 0.0, high] {
        let at = y(v);
        let _ = writeln!(
            s,
            "<path d=\"M60 {at:.1}H620\" stroke=\"#ccc\"/><text x=\"54\" y=\"{:.1}\" text-anchor=\"end\">{v:.0}</text>",
            at + 4.0
        );
    }
    for (place, name) in places.iter().enumerate() {
        let _ = writeln!(s, "<text x=\"{:.1}\" y=\"306\" text-anchor=\"middle\">{name}</text>", x(place));
    }
    for (n, line) in all.iter().enumerate() {
        let points = line.points.iter().enumerate();
        let path: Vec<String> = points.map(|(place, v)| format!("{:.1} {:.1}", x(place), y(*v))).collect();
        let (path, colour) = (path.join("L"), COLOURS[n]);
        let _ = writeln!(s, "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        let _ = writeln!(s, "<text x=\"70\" y=\"{}\" fill=\"{colour}\">{}</text>", 38 + 16 * n, line.name);
    }
    let _ = writeln!(s, "<text x=\"340\" y=\"324\" text-anchor=\"middle\">{below}</text>");
    frame(640, 334, title, &s)
}
