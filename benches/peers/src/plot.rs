//! The comparison as a plot: a panel for each column, a bar for each row. Bars are ratios to the floor of their column.

use crate::machine;
use crate::results::Results;
use crate::rows::Column;
use crate::rows::floor::PASSTHROUGH;
use crate::rows::retry::FLOOR;
use crate::table::number;
use std::fmt::Write;

/// One file for both: a reader's system says which, also where a page can't.
const STYLE: &str = "\
text { fill: #1f2328 }
.faint { fill: #656d76 }
.paper { fill: #ffffff }
.ours { fill: #0969da }
.theirs { fill: #b8c0c8 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #8d96a0 }
.paper { fill: #0d1117 }
.ours { fill: #4493f8 }
.theirs { fill: #4a525b }
}";

const BREAKERS: [(&str, &str); 4] = [
    ("fusebox", "fusebox"),
    ("recloser", "recloser"),
    ("failsafe", "failsafe"),
    ("tower-resilience", "tower-resilience"),
];
const RETRIES: [(&str, &str); 4] = [
    ("fusebox-retry", "fusebox"),
    ("tower-retry", "tower::retry"),
    ("backon", "backon"),
    ("tower-resilience-retry", "tower-resilience"),
];
const STACKS: [(&str, &str); 3] = [
    ("fusebox-both", "fusebox"),
    ("backon-recloser", "backon, recloser"),
    ("tower-resilience-both", "tower-resilience"),
];
const BUDGETS: [(&str, &str); 2] = [("fusebox-retry-budget", "fusebox"), ("tower-retry-budget", "tower::retry")];

type Bars = &'static [(&'static str, &'static str)];

/// A column, its title, its rows, their floor.
const PANELS: [(Column, &str, Bars, &str); 12] = [
    (Column::Closed, "closed, success", &BREAKERS, PASSTHROUGH),
    (Column::Tenth, "10 % failures", &BREAKERS, PASSTHROUGH),
    (Column::Open, "open, rejected", &BREAKERS, PASSTHROUGH),
    (Column::Cycle, "trip + probe + close", &BREAKERS, PASSTHROUGH),
    (Column::Two, "two threads", &BREAKERS, PASSTHROUGH),
    (Column::Eight, "eight threads", &BREAKERS, PASSTHROUGH),
    (Column::Keyed, "1,000 keyed", &BREAKERS, PASSTHROUGH),
    (Column::FirstTry, "retry, first try ok", &RETRIES, FLOOR),
    (Column::TwoRetries, "two retries, no delay", &RETRIES, FLOOR),
    (Column::TwoWaits, "two retries, 1 ms", &RETRIES, FLOOR),
    (Column::Stacked, "breaker inside retry", &STACKS, FLOOR),
    (Column::NoBudget, "fails, no budget left", &BUDGETS, FLOOR),
];

const ACROSS: usize = 3;
const PANEL: (f64, f64) = (290.0, 118.0);
const LABELS: f64 = 102.0;
const BAR: f64 = 124.0;
const LINE: f64 = 19.0;
const TOP: f64 = 56.0;

/// Where the bars of a panel end: one that is several times the next would leave nothing to see of the others, so it is cut.
fn longest(ratios: &[(&str, f64)]) -> f64 {
    let mut sorted: Vec<f64> = ratios.iter().map(|(_, ratio)| *ratio).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted[..] {
        [.., second, last] if last > second * 3.0 => second * 1.6,
        [.., last] => last,
        [] => 1.0,
    }
}

fn panel(svg: &mut String, (x, y): (f64, f64), title: &str, ratios: &[(&str, f64)]) {
    let longest = longest(ratios);
    let mut line = |text: String| writeln!(svg, "{text}").expect("a string takes it");
    line(format!(r#"<text x="{x}" y="{y}" font-weight="600">{title}</text>"#));
    for (at, (name, ratio)) in ratios.iter().enumerate() {
        let (top, is_cut) = (y + 8.0 + at as f64 * LINE, *ratio > longest);
        let width = (ratio.min(longest) / longest * BAR).max(1.0);
        let (whose, weight) = if *name == "fusebox" { ("ours", 600) } else { ("theirs", 400) };
        let (start, base) = (x + LABELS, top + 11.0);
        line(format!(
            r#"<text x="{:.0}" y="{base}" font-weight="{weight}" text-anchor="end">{name}</text>"#,
            start - 6.0
        ));
        line(format!(r#"<rect x="{start}" y="{top}" width="{width:.1}" height="14" rx="2" class="{whose}"/>"#));
        let end = start + width + 5.0;
        let mark = if is_cut { "› " } else { "" };
        line(format!(r#"<text x="{end:.1}" y="{base}" class="faint">{mark}{}</text>"#, number(*ratio)));
    }
}

pub fn svg(results: &Results) -> String {
    let panels: Vec<_> = PANELS
        .iter()
        .map(|(column, title, bars, floor)| {
            let ratios = bars.iter().filter_map(|(id, name)| Some((*name, results.ratio(id, floor, *column)?)));
            (title, ratios.collect::<Vec<_>>())
        })
        .collect();
    let (width, rows) = (PANEL.0 * ACROSS as f64 + 20.0, panels.len().div_ceil(ACROSS));
    let height = TOP + PANEL.1 * rows as f64 + 22.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"
font-family="-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif" font-size="12" role="img">
<title>What a call costs, fusebox beside other crates</title>
<style>
{STYLE}
</style>
<rect width="{width}" height="{height}" class="paper"/>
<text x="20" y="26" font-size="15" font-weight="600">What a call costs, as a multiple of the floor: shorter is better</text>
"#
    );
    for (at, (title, ratios)) in panels.iter().enumerate() {
        let place = (20.0 + (at % ACROSS) as f64 * PANEL.0, TOP + (at / ACROSS) as f64 * PANEL.1);
        panel(&mut svg, place, title, ratios);
    }
    let line = machine::line().replace('&', "&amp;").replace('<', "&lt;");
    let below = height - 12.0;
    write!(svg, "<text x=\"20\" y=\"{below}\" class=\"faint\">{line}. › goes on.</text>\n</svg>\n")
        .expect("a string takes it");
    svg
}
