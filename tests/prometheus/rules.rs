//! The rules of the alerts, without a server; and what board and rules have in common.

use std::collections::BTreeSet;

use fusebox::telemetry::{Collector, Family, Sink, Value};

use crate::server::promtool;
use crate::text_of;

pub(crate) const RULES: &str = "docs/prometheus/alerts.yml";
const RULES_TEST: &str = "docs/prometheus/alerts_test.yml";
pub(crate) const BOARD: &str = "docs/grafana/fusebox.json";

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let said = promtool(&["check", "rules", RULES], b"");
    let rules = text_of(RULES).matches("- alert: ").count();
    assert!(said.contains(&format!("SUCCESS: {rules} rules found")), "{said}");
}

#[test]
fn the_alerts_mean_what_their_test_says() {
    let said = promtool(&["test", "rules", RULES_TEST], b"");
    assert!(said.contains("SUCCESS"), "{said}");
    let test = text_of(RULES_TEST);
    for alert in text_of(RULES).lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let told = |text: &str| test.contains(&format!("alertname: {alert}\n{text}"));
        assert!(told("        exp_alerts:"), "{alert}: when does it fire?");
        assert!(
            told("      - eval_time:") || told("\n") || test.ends_with(&format!("alertname: {alert}\n")),
            "{alert}: when not?"
        );
    }
}

/// What the collector has, by the names of Prometheus.
fn families() -> BTreeSet<String> {
    #[derive(Default)]
    struct Names(BTreeSet<String>);

    impl Sink for Names {
        fn family(&mut self, family: &'static Family) {
            self.0.insert(family.prometheus_name());
        }
        fn sample(&mut self, _labels: &[(&'static str, &str)], _value: Value) {}
    }

    let mut names = Names::default();
    Collector::process().collect(&mut names);
    names.0
}

fn named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("fusebox_")).map(ToOwned::to_owned).collect()
}

#[test]
fn the_families_that_board_and_alerts_name_exist() {
    let families = families();
    let board = named_in(&text_of(BOARD));
    for file in [RULES, RULES_TEST, BOARD] {
        let missing: Vec<_> = named_in(&text_of(file)).difference(&families).cloned().collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
    let unseen: Vec<_> = families.difference(&board).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}

#[test]
fn board_and_alerts_are_in_the_package() {
    let manifest = text_of("Cargo.toml");
    let include = manifest.lines().find(|line| line.starts_with("include = ")).expect("a list");
    for file in [RULES, RULES_TEST, BOARD, crate::chart::CHART] {
        let (folder, end) = (&file[..file.rfind('/').expect("a folder")], &file[file.rfind('.').expect("an ending")..]);
        assert!(include.contains(&format!("\"/{folder}/*{end}\"")), "{file} is not in {include}");
    }
}
