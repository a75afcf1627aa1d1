//! A chart of an outage, drawn from what Prometheus answers: `docs/outage.svg`, which a real run has made. `UPDATE=1` makes it
//! anew.

use std::fmt::Write;

use crate::answers::{Answer, Span};
use crate::server::Prometheus;
use crate::text_of;

pub(crate) const CHART: &str = "docs/outage.svg";

const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 300.0;
/// Where the lines are: left, top, width, height.
const FIELD: (f64, f64, f64, f64) = (52.0, 48.0, 640.0, 170.0);
/// Where the states are: top and height.
const STRIP: (f64, f64) = (232.0, 18.0);

const STYLE: &str = "text { fill: #24292f; } .faint { fill: #57606a; } .paper { fill: #ffffff; } .grid { stroke: #d0d7de; }
.success { stroke: #1a7f37; fill: none; } .failure { stroke: #cf222e; fill: none; } .rejected { stroke: #bc4c00; fill: none; }
.closed { fill: #4ac26b; } .half_open { fill: #d4a72c; } .open { fill: #cf222e; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .faint { fill: #8d96a0; } .paper { fill: #0d1117; }
.grid { stroke: #30363d; } .success { stroke: #3fb950; } .failure { stroke: #f85149; } .rejected { stroke: #db6d28; } }";

/// A line of the chart: its name, and its query.
fn lines(breaker: &str) -> [(&'static str, String); 3] {
    let own = format!("job=\"client\", breaker=\"{breaker}\"");
    [
        ("success", format!("sum(rate(fusebox_breaker_calls_total{{{own}, outcome=\"success\"}}[1500ms]))")),
        ("failure", format!("sum(rate(fusebox_breaker_calls_total{{{own}, outcome=\"failure\"}}[1500ms]))")),
        ("rejected", format!("sum(rate(fusebox_breaker_rejected_calls_total{{{own}}}[1500ms]))")),
    ]
}

/// Draws what has happened to a breaker.
pub(crate) async fn draw(prometheus: &Prometheus, breaker: &str, span: Span) -> String {
    let mut rates = Vec::new();
    for (name, query) in lines(breaker) {
        rates.push((name, prometheus.query_over(&query, span).await));
    }
    let states = format!("fusebox_breaker_state{{job=\"client\", breaker=\"{breaker}\"}} > 0");
    let states = prometheus.query_over(&states, span).await;
    let highest = rates.iter().flat_map(|(_, answers)| answers).flat_map(|answer| &answer.samples);
    let highest = highest.map(|(_, value)| *value).filter(|value| value.is_finite()).fold(1.0, f64::max);
    let top = (highest / 20.0).ceil() * 20.0;
    let mut svg = head();
    grid(&mut svg, span, top);
    for (nth, (name, answers)) in rates.iter().enumerate() {
        line(&mut svg, span, top, name, &answers[0]);
        legend(&mut svg, nth, name);
    }
    strip(&mut svg, span, &states);
    svg + "</svg>\n"
}

fn head() -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"
font-family="-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif" font-size="12" role="img">
<title>An outage as Prometheus has seen it</title>
<style>
{STYLE}
</style>
<rect width="{WIDTH}" height="{HEIGHT}" class="paper"/>
<text x="20" y="26" font-size="15" font-weight="600">An outage as Prometheus has seen it: calls each second</text>
"#
    )
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(svg, "{text}").expect("a string takes everything");
}

fn x_of(span: Span, at: f64) -> f64 {
    FIELD.0 + (at - span.from) / (span.to - span.from) * FIELD.2
}

fn y_of(top: f64, value: f64) -> f64 {
    FIELD.1 + FIELD.3 - value / top * FIELD.3
}

fn grid(svg: &mut String, span: Span, top: f64) {
    let (left, right) = (FIELD.0, FIELD.0 + FIELD.2);
    for part in [0.0, 0.5, 1.0] {
        let (y, value) = (y_of(top, top * part), top * part);
        put(svg, format_args!(r#"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}" class="grid"/>"#));
        let (x, y) = (left - 8.0, y + 4.0);
        put(svg, format_args!(r#"<text x="{x}" y="{y:.1}" text-anchor="end" class="faint">{value:.0}</text>"#));
    }
    let below = STRIP.0 + STRIP.1 + 20.0;
    let mut second = 0.0;
    while second <= span.to - span.from {
        let x = x_of(span, span.from + second);
        put(
            svg,
            format_args!(r#"<text x="{x:.1}" y="{below}" text-anchor="middle" class="faint">{second:.0} s</text>"#),
        );
        second += 5.0;
    }
}

fn line(svg: &mut String, span: Span, top: f64, class: &str, answer: &Answer) {
    let finite = answer.samples.iter().filter(|(_, value)| value.is_finite());
    let points = finite.map(|(at, value)| format!("{:.1},{:.1}", x_of(span, *at), y_of(top, *value)));
    let points = points.collect::<Vec<_>>().join(" ");
    put(svg, format_args!(r#"<polyline points="{points}" class="{class}" stroke-width="2"/>"#));
}

fn legend(svg: &mut String, nth: usize, name: &str) {
    let (x, y) = (FIELD.0 + FIELD.2 + 16.0, FIELD.1 + 8.0 + 22.0 * f64::from(u32::try_from(nth).expect("few")));
    let (end, text, base) = (x + 22.0, x + 30.0, y + 4.0);
    put(svg, format_args!(r#"<line x1="{x}" y1="{y}" x2="{end}" y2="{y}" class="{name}" stroke-width="2"/>"#));
    put(svg, format_args!(r#"<text x="{text}" y="{base}">{name}</text>"#));
}

/// A strip of states: each sample is as wide as the time to the next.
fn strip(svg: &mut String, span: Span, states: &[Answer]) {
    let (top, height) = STRIP;
    let wide = 0.5 / (span.to - span.from) * FIELD.2 + 0.3;
    for state in states {
        let class = &state.labels["state"];
        for (at, _) in &state.samples {
            let x = x_of(span, *at);
            let wide = wide.min(FIELD.0 + FIELD.2 - x).max(0.0);
            put(
                svg,
                format_args!(r#"<rect x="{x:.1}" y="{top}" width="{wide:.1}" height="{height}" class="{class}"/>"#),
            );
        }
    }
    let x = FIELD.0 + FIELD.2 + 16.0;
    for (nth, (class, name)) in [("closed", "closed"), ("half_open", "half-open"), ("open", "open")].iter().enumerate()
    {
        let y = top - 26.0 + 18.0 * f64::from(u32::try_from(nth).expect("few"));
        let (text, base) = (x + 30.0, y + 10.0);
        put(svg, format_args!(r#"<rect x="{x}" y="{y}" width="22" height="12" rx="2" class="{class}"/>"#));
        put(svg, format_args!(r#"<text x="{text}" y="{base}">{name}</text>"#));
    }
}

/// Fails where a chart is not well-formed, or shows no outage.
pub(crate) fn check(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag} does not end"));
        assert!(!text.contains('&'), "{text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> ends what was begun last");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
    }
    assert_eq!(open, [""; 0], "everything that was begun has ended");
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && !svg.contains("NaN"));
    assert_eq!(svg.matches("<polyline points=\"").count(), 3, "three lines");
    assert!(!svg.contains("points=\"\""), "each of them with points");
    // One is in the legend.
    let is_there = |class: &str| svg.matches(&format!("class=\"{class}\"")).count() > 1;
    assert!(is_there("open") && is_there("closed"), "it was open, and closed");
}

#[test]
fn the_chart_is_well_formed() {
    check(&text_of(CHART));
    let page = text_of("README.md");
    assert!(page.contains(&format!("]({CHART})")), "README shows it");
}
