//! The board for Grafana: its form, and that each of its queries has an answer.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::answers::{Answer, Span};
use crate::chart;
use crate::outage::Scene;
use crate::rules::{BOARD, RULES};
use crate::text_of;

const ROWS: [&str; 5] = ["Now", "Calls", "Transitions", "Retry", "Fleet"];

fn board() -> Value {
    serde_json::from_str(&text_of(BOARD)).expect("JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn is_row(panel: &Value) -> bool {
    panel["type"] == "row"
}

/// A query of a panel.
struct Query {
    panel: String,
    expression: String,
    /// Series of the whole time, or those at its end.
    is_instant: bool,
    /// Labels that are shown to people.
    names: BTreeSet<String>,
}

/// The words between `{{` and `}}`.
fn legend(text: &str) -> BTreeSet<String> {
    text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(|name| name.trim().to_owned()).collect()
}

fn queries(board: &Value) -> Vec<Query> {
    let mut all = Vec::new();
    for panel in list(board, "panels").iter().filter(|panel| !is_row(panel)) {
        // A table shows labels as columns.
        let columns = panel["transformations"].as_array().into_iter().flatten();
        let columns =
            columns.filter_map(|one| one["options"]["indexByName"].as_object()).flat_map(|names| names.keys());
        let columns: BTreeSet<_> = columns.filter(|name| !name.starts_with("Value")).cloned().collect();
        for target in list(panel, "targets") {
            let is_instant = target["instant"] == true;
            let names = if is_instant { columns.clone() } else { legend(text(target, "legendFormat")) };
            let panel = format!("{}, {}", text(panel, "title"), text(target, "refId"));
            // What further queries of a table say is joined to the rows of its first.
            let names = if is_instant && target["refId"] != "A" { BTreeSet::new() } else { names };
            all.push(Query { panel, expression: text(target, "expr").to_owned(), is_instant, names });
        }
    }
    for note in list(&board["annotations"], "list") {
        let names =
            legend(text(note, "textFormat")).into_iter().chain(text(note, "tagKeys").split(',').map(ToOwned::to_owned));
        let panel = format!("annotations {}", text(note, "name"));
        all.push(Query { panel, expression: text(note, "expr").to_owned(), is_instant: false, names: names.collect() });
    }
    // `label_values(family{...}, label)` is what a variable may be.
    for variable in list(&board["templating"], "list").iter().filter(|variable| variable["type"] == "query") {
        let inside = text(variable, "definition").strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect("values of a label");
        let names = BTreeSet::from([label.to_owned()]);
        let panel = format!("variable {}", text(variable, "name"));
        let expression = format!("count by ({label}) ({series})");
        all.push(Query { panel, expression, is_instant: true, names });
    }
    all
}

/// What Grafana puts in the place of its variables, where all of each is chosen.
fn filled(expression: &str) -> String {
    let mut filled = expression.replace("$__rate_interval", "4s").replace("$__range", "10m");
    for variable in ["job", "instance", "registry", "breaker", "retry"] {
        filled = filled.replace(&format!("\"${variable}\""), "\".*\"");
    }
    assert!(!filled.contains('$'), "{filled}");
    filled
}

#[test]
fn the_board_is_as_grafana_wants_it() {
    let board = board();
    let mut ids = BTreeSet::new();
    let panels = list(&board, "panels");
    let rows: Vec<_> = panels.iter().filter(|panel| is_row(panel)).map(|row| text(row, "title")).collect();
    assert_eq!(rows, ROWS);
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title} has an id of its own");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} fits into the grid");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title} lies on another panel at {place:?}");
        }
        if is_row(panel) {
            continue;
        }
        assert!(text(panel, "description").ends_with('.'), "{title}: what is it about?");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}");
        let sources = std::iter::once(panel).chain(list(panel, "targets")).map(|of| text(&of["datasource"], "uid"));
        assert!(sources.into_iter().all(|uid| uid == "${datasource}"), "{title}");
    }
    let variables = list(&board["templating"], "list");
    let names: Vec<_> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "job", "instance", "registry", "breaker", "retry"]);
    assert!(variables[1..].iter().all(|one| one["includeAll"] == true && one["allValue"] == ".*"));
    assert_eq!((text(&variables[0], "type"), text(&variables[0], "query")), ("datasource", "prometheus"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_board_has_an_answer_with_what_its_legend_names() {
    let mut scene = Scene::new("board", &text_of(RULES)).await;
    let [end, _] = scene.play().await;
    let span = Span { to: end, ..scene.span() };
    let queries = queries(&board());
    assert!(queries.len() > 30, "{} queries were found", queries.len());
    let mut wrong = Vec::new();
    for query in &queries {
        let filled = filled(&query.expression);
        let answers = match query.is_instant {
            true => scene.prometheus.query_at(&filled, span.to).await,
            false => scene.prometheus.query_over(&filled, span).await,
        };
        if let Some(why) = lacking(query, &answers) {
            wrong.push(format!("{}: {why}: {filled}", query.panel));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let chart = chart::draw(&scene.prometheus, &scene.checkout(), span).await;
    chart::check(&chart);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(format!("{}/{}", env!("CARGO_MANIFEST_DIR"), chart::CHART), chart).expect("a file");
    }
}

/// What there is to complain of an answer: that there is none, that nothing has happened, or that it is not said to what.
fn lacking(query: &Query, answers: &[Answer]) -> Option<String> {
    let values = answers.iter().flat_map(|answer| &answer.samples).map(|(_, value)| *value);
    let is_anything = values.clone().any(|value| value.is_finite() && value != 0.0);
    let has = |name: &String| answers.iter().any(|answer| answer.labels.contains_key(name));
    let missing: Vec<_> = query.names.iter().filter(|name| !has(name)).collect();
    match answers {
        [] => Some("no series".to_owned()),
        _ if !is_anything => Some(format!("all of its {} samples are 0, or none is a number", values.count())),
        _ if !missing.is_empty() => Some(format!("no series has the labels {missing:?}")),
        _ => None,
    }
}
